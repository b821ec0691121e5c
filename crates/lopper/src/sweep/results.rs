//! What the cells of a sweep have come to, as it lies on disk: for tables, figures and the report.

use super::round::FAILED;
use super::{Cell, Graph, Sweep, value_text};
use lopper_core::{Error, Result};
use lopper_report::{ArtefactFiles, AxisValue, CellResult, Experiment, Figure, Metric, Rendered, State};
use lopper_session::{Provenance, RunRecord, RunState, RunStatus, StageStore};
use lopper_weights::files;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use toml::Value;

/// The axis that tells the groups of a sweep apart.
const GROUP: &str = "group";

impl Sweep {
    /// The sweep whose directory this is.
    ///
    /// # Errors
    /// [`Error::File`] when it is none, and everything that is wrong with the configuration that lies there.
    pub(crate) fn of_directory(directory: &Path) -> Result<Self> {
        let source = directory.join(Self::SOURCE);
        if !source.is_file() {
            return Err(Error::file(directory, format!("holds no sweep of Lopper (there is no {})", Self::SOURCE)));
        }
        Self::read(&source, &[], Some(directory))?
            .ok_or_else(|| Error::file(source, "has no [sweep]; the configuration of a sweep was expected"))
    }

    /// The figures that the configuration asks for.
    ///
    /// # Errors
    /// Everything that is wrong with `[[figure]]`.
    pub(super) fn parsed_figures(&self) -> Result<Vec<Figure>> {
        let mut axes: BTreeSet<String> = self.cells.iter().flat_map(|cell| cell.axes.keys().cloned()).collect();
        if self.cells.iter().any(|cell| cell.group.is_some()) {
            axes.insert(GROUP.to_owned());
        }
        let axes: Vec<String> = axes.into_iter().collect();
        let other = |problem: lopper_report::Problem| Error::Other(format!("[[figure]] {problem}"));
        Figure::parse(&self.figures, &axes).or_else(|problems| {
            Error::all(problems.into_iter().map(other).collect())?;
            Ok(Vec::new())
        })
    }

    /// All cells with what is known of them, and what is to be drawn.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration.
    pub(crate) fn results(&self, graph: &Graph) -> Result<Experiment> {
        let figures = self.parsed_figures()?;
        let store = StageStore::open(&self.store, Duration::from_secs(60)).ok();
        let mut made_by = Vec::new();
        let cells = self.cells.iter().enumerate().map(|(index, cell)| {
            let (state, record) = self.state(index, graph);
            let stage = record.as_ref().and_then(|record| record.stages.last());
            let stored = stage.zip(store.as_ref()).and_then(|(stage, store)| store.find(&stage.key));
            made_by.extend(stored.as_ref().map(|stored| stored.record().made_by.clone()));
            let start_mask = stored.map(|stored| stored.start_mask_path());
            lopper_report::Cell {
                name: cell.name.clone(),
                axes: axes(cell),
                seed: cell.axes.get("seed").and_then(Value::as_integer).unwrap_or_default().unsigned_abs(),
                state,
                result: record.map(|record| result(&record, &self.directory(index), start_mask)),
            }
        });
        let cells = cells.collect();
        Ok(Experiment {
            title: self.title(),
            cells,
            figures,
            configuration: toml::to_string(&self.source).unwrap_or_default(),
            provenance: provenance(&made_by),
        })
    }

    /// When it was given and when each of its cells ended, as far as they have: where this changes, so does what it has come to.
    pub(crate) fn ended(&self) -> Vec<Option<SystemTime>> {
        let cells = (0..self.cells.len()).map(|cell| self.directory(cell));
        let files = cells.flat_map(|cell| [cell.join("record.json"), cell.join(FAILED)]);
        let files = files.chain([self.out.join(Self::SOURCE)]);
        files.map(|file| std::fs::metadata(file).and_then(|metadata| metadata.modified()).ok()).collect()
    }

    fn title(&self) -> String {
        self.out.file_name().map_or_else(|| self.context.clone(), |name| name.to_string_lossy().into_owned())
    }

    /// How far a cell is, and its record when it is done.
    fn state(&self, cell: usize, graph: &Graph) -> (State, Option<RunRecord>) {
        let directory = self.directory(cell);
        if !self.is_as_run(cell, graph) {
            return (State::Waiting, None);
        }
        let failed = || std::fs::read_to_string(directory.join(FAILED)).ok().map(State::Failed);
        match RunStatus::read(&directory).map(|status| status.state) {
            Ok(RunState::Done) => match RunRecord::read(&directory) {
                Ok(record) => (State::Done, Some(record)),
                Err(error) => (State::Failed(format!("its record cannot be read: {error}")), None),
            },
            Ok(RunState::Running) => (State::Running, None),
            Ok(RunState::Interrupted | RunState::Killed | RunState::Failed) | Err(_) => {
                (failed().unwrap_or(State::Waiting), None)
            }
        }
    }

