//! Runs the cells of a sweep, one after another.

use super::round::{FAILED, Round, Standing};
use super::started::Started;
use super::view::watched;
use super::{Cell, Graph, Sweep, SweepPlan};
use crate::experiment::Outlined;
use crate::kept_data::KeptData;
use crate::{Experiment, output, terminal};
use lopper_core::{Error, Result};
use lopper_session::{RunRecord, RunState, RunStatus, Stop, StoreCache, WantedByOthers, warn_of_long_intervals};
use lopper_weights::files;
use serde::Serialize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// In a cell's directory: the keys that its stages had when it was run, to tell whether it would still be the same run.
const KEYS: &str = "stages.json";

/// Between two looks at what other processes do.
const LOOK: Duration = Duration::from_millis(300);

/// How a cell ended.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// It is done.
    Done(Box<RunRecord>),
    /// It failed, more than once if the sweep says so.
    Failed(String),
    /// The cell whose mask it takes is not done.
    Blocked(String),
}

/// What a sweep came to.
#[derive(Debug, Serialize)]
pub(crate) struct SweepRecord {
    /// The sweep's directory.
    pub(crate) directory: PathBuf,
    /// Cells.
    pub(crate) cells: usize,
    /// Cells that are done.
    pub(crate) done: usize,
    /// Finetunings of all cells, each as often as a cell has it.
    pub(crate) finetunings: u64,
    /// Finetunings that were trained this time.
    pub(crate) trained: u64,
    /// Seconds that it took this time.
    pub(crate) seconds: f64,
    /// The page that shows what came of it.
    pub(crate) report: Option<PathBuf>,
    /// What came in the way of the others, by cell.
    pub(crate) failed: Vec<Failure>,
}

/// A cell that is not done.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    pub(crate) cell: String,
    pub(crate) error: String,
}

/// What is told while a sweep goes on.
pub(crate) struct Told<'a> {
    pub(crate) cell: &'a Cell,
    pub(crate) number: usize,
    pub(crate) of: usize,
    pub(crate) end: &'a End,
    /// Seconds that it took.
    pub(crate) seconds: f64,
}

/// How a sweep is begun.
pub(crate) struct Beginning<'a> {
    pub(crate) stop: &'a Stop,
    /// Whether files of the data are read that have not changed since.
    pub(crate) verify: bool,
    /// Whether finished cells of another configuration are replaced.
    pub(crate) replace: bool,
    /// Whether other machines train it: then the devices that it names need not be here.
    pub(crate) elsewhere: bool,
}

/// How one process trains cells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Training<'a> {
    pub(crate) stop: &'a Stop,
    /// Whether files of the data are read that have not changed since.
    pub(crate) verify: bool,
    /// Where, in place of what the cells say.
    pub(crate) device: Option<&'a str>,
}

impl Sweep {
    /// All that comes before training: everything is looked at as far as that goes, and it is told what there is to do. Nothing
    /// is written into the sweep's directory.
    ///
    /// # Errors
    /// Everything that is wrong with any cell, and finished cells of another configuration that are not to be replaced.
    pub(crate) fn begin(&self, beginning: &Beginning<'_>) -> Result<(Vec<Outlined>, Graph)> {
        let (_, (outlines, graph)) = Error::both(self.parsed_figures(), self.outline())?;
        if !beginning.replace {
            self.check_unreplaced(&graph)?;
        }
        if !beginning.elsewhere {
            Self::check_devices(&outlines, self.options.devices.iter().map(String::as_str), "[sweep] devices")?;
        }
        self.check(&outlines, beginning)?;
        self.warn(&outlines, &graph);
        eprintln!("{}", SweepPlan::of(self, &outlines, &graph).summary());
        Ok((outlines, graph))
    }

    /// Writes the sweep's source into its directory, with which a new round begins: what is done is looked at again, and what
    /// has failed is tried again.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be written.
    pub(crate) fn start(&self) -> Result<()> {
        files::create_dir(&self.out)?;
        let mut source = self.source.clone();
        source.insert(Started::TABLE.into(), Started::now().to_value());
        let source = toml::to_string(&source).map_err(|e| Error::Other(format!("the sweep as TOML: {e}")))?;
        files::write_atomic(&self.out.join(Self::SOURCE), source.as_bytes())
    }

