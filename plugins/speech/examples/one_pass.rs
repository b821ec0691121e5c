//! Opens data and goes once over all of them in batches of eight: `one_pass PATH [ordered|shuffled]`, where PATH is a file or a folder with
//! one split. Prints how long either takes, and the most memory that was resident beyond what was before.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed measurement panics, and its result is printed")]

#[path = "../tests/common/mod.rs"]
mod common;

use lopper_core::{Dataset, Split};
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

/// A line of `/proc/self/status` in MiB.
fn memory(key: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = PathBuf::from(arguments.next().expect("a path"));
    let shuffled = arguments.next().is_some_and(|order| order == "shuffled");
    drop(tch::Tensor::zeros([8, 16 * 16_000], (tch::Kind::Float, tch::Device::Cpu)) + 1.0);
    let idle = memory("VmRSS");
    let start = Instant::now();
    let data = common::open(&path, "cache_mb = 0").unwrap();
    let rows = data.len(&Split::VALIDATION);
    println!("opened {rows} recordings in {:.1} s, {:.0} MiB", start.elapsed().as_secs_f64(), memory("VmHWM") - idle);
    let mut order: Vec<usize> = (0..rows).collect();
    if shuffled {
        // Reproducible, and without neighbours.
        order.sort_by_key(|row| (*row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    }
    let start = Instant::now();
    for indices in order.chunks(8) {
        data.batch(&Split::VALIDATION, indices).unwrap();
    }
    println!("one pass in {:.1} s, {:.0} MiB", start.elapsed().as_secs_f64(), memory("VmHWM") - idle);
}
