//! Ten hours of speech, streamed in batches of 80 seconds: how fast, and in how much memory.
//!
//! `cargo bench --profile dev --workspace --bench stream`: the one profile that is built already. Writes 120 recordings of
//! 10 seconds, each of which stands thirty times in the manifest, and prints the resident memory of each hour; the cache is
//! off. With the path of a manifest, such as one of LibriSpeech, `LOPPER_SPEECH=train.tsv` streams that.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed benchmark panics, and a table is its result")]

#[path = "../tests/common/mod.rs"]
mod common;

use lopper_core::{Dataset, Split};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

const RECORDINGS: usize = 120;
const TIMES: usize = 30;
const SECONDS: f64 = 10.0;
const BATCH: usize = 8;

/// A manifest of ten hours.
fn corpus(directory: &Path) -> PathBuf {
    for number in 0..RECORDINGS {
        // Half of it has to be resampled.
        let rate = if number % 2 == 0 { 16_000 } else { 44_100 };
        common::wav(&directory.join(format!("{number}.wav")), rate, 1, 16, SECONDS);
    }
    let row = |number: usize| format!("{{\"audio\": \"{}.wav\", \"text\": \"A TONE\"}}\n", number % RECORDINGS);
    let manifest = directory.join("valid.jsonl");
    fs::write(&manifest, (0..RECORDINGS * TIMES).map(row).collect::<String>()).unwrap();
    manifest
}

/// A line of `/proc/self/status` in MiB.
fn memory(key: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = std::env::var_os("LOPPER_SPEECH").map_or_else(|| corpus(folder.path()), PathBuf::from);
    for check in ["headers", "content", "decode"] {
        let start = Instant::now();
        let data = common::open(&manifest, &format!("check = '{check}'")).unwrap();
        let (rows, seconds) = (data.len(&Split::VALIDATION), start.elapsed().as_secs_f64());
        println!("opened {rows} recordings with check = {check} in {seconds:.2} s, {:.0} MiB", memory("VmRSS"));
    }
    let data = common::open(&manifest, "cache_mb = 0").unwrap();
    let all: Vec<usize> = (0..data.len(&Split::VALIDATION)).collect();
    let (start, mut heard, mut hours) = (Instant::now(), 0u64, 0);
    for indices in all.chunks(BATCH) {
        data.batch(&Split::VALIDATION, indices).unwrap();
        heard += indices.iter().map(|index| u64::from(data.cost(&Split::VALIDATION, *index))).sum::<u64>();
        if heard / (16_000 * 3600) > hours {
            hours = heard / (16_000 * 3600);
            let speed = heard as f64 / 16_000.0 / start.elapsed().as_secs_f64();
            println!("{hours:2} h: {:.0} MiB, {speed:.0} seconds of audio a second", memory("VmRSS"));
        }
    }
    println!("at most {:.0} MiB", memory("VmHWM"));
}
