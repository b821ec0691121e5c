//! Where a ranking cuts.

/// Where the k-th smallest key lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    /// Keys below are pruned.
    pub key: u32,
    /// Of the entries with exactly this key, so many are pruned, in order.
    pub ties: u64,
    /// Entries with exactly this key.
    pub equal: u64,
}

/// The bin in which the `k`-th smallest falls (k from 1), and how many stand in the bins before it. `None` when fewer than `k`
/// were counted.
pub fn locate(histogram: &[u64], k: u64) -> Option<(usize, u64)> {
    let mut before = 0;
    for (bin, count) in histogram.iter().enumerate() {
        if before + count >= k {
            return Some((bin, before));
        }
        before += count;
    }
    None
}