    /// Writes `report.html`, `records.csv` and `figures/` into the sweep's directory. Returns the page's path and the figures.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration, and [`Error::File`] for what cannot be written.
    pub(crate) fn write_report(&self, graph: &Graph) -> Result<(PathBuf, Vec<Rendered>)> {
        let experiment = self.results(graph)?;
        let figures = lopper_report::render(&experiment, &ArtefactFiles);
        let directory = self.out.join("figures");
        files::create_dir(&directory)?;
        // What a process has left that was killed while it wrote them.
        [&directory, &self.out].into_iter().for_each(|directory| files::sweep(directory));
        for figure in &figures {
            files::write_atomic(&directory.join(format!("{}.svg", figure.name)), figure.svg.as_bytes())?;
            files::write_atomic(&directory.join(format!("{}.csv", figure.name)), figure.csv.as_bytes())?;
        }
        let records = lopper_report::records_csv(&experiment.cells);
        files::write_atomic(&self.out.join("records.csv"), records.as_bytes())?;
        let page = self.out.join("report.html");
        files::write_atomic(&page, lopper_report::page(&experiment, &figures).as_bytes())?;
        Ok((page, figures))
    }
}

fn axes(cell: &Cell) -> BTreeMap<String, AxisValue> {
    let axes = cell.axes.iter().filter(|(axis, _)| *axis != "seed");
    let axes = axes.map(|(axis, value)| (axis.clone(), axis_value(value)));
    axes.chain(cell.group.iter().map(|group| (GROUP.to_owned(), AxisValue::Text(group.clone())))).collect()
}

fn axis_value(value: &Value) -> AxisValue {
    match value {
        Value::Boolean(flag) => AxisValue::Flag(*flag),
        Value::Integer(number) => AxisValue::Number(*number as f64),
        Value::Float(number) => AxisValue::Number(*number),
        value => AxisValue::Text(value_text(value)),
    }
}

fn result(record: &RunRecord, directory: &Path, start_mask: Option<PathBuf>) -> CellResult {
    let primary = record.metric.as_ref().map(|metric| metric.name.as_str());
    let first = record.metrics.first().map(|split| split.split.as_str());
    let metrics = record.metrics.iter().flat_map(|split| {
        split.metrics.iter().map(move |metric| Metric {
            split: split.split.as_str().to_owned(),
            name: metric.name.clone(),
            value: metric.value,
            higher_is_better: !metric.lower_is_better(),
            primary: primary == Some(metric.name.as_str()) && first == Some(split.split.as_str()),
        })
    });
    let predictions = record.predictions.iter();
    let predictions = predictions.filter_map(|(split, path)| Some((split.clone(), directory.join(path.file_name()?))));
    CellResult {
        method: record.method.clone(),
        task: record.task.clone(),
        metrics: metrics.collect(),
        sparsity: record.sparsity,
        pruned: record.pruned,
        entries: record.entries,
        finetunings: record.finetunings,
        trained: record.trained,
        stages: record.stages.iter().filter(|stage| stage.updates > 0).map(|stage| stage.key.clone()).collect(),
        updates: record.updates,
        seconds: record.seconds,
        mask: record.mask.clone(),
        // Where they lie now, wherever the run was started from.
        predictions: predictions.collect(),
        start_mask,
    }
}

/// Every version and every piece of hardware that made a cell, each with all that were met.
fn provenance(made_by: &[Provenance]) -> Vec<(String, String)> {
    let all = |what: &dyn Fn(&Provenance) -> String| {
        let distinct: BTreeSet<String> = made_by.iter().map(what).collect();
        distinct.into_iter().collect::<Vec<_>>().join(", ")
    };
    let mut lines = vec![
        ("Lopper".to_owned(), all(&|made| made.lopper.clone())),
        ("libtorch".to_owned(), all(&|made| made.libtorch.clone())),
        ("device".to_owned(), all(&|made| made.device.clone())),
        ("vectors of the CPU".to_owned(), all(&|made| made.cpu_capability.clone())),
        ("threads".to_owned(), all(&|made| made.threads.to_string())),
    ];
    let plugins: BTreeSet<&String> = made_by.iter().flat_map(|made| made.plugins.keys()).collect();
    let version = |plugin: &str| all(&|made: &Provenance| made.plugins.get(plugin).cloned().unwrap_or_default());
    lines.extend(plugins.into_iter().map(|plugin| (plugin.clone(), version(plugin))));
    lines.retain(|(_, value)| !value.is_empty());
    lines
}
