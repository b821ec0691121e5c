//! What a sweep would do.

use super::needs::{WeightsAtOnce, kinds, model_bytes, seconds_left, weights_at_once};
use super::{Graph, Sweep};
use crate::experiment::Outlined;
use crate::output::{Table, count, duration, quantity, size};
use lopper_core::Sparsity;
use lopper_session::{RunState, RunStatus};
use serde::Serialize;
use std::path::PathBuf;

/// A sweep's cells and distinct stages.
#[derive(Debug, Serialize)]
pub(crate) struct SweepPlan {
    /// The sweep's directory.
    directory: PathBuf,
    /// Finetunings when every cell is run alone, with everything that its masks need.
    finetunings_alone: usize,
    /// Distinct finetunings.
    finetunings: usize,
    /// Of these, those that no finished stage of a cell is.
    to_train: usize,
    /// Updates of the distinct finetunings; absent where only the data tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    updates: Option<u64>,
    /// What the store holds at the most while it is run, beyond what it holds now, where it keeps no more than is needed.
    weights_at_once: WeightsAtOnce,
    /// Seconds that one worker still needs, by the pace of what was trained already; null before there is a pace.
    seconds_left: Option<f64>,
    cells: Vec<PlannedCell>,
    stages: Vec<PlannedNode>,
}

#[derive(Debug, Serialize)]
struct PlannedCell {
    name: String,
    axes: serde_json::Value,
    method: &'static str,
    /// Absent where a mask tells it.
    sparsity: Option<f64>,
    /// Whether its directory holds a finished run.
    done: bool,
    /// Cells whose masks it takes.
    masks_of: Vec<String>,
    /// Its stages, by their number in `stages`.
    stages: Vec<usize>,
}

#[derive(Debug, Serialize)]
struct PlannedNode {
    name: String,
    /// Absent where only the data tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    updates: Option<u64>,
    /// The hash under which equal stages of two cells are one.
    key: String,
    /// Whether it trains.
    finetuning: bool,
    done: bool,
    /// How many cells have it.
    cells: usize,
}

impl SweepPlan {
    /// Plans a sweep from its configuration, and from what lies in its directory.
    pub(crate) fn of(sweep: &Sweep, outlines: &[Outlined], graph: &Graph) -> Self {
        let state = |cell| sweep.is_as_run(cell, graph).then(|| RunStatus::read(&sweep.directory(cell)).ok()).flatten();
        let states: Vec<Option<RunStatus>> = (0..outlines.len()).map(state).collect();
        let done = done(graph, &states);
        let updates = |updates: u64| (!graph.in_epochs).then_some(updates);
        let cells = sweep.cells().iter().zip(outlines).zip(&states).zip(&graph.of_cell);
        let cells = cells.map(|(((cell, outlined), state), stages)| PlannedCell {
            name: cell.name.clone(),
            axes: serde_json::to_value(&cell.axes).unwrap_or_default(),
            method: outlined.outline.method,
            sparsity: outlined.outline.sparsity.map(Sparsity::get),
            done: state.as_ref().is_some_and(|status| status.state == RunState::Done),
            masks_of: cell.masks.iter().map(|(_, source)| sweep.cells()[*source].name.clone()).collect(),
            stages: stages.clone(),
        });
        let nodes = graph.nodes.iter().zip(&done);
        let cells = cells.collect();
        Self {
            directory: sweep.out().to_owned(),
            finetunings_alone: graph.naive,
            finetunings: graph.shared(),
            to_train: nodes.clone().filter(|(node, done)| node.updates > 0 && !**done).count(),
            updates: updates(graph.nodes.iter().map(|node| node.updates).sum()),
            weights_at_once: weights_at_once(graph, &done, &model_bytes(outlines)),
            seconds_left: seconds_left(graph, &kinds(outlines), &states, &done),
            cells,
            stages: nodes
                .map(|(node, done)| PlannedNode {
                    name: node.name.clone(),
                    updates: updates(node.updates),
                    key: node.key.clone(),
                    finetuning: node.updates > 0,
                    done: *done,
                    cells: node.cells.len(),
                })
                .collect(),
        }
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut table = Table::new(["<cell", "<method", "sparsity", "finetunings", "its own", "<"]);
        let mut seen = vec![false; self.stages.len()];
        for cell in &self.cells {
            let trains = |stage: &&usize| self.stages[**stage].finetuning;
            let own =
                cell.stages.iter().filter(trains).filter(|stage| !std::mem::replace(&mut seen[**stage], true)).count();
            table.row([
                cell.name.clone(),
                cell.method.to_owned(),
                cell.sparsity.map_or("of its mask".into(), |sparsity| sparsity.to_string()),
                cell.stages.iter().filter(trains).count().to_string(),
                own.to_string(),
                if cell.done { "done" } else { "" }.to_owned(),
            ]);
        }
        format!("{}\n{}{}", table.render(), self.summary(), self.needs())
    }

    /// What it will take, a line for each that is known.
    fn needs(&self) -> String {
        let WeightsAtOnce { copies, bytes } = self.weights_at_once;
        let mut lines = String::new();
        if copies > 0 {
            let bytes = match bytes {
                Some(bytes) => format!(", {} before what is pruned is left out", size(bytes)),
                None => "; how large they are is not known before the model is here".to_owned(),
            };
            lines += &format!("\nstore, at the most: the weights of {} at a time{bytes}", quantity(copies, "stage"));
        }
        match self.seconds_left {
            Some(seconds) if self.to_train > 0 => {
                lines += &format!("\ntime, one worker: about {} at the pace so far", duration(seconds));
            }
            _ => {}
        }
        lines
    }

    /// In one line.
    pub(crate) fn summary(&self) -> String {
        let updates = self.updates.map(|updates| format!(", {}", quantity(updates, "update"))).unwrap_or_default();
        format!(
            "{}: {} one by one, {} shared ({} to train){updates}",
            quantity(self.cells.len() as u64, "cell"),
            quantity(self.finetunings_alone as u64, "finetuning"),
            count(self.finetunings as u64),
            count(self.to_train as u64),
        )
    }
}

/// Which stages some cell has finished.
pub(super) fn done(graph: &Graph, states: &[Option<RunStatus>]) -> Vec<bool> {
    let mut done = vec![false; graph.nodes.len()];
    for (stages, status) in graph.of_cell.iter().zip(states) {
        let Some(status) = status else { continue };
        for (node, stage) in stages.iter().zip(&status.stages) {
            done[*node] |= stage.done >= stage.updates && (stage.updates > 0 || status.state == RunState::Done);
        }
    }
    done
}
