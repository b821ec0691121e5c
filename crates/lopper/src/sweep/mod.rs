//! Sweeps: many runs in one configuration, `[sweep]`, as *cells* over *axes*; what they share is trained once.
//!
//! A sweep is read in steps: its *grammar* becomes cells (*expand*), each of which is a configuration; their outlines become a
//! *graph* of distinct stages. Nothing is opened for that.

mod check;
mod expand;
mod grammar;
mod graph;
mod needs;
mod plan;
mod results;
mod round;
mod running;
mod started;
mod values;
mod view;
mod workers;

pub(crate) use expand::Cell;
pub(crate) use graph::Graph;
pub(crate) use plan::SweepPlan;
pub(crate) use running::{Beginning, Told, Training};
pub(crate) use values::text as value_text;

use crate::config::{self, Setting};
use crate::experiment::Outlined;
use crate::{Experiment, recipes};
use grammar::{Grammar, SweepOptions};
use lopper_core::{Error, Result};
use started::Started;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// A configuration with `[sweep]`.
#[derive(Debug)]
pub(crate) struct Sweep {
    /// The file, as errors name it.
    context: String,
    /// The sweep's directory.
    out: PathBuf,
    /// Where finished stages are stored.
    store: PathBuf,
    options: SweepOptions,
    cells: Vec<Cell>,
    /// `[[figure]]` as it is written.
    figures: Vec<Table>,
    /// The whole configuration as it was read, with what the command line sets.
    source: Table,
}

impl Sweep {
    /// The sweep as it was read, in its directory.
    const SOURCE: &str = "sweep.toml";

    /// Reads a configuration and what the command line sets in it; `None` when it has no `[sweep]`.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, and everything that is wrong with `[sweep]`.
    pub(crate) fn read(path: &Path, settings: &[Setting], out: Option<&Path>) -> Result<Option<Self>> {
        let mut table = config::read(path)?;
        // Of the source in a sweep's directory.
        table.remove(Started::TABLE);
        if !table.contains_key("sweep") {
            return Ok(None);
        }
        let default = Path::new("runs").join(path.file_stem().unwrap_or(OsStr::new("sweep")));
        // A recipe that varies from cell to cell is laid under each of them.
        let recipe = table.get("recipe").cloned();
        recipes::lay_under(&mut table, settings)?;
        config::apply(&mut table, settings)?;
        let mut problems = Vec::new();
        let source = table.clone();
        let mut base = table;
        let grammar = match base.remove("sweep") {
            Some(Value::Table(sweep)) => Grammar::read(&sweep, &mut problems),
            other => {
                let other = other.map_or_else(String::new, |other| other.to_string());
                return Err(Error::invalid("[sweep]", other, "a table, [sweep]"));
            }
        };
        let figures = figures(base.remove("figure"), &mut problems);
        for setting in settings {
            let swept = |axis: &str| {
                let instead = if axis == "seed" { "sweep.seeds" } else { "the values in [sweep]" };
                let expected =
                    format!("a key that does not vary; it is set on the axis `{axis}`, so set {instead} instead");
                Error::invalid(format!("--set {}", setting.key()), setting.value(), expected)
            };
            problems.extend(grammar.sets(setting.key()).map(swept));
        }
        if recipe.is_some() && grammar.sets("recipe").is_some() {
            let recipe = recipe.map_or_else(String::new, |recipe| recipe.to_string());
            problems.push(Error::invalid("recipe", recipe, "either one recipe for all cells or an axis of recipes"));
        }
        let run = base.entry("run").or_insert_with(|| Value::Table(Table::new()));
        let configured = run.as_table_mut().and_then(|run| {
            // Of many runs few models are wanted.
            run.entry("save_model").or_insert(Value::Boolean(false));
            run.remove("out")
        });
        let configured = configured.as_ref().and_then(Value::as_str).filter(|out| !out.is_empty()).map(PathBuf::from);
        let store = run.get("store").and_then(Value::as_str).map(PathBuf::from);
        let out = out.map(Path::to_owned).or(configured).unwrap_or(default);
        let cells = expand::expand(&base, &grammar, &mut problems);
        Error::all(problems)?;
        Ok(Some(Self {
            context: path.display().to_string(),
            out,
            store: store.unwrap_or_else(|| crate::RunOptions::default().store.into()),
            options: grammar.options,
            cells,
            figures,
            source,
        }))
    }

    /// The cells; whoever takes another one's mask stands after it.
    pub(crate) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The sweep's directory.
    pub(crate) fn out(&self) -> &Path {
        &self.out
    }

