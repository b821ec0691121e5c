//! The next mask of a stage: a method scores, and the core ranks.

use crate::{Among, Change, MaskSet, Result, Scores, Scoring, Selector, Sparsity, StageMethod, View};

impl Selector {
    /// The next mask of a stage, at `target` sparsity among these entries: `method` scores what `view` shows, and the core
    /// ranks as the stage's allocation and pattern say, and proves that the mask is what was asked for.
    ///
    /// # Errors
    /// Those of the method; [`Error::Scores`](crate::Error::Scores) when its scores have other shapes, are not finite, or are
    /// its own where the stage promises magnitudes; and those of [`select`](Self::select).
    pub fn next_mask(
        &mut self,
        method: &mut dyn StageMethod,
        view: &View<'_>,
        target: Sparsity,
        among: Among,
    ) -> Result<(MaskSet, Change)> {
        let stage = view.stage();
        let scores = {
            let _no_grad = tch::no_grad_guard();
            method.score(view)?
        };
        if stage.scoring == Scoring::Magnitude && !matches!(scores, Scores::Magnitude) {
            return Err(view.blame("are its own, and the stage promises magnitudes: say Stage::own_scores".into()));
        }
        let request = stage.request(target, among);
        let mut mask = view.mask().clone();
        let selected = self.select_into(view.weight_view(), &scores, &mut mask, &request);
        let change = selected.map_err(|error| view.blamed(error, &scores))?;
        request.prove(&mask)?;
        Ok((mask, change))
    }
}
