//! What a stage starts from: its first mask, its method and its weights.

use super::Session;
use crate::calibration::Calibrator;
use crate::events::{Event, TrainingLines};
use crate::identity::{StartContent, mask_content, training_key};
use crate::plan::PlannedStage;
use lopper_core::{
    Among, Calibrated, Calibration, Error, HeadStart, InitialMask, MaskSet, PrunableWeight, RandomKind, Request,
    Result, RewindPoint, Role, Scores, Stage, StageMethod, View, WeightView,
};

/// How a stage starts: its first mask, a method that has made it, and what was told of that.
pub(super) struct Start {
    pub(super) mask: MaskSet,
    pub(super) method: Box<dyn StageMethod>,
    pub(super) lines: TrainingLines,
}

impl Start {
    /// As it is on record: the method need not make the mask again.
    pub(super) fn recorded(mask: MaskSet, method: Box<dyn StageMethod>) -> Self {
        Self { mask, method, lines: TrainingLines::default() }
    }
}

impl Session {
    /// How stage `index` starts, and its training key.
    pub(super) fn find_start(&mut self, index: usize) -> Result<(Start, String)> {
        let start = self.start(index)?;
        self.load_start(index)?;
        let planned = &self.plan[index];
        let stage = &planned.stage;
        let pretrained = stage.weights == RewindPoint::Pretrained && stage.head == HeadStart::Rewound;
        let weights = if pretrained { self.pretrained.hash().to_owned() } else { self.weights.hash()? };
        let content = StartContent { mask: mask_content(&start.mask)?, weights };
        let (identity, hands_on) = (&self.participants.identity, planned.hands_on);
        let key = training_key(&self.surroundings, stage, &planned.key, &content, identity, hands_on)?;
        Ok((start, key))
    }

    /// A method that remembers nothing.
    pub(super) fn method(&self, stage: &Stage) -> Result<Box<dyn StageMethod>> {
        self.plugins.strategy(|| self.participants.strategy.method(stage, self.weights.layout()))
    }

    /// How stage `index` starts.
    pub(super) fn start(&mut self, index: usize) -> Result<Start> {
        let planned = self.plan[index].clone();
        let stage = &planned.stage;
        let mut method = self.method(stage)?;
        if stage.carry && index > 0 {
            let carried = self.stored(self.key_of(index - 1)?)?.method_state()?.to_device(self.settings.device)?;
            self.plugins.strategy(|| method.load_state(carried))?;
        }
        let layout = self.weights.layout().clone();
        let mask = match &stage.mask {
            InitialMask::Dense => MaskSet::dense(layout),
            InitialMask::Keep => self.previous_mask(index)?,
            InitialMask::Load(_) => planned.loaded.as_deref().cloned().unwrap_or_else(|| MaskSet::dense(layout)),
            InitialMask::Random { kind: RandomKind::Uniform, sparsity, seed } => {
                MaskSet::random_as(layout, &stage.request(*sparsity, Among::All), *seed)?
            }
            InitialMask::Random { kind: RandomKind::RandomInitMagnitude, sparsity, seed } => {
                let tensors = self.plugins.model(|| self.participants.model.random_prunable(*seed))?;
                self.random_init_mask(&tensors, &stage.request(*sparsity, Among::All))?
            }
            InitialMask::Discover { on, sparsity, among } => {
                self.rewind(index, *on)?;
                let mask = self.previous_mask(index)?;
                let calibrated = stage.calibration.map(|calibration| self.calibrate(stage, calibration)).transpose()?;
                let weights = self.weights.view()?;
                let view = View::new(&weights, stage, &mask)
                    .of_run(self.plugins.method(), self.settings.seed)
                    .with_calibration(calibrated.as_ref());
                let ranked = || self.selector.next_mask(method.as_mut(), &view, *sparsity, *among);
                self.plugins.strategy(ranked)?.0
            }
        };
        let mut lines = TrainingLines::default();
        if stage.depends_on_method() {
            let measures = self.plugins.strategy(|| Ok(method.measures()))?;
            if !measures.is_empty() {
                lines.push(&Event::Measures { stage: None, update: 0, measures })?;
            }
        }
        Ok(Start { mask, method, lines })
    }

    /// Shows the stage's method the data, at the weights that the model holds.
    fn calibrate(&self, stage: &Stage, calibration: Calibration) -> Result<Calibrated> {
        let calibrator = Calibrator {
            model: self.participants.model.as_ref(),
            dataset: &*self.participants.dataset,
            weights: &self.weights,
            plugins: &self.plugins,
            settings: &self.settings,
            stage,
        };
        calibrator.collect(calibration)
    }

    /// The mask at the end of the stage before; dense for the first.
    fn previous_mask(&self, index: usize) -> Result<MaskSet> {
        match index.checked_sub(1).map(|before| self.key_of(before)) {
            None => Ok(MaskSet::dense(self.weights.layout().clone())),
            Some(key) => self.stored(key?)?.mask(),
        }
    }

    /// A mask by the magnitudes of a freshly initialised network, of which `tensors` are the prunable ones.
    fn random_init_mask(&mut self, tensors: &[tch::Tensor], request: &Request) -> Result<MaskSet> {
        let named = self.weights.prunable_names().zip(tensors);
        let random = named.map(|(name, tensor)| PrunableWeight::new(name, tensor));
        let random = WeightView::new(self.weights.layout(), random.collect::<Result<_>>()?);
        let dense = MaskSet::dense(self.weights.layout().clone());
        self.selector.select(&random.lent_by(lopper_torch::lend_hosts), &Scores::Magnitude, &dense, request)
    }

    /// Puts the weights that stage `index` starts from into the model.
    pub(super) fn load_start(&mut self, index: usize) -> Result<()> {
        let Stage { weights, head, .. } = self.plan[index].stage;
        self.rewind(index, weights)?;
        if head == HeadStart::Previous && index > 0 {
            let (key, updates) = (self.key_of(index - 1)?.to_owned(), self.plan[index - 1].stage.updates);
            self.pretrained.leave();
            self.load(&key, updates, Some(Role::Head))?;
        }
        Ok(())
    }

    /// Puts the weights of a rewind point of stage `index` into the model.
    fn rewind(&mut self, index: usize, point: RewindPoint) -> Result<()> {
        let (from, update) = match point {
            RewindPoint::Current if index > 0 => (index - 1, self.plan[index - 1].stage.updates),
            RewindPoint::Update(update) if index > 0 && update > 0 => (0, update),
            RewindPoint::Pretrained | RewindPoint::Current | RewindPoint::Update(_) => {
                let open = || self.plugins.model(|| (self.participants.open_model)());
                return self.pretrained.restore(&mut self.weights, open);
            }
        };
        let key = self.key_of(from)?.to_owned();
        self.pretrained.leave();
        self.load(&key, update, None)
    }

    /// Puts the weights that a stage ended with, mask ⊙ weights, into the model.
    pub(super) fn load_end(&mut self, planned: &PlannedStage) -> Result<()> {
        self.pretrained.leave();
        self.load(planned.training_key.as_deref().unwrap_or_default(), planned.stage.updates, None)
    }

    fn load(&mut self, key: &str, update: u64, only: Option<Role>) -> Result<()> {
        let stored = self.store.weights(key, update)?;
        let gone =
            || Error::file(self.store.root(), format!("the weights of {key} were removed while they were in use"));
        stored.ok_or_else(gone)?.put_into(&mut self.weights, only)
    }
}
