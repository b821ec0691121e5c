//! Any rate to 16 kHz.

use super::{AudioError, LONGEST, RATE, resampled};
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

/// Samples of the file that are resampled together, at least.
const CHUNK: usize = 1024;
/// Samples of the longest recording.
const MOST: usize = (LONGEST * RATE as u64) as usize;
/// Samples up to which room grows as it is needed; 32 MiB.
const SMALL: usize = 1 << 23;
/// More than a filter's delay and the last chunk.
const SLACK: usize = 1 << 17;

/// Samples, and how many are expected. A vector that doubles would for a moment hold three times what it needs; this
/// one is moved with at most [`SMALL`] samples in it.
pub(super) struct Room {
    samples: Vec<f32>,
    expected: usize,
}

impl Room {
    /// For what a file of `bytes` declares to hold, if anything. A header may claim more than the file can hold.
    pub(super) fn of(declared: Option<u64>, bytes: u64) -> Self {
        let expected = declared.map_or(MOST, |declared| MOST.min(declared as usize));
        let likely = declared.map_or(0, |_| expected.min(SMALL).min(bytes.saturating_mul(16) as usize));
        Self { samples: Vec::with_capacity(likely), expected }
    }

    fn make(&mut self, more: usize) {
        let needed = self.samples.len() + more;
        if needed <= self.samples.capacity() {
            return;
        }
        let room = if needed <= SMALL { needed.next_power_of_two() } else { needed.max(self.expected + SLACK) };
        self.samples.reserve_exact(room - self.samples.len());
    }
}

/// Resamples a stream of mono samples.
pub(super) enum Resampler {
    /// The rate is the wanted one.
    Same(Room),
    /// It is not.
    Other(Box<State>),
}

pub(super) struct State {
    rate: u32,
    fft: Fft<f32>,
    /// Samples waiting until there are enough for a chunk.
    waiting: Vec<f32>,
    taken: u64,
    output: Room,
}

impl Resampler {
    /// From `rate` into `output`.
    pub(super) fn new(rate: u32, output: Room) -> Result<Self, AudioError> {
        if rate == RATE {
            return Ok(Self::Same(output));
        }
        let (from, to, window) = (rate as usize, RATE as usize, WindowFunction::BlackmanHarris2);
        // One block a chunk: the filter is as long as a block, and a long one is steep. An even number of the shortest
        // blocks, because the filter's delay is half a block, and half a sample too little of an odd one.
        let shortest = from / common_divisor(from, to);
        let chunk = CHUNK.div_ceil(shortest).next_multiple_of(2) * shortest;
        let fft = Fft::new_custom(from, to, chunk, 1, 1, window, FixedSync::Both).map_err(failed)?;
        Ok(Self::Other(Box::new(State { rate, fft, waiting: Vec::new(), taken: 0, output })))
    }

    pub(super) fn push(&mut self, samples: &[f32]) -> Result<(), AudioError> {
        match self {
            Self::Same(output) => {
                output.make(samples.len());
                output.samples.extend_from_slice(samples);
            }
            Self::Other(state) => {
                state.taken += samples.len() as u64;
                state.waiting.extend_from_slice(samples);
                state.run()?;
            }
        }
        Ok(())
    }

    /// All samples, without the delay of the filter.
    pub(super) fn finish(self) -> Result<Vec<f32>, AudioError> {
        let mut state = match self {
            Self::Same(output) => return Ok(output.samples),
            Self::Other(state) => state,
        };
        let (delay, length) = (state.fft.output_delay(), resampled(state.taken, state.rate) as usize);
        while state.output.samples.len() < delay + length {
            let missing = state.fft.input_frames_next() - state.waiting.len();
            state.waiting.extend(std::iter::repeat_n(0.0, missing));
            state.run()?;
        }
        let mut samples = state.output.samples;
        samples.truncate(delay + length);
        samples.drain(..delay);
        Ok(samples)
    }
}

impl State {
    /// Resamples all whole chunks that wait.
    fn run(&mut self) -> Result<(), AudioError> {
        let (size, made) = (self.fft.input_frames_next(), self.fft.output_frames_next());
        let mut used = 0;
        while self.waiting.len() - used >= size {
            let chunk = &self.waiting[used..used + size];
            let start = self.output.samples.len();
            self.output.make(made);
            self.output.samples.resize(start + made, 0.0);
            let input = InterleavedSlice::new(chunk, 1, size).map_err(failed)?;
            let mut output = InterleavedSlice::new_mut(&mut self.output.samples[start..], 1, made).map_err(failed)?;
            self.fft.process_into_buffer(&input, &mut output, None).map_err(failed)?;
            used += size;
        }
        self.waiting.drain(..used);
        Ok(())
    }
}

fn common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

fn failed(e: impl std::fmt::Display) -> AudioError {
    AudioError::Damaged(format!("it cannot be resampled: {e}"))
}
