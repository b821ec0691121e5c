//! A method of a third party that uses all that a method can use.

use lopper::plugin::tch::Tensor;
use lopper::plugin::{
    API_VERSION, Arc, BTreeMap, Calibration, Collect, Error, Gradients, Layout, MaskSchedule, MaskScheduleEntry, Measures,
    MethodState, Pattern, PrunedWeights, PruningStrategy, Result, RunSpec, ScheduleSpec, Scores, Sparsity, Stage, StageMethod,
    View, options, serde, strategy, tracing,
};

/// An option of a type of its own.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(crate = "lopper::plugin::serde", rename_all = "snake_case")]
pub enum Signal {
    /// |g|.
    Gradient,
    /// |m|, Adam's first moment.
    Momentum,
}

options! {
    /// Options of the method.
    pub struct OutsideOptions {
        /// Updates between re-prunes.
        every: u64 = 10,
        /// `gradient` or `momentum`.
        signal: Signal = Signal::Gradient,
        /// Batches of calibration; none when absent.
        batches: Option<u64> = None,
    }
}

struct Outside(OutsideOptions);

impl Outside {
    fn new(options: OutsideOptions) -> Result<Self> {
        if options.every == 0 {
            return Err(Error::invalid("[prune] every", 0, "a number of updates from 1 up"));
        }
        Ok(Self(options))
    }
}

impl PruningStrategy for Outside {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        let mut stage = Stage::dense(run)
            .named(format!("outside at {}", run.sparsity))
            .discovered(run.sparsity)
            .schedule(ScheduleSpec::new("outside", Default::default()))
            .pattern(Pattern::Blocks { rows: 1, columns: 1 })
            .pruned(PrunedWeights::Trainable)
            .own_scores()
            .gradients(Gradients::EveryUpdate);
        stage.recipe.learning_rate /= 2.0;
        Ok(vec![match self.0.batches {
            Some(batches) => stage.calibration(Calibration::new(batches, Collect::Gradients)),
            None => stage,
        }])
    }

    fn accepts(&self, layout: &Layout, target: Sparsity) -> Result<()> {
        match layout.tensors().len() {
            0 => Err(Error::invalid("prunable tensors", 0, format!("at least one to be {target} sparse"))),
            _ => Ok(()),
        }
    }

    fn method(&self, _: &Stage, _: &Arc<Layout>) -> Result<Box<dyn StageMethod>> {
        Ok(Box::new(Method { signal: self.0.signal, sums: BTreeMap::new() }))
    }
}

struct Method {
    signal: Signal,
    sums: BTreeMap<String, Tensor>,
}

impl StageMethod for Method {
    fn after_backward(&mut self, view: &View<'_>) -> Result<()> {
        tracing::info!(update = view.update(), total = view.total(), api = API_VERSION, "seen");
        for (index, weight) in view.weights().iter().enumerate() {
            let signal = match self.signal {
                Signal::Gradient => view.gradient(index)?,
                Signal::Momentum => view.moment(index, "exp_avg")?,
            };
            if let Some(signal) = signal {
                self.sums.insert(weight.name.to_string(), signal.f_abs()?);
            }
        }
        Ok(())
    }

    fn score(&mut self, view: &View<'_>) -> Result<Scores> {
        view.scores(|_, weight| match self.sums.get(weight.name.as_str()) {
            Some(sum) => Ok(sum.shallow_clone()),
            None => Ok(weight.tensor.f_abs()?),
        })
    }

    fn measures(&self) -> Measures {
        Measures::from([("seen".to_owned(), self.sums.len() as f64)])
    }

    fn state(&self) -> MethodState {
        MethodState::of(&self.sums)
    }

    fn load_state(&mut self, state: MethodState) -> Result<()> {
        self.sums = state.tensors;
        Ok(())
    }
}

strategy! {
    name: "outside",
    summary: "a method of a third party",
    options: OutsideOptions,
    open: Outside::new,
}

/// The last update alone.
struct Last;

impl MaskSchedule for Last {
    fn target(&self, update: u64, total: u64) -> Option<Sparsity> {
        (update == total).then_some(Sparsity::DENSE)
    }
}

lopper::plugin::inventory::submit! {
    MaskScheduleEntry::new("outside", "the last update alone", &[], "outside 0.1.0", |_| Ok(Box::new(Last)))
}
