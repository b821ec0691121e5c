//! What a pickle may name. Everything here is data; a name that is not here is refused, whatever it would have done.

use safetensors::Dtype;

/// What becomes of an object that is made with a name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Role {
    /// A dictionary of pairs.
    Dictionary,
    /// A list, tuple or set of the values in its argument.
    Collection(Collection),
    /// A tensor over a typed storage; the tensor's type comes as an argument where `typed` is false.
    Tensor { typed: bool },
    /// The tensor that is its first argument.
    Parameter,
    /// Bytes, which protocol 2 writes as Latin-1 text.
    Encode,
    /// The class of a storage.
    Storage(Storage),
    /// A tensor's type.
    Dtype(Storage),
    /// A type of `typing` with its parameters, such as `List[int]`; refused with anything else.
    Subscript,
    /// Kept as it is: class, arguments, state, contents.
    Data,
    /// Not on the list; the pickle is refused once all of it was read.
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Collection {
    List,
    Tuple,
    Set,
}

/// How the entries of a storage or tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Storage {
    /// Bytes of an entry.
    pub(crate) width: u64,
    /// `None` for a type that no tensor of a checkpoint may have, or for bytes without one.
    pub(crate) dtype: Option<Dtype>,
}

/// Lightning's packages, old and new.
const LIGHTNING: [&str; 3] = ["lightning", "pytorch_lightning", "lightning_fabric"];

/// Looks up a global. `None` means that it is refused.
pub(crate) fn role(module: &str, name: &str) -> Option<Role> {
    // Protocol 2 writes the names of Python 2.
    let module = if module == "__builtin__" { "builtins" } else { module };
    let class = || name.starts_with(|c: char| c.is_ascii_uppercase()) && !name.contains('.');
    let within =
        |package: &str| module.strip_prefix(package).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    Some(match (module, name) {
        ("collections", "OrderedDict") => Role::Dictionary,
        ("collections", "defaultdict" | "Counter" | "deque") => Role::Data,
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Role::Tensor { typed: true },
        ("torch._utils", "_rebuild_tensor_v3") => Role::Tensor { typed: false },
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Role::Parameter,
        ("torch" | "torch.storage", "UntypedStorage" | "_UntypedStorage") => {
            Role::Storage(Storage { width: 1, dtype: None })
        }
        ("torch", "Size" | "device") => Role::Data,
        ("torch", _) => match name.strip_suffix("Storage") {
            Some(kind) => Role::Storage(storage(kind)?),
            None => Role::Dtype(dtype(name)?),
        },
        ("argparse", "Namespace") => Role::Data,
        ("_codecs", "encode") => Role::Encode,
        ("builtins", "list") => Role::Collection(Collection::List),
        ("builtins", "tuple") => Role::Collection(Collection::Tuple),
        ("builtins", "set" | "frozenset") => Role::Collection(Collection::Set),
        (
            "builtins",
            "dict" | "int" | "long" | "float" | "str" | "unicode" | "bool" | "bytes" | "bytearray" | "complex"
            | "object" | "slice" | "range" | "xrange",
        ) => Role::Data,
        ("numpy", "dtype" | "ndarray") => Role::Data,
        ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar" | "_reconstruct") => Role::Data,
        (
            "pathlib" | "pathlib._local",
            "Path" | "PosixPath" | "WindowsPath" | "PurePath" | "PurePosixPath" | "PureWindowsPath",
        ) => Role::Data,
        ("typing", _) if class() => Role::Data,
        // Configurations of OmegaConf tell the types of their values, and so Python writes `List[int]`.
        ("_operator", "getitem") => Role::Subscript,
        // By Python's convention what starts with a capital letter is a class.
        _ if class() && (within("omegaconf") || within("fairseq")) => Role::Data,
        // Lightning keeps hyperparameters in a class of its own, and names those of its callbacks.
        _ if class() && LIGHTNING.iter().any(|package| within(package)) => Role::Data,
        _ => return None,
    })
}

