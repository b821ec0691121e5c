//! A sweep on the terminal while it goes on: how many cells are done, and where those under way stand.

use super::needs::{kinds, seconds_left};
use super::plan::done;
use super::round::{Round, Standing};
use super::{Graph, Sweep};
use crate::experiment::Outlined;
use crate::output::{duration, quantity};
use crate::terminal::Live;
use indicatif::{ProgressBar, ProgressStyle};
use lopper_session::{RunState, RunStatus, StageStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks at the sweep's directory, and whether the sweep has ended.
const LOOK: Duration = Duration::from_secs(1);
const SLICE: Duration = Duration::from_millis(50);

/// Cells under way that have a line of their own.
const MOST: usize = 16;

/// Does `work` on a sweep that was started, whoever trains its cells, and meanwhile draws how it stands, where there is a terminal.
pub(super) fn watched<T>(sweep: &Sweep, graph: &Graph, outlines: &[Outlined], work: impl FnOnce() -> T) -> T {
    let (Some(live), Ok(round)) = (Live::begin(), Round::of(sweep)) else { return work() };
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        // Also when `work` panics, or nobody would ever end.
        let _ends = OnDrop(|| ended.store(true, Ordering::Relaxed));
        let ended = &ended;
        let view = View { sweep, graph, kinds: kinds(outlines), round, states: vec![None; outlines.len()] };
        scope.spawn(move || view.draw(live, ended));
        work()
    })
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

struct View<'a> {
    sweep: &'a Sweep,
    graph: &'a Graph,
    /// Of each cell; told once, as every look asks for them.
    kinds: Vec<usize>,
    round: Round,
    /// As they were last seen. Of a cell that has ended it is not looked at again.
    states: Vec<Option<RunStatus>>,
}

impl View<'_> {
    fn draw(mut self, live: Live, ended: &AtomicBool) {
        let style = |template| ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let cells = self.states.len() as u64;
        let bar = live.bars().add(ProgressBar::new(cells).with_style(style("[{bar:30}] {msg}").progress_chars("=> ")));
        let mut lines: Vec<ProgressBar> = Vec::new();
        while !ended.load(Ordering::Relaxed) {
            let seen = self.look();
            bar.set_position(seen.ended() as u64);
            bar.set_message(seen.summary(cells as usize));
            let under_way = seen.lines();
            lines.drain(under_way.len().min(lines.len())..).for_each(|line| live.bars().remove(&line));
            while lines.len() < under_way.len() {
                lines.push(live.bars().add(ProgressBar::new(1).with_style(style("{wide_msg}"))));
            }
            lines.iter().zip(under_way).for_each(|(line, text)| line.set_message(text));
            let looked = Instant::now();
            while looked.elapsed() < LOOK && !ended.load(Ordering::Relaxed) {
                thread::sleep(SLICE);
            }
        }
    }

    fn look(&mut self) -> Seen {
        let mut seen = Seen::default();
        for cell in 0..self.states.len() {
            let standing = self.round.standing(self.sweep, cell);
            let is_known = self.states[cell].as_ref().is_some_and(|status| status.state == RunState::Done);
            if standing == Standing::Open || !is_known {
                self.states[cell] = RunStatus::read(&self.sweep.directory(cell)).ok();
            }
            match (standing, &self.states[cell]) {
                (Standing::Done, _) => seen.done += 1,
                (Standing::Failed, _) => seen.failed += 1,
                (Standing::Open, Some(status)) if status.state == RunState::Running => {
                    seen.running.push((self.sweep.cells()[cell].name.clone(), status.clone()));
                }
                (Standing::Open, _) => {}
            }
        }
        let done = done(self.graph, &self.states);
        let seconds = seconds_left(self.graph, &self.kinds, &self.states, &done);
        seen.seconds_left = seconds.map(|seconds| seconds / seen.running.len().max(1) as f64);
        seen
    }
}

/// How a sweep stands.
#[derive(Debug, Default)]
struct Seen {
    done: usize,
    failed: usize,
    /// Those under way, with their names.
    running: Vec<(String, RunStatus)>,
    /// With as many workers as there are.
    seconds_left: Option<f64>,
}

impl Seen {
    fn ended(&self) -> usize {
        self.done + self.failed
    }

    fn summary(&self, cells: usize) -> String {
        let failed = if self.failed > 0 { format!(", {} failed", self.failed) } else { String::new() };
        let left = self.seconds_left.filter(|seconds| *seconds > 0.0);
        let left = left.map(|seconds| format!(", about {} left", duration(seconds))).unwrap_or_default();
        format!("{} of {} done{failed}{left}", self.done, quantity(cells as u64, "cell"))
    }

    /// One for each cell under way.
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.running.iter().take(MOST).map(|(name, status)| line(name, status)).collect();
        let more = self.running.len().saturating_sub(MOST);
        lines.extend((more > 0).then(|| format!("  and {more} more under way")));
        lines
    }
}

fn line(name: &str, status: &RunStatus) -> String {
    let is_done = |stage: &StageStatus| stage.done >= stage.updates;
    let stages = status.stages.len();
    let Some(at) = status.stages.iter().position(|stage| !is_done(stage)) else {
        return format!("  {name}: judging, saving");
    };
    let stage = &status.stages[at];
    let of = if stages > 1 { format!("stage {} of {stages}, ", at + 1) } else { String::new() };
    let loss = status.loss.map(|loss| format!(", loss {loss:.4}")).unwrap_or_default();
    let left = status.seconds_left().map(|seconds| format!(", {} left", duration(seconds))).unwrap_or_default();
    format!("  {name}: {of}update {} of {}{loss}{left}", stage.done, stage.updates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(done: [u64; 2], loss: Option<f64>) -> RunStatus {
        let stage = |done| StageStatus { name: "s".into(), key: "k".into(), updates: 20, done, seconds: done as f64 };
        RunStatus {
            state: RunState::Running,
            error: None,
            method: "omp".into(),
            task: "rte".into(),
            process: 1,
            store: "store".into(),
            stages: done.map(stage).to_vec(),
            loss,
            metric: None,
            sparsity: None,
        }
    }

    #[test]
    fn lines_say_where_cells_stand() {
        let running = vec![("a".to_owned(), status([20, 5], Some(0.25))), ("b".to_owned(), status([0, 0], None))];
        let seen = Seen { done: 3, failed: 1, running, seconds_left: Some(600.0) };
        assert_eq!((seen.ended(), seen.summary(9)), (4, "3 of 9 cells done, 1 failed, about 10.0 min left".into()));
        let wanted =
            ["  a: stage 2 of 2, update 5 of 20, loss 0.2500, 15.0 s left", "  b: stage 1 of 2, update 0 of 20"];
        assert_eq!(seen.lines(), wanted);
        let many = (0..20).map(|cell| (cell.to_string(), status([20, 20], None))).collect();
        let lines = Seen { running: many, ..Seen::default() }.lines();
        assert_eq!((lines.len(), &*lines[0], &*lines[16]), (17, "  0: judging, saving", "  and 4 more under way"));
    }
}
