//! Numbers as integers of the same order.

/// What is ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `|w|`: the bits of a float without its sign are in the order of magnitudes.
    Magnitude,
    /// The number itself; -0 equals 0.
    Value,
}

/// Bits of a key that the first pass looks at; the second looks at the rest.
pub(super) const LOW_BITS: u32 = 16;
/// Bins of a pass.
pub(super) const BINS: usize = 1 << LOW_BITS;
/// The first magnitude key that is no finite number: infinity, and above it NaN.
const INFINITE: u32 = 0x7f80_0000;

impl Order {
    /// An integer in the order of the ranked numbers.
    #[inline(always)]
    pub fn key(self, value: f32) -> u32 {
        match self {
            Self::Magnitude => value.to_bits() & 0x7fff_ffff,
            Self::Value => {
                let bits = (value + 0.0).to_bits();
                if bits >> 31 == 1 { !bits } else { bits | 0x8000_0000 }
            }
        }
    }

    /// The keys of finite numbers: the first, and the one after the last.
    #[inline(always)]
    pub fn finite_keys(self) -> (u32, u32) {
        match self {
            Self::Magnitude => (0, INFINITE),
            Self::Value => (!(INFINITE | 1 << 31) + 1, INFINITE | 1 << 31),
        }
    }

    /// Whether the key is that of NaN or an infinity.
    #[inline(always)]
    pub fn is_unrankable(self, key: u32) -> bool {
        let (first, end) = self.finite_keys();
        !(first..end).contains(&key)
    }
}
