//! What lies where a mask is expected.

use crate::header::start_of;
use crate::locate::{self, missing};
use crate::open_regular;
use lopper_core::{Error, Result};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Masks in a directory; the first that is there counts.
const INSIDE: [&str; 4] = ["mask.safetensors", "model/mask.safetensors", "mask.pt", "mask.pth"];
/// Files that Orbax leaves in the directory of a checkpoint.
const ORBAX: [&str; 4] = ["_CHECKPOINT_METADATA", "_METADATA", "manifest.ocdbt", "checkpoint"];
const EXPECTED: &str =
    "a mask file was expected, such as the mask.safetensors beside a pruned model, or a finished run's directory";
/// The file by which a directory is known as a run's, finished or not.
const RUN: &str = "status.json";
/// What makes a mask of a file for Python, whatever wrote it.
const IN_PYTHON: &str = "load it where it was written, and there `safetensors.numpy.save_file({NAME: mask, ...}, \
                         \"mask.safetensors\")`, with masks as uint8 under their parameters' names in torch's layout";

/// The file to read for what the user named, which is there and of a kind that may be read.
pub(super) fn locate(path: &Path) -> Result<PathBuf> {
    let metadata = std::fs::metadata(path).map_err(|e| match e.kind() {
        ErrorKind::NotFound => match missing(path) {
            Error::File { path, reason, .. } if reason.contains("did you mean") => {
                Error::file(path, format!("{reason} {EXPECTED}"))
            }
            _ => Error::file(path, format!("does not exist; {EXPECTED}")),
        },
        _ => Error::file_caused(path, "cannot be read", e),
    })?;
    if metadata.is_dir() {
        return inside(path);
    }
    refuse_known(path)?;
    Ok(path.to_owned())
}

/// The mask in a directory: of a saved model, of a run, of scripts for lottery tickets; or the checkpoint that is in it.
fn inside(directory: &Path) -> Result<PathBuf> {
    if let Some(file) = INSIDE.map(|name| directory.join(name)).into_iter().find(|file| file.is_file()) {
        refuse_known(&file)?;
        return Ok(file);
    }
    if ORBAX.iter().any(|name| directory.join(name).is_file()) && !directory.join("config.json").is_file() {
        return Err(Error::file(
            directory,
            format!("is a checkpoint of Orbax or TensorFlow, which is not read: {IN_PYTHON}"),
        ));
    }
    locate::locate(directory).map_err(|_| Error::file(directory, without_mask(directory)))
}

/// What a directory without a mask is, and what was expected.
fn without_mask(directory: &Path) -> String {
    if directory.join(RUN).is_file() {
        let shown = directory.display();
        return format!(
            "is the directory of a run that is not finished, so there is no mask yet: `lopper status {shown}` says how it stands, and the \
             same `lopper run` finishes it"
        );
    }
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut runs: Vec<_> = entries.filter(|path| path.join(RUN).is_file()).collect();
    runs.sort();
    let one = match runs.first() {
        Some(first) => format!("; it holds runs: name one of them, such as {}", first.display()),
        None => String::new(),
    };
    format!(
        "holds no mask.safetensors, nor does its model/{one}; a mask file, the directory of a finished run, or that of a pruned model was \
         expected"
    )
}

/// Refuses by its name what other libraries write masks to and is not read.
fn refuse_known(path: &Path) -> Result<()> {
    let (mut file, _) = open_regular(path).map_err(|e| Error::file_caused(path, "cannot be read", e))?;
    let start = start_of(path, &mut file, 512)?;
    // The length of a header of safetensors may happen to begin like anything.
    if start.get(8) == Some(&b'{') {
        return Ok(());
    }
    let shown = path.display();
    let refuse = |what: &str, how: String| Err(Error::file(path, format!("is {what}, which is not read: {how}")));
    if is_npz(&start) {
        return refuse(
            "an archive of NumPy (.npz)",
            format!(
                "python -c \"import numpy, torch; m = numpy.load('{shown}'); torch.save({{n: torch.from_numpy(m[n]) for n in \
                 m.files}}, 'mask.pt')\" makes a file that is"
            ),
        );
    }
    if start.starts_with(b"\x93NUMPY") {
        return refuse("one array of NumPy (.npy)", format!("it has no names; {IN_PYTHON}"));
    }
    if start.starts_with(b"\x89HDF\r\n") {
        return refuse("an HDF5 file, as Keras writes", IN_PYTHON.into());
    }
    // A map of a few keys, the first of them text.
    if start.len() > 2 && (0x81..=0x8f).contains(&start[0]) && (0xa1..=0xbf).contains(&start[1]) {
        return refuse("a file of msgpack, as Flax and jaxpruner write", IN_PYTHON.into());
    }
    Ok(())
}

/// Whether a zip archive begins with an array of NumPy.
fn is_npz(start: &[u8]) -> bool {
    let Some(length) = start.get(26..28).and_then(|bytes| bytes.first_chunk::<2>()) else { return false };
    let name = start.get(30..30 + usize::from(u16::from_le_bytes(*length)));
    start.starts_with(b"PK\x03\x04") && name.is_some_and(|name| name.ends_with(b".npy"))
}