    /// Runs all cells, each into its own directory: what is done already is taken from the store. A cell that fails is tried
    /// again, and then left; what does not take its mask goes on.
    ///
    /// # Errors
    /// Everything that is wrong with any cell before anything is trained, [`Error::Interrupted`], and what keeps the sweep's
    /// own directory from being written.
    pub(crate) fn run(&self, beginning: &Beginning<'_>, tell: impl FnMut(Told<'_>)) -> Result<SweepRecord> {
        let started = Instant::now();
        let (outlines, graph) = self.begin(beginning)?;
        self.start()?;
        let &Beginning { stop, verify, .. } = beginning;
        let devices = &self.options.devices;
        let training = Training { stop, verify, device: devices.first().map(String::as_str) };
        let round = watched(self, &graph, &outlines, || {
            if self.workers() > 1 {
                self.run_workers(verify, stop)?;
            }
            // All of it, or what workers that died have left.
            self.work(&graph, training, tell)
        })?;
        self.conclude(&graph, &round, started)
    }

    /// Writes the report of a round of which all cells have ended; returns what it came to.
    fn conclude(&self, graph: &Graph, round: &Round, started: Instant) -> Result<SweepRecord> {
        let mut record = self.record(started.elapsed().as_secs_f64())?;
        record.report = Some(self.write_report(graph)?.0);
        round.note_report(self)?;
        Ok(record)
    }

    /// Runs the cells of a sweep that was started, those that no other process is at work at, until none is left. The first of
    /// its processes that sees all cells ended writes the report, unless `report` is false, and has the record of what all came
    /// to; the others have none.
    ///
    /// # Errors
    /// As [`run`](Self::run), and when another version of Lopper started the sweep.
    pub(crate) fn take_part(
        &self,
        training: Training<'_>,
        report: bool,
        tell: impl FnMut(Told<'_>),
    ) -> Result<Option<SweepRecord>> {
        let started = Instant::now();
        let (outlines, graph) = self.outline()?;
        Self::check_devices(&outlines, training.device, "--device")?;
        let round = self.work(&graph, training, tell)?;
        if !report {
            return Ok(None);
        }
        let Some(_lease) = round.claim_report(self)? else { return Ok(None) };
        self.conclude(&graph, &round, started).map(Some)
    }

    /// Runs the cells that no other process is at work at, until none is left.
    fn work(&self, graph: &Graph, training: Training<'_>, mut tell: impl FnMut(Told<'_>)) -> Result<Round> {
        let stop = training.stop;
        let mut round = Round::of(self)?;
        let mut kept = KeptData::default();
        let source = |round: &Round, cell: &Cell, standing| {
            cell.masks.iter().map(|(_, source)| *source).find(|source| round.standing(self, *source) == standing)
        };
        loop {
            let mut waiting = false;
            let mut done = false;
            for (index, cell) in self.cells.iter().enumerate() {
                stop.check(&format!("beginning cell {}", cell.name))?;
                if round.standing(self, index) != Standing::Open {
                    continue;
                }
                if source(&round, cell, Standing::Open).is_some() {
                    waiting = true;
                    continue;
                }
                let Some(_lease) = round.claim(self, index)? else {
                    waiting = true;
                    continue;
                };
                // In another round, what had ended is open again, earlier cells too.
                waiting |= round.renew(self)?;
                // It may have been finished between the look and the claim.
                let is_open = round.standing(self, index) == Standing::Open;
                if !is_open || source(&round, cell, Standing::Open).is_some() {
                    waiting |= is_open;
                    continue;
                }
                let began = Instant::now();
                let end = match source(&round, cell, Standing::Failed) {
                    Some(source) => {
                        let why = format!("cell {}, whose mask it takes, is not done", self.cells[source].name);
                        round.end(&self.directory(index), Some(&why))?;
                        End::Blocked(why)
                    }
                    None => {
                        let attempt = |kept: &mut KeptData| self.try_cell(index, graph, &round, training, kept);
                        self.run_cell(index, &round, &mut kept, attempt)?
                    }
                };
                done = true;
                let seconds = began.elapsed().as_secs_f64();
                tell(Told { cell, number: round.ended(self), of: self.cells.len(), end: &end, seconds });
            }
            match (waiting, done) {
                (false, _) => return Ok(round),
                (true, true) => {}
                (true, false) => stop.pause(LOOK, "waiting for cells that other processes are at work at")?,
            }
        }
    }

    /// Refuses to take the place of cells that are done with another configuration.
    fn check_unreplaced(&self, graph: &Graph) -> Result<()> {
        let is_done = |cell: &usize| RunStatus::read(&self.directory(*cell)).is_ok_and(|s| s.state == RunState::Done);
        let others = (0..self.cells.len()).filter(|cell| is_done(cell) && !self.is_as_run(*cell, graph));
        let names: Vec<&str> = others.map(|cell| self.cells[cell].name.as_str()).collect();
        let Some(first) = names.first() else { return Ok(()) };
        let holds = output::quantity(names.len() as u64, "finished cell");
        let why = format!(
            "holds {holds} of another configuration, such as {first}; give another --out, or --replace to take their place"
        );
        Err(Error::file(&self.out, why))
    }

    /// Whether what lies in a cell's directory is of the configuration that the cell has now.
    pub(super) fn is_as_run(&self, cell: usize, graph: &Graph) -> bool {
        let keys = std::fs::read(self.directory(cell).join(KEYS)).ok();
        keys.and_then(|keys| serde_json::from_slice::<Vec<String>>(&keys).ok())
            .is_some_and(|keys| keys == graph.keys(cell))
    }

    /// One cell, by `attempt` as often as that may be tried.
    fn run_cell(
        &self,
        index: usize,
        round: &Round,
        kept: &mut KeptData,
        attempt: impl Fn(&mut KeptData) -> Result<RunRecord>,
    ) -> Result<End> {
        let cell = &self.cells[index];
        let mut left = self.options.retries;
        loop {
            match attempt(kept) {
                Ok(record) => {
                    round.end(&self.directory(index), None)?;
                    return Ok(End::Done(Box::new(record)));
                }
                Err(error @ Error::Interrupted(_)) => return Err(error),
                Err(error) => {
                    // Whatever it was, nothing that was open then is used again.
                    kept.forget();
                    if left == 0 {
                        round.end(&self.directory(index), Some(&error.to_string()))?;
                        return Ok(End::Failed(error.to_string()));
                    }
                    tracing::warn!("cell {} failed and is tried again: {error}", cell.name);
                    left -= 1;
                }
            }
        }
    }

    fn try_cell(
        &self,
        index: usize,
        graph: &Graph,
        round: &Round,
        training: Training<'_>,
        kept: &mut KeptData,
    ) -> Result<RunRecord> {
        let directory = self.directory(index);
        let keys = serde_json::to_vec(&graph.keys(index)).map_err(|e| Error::file(&directory, e))?;
        files::create_dir(&directory)?;
        files::write_atomic(&directory.join(KEYS), &keys)?;
        let mut experiment = Experiment::new(&self.configuration(index)?, &self.context, &directory)?;
        let others = |other: &usize| *other != index && round.standing(self, *other) == Standing::Open;
        let others: Vec<usize> = (0..self.cells.len()).filter(others).collect();
        // Whoever started the sweep was asked.
        experiment.set_replace(true);
        experiment.set_wanted_by_others(WantedByOthers::Stages(graph.wanted_by(&others, index)));
        // The sweep is drawn as a whole.
        experiment.set_draws(!terminal::is_live());
        if let Some(device) = training.device {
            experiment.set_device(device)?;
        }
        let cache = StoreCache::new(experiment.store(), training.verify);
        let mut session = experiment.into_session_with(training.stop.clone(), &cache, kept)?;
        if graph.in_epochs {
            warn_of_long_intervals(session.stages());
        }
        // It saves time alone.
        cache.write().unwrap_or_else(|e| tracing::warn!("{e}"));
        session.run()
    }

    /// What the sweep came to, from what its cells have left.
    fn record(&self, seconds: f64) -> Result<SweepRecord> {
        let mut sum = SweepRecord {
            directory: self.out.clone(),
            cells: self.cells.len(),
            done: 0,
            finetunings: 0,
            trained: 0,
            seconds,
            report: None,
            failed: Vec::new(),
        };
        for (index, cell) in self.cells.iter().enumerate() {
            let directory = self.directory(index);
            match std::fs::read_to_string(directory.join(FAILED)) {
                Ok(error) => sum.failed.push(Failure { cell: cell.name.clone(), error }),
                Err(_) => {
                    let record = RunRecord::read(&directory)?;
                    sum.done += 1;
                    sum.finetunings += record.finetunings;
                    sum.trained += record.trained;
                }
            }
        }
        Ok(sum)
    }
}

