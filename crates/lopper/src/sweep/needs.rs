//! What a sweep will take: weights that lie in the store at the same time, and hours.

use super::Graph;
use crate::experiment::Outlined;
use crate::models;
use lopper_session::RunStatus;
use lopper_weights::Checkpoint;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a float32, as which weights are stored.
const FLOAT: u64 = 4;

/// Weights in the store, at the moment at which they are most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct WeightsAtOnce {
    /// So many stages' weights, rewind points among them.
    pub(crate) copies: u64,
    /// What they take when nothing of them is pruned; absent where a model is not here, so that its size is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
}

/// What the store holds at the most when one worker runs the cells in order and keeps what others still want
/// (`store.keep = "needed"`), beyond what is there now. Every further worker may add the weights that it is at work at, and those
/// that they came from.
pub(crate) fn weights_at_once(graph: &Graph, done: &[bool], bytes: &[Option<u64>]) -> WeightsAtOnce {
    // A node is trained in the first cell that has it; its weights are wanted until all nodes that read them are.
    let mut wanted: Vec<usize> = graph.nodes.iter().map(|node| node.cells[0]).collect();
    for node in graph.nodes.iter().zip(done).filter(|(_, done)| !**done).map(|(node, _)| node) {
        for read in &node.reads {
            wanted[*read] = wanted[*read].max(node.cells[0]);
        }
    }
    let mut held = Held { bytes, graph, copies: 0, in_bytes: Some(0), most: WeightsAtOnce::default() };
    let (mut ends, mut points) = (BTreeSet::new(), BTreeSet::new());
    for (cell, nodes) in graph.of_cell.iter().enumerate() {
        for (place, node) in nodes.iter().enumerate() {
            if !done[*node] && graph.nodes[*node].cells[0] == cell {
                held.add(*node, 1);
                ends.insert(*node);
                held.add(*node, graph.nodes[*node].points.len() as u64);
                points.insert(*node);
            }
            // A run lets go of the stage before as soon as this one is stored.
            if let Some(before) = place.checked_sub(1).map(|before| nodes[before]).filter(|before| before != node)
                && wanted[before] <= cell
                && ends.remove(&before)
            {
                held.remove(before, 1);
            }
        }
        // And of the last one, and of rewind points, when it ends.
        for node in nodes.iter().filter(|node| wanted[**node] <= cell) {
            if ends.remove(node) {
                held.remove(*node, 1);
            }
            if points.remove(node) {
                held.remove(*node, graph.nodes[*node].points.len() as u64);
            }
        }
    }
    held.most
}

struct Held<'a> {
    graph: &'a Graph,
    /// Bytes of the weights of each cell's model.
    bytes: &'a [Option<u64>],
    copies: u64,
    in_bytes: Option<u64>,
    most: WeightsAtOnce,
}

impl Held<'_> {
    fn each(&self, node: usize) -> Option<u64> {
        self.bytes[self.graph.nodes[node].cells[0]]
    }

    fn add(&mut self, node: usize, copies: u64) {
        self.copies += copies;
        let more = self.each(node);
        self.in_bytes = self.in_bytes.zip(more).map(|(held, each)| held.saturating_add(each.saturating_mul(copies)));
        self.most.copies = self.most.copies.max(self.copies);
        self.most.bytes = self.in_bytes.map(|held| held.max(self.most.bytes.unwrap_or(0)));
    }

    fn remove(&mut self, node: usize, copies: u64) {
        self.copies -= copies;
        let each = self.each(node);
        self.in_bytes = self.in_bytes.zip(each).map(|(held, each)| held.saturating_sub(each.saturating_mul(copies)));
    }
}

/// Bytes of the weights of each cell's model as the store holds them, from the headers of its checkpoint alone. `None` where it is
/// not here.
pub(crate) fn model_bytes(outlines: &[Outlined]) -> Vec<Option<u64>> {
    let mut known: BTreeMap<&str, Option<u64>> = BTreeMap::new();
    let of = |outlined| {
        let path = Outlined::model_path(outlined);
        *known.entry(path).or_insert_with(|| {
            let directory = models::present(path).ok().flatten()?;
            let checkpoint = Checkpoint::open(&directory).ok()?;
            let entries = |name| checkpoint.shape(name).map_or(0, |shape| shape.iter().product::<u64>());
            Some(checkpoint.names().map(entries).sum::<u64>() * FLOAT)
        })
    };
    outlines.iter().map(of).collect()
}

