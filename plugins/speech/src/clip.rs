//! What a recording is read from: a file or a cell of a table, or a piece of one.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What holds the bytes of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Whole {
    /// A file of its own.
    File(PathBuf),
    /// A cell of a table.
    Cell(Cell),
}

/// A column of recordings in a file.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Recorded {
    pub(crate) file: PathBuf,
    /// The name of the column.
    pub(crate) column: String,
}

/// One of its cells.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Cell {
    pub(crate) within: Arc<Recorded>,
    /// Counted from 0.
    pub(crate) row: u64,
    /// The path that stands beside the bytes: what is read where they are null.
    pub(crate) beside: Option<PathBuf>,
}

impl Whole {
    /// The file that it is in.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Cell(cell) => &cell.within.file,
        }
    }
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            // Its row is told beside it.
            Self::Cell(Cell { beside: Some(path), .. }) => {
                write!(f, "`{}`", path.file_name().unwrap_or_default().display())
            }
            Self::Cell(_) => f.write_str("its recording"),
        }
    }
}

/// One recording, or one of several that are joined.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Clip {
    pub(crate) whole: Whole,
    /// `None` for all of it.
    pub(crate) piece: Option<Piece>,
}

impl From<PathBuf> for Clip {
    fn from(path: PathBuf) -> Self {
        Self { whole: Whole::File(path), piece: None }
    }
}

impl Clip {
    /// The name by which a file of phones knows it: that of its file, without the ending.
    pub(crate) fn name(&self) -> String {
        let path = match &self.whole {
            Whole::File(path) => Some(path),
            Whole::Cell(cell) => cell.beside.as_ref(),
        };
        path.and_then(|path| path.file_stem()).unwrap_or_default().to_string_lossy().into_owned()
    }
}

impl fmt::Display for Clip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.whole.fmt(f)
    }
}

/// A piece of a longer recording, as NeMo's manifests have it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Piece {
    /// Where it begins, in seconds.
    pub(crate) offset: f64,
    /// How long it is, in seconds; up to the end of the recording without one.
    pub(crate) duration: Option<f64>,
}

/// Seconds by which a manifest may be wrong about where a recording ends: what programs count in MP3 and its like may hold what
/// the encoder added.
const NEAR: f64 = 0.1;

impl Piece {
    /// The frames of it in a recording of so many; `None` where it is all of that.
    ///
    /// NeMo begins at `floor(offset × rate)` and takes `floor(duration × rate)` frames, as many of them as there are. A duration
    /// that stands for the whole recording is rounded, to hundredths as a rule; NeMo then loses the last frames, and here it is the
    /// whole recording that is meant.
    ///
    /// # Errors
    /// Why there is no such piece.
    pub(crate) fn frames(&self, rate: u32, frames: u64) -> Result<Option<(u64, u64)>, String> {
        let (rate, seconds) = (f64::from(rate), frames as f64 / f64::from(rate));
        let start = (self.offset * rate).floor() as u64;
        let end = self.duration.map_or(seconds, |duration| self.offset + duration);
        if start >= frames || end > seconds + NEAR {
            let (from, upto) = (self.offset, self.duration.map(|_| format!(" to {end:.3}")).unwrap_or_default());
            return Err(format!("has {seconds:.3} seconds, and the manifest reads it from {from}{upto}"));
        }
        let Some(duration) = self.duration else { return Ok((start > 0).then_some((start, frames))) };
        if start == 0 && duration + unit(duration) > seconds {
            return Ok(None);
        }
        let end = (start + (duration * rate).floor() as u64).min(frames);
        if end > start {
            Ok(Some((start, end)))
        } else {
            Err("has no sample in the piece that the manifest reads".into())
        }
    }
}

/// One in the last decimal of a number of seconds, or a hundredth where it has fewer.
fn unit(seconds: f64) -> f64 {
    let text = seconds.to_string();
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    10f64.powi(-(decimals.max(2) as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rounded_duration_is_that_of_the_whole() {
        let piece = |offset, duration| Piece { offset, duration }.frames(16_000, 16_100);
        assert_eq!(piece(0.0, None), Ok(None));
        // 1.00625 seconds.
        for whole in [1.00625, 1.0063, 1.0062, 1.006, 1.01, 1.0, 1.1] {
            assert_eq!(piece(0.0, Some(whole)), Ok(None), "{whole}");
        }
        assert_eq!(piece(0.0, Some(0.99)), Ok(Some((0, 15_840))));
        // As floating-point numbers have it.
        assert_eq!(piece(0.0, Some(1.005)), Ok(Some((0, 16_079))));
        assert_eq!(piece(0.5, None), Ok(Some((8_000, 16_100))));
        assert_eq!(piece(0.5, Some(0.51)), Ok(Some((8_000, 16_100))));
        assert_eq!(piece(0.00001, Some(0.25)), Ok(Some((0, 4_000))));
        assert_eq!(piece(0.25, Some(0.00001)), Err("has no sample in the piece that the manifest reads".into()));
        let beyond = "has 1.006 seconds, and the manifest reads it from 0.5 to 2.500";
        assert_eq!(piece(0.5, Some(2.0)), Err(beyond.into()));
        assert_eq!(piece(2.0, None), Err("has 1.006 seconds, and the manifest reads it from 2".into()));
    }
}
