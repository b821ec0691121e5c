//! Compressed pages.

use crate::Result;
use crate::error::{damaged, unsupported};
use std::io::Read;

/// A page may state this many bytes, and `RATIO` for each compressed one. Writers end a page at 1 MiB, unless a single cell is
/// larger, and nobody's texts or recordings shrink to a part of that size.
const ALWAYS: u64 = 4 << 20;
const RATIO: u64 = 256;

/// The bytes of a page of `size` bytes that was compressed by the codec of that number.
pub(crate) fn decompress(codec: i64, bytes: Vec<u8>, size: u64) -> Result<Vec<u8>> {
    if size > ALWAYS + RATIO * bytes.len() as u64 {
        return Err(damaged(format!("a page of {} bytes would grow to {size}", bytes.len())));
    }
    let found = match codec {
        0 => bytes,
        _ if size == 0 => Vec::new(),
        1 => {
            let length = snap::raw::decompress_len(&bytes).map_err(|e| damaged(format!("a page of Snappy: {e}")))?;
            if length as u64 != size {
                return Err(damaged(format!("a page holds {length} bytes, not {size}")));
            }
            snap::raw::Decoder::new().decompress_vec(&bytes).map_err(|e| damaged(format!("a page of Snappy: {e}")))?
        }
        2 => all(flate2::read::MultiGzDecoder::new(bytes.as_slice()), size)?,
        6 => all(zstd::stream::read::Decoder::new(bytes.as_slice()).map_err(broken)?, size)?,
        other => {
            let name = match other {
                3 => "LZO",
                4 => "Brotli",
                5 | 7 => "LZ4",
                _ => "an unknown codec",
            };
            return Err(unsupported(format!("is compressed with {name}; write it with Snappy, zstd or gzip")));
        }
    };
    if found.len() as u64 == size { Ok(found) } else { Err(damaged(format!("a page does not hold {size} bytes"))) }
}

/// One byte more than there should be, to see that there is.
fn all(from: impl Read, size: u64) -> Result<Vec<u8>> {
    let mut found = Vec::new();
    from.take(size + 1).read_to_end(&mut found).map_err(broken)?;
    Ok(found)
}

fn broken(e: std::io::Error) -> crate::TableError {
    damaged(format!("a compressed page: {e}"))
}
