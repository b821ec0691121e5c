//! Records as JSON that carry a hash over themselves: a flipped bit in a metric is found like one in a weight.

use lopper_core::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The first key of a sealed record. Its value is BLAKE3 over the whole text, with 64 zeros in the value's own place.
const OPENING: &str = "{\n  \"blake3\": \"";
const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Something that is kept as a sealed record.
pub(crate) trait Sealed: Serialize + DeserializeOwned {
    /// What it is called in messages.
    const NAME: &'static str;
    /// The version that is written, and the only one that is read.
    const FORMAT: u32;
}

#[derive(Serialize)]
struct Text<'a, T> {
    blake3: &'a str,
    format: u32,
    lopper: &'a str,
    #[serde(flatten)]
    record: &'a T,
}

/// Read first, so that a record of another version is named as such whatever else is in it.
#[derive(Deserialize)]
struct Version {
    format: Option<u32>,
    lopper: Option<String>,
}

/// The record's text.
///
/// # Errors
/// [`Error::Other`] for a record that JSON cannot express.
pub(crate) fn seal<T: Sealed>(record: &T) -> Result<Vec<u8>> {
    let lopper = env!("CARGO_PKG_VERSION");
    let text = Text { blake3: NO_HASH, format: T::FORMAT, lopper, record };
    let mut text = serde_json::to_vec_pretty(&text).map_err(|e| Error::Other(format!("a {}: {e}", T::NAME)))?;
    text.push(b'\n');
    let hash = blake3::hash(&text).to_hex();
    text[OPENING.len()..OPENING.len() + NO_HASH.len()].copy_from_slice(hash.as_bytes());
    Ok(text)
}

/// The record of a text. Whatever the bytes, memory stays in proportion to their number.
///
/// # Errors
/// [`Error::Other`] saying what is wrong: another version (and which Lopper wrote it), or any change since it was written.
pub(crate) fn open<T: Sealed>(bytes: &[u8]) -> Result<T> {
    let refuse = |why: String| Error::Other(format!("is no {} of this Lopper: {why}", T::NAME));
    let version: Version = serde_json::from_slice(bytes).map_err(|e| refuse(e.to_string()))?;
    if version.format != Some(T::FORMAT) {
        let format = version.format.map_or("no format".to_owned(), |format| format!("format {format}"));
        let writer = version.lopper.map(|lopper| format!(", written by Lopper {lopper}")).unwrap_or_default();
        return Err(refuse(format!("it has {format}{writer}; format {} is read", T::FORMAT)));
    }
    let place = OPENING.len()..OPENING.len() + NO_HASH.len();
    let sealed = bytes.starts_with(OPENING.as_bytes()) && bytes.len() > place.end;
    let found = sealed.then(|| {
        let mut text = bytes.to_vec();
        text[place.clone()].copy_from_slice(NO_HASH.as_bytes());
        blake3::hash(&text).to_hex()
    });
    if found.is_none_or(|found| found.as_bytes() != &bytes[place]) {
        return Err(refuse("its hash does not fit: it was changed after it was written".into()));
    }
    serde_json::from_slice(bytes).map_err(|e| refuse(e.to_string()))
}

/// The Lopper that wrote a record, whatever its format, if the text says so.
pub(crate) fn writer(bytes: &[u8]) -> Option<String> {
    serde_json::from_slice::<Version>(bytes).ok()?.lopper
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Number {
        value: f64,
    }

    impl Sealed for Number {
        const NAME: &'static str = "number";
        const FORMAT: u32 = 3;
    }

    #[test]
    fn a_record_comes_back_to_the_last_bit() {
        for bits in (0..20_000u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 2) {
            let number = Number { value: f64::from_bits(bits) };
            let back: Number = open(&seal(&number).unwrap()).unwrap();
            assert_eq!(back.value.to_bits(), bits);
        }
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_found() {
        let text = seal(&Number { value: 0.1 }).unwrap();
        for bit in 0..text.len() * 8 {
            let mut changed = text.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(open::<Number>(&changed).is_err(), "bit {bit}");
        }
        for length in 0..text.len() {
            assert!(open::<Number>(&text[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn another_version_is_named_with_its_writer() {
        let text = String::from_utf8(seal(&Number { value: 0.1 }).unwrap()).unwrap();
        let older = text.replace("\"format\": 3", "\"format\": 2").replace(env!("CARGO_PKG_VERSION"), "0.0.7");
        let error = open::<Number>(older.as_bytes()).unwrap_err().to_string();
        assert_eq!(writer(older.as_bytes()).as_deref(), Some("0.0.7"));
        assert_eq!((writer(b"{}"), writer(b"")), (None, None));
        assert!(error.contains("format 2, written by Lopper 0.0.7; format 3 is read"), "{error}");
        let error = open::<Number>(b"{\"value\": 1}").unwrap_err().to_string();
        assert!(error.contains("no format"), "{error}");
    }
}
