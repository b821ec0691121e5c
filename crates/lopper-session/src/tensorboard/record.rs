//! TensorBoard's file format, as far as scalars need it: records in TFRecord's frame, each a protocol buffer `Event`.
//!
//! <https://github.com/tensorflow/tensorboard/blob/2.21.0/tensorboard/compat/proto/event.proto> and `summary.proto` have the
//! fields, <https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details> has the frame. It is written by
//! hand because it is a page: of the crates that write it, `tensorboard-rs` (0.5.9) brings decoders of images and
//! `protobuf` 2, which is no longer mended (RUSTSEC-2024-0437), and `tfrecord` (0.15) more than a hundred crates. The tests hold it
//! to bytes that TensorBoard wrote.

/// The version that readers look for in a file's first record.
const VERSION: &str = "brain.Event:2";

/// Bytes of a record before its content: the length, and its checksum.
const HEAD: usize = 12;

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Record {
    /// The first one of a file.
    Version,
    /// A writer begins at update 0: what readers know of this run from files before this one holds no longer.
    Start,
    /// Numbers after `step` updates, each with its tag.
    Scalars { step: u64, values: Vec<(String, f32)> },
}

impl Record {
    /// Appends the record, as of `wall_time`, in seconds since 1970.
    pub(super) fn write_to(&self, wall_time: f64, bytes: &mut Vec<u8>) {
        let mut event = Vec::new();
        // The time first: `wall_time_at` looks for it there.
        double(1, wall_time, &mut event);
        match self {
            Self::Version => delimited(3, VERSION.as_bytes(), &mut event),
            // SessionLog { status: START }
            Self::Start => delimited(7, &[1 << 3, 1], &mut event),
            Self::Scalars { step, values } => {
                if *step != 0 {
                    key(2, VARINT, &mut event);
                    varint(*step, &mut event);
                }
                let mut summary = Vec::new();
                for (tag, scalar) in values {
                    let mut value = Vec::new();
                    delimited(1, tag.as_bytes(), &mut value);
                    float(2, *scalar, &mut value);
                    delimited(1, &value, &mut summary);
                }
                delimited(5, &summary, &mut event);
            }
        }
        let length = (event.len() as u64).to_le_bytes();
        for part in [&length[..], &event] {
            bytes.extend(part);
            bytes.extend(masked_crc32c(part).to_le_bytes());
        }
    }
}

/// The time of the record that begins at `at`, if there is one.
pub(super) fn wall_time_at(bytes: &[u8], at: usize) -> Option<f64> {
    let time = bytes.get(at + HEAD + 1..)?.first_chunk()?;
    Some(f64::from_le_bytes(*time))
}

/// TFRecord's checksum: CRC-32C, turned and shifted, so that checksums of checksums are none that often occur.
fn masked_crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

// Wire types of protocol buffers, <https://protobuf.dev/programming-guides/encoding/>.
const VARINT: u8 = 0;
const EIGHT_BYTES: u8 = 1;
const DELIMITED: u8 = 2;
const FOUR_BYTES: u8 = 5;

/// The number and type of a field. No number here is above 15, so one byte holds both.
fn key(field: u8, wire_type: u8, bytes: &mut Vec<u8>) {
    bytes.push(field << 3 | wire_type);
}

fn varint(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn double(field: u8, value: f64, bytes: &mut Vec<u8>) {
    key(field, EIGHT_BYTES, bytes);
    bytes.extend(value.to_le_bytes());
}

fn float(field: u8, value: f32, bytes: &mut Vec<u8>) {
    key(field, FOUR_BYTES, bytes);
    bytes.extend(value.to_le_bytes());
}

fn delimited(field: u8, content: &[u8], bytes: &mut Vec<u8>) {
    key(field, DELIMITED, bytes);
    varint(content.len() as u64, bytes);
    bytes.extend(content);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tests/make_events_fixture.py` wrote the same with TensorBoard itself.
    #[test]
    fn the_bytes_are_those_of_tensorboard() {
        let scalars = |step, values: &[(&str, f32)]| {
            let values = values.iter().map(|(tag, value)| ((*tag).to_owned(), *value)).collect();
            Record::Scalars { step, values }
        };
        let records = [
            (1_732_816_371.25, Record::Version),
            (1_732_816_371.5, Record::Start),
            (1_732_816_372.0, scalars(0, &[("measures/moved", 0.0)])),
            (1_732_816_373.0, scalars(1, &[("training/loss", 0.7), ("training/learning_rate", 2e-5)])),
            (1_732_816_374.0, scalars(300, &[("evaluation/validation/f1", 1.0), ("größe", -1e30)])),
            (1_732_816_375.0, scalars(1 << 40, &[("training/loss", f32::NAN), ("training/norm", f32::INFINITY)])),
            // A content of more than 127 bytes, so that lengths take two.
            (1.0, scalars(127, &[(&"t".repeat(200), 3.0)])),
        ];
        let mut bytes = Vec::new();
        for (time, record) in &records {
            let at = bytes.len();
            record.write_to(*time, &mut bytes);
            assert_eq!(wall_time_at(&bytes, at), Some(*time));
        }
        assert_eq!(wall_time_at(&bytes, bytes.len()), None);
        assert_eq!(wall_time_at(&bytes[..HEAD + 8], 0), None, "cut short");
        let theirs = include_bytes!("../../tests/fixtures/tensorboard/events.out.tfevents.1732816371.tensorboard");
        assert!(bytes == theirs, "\n{bytes:?}\n{theirs:?}");
    }
}