    /// Processes that train cells at the same time, as the configuration wants it.
    pub(crate) fn workers(&self) -> u64 {
        match self.options.devices.len() as u64 {
            0 => self.options.workers,
            devices => devices,
        }
    }

    /// The directory of a cell's run.
    pub(crate) fn directory(&self, cell: usize) -> PathBuf {
        self.out.join("cells").join(&self.cells[cell].name)
    }

    /// Where a cell leaves its mask.
    fn mask(&self, cell: usize) -> PathBuf {
        let saved = self.cells[cell].table.get("run").and_then(|run| run.get("save_model")).and_then(Value::as_bool);
        let directory = self.directory(cell);
        if saved == Some(true) {
            directory.join("model").join("mask.safetensors")
        } else {
            directory.join("mask.safetensors")
        }
    }

    /// The whole configuration of a cell.
    ///
    /// # Errors
    /// Paths that are not UTF-8, an unknown recipe, and a key that leads nowhere.
    pub(crate) fn configuration(&self, cell: usize) -> Result<Table> {
        let utf8 = |path: PathBuf| {
            let refused = Error::invalid("--out", path.display(), "give a path that is UTF-8");
            path.into_os_string().into_string().map(Value::String).map_err(|_| refused)
        };
        let mut table = self.cells[cell].table.clone();
        let masks = self.cells[cell].masks.iter().map(|(key, source)| (key.as_str(), self.mask(*source)));
        for (key, path) in masks.chain([("run.out", self.directory(cell))]) {
            config::put(&mut table, key, utf8(path)?, |_| false)
                .map_err(|part| Error::invalid(format!("[sweep] {key}"), "mask_of", format!("`{part}` is no table")))?;
        }
        recipes::lay_under(&mut table, &[])?;
        Ok(table)
    }

    /// The outlines of all cells and the graph of their stages. Neither models nor data need be there.
    ///
    /// # Errors
    /// Everything that is wrong with any cell, each problem once.
    pub(crate) fn outline(&self) -> Result<(Vec<Outlined>, Graph)> {
        let outlines = self.of_each(|table| Experiment::outline_of(table, &self.context))?;
        let paths: Vec<PathBuf> = (0..self.cells.len()).map(|cell| self.mask(cell)).collect();
        let given = |cell: &Cell| cell.masks.iter().map(|(_, source)| (paths[*source].as_path(), *source)).collect();
        let masks: Vec<BTreeMap<&Path, usize>> = self.cells.iter().map(given).collect();
        let graph = Graph::of(&outlines, &masks)?;
        Ok((outlines, graph))
    }

    /// What `read` makes of the configuration of each cell.
    ///
    /// # Errors
    /// Everything that is wrong with any cell, each problem once, with the cells that have it where not all do.
    fn of_each<T>(&self, mut read: impl FnMut(&Table) -> Result<T>) -> Result<Vec<T>> {
        let mut problems = Problems::default();
        let mut all = Vec::new();
        for (index, cell) in self.cells.iter().enumerate() {
            match self.configuration(index).and_then(|table| read(&table)) {
                Ok(made) => all.push(made),
                Err(error) => problems.add(&cell.name, error),
            }
        }
        problems.into_result(self.cells.len())?;
        Ok(all)
    }
}

/// What is wrong with cells, each problem once.
#[derive(Default)]
struct Problems {
    /// By message: the error, how many cells have it, and the first one.
    all: Vec<(String, Error, usize, String)>,
}

impl Problems {
    fn add(&mut self, cell: &str, error: Error) {
        for error in error.into_single() {
            let message = error.to_string();
            match self.all.iter_mut().find(|(told, ..)| *told == message) {
                Some((_, _, cells, _)) => *cells += 1,
                None => self.all.push((message, error, 1, cell.to_owned())),
            }
        }
    }

    fn into_result(self, cells: usize) -> Result<()> {
        let told = |(message, error, with, first)| match with {
            all if all == cells => error,
            1 => Error::Other(format!("cell {first}: {message}")),
            with => Error::Other(format!("{with} of {cells} cells, such as {first}: {message}")),
        };
        Error::all(self.all.into_iter().map(told).collect())
    }
}

/// The tables of `[[figure]]`.
fn figures(given: Option<Value>, problems: &mut Vec<Error>) -> Vec<Table> {
    match given {
        None => Vec::new(),
        Some(Value::Array(figures)) if figures.iter().all(Value::is_table) => {
            figures.into_iter().filter_map(|figure| figure.try_into().ok()).collect()
        }
        Some(other) => {
            problems.push(Error::invalid("[[figure]]", other, "tables, [[figure]]"));
            Vec::new()
        }
    }
}
