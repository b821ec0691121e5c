//! Writes the page of an invented experiment, to look at: `cargo run -p lopper-report --example sample -- page.html`.

mod experiment;

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let path = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "page.html".into()));
    let experiment = experiment::experiment().map_err(|problems| format!("{problems:?}"))?;
    let figures = lopper_report::render(&experiment, &experiment::mask);
    std::fs::write(&path, lopper_report::page(&experiment, &figures))?;
    if let Some(folder) = std::env::args().nth(2).map(PathBuf::from) {
        for figure in &figures {
            std::fs::write(folder.join(format!("{}.svg", figure.name)), &figure.svg)?;
            std::fs::write(folder.join(format!("{}.csv", figure.name)), &figure.csv)?;
        }
        std::fs::write(folder.join("cells.csv"), lopper_report::records_csv(&experiment.cells))?;
    }
    Ok(())
}
