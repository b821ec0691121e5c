//! What PARP's re-pruning adds to a finetuning.

use super::Bench;
use super::arm::{Arm, interleave};
use super::data::write_even;
use super::report::{Figure, Target, median};
use anyhow::Result;
use serde_json::json;
use toml::toml;

/// Tokens a sentence: about what CoLA has. The shorter an update, the more a re-prune weighs.
const LENGTH: usize = 16;
/// Updates between re-prunes of the slower of the two.
const SELDOM: usize = 50;
/// Updates left out at the start, where memory is fetched.
const WARM_UP: usize = 5;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    let updates = if bench.options.short { SELDOM } else { 6 * SELDOM };
    let data = bench.folder("parp data")?;
    write_even(&bench.model()?.join("vocab.txt"), LENGTH, &data)?;
    let changes = [
        ("dense", toml! { [prune] }),
        (
            "parp n 1",
            toml! { [prune]
            method = "parp"
            sparsity = 0.7
            every = 1 },
        ),
        (
            "parp n 50",
            toml! { [prune]
            method = "parp"
            sparsity = 0.7
            every = 50 },
        ),
    ];
    let mut arms = Vec::new();
    for (name, changes) in changes {
        let folder = bench.folder(name)?;
        arms.push(Arm::start(name, &mut bench.lopper(&data, &folder, changes)?, &folder)?);
    }
    interleave(&mut arms, updates, 1)?;

    let times = |arm: usize| &arms[arm].seconds()[WARM_UP..];
    let dense = median(times(0));
    let always = median(times(1));
    let (rarely, re_pruning) = mean_of_medians(arms[2].seconds());
    let (model, precision) = (bench.options.model_name(), bench.precision());
    let report = &mut bench.report;
    report.raw.insert(
        "parp".into(),
        json!({"dense": arms[0].seconds(), "n_1": arms[1].seconds(), "n_50": arms[2].seconds(),
            "warm_up": WARM_UP, "median_re_pruning_update_n_50": re_pruning}),
    );
    report.conditions.push(format!(
        "PARP: {model} at 70 %, {precision}, batches of 32 sentences of {LENGTH} tokens, the same in the same order; {updates} updates of \
         each of three processes, one in turn, the first {WARM_UP} left out. A time is a whole update: batch, forward, \
         backward, clipping, AdamW, re-prune, metrics. Nothing is evaluated or saved. For n = 1, medians. For n = {SELDOM} \
         the mean over {SELDOM} updates, from the median of those that re-prune and the median of the others"
    ));
    let seconds = Figure::seconds;
    report.compare("PARP, n = 1 / dense finetuning", Target::AtMost(1.10), seconds(always), seconds(dense));
    report.compare("PARP, n = 50 / dense finetuning", Target::AtMost(1.01), seconds(rarely), seconds(dense));
    Ok(())
}

/// The mean time of an update where one in [`SELDOM`] re-prunes, and the median time of those that do.
fn mean_of_medians(seconds: &[f64]) -> (f64, f64) {
    let updates = || seconds.iter().enumerate().skip(WARM_UP);
    let of = |re_prunes: bool| {
        let chosen = updates().filter(|(index, _)| (index + 1).is_multiple_of(SELDOM) == re_prunes);
        median(&chosen.map(|(_, time)| *time).collect::<Vec<_>>())
    };
    let (plain, re_pruning) = (of(false), of(true));
    ((plain * (SELDOM - 1) as f64 + re_pruning) / SELDOM as f64, re_pruning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_re_prune_counts_by_its_share() {
        let mut seconds = vec![1.0; 2 * SELDOM];
        seconds[..WARM_UP].fill(9.0);
        seconds[SELDOM - 1] = 6.0;
        seconds[2 * SELDOM - 1] = 6.0;
        let (mean, re_pruning) = mean_of_medians(&seconds);
        assert_eq!(re_pruning, 6.0);
        assert!((mean - 1.1).abs() < 1e-12, "{mean}");
    }
}