/// For each cell the number of its model and data: cells of one number train at one pace.
pub(crate) fn kinds(outlines: &[Outlined]) -> Vec<usize> {
    let mut known: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut number = |outlined: &Outlined| {
        let next = known.len();
        *known.entry((outlined.model.to_string(), outlined.data.to_string())).or_insert(next)
    };
    outlines.iter().map(&mut number).collect()
}

/// Seconds that one worker needs for what is still to be trained, by the pace of the stages that the sweep has trained already: of
/// the same model and data ([`kinds`]) where there are any, else of all. `None` before there is a pace, and where only the data tell how many
/// updates there are.
pub(crate) fn seconds_left(graph: &Graph, kinds: &[usize], states: &[Option<RunStatus>], done: &[bool]) -> Option<f64> {
    let mut left = graph.nodes.iter().zip(done).filter(|(node, done)| node.updates > 0 && !**done).peekable();
    if left.peek().is_none() {
        return Some(0.0);
    }
    if graph.in_epochs {
        return None;
    }
    let mut paces: BTreeMap<usize, Pace> = BTreeMap::new();
    let mut all = Pace::default();
    for (cell, state) in states.iter().enumerate() {
        // What came from the store took no time here.
        for stage in state.iter().flat_map(|state| &state.stages).filter(|stage| stage.seconds > 0.0 && stage.done > 0)
        {
            let pace = Pace { seconds: stage.seconds, updates: stage.done };
            paces.entry(kinds[cell]).or_default().add(pace);
            all.add(pace);
        }
    }
    left.map(|(node, _)| paces.get(&kinds[node.cells[0]]).unwrap_or(&all).seconds_for(node.updates)).sum()
}

#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    seconds: f64,
    updates: u64,
}

impl Pace {
    fn add(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.updates += other.updates;
    }

    fn seconds_for(&self, updates: u64) -> Option<f64> {
        (self.updates > 0).then(|| self.seconds / self.updates as f64 * updates as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::graph::Node;
    use super::*;

    fn node(cell: usize, reads: &[usize], points: &[u64]) -> Node {
        let (reads, points) = (reads.iter().copied().collect(), points.iter().copied().collect());
        Node { key: String::new(), name: String::new(), updates: 5, cells: vec![cell], reads, points }
    }

    fn most(nodes: Vec<Node>, of_cell: &[&[usize]]) -> WeightsAtOnce {
        let done = vec![false; nodes.len()];
        let of_cell: Vec<Vec<usize>> = of_cell.iter().map(|stages| stages.to_vec()).collect();
        let bytes = vec![Some(10); of_cell.len()];
        weights_at_once(&Graph { nodes, of_cell, naive: 0, in_epochs: false }, &done, &bytes)
    }

    #[test]
    fn weights_are_held_until_their_last_reader_is_trained() {
        // Three finetunings on their own: one at a time.
        let alone = most((0..3).map(|cell| node(cell, &[], &[])).collect(), &[&[0], &[1], &[2]]);
        assert_eq!(alone, WeightsAtOnce { copies: 1, bytes: Some(10) });
        // Each round of IMP beside the one before.
        let imp = most(vec![node(0, &[], &[]), node(0, &[0], &[]), node(0, &[1], &[])], &[&[0, 1, 2]]);
        assert_eq!(imp.copies, 2);
        // The dense finetuning, wanted by a cell at the end, beside the one of each cell between.
        let dense = vec![node(0, &[], &[]), node(1, &[], &[]), node(2, &[], &[]), node(3, &[0], &[])];
        assert_eq!(most(dense, &[&[0], &[1], &[2], &[0, 3]]), WeightsAtOnce { copies: 2, bytes: Some(20) });
        // Two rewind points of the first stage until the run ends.
        let rewound = vec![node(0, &[], &[1, 2]), node(0, &[0], &[]), node(0, &[0, 1], &[])];
        assert_eq!(most(rewound, &[&[0, 1, 2]]).copies, 4);
        assert_eq!(most(Vec::new(), &[]), WeightsAtOnce::default());
    }

    #[test]
    fn what_is_not_here_has_no_bytes() {
        let graph = Graph { nodes: vec![node(0, &[], &[])], of_cell: vec![vec![0]], naive: 1, in_epochs: false };
        assert_eq!(weights_at_once(&graph, &[false], &[None]), WeightsAtOnce { copies: 1, bytes: None });
        assert_eq!(weights_at_once(&graph, &[true], &[None]), WeightsAtOnce { copies: 0, bytes: None });
    }
}
