//! Sparse evolutionary training (Mocanu et al. 2018): a hard mask of constant size that drops its smallest weights and grows at
//! random. It starts from the magnitudes of theta_0, not from a random mask: there is something to keep.

use lopper::plugin::{
    Allocation, Among, Arc, Layout, MaskTensors, PruningStrategy, Request, Result, RunSpec, ScheduleSpec, Scores,
    Sparsity, Stage, StageMethod, View, options, strategy,
};

options! {
    /// Options of SET.
    pub(crate) struct SetOptions {
        /// Share of the kept weights that are replaced after each pass over the data: ζ.
        replace: f64 = 0.3,
    }
}

struct Set(SetOptions);

impl PruningStrategy for Set {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        // Not after the last pass: what grows then is never trained.
        let passes = (1..).map(|pass| pass * run.updates_per_epoch.max(1)).take_while(|update| *update < run.updates);
        let evolve = ScheduleSpec::list(passes.map(|update| (update, run.sparsity)));
        let stage = Stage::dense(run).named(format!("set at {}", run.sparsity)).discovered(run.sparsity);
        Ok(vec![stage.schedule(evolve).allocation(Allocation::Erk).own_scores().mask_grows()])
    }

    fn method(&self, _: &Stage, _: &Arc<Layout>) -> Result<Box<dyn StageMethod>> {
        Ok(Box::new(Evolution { replace: self.0.replace }))
    }
}

struct Evolution {
    replace: f64,
}

impl StageMethod for Evolution {
    fn score(&mut self, view: &View<'_>) -> Result<Scores> {
        if view.update() == 0 {
            return Ok(Scores::Magnitude);
        }
        let kept = (1.0 - view.mask().sparsity().get()) * (1.0 - self.replace);
        let smaller = Request::global(Sparsity::new(1.0 - kept)?).among(Among::Survivors);
        let stay = view.select(&Scores::Magnitude, &smaller.allocated(Allocation::of(view.mask())))?;
        // Numbers below 1, the same whenever the run is repeated or continued.
        view.scores(|index, weight| {
            Ok(view.uniform(index)?.f_masked_fill(&stay.kept_tensor(index, weight.tensor.device())?, 2.0)?)
        })
    }
}

strategy! {
    name: "set",
    summary: "a hard mask that drops small weights and grows at random (sparse evolutionary training)",
    options: SetOptions,
    open: |options| Ok(Set(options)),
}
