//! A file as a decoder library is to see it.

use super::medium::Medium;
use std::io::{Read, Result, Seek, SeekFrom};
use symphonia::core::io::MediaSource;

/// A file up to a place, with two of its bytes read as zeros if need be.
pub(super) struct Window {
    pub(super) file: Medium,
    /// Where it ends, in bytes.
    pub(super) end: u64,
    /// Where the two bytes are.
    pub(super) blank: Option<u64>,
    pub(super) place: u64,
}

impl Read for Window {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize> {
        let most = usize::try_from(self.end.saturating_sub(self.place)).unwrap_or(usize::MAX).min(bytes.len());
        let read = self.file.read(&mut bytes[..most])?;
        for place in self.blank.into_iter().flat_map(|blank| [blank, blank + 1]) {
            if let Some(byte) = place.checked_sub(self.place).and_then(|at| bytes[..read].get_mut(at as usize)) {
                *byte = 0;
            }
        }
        self.place += read as u64;
        Ok(read)
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let to = match to {
            SeekFrom::End(offset) => SeekFrom::Start(self.end.saturating_add_signed(offset)),
            to => to,
        };
        self.place = self.file.seek(to)?;
        Ok(self.place)
    }
}

impl MediaSource for Window {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.end)
    }
}
