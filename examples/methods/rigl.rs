//! RigL (Evci et al. 2020): a hard mask of constant size that drops its smallest weights and grows where gradients are largest.
//! It starts from the magnitudes of theta_0, not from a random mask: there is something to keep.

use lopper::plugin::{
    Allocation, Among, Arc, Gradients, Layout, MaskTensors, Measures, PruningStrategy, Request, Result, RunSpec,
    ScheduleSpec, Scores, Sparsity, Stage, StageMethod, View, options, strategy, tch::Kind,
};

options! {
    /// Options of RigL.
    pub(crate) struct RiglOptions {
        /// Updates between two changes of the mask: ΔT.
        every: u64 = 20,
        /// Share of the kept weights that are replaced at first: α.
        replace: f64 = 0.3,
        /// Share of the finetuning after which nothing is replaced any more: T_end.
        until: f64 = 0.75,
    }
}

struct Rigl(RiglOptions);

impl PruningStrategy for Rigl {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        let stage = Stage::dense(run).named(format!("rigl at {}", run.sparsity)).discovered(run.sparsity);
        let stage = stage.schedule(ScheduleSpec::constant(self.0.every, run.sparsity)).allocation(Allocation::Erk);
        Ok(vec![stage.own_scores().mask_grows().gradients(Gradients::WhenDue)])
    }

    fn method(&self, _: &Stage, _: &Arc<Layout>) -> Result<Box<dyn StageMethod>> {
        Ok(Box::new(Replacement { options: self.0.clone(), share: 0.0 }))
    }
}

struct Replacement {
    options: RiglOptions,
    /// Replaced at the last change.
    share: f64,
}

impl StageMethod for Replacement {
    fn score(&mut self, view: &View<'_>) -> Result<Scores> {
        if view.update() == 0 {
            return Ok(Scores::Magnitude);
        }
        // Cosine annealing, section 3 (3).
        let progress = (view.update() as f64 / (self.options.until * view.total() as f64)).min(1.0);
        self.share = self.options.replace / 2.0 * (1.0 + (std::f64::consts::PI * progress).cos());
        let kept = (1.0 - view.mask().sparsity().get()) * (1.0 - self.share);
        let smaller = Request::global(Sparsity::new(1.0 - kept)?).among(Among::Survivors);
        let stay = view.select(&Scores::Magnitude, &smaller.allocated(Allocation::of(view.mask())))?;
        view.scores(|index, weight| {
            let grow = match view.gradient(index)? {
                Some(gradient) => gradient.f_abs()?,
                None => view.kept(index)?.f_to_kind(Kind::Float)?,
            };
            Ok(grow.f_masked_fill(&stay.kept_tensor(index, weight.tensor.device())?, f64::from(f32::MAX))?)
        })
    }

    fn measures(&self) -> Measures {
        Measures::from([("replaced_share".to_owned(), self.share)])
    }
}

strategy! {
    name: "rigl",
    summary: "a hard mask that drops small weights and grows where gradients are large (RigL)",
    options: RiglOptions,
    open: |options| Ok(Rigl(options)),
}