impl SweepRecord {
    /// For people.
    pub(crate) fn text(&self) -> String {
        let Self { directory, cells, done, finetunings, trained, seconds, report, failed } = self;
        let report = report.as_ref().map(|page| format!("\nreport  {}", page.display())).unwrap_or_default();
        let failed: String = failed.iter().map(|Failure { cell, error }| format!("\n{cell}: {error}")).collect();
        format!(
            "{done} of {} done in {}: trained {} of {} finetunings, {}{failed}{report}",
            output::quantity(*cells as u64, "cell"),
            directory.display(),
            output::count(*trained),
            output::count(*finetunings),
            output::duration(*seconds),
        )
    }

    /// Whether all cells are done.
    ///
    /// # Errors
    /// [`Error::Other`] with how many are not.
    pub(crate) fn result(&self) -> Result<()> {
        match self.failed.len() {
            0 => Ok(()),
            some => Err(Error::Other(format!("{some} of {} cells are not done", self.cells))),
        }
    }
}

impl Told<'_> {
    /// One line.
    pub(crate) fn line(&self) -> String {
        let Self { cell, number, of, end, seconds } = self;
        let how = match end {
            End::Done(record) => {
                let metric = record.metric.as_ref().map(|metric| format!("{} {:.4}, ", metric.name, metric.value));
                let how = match record.trained {
                    0 => "from the store".to_owned(),
                    trained => format!("trained {trained} of {}", output::quantity(record.finetunings, "finetuning")),
                };
                let metric = metric.unwrap_or_default();
                format!("{metric}sparsity {:.4}, {how}, {}", record.sparsity, output::duration(*seconds))
            }
            End::Failed(error) => format!("failed: {error}"),
            End::Blocked(why) => format!("left out: {why}"),
        };
        format!("[{number}/{of}] {}: {how}", cell.name)
    }
}
