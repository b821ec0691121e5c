//! `lopper report`: what the cells of a sweep have come to, as one page.

use crate::output;
use crate::sweep::Sweep;
use lopper_core::Result;
use serde::Serialize;
use std::path::PathBuf;

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A sweep's directory
    directory: PathBuf,
}

#[derive(Serialize)]
struct Report {
    /// The page.
    page: PathBuf,
    figures: Vec<Figure>,
}

#[derive(Serialize)]
struct Figure {
    name: String,
    title: String,
    caption: String,
}

impl Arguments {
    pub(super) fn execute(&self, json: bool) -> Result<()> {
        let sweep = Sweep::of_directory(&self.directory)?;
        let (page, figures) = sweep.write_report(&sweep.outline()?.1)?;
        let figure = |figure: lopper_report::Rendered| Figure {
            caption: figure.caption.to_string(),
            name: figure.name,
            title: figure.title,
        };
        let report = Report { page, figures: figures.into_iter().map(figure).collect() };
        output::report(json, &report, || text(&report))
    }
}

fn text(report: &Report) -> String {
    let captions: String =
        report.figures.iter().map(|figure| format!("{}. {}\n\n", figure.title, figure.caption)).collect();
    format!("{captions}page  {}", report.page.display())
}
