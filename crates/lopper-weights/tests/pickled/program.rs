//! Pickles written by hand.

/// Pieces one after another, behind the protocol and before the end.
pub(crate) fn pickle(pieces: &[&[u8]]) -> Vec<u8> {
    [b"\x80\x02", pieces.concat().as_slice(), b"."].concat()
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

pub(crate) fn int(value: i64) -> Vec<u8> {
    [b"\x8a\x08", &value.to_le_bytes()[..]].concat()
}

pub(crate) fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(", items.concat().as_slice(), b"t"].concat()
}

pub(crate) fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

/// A storage of torch's class `kind` with so many entries.
pub(crate) fn storage(kind: &str, key: &str, entries: i64) -> Vec<u8> {
    let parts = [text("storage"), global("torch", kind), text(key), text("cpu"), int(entries)];
    [tuple(&parts).as_slice(), b"Q"].concat()
}

/// A tensor over a storage.
pub(crate) fn tensor(storage: Vec<u8>, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let sizes = |sizes: &[i64]| tuple(&sizes.iter().map(|size| int(*size)).collect::<Vec<_>>());
    let hooks = [global("collections", "OrderedDict"), b")R".to_vec()].concat();
    let arguments = [storage, int(offset), sizes(shape), sizes(strides), b"\x89".to_vec(), hooks];
    [global("torch._utils", "_rebuild_tensor_v2"), tuple(&arguments), b"R".to_vec()].concat()
}

/// A dictionary.
pub(crate) fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entries: Vec<u8> = entries.iter().flat_map(|(key, value)| [text(key), value.clone()].concat()).collect();
    [b"}(", entries.as_slice(), b"u"].concat()
}

/// A file as torch wrote it before 1.6.
pub(crate) fn legacy(object: &[u8], storages: &[(&str, i64, &[u8])]) -> Vec<u8> {
    let keys: Vec<u8> = storages.iter().flat_map(|(key, _, _)| text(key)).collect();
    let mut bytes = [
        pickle(&[b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"]),
        pickle(&[b"M\xe9\x03"]),
        pickle(&[&dict(&[("little_endian", b"\x88".to_vec())])]),
        object.to_vec(),
        pickle(&[b"](", &keys, b"e"]),
    ]
    .concat();
    for (_, count, content) in storages {
        bytes.extend(count.to_le_bytes());
        bytes.extend(*content);
    }
    bytes
}
