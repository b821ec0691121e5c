//! From an experiment to its figures.

use crate::{Artefacts, Experiment, Rendered, figures};

/// Draws every figure of an experiment, in order.
///
/// It never fails: cells that are not done, numbers that are not finite and masks and predictions that cannot be read are left out, and the captions say
/// how many and why. So it may be called while the sweep is still running. The same input gives the same bytes.
pub fn render(experiment: &Experiment, artefacts: &dyn Artefacts) -> Vec<Rendered> {
    experiment.figures.iter().map(|figure| figures::draw(&experiment.cells, figure, artefacts)).collect()
}
