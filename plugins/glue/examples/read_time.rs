//! How long the files of a task take to be read: `cargo run -p lopper-glue --example read_time -- mnli FILE…`.
#![allow(clippy::print_stdout, reason = "it is a command")]

use lopper_glue::GlueTask;
use lopper_glue::read::read;
use std::path::Path;
use std::time::Instant;

fn main() -> lopper_core::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let task = GlueTask::find(&arguments.next().unwrap_or_default())?;
    let files: Vec<String> = arguments.collect();
    for turn in 1..=5 {
        for file in &files {
            let start = Instant::now();
            let rows = read(Path::new(file), task, false, None)?.examples.len();
            println!("turn {turn}: {file}: {rows} rows in {:.3} s", start.elapsed().as_secs_f64());
        }
    }
    Ok(())
}
