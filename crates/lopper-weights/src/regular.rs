//! Files that a user names: regular ones, of a bounded length.

use lopper_core::{Error, MaskOrigin, MaskSet, Result};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Opens a regular file, and tells its length in bytes: a pipe or a device would block or never end.
///
/// # Errors
/// What the file system says; [`ErrorKind::InvalidInput`] for anything but a regular file, [`ErrorKind::IsADirectory`] for a
/// directory.
pub fn open_regular(path: &Path) -> io::Result<(File, u64)> {
    // Before it is opened, because opening a pipe waits for who writes into it.
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(io::Error::new(ErrorKind::IsADirectory, "is a directory"));
    }
    if !metadata.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "is no regular file"));
    }
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

/// The content of a regular file of at most `most` bytes.
///
/// # Errors
/// What the file system says; [`ErrorKind::InvalidInput`] for anything but a regular file, [`ErrorKind::IsADirectory`] for a
/// directory, and [`ErrorKind::FileTooLarge`], with both lengths, for a longer one.
pub fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let (mut file, length) = open_regular(path)?;
    let too_long = |length: u64| {
        let reason = format!("it is {length} bytes long, and at most {most} are accepted");
        io::Error::new(ErrorKind::FileTooLarge, reason)
    };
    if length > most {
        return Err(too_long(length));
    }
    let mut bytes = Vec::new();
    // A sparse file may claim more than there is memory.
    bytes.try_reserve_exact(length as usize).map_err(|_| io::Error::from(ErrorKind::OutOfMemory))?;
    // It may grow meanwhile.
    (&mut file).take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(too_long(bytes.len() as u64)) } else { Ok(bytes) }
}

/// The mask of a mask file, and where it says that it comes from.
///
/// # Errors
/// [`Error::File`] for a file that cannot be read or is no mask file.
pub fn read_mask(path: &Path) -> Result<(MaskSet, MaskOrigin)> {
    let expected = "a mask file was expected, such as the mask.safetensors beside a pruned model";
    let bytes = read_regular(path, u64::MAX).map_err(|e| match e.kind() {
        ErrorKind::NotFound => Error::file(path, format!("does not exist; {expected}")),
        ErrorKind::IsADirectory => Error::file(path, format!("is a directory; {expected}")),
        _ => Error::file_caused(path, "cannot be read", e),
    })?;
    MaskSet::from_file_bytes(&bytes).map_err(|e| Error::file(path, e))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let kind = |path: &Path, most| read_regular(path, most).unwrap_err().kind();
        assert_eq!(kind(Path::new("/dev/zero"), 10), ErrorKind::InvalidInput);
        assert_eq!(kind(folder.path(), 10), ErrorKind::IsADirectory);
        let file = folder.path().join("file");
        assert_eq!(kind(&file, 10), ErrorKind::NotFound);
        std::fs::write(&file, [7; 11]).unwrap();
        assert_eq!(kind(&file, 10), ErrorKind::FileTooLarge);
        assert_eq!(read_regular(&file, 11).unwrap(), [7; 11]);
    }
}
