//! Zeros and ones in every type that a file may hold them in.

use safetensors::Dtype;

/// What a tensor of a mask holds.
#[derive(Debug, PartialEq)]
pub(super) enum Kept {
    /// Zeros and ones: one byte an entry.
    Bytes(Vec<u8>),
    /// Another value, the first.
    Other { index: usize, value: f64 },
    /// Values of a type that is not read.
    Type,
}

/// Reads little-endian entries. Both zeros of floats are 0, and nothing is rounded.
pub(super) fn kept(dtype: Dtype, bytes: &[u8]) -> Kept {
    match dtype {
        Dtype::BOOL | Dtype::U8 => each(bytes, |[byte]: [u8; 1]| f64::from(byte)),
        Dtype::I8 => each(bytes, |[byte]: [u8; 1]| f64::from(byte as i8)),
        Dtype::U16 => each(bytes, |b| f64::from(u16::from_le_bytes(b))),
        Dtype::I16 => each(bytes, |b| f64::from(i16::from_le_bytes(b))),
        Dtype::U32 => each(bytes, |b| f64::from(u32::from_le_bytes(b))),
        Dtype::I32 => each(bytes, |b| f64::from(i32::from_le_bytes(b))),
        // No other integer becomes 0 or 1 when it is rounded.
        Dtype::U64 => each(bytes, |b| u64::from_le_bytes(b) as f64),
        Dtype::I64 => each(bytes, |b| i64::from_le_bytes(b) as f64),
        Dtype::F16 => each(bytes, |b| half(u16::from_le_bytes(b))),
        Dtype::BF16 => each(bytes, |b| f64::from(f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16))),
        Dtype::F32 => each(bytes, |b| f64::from(f32::from_le_bytes(b))),
        Dtype::F64 => each(bytes, f64::from_le_bytes),
        _ => Kept::Type,
    }
}

fn each<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f64) -> Kept {
    let (entries, _) = bytes.as_chunks::<N>();
    let mut kept = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let value = value(*entry);
        if value != 0.0 && value != 1.0 {
            return Kept::Other { index, value };
        }
        kept.push(u8::from(value == 1.0));
    }
    Kept::Bytes(kept)
}

/// The value of a float of 16 bits: sign, 5 bits of exponent, 10 of fraction (IEEE 754 binary16).
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_and_ones_are_the_same_in_every_type() {
        let bytes = |values: &[&[u8]]| values.concat();
        let f16 = bytes(&[&[0, 0], &[0, 0x80], &[0, 0x3c]]);
        let bf16 = bytes(&[&[0, 0], &[0, 0x80], &[0x80, 0x3f]]);
        let f32 = [0.0f32, -0.0, 1.0].map(f32::to_le_bytes).concat();
        let f64 = [0.0f64, -0.0, 1.0].map(f64::to_le_bytes).concat();
        let integers = |width: usize| {
            let mut bytes = vec![0; 3 * width];
            bytes[2 * width] = 1;
            bytes
        };
        for (dtype, bytes) in [(Dtype::F16, f16), (Dtype::BF16, bf16), (Dtype::F32, f32), (Dtype::F64, f64)]
            .into_iter()
            .chain([Dtype::BOOL, Dtype::U8, Dtype::I8].map(|dtype| (dtype, integers(1))))
            .chain([Dtype::U16, Dtype::I16].map(|dtype| (dtype, integers(2))))
            .chain([Dtype::U32, Dtype::I32].map(|dtype| (dtype, integers(4))))
            .chain([Dtype::U64, Dtype::I64].map(|dtype| (dtype, integers(8))))
        {
            assert_eq!(kept(dtype, &bytes), Kept::Bytes(vec![0, 0, 1]), "{dtype}");
        }
    }

    /// Nothing is rounded to a 1 or a 0, and truth is not what is not 0.
    #[test]
    fn what_is_neither_is_told() {
        let nearly = f64::from_bits(1f64.to_bits() - 1);
        let other = |index, value| Kept::Other { index, value };
        assert_eq!(kept(Dtype::F64, &[1.0, nearly].map(f64::to_le_bytes).concat()), other(1, nearly));
        assert_eq!(kept(Dtype::F64, &1e-300f64.to_le_bytes()), other(0, 1e-300));
        assert_eq!(kept(Dtype::BOOL, &[1, 0, 255]), other(2, 255.0));
        assert_eq!(kept(Dtype::I8, &[0xff]), other(0, -1.0));
        assert_eq!(kept(Dtype::I32, &256i32.to_le_bytes()), other(0, 256.0));
        assert_eq!(kept(Dtype::F16, &[0, 0x38]), other(0, 0.5));
        assert_eq!(kept(Dtype::F16, &[1, 0]), other(0, 2f64.powi(-24)));
        assert_eq!(kept(Dtype::F16, &[0, 0xfc]), other(0, f64::NEG_INFINITY));
        assert!(matches!(kept(Dtype::F16, &[1, 0x7c]), Kept::Other { value, .. } if value.is_nan()));
        assert_eq!(kept(Dtype::C64, &[0; 8]), Kept::Type);
    }
}