fn storage(kind: &str) -> Option<Storage> {
    Some(match kind {
        "Double" => known(Dtype::F64),
        "Float" => known(Dtype::F32),
        "Half" => known(Dtype::F16),
        "BFloat16" => known(Dtype::BF16),
        "Long" => known(Dtype::I64),
        "Int" => known(Dtype::I32),
        "Short" => known(Dtype::I16),
        "Char" => known(Dtype::I8),
        "Byte" => known(Dtype::U8),
        "Bool" => known(Dtype::BOOL),
        "ComplexFloat" => known(Dtype::C64),
        "ComplexDouble" => Storage { width: 16, dtype: None },
        "QInt8" | "QUInt8" | "QUInt4x2" | "QUInt2x4" => Storage { width: 1, dtype: None },
        "QInt32" => Storage { width: 4, dtype: None },
        _ => return None,
    })
}

fn dtype(name: &str) -> Option<Storage> {
    Some(match name {
        "float64" | "double" => known(Dtype::F64),
        "float32" | "float" => known(Dtype::F32),
        "float16" | "half" => known(Dtype::F16),
        "bfloat16" => known(Dtype::BF16),
        "int64" | "long" => known(Dtype::I64),
        "int32" | "int" => known(Dtype::I32),
        "int16" | "short" => known(Dtype::I16),
        "int8" => known(Dtype::I8),
        "uint8" => known(Dtype::U8),
        "bool" => known(Dtype::BOOL),
        "uint16" => known(Dtype::U16),
        "uint32" => known(Dtype::U32),
        "uint64" => known(Dtype::U64),
        "float8_e4m3fn" => known(Dtype::F8_E4M3),
        "float8_e5m2" => known(Dtype::F8_E5M2),
        "float8_e4m3fnuz" => known(Dtype::F8_E4M3FNUZ),
        "float8_e5m2fnuz" => known(Dtype::F8_E5M2FNUZ),
        "float8_e8m0fnu" => known(Dtype::F8_E8M0),
        "complex64" | "cfloat" => known(Dtype::C64),
        "complex128" | "cdouble" => Storage { width: 16, dtype: None },
        _ => return None,
    })
}

fn known(dtype: Dtype) -> Storage {
    Storage { width: dtype.bitsize() as u64 / 8, dtype: Some(dtype) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_do_anything_is_not_on_the_list() {
        let refused = [
            ("os", "system"),
            ("posix", "system"),
            ("nt", "system"),
            ("subprocess", "Popen"),
            ("builtins", "eval"),
            ("builtins", "exec"),
            ("builtins", "compile"),
            ("builtins", "open"),
            ("builtins", "getattr"),
            ("builtins", "__import__"),
            ("__builtin__", "apply"),
            ("builtins", "list.append"),
            ("functools", "partial"),
            ("operator", "attrgetter"),
            ("operator", "getitem"),
            ("_operator", "methodcaller"),
            ("torch.storage", "_load_from_bytes"),
            ("torch", "load"),
            ("torch", "Storage"),
            ("torch", "hub"),
            ("torch.hub", "load"),
            ("torch.nn.modules.linear", "Linear"),
            ("numpy", "load"),
            ("numpy.testing._private.utils", "runstring"),
            ("fairseq.utils", "import_user_module"),
            ("fairseq.utils", "Os.system"),
            ("fairseqs.utils", "Class"),
            ("omegaconf", "open"),
            ("lightning.fabric.utilities.data", "open"),
            ("lightningx", "AttributeDict"),
            ("omegaconfig", "Class"),
            ("pathlib", "os.system"),
            ("typing", "sys"),
            ("typing", "Sys.modules"),
            ("argparse", "FileType"),
            ("collections", "namedtuple"),
            ("copyreg", "_reconstructor"),
            ("", ""),
        ];
        for (module, name) in refused {
            assert_eq!(role(module, name), None, "{module}.{name}");
        }
        assert_eq!(role("omegaconf.dictconfig", "DictConfig"), Some(Role::Data));
        assert_eq!(role("lightning.fabric.utilities.data", "AttributeDict"), Some(Role::Data));
        assert_eq!(role("fairseq.dataclass.constants", "DDP_BACKEND_CHOICES"), Some(Role::Data));
        let half = Storage { width: 2, dtype: Some(Dtype::F16) };
        assert_eq!(role("torch", "HalfStorage"), Some(Role::Storage(half)));
        assert_eq!(role("torch", "float16"), Some(Role::Dtype(half)));
    }
}
