//! `lopper report`: what the cells of a sweep have come to, as one page.

use crate::loopback::{self, Page};
use crate::output;
use crate::signals::{end_well, stop_on_signals};
use crate::sweep::Sweep;
use lopper_core::{Error, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often it is looked whether a cell has ended.
const LOOK: Duration = Duration::from_secs(1);
/// How soon a signal ends it.
const SLICE: Duration = Duration::from_millis(50);

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A sweep's directory
    directory: PathBuf,

    /// Serve the page to browsers on this machine, anew whenever a cell ends, until Ctrl-C
    #[arg(long)]
    watch: bool,

    /// Where to serve it; a free port unless given
    #[arg(long, requires = "watch", default_value_t = 0, hide_default_value = true)]
    port: u16,
}

/// What `--watch` says first.
#[derive(Serialize)]
struct Watching {
    address: String,
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
        if self.watch {
            return self.watch(json);
        }
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

    fn watch(&self, json: bool) -> Result<()> {
        let stop = stop_on_signals(super::INTERRUPTED)?;
        let (listener, address) = loopback::listen(self.port)?;
        let mut ended = Sweep::of_directory(&self.directory)?.ended();
        let page = Page::new(&html(&self.directory)?);
        loopback::serve(listener, &page)?;
        let watching = Watching { address: format!("http://{address}/") };
        output::report(json, &watching, || format!("page  {}\nCtrl-C ends it", watching.address))?;
        // In a thread of its own, so that drawing a large page keeps nobody from ending it.
        let directory = self.directory.clone();
        let look = move || {
            loop {
                std::thread::sleep(LOOK);
                // While `sweep.toml` is being written there is none.
                let Ok(now) = Sweep::of_directory(&directory).map(|sweep| sweep.ended()) else { continue };
                if now == ended {
                    continue;
                }
                match html(&directory) {
                    Ok(html) => page.replace(&html),
                    Err(e) => tracing::warn!("{e}; the page stays as it was"),
                }
                ended = now;
            }
        };
        let thread = std::thread::Builder::new().name("report".into()).spawn(look);
        thread.map_err(|e| Error::Other(format!("the sweep cannot be watched: {e}")))?;
        while !stop.requested() {
            std::thread::sleep(SLICE);
        }
        end_well()
    }
}

/// The page of a sweep as it stands now, which also takes the place of the one on disk.
fn html(directory: &Path) -> Result<String> {
    let sweep = Sweep::of_directory(directory)?;
    let (page, _) = sweep.write_report(&sweep.outline()?.1)?;
    std::fs::read_to_string(&page).map_err(|e| Error::file(page, e))
}

fn text(report: &Report) -> String {
    let captions: String =
        report.figures.iter().map(|figure| format!("{}. {}\n\n", figure.title, figure.caption)).collect();
    format!("{captions}page  {}", report.page.display())
}
