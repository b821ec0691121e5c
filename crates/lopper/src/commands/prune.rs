//! `lopper prune`: a checkpoint, once, without training.

use crate::models::ModelArguments;
use crate::output::{self, count};
use lopper_core::{
    Among, Batching, Error, InitialMask, Layout, MaskOrigin, MaskSet, Model, Optimizer, PrunableWeight, RandomKind,
    Recipe, Request, Result, RewindPoint, RunSpec, Scores, Selector, Sparsity, StrategyEntry, View, WeightView,
    registry,
};
use lopper_weights::{Overwrite, SaveDtype};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tch::{Device, Tensor};

/// Seeds what is drawn, unless another one is given.
const SEED: u64 = 57;
/// What a sparsity is.
const SHARE: &str = "a number from 0 (dense) to 1 (everything pruned)";

/// What decides which entries go.
#[derive(Debug, Clone, PartialEq, Eq)]
enum By {
    /// The smallest absolute values over all prunable tensors together.
    Magnitude,
    /// A draw from a seed.
    Random,
    /// The first mask of a registered strategy, with its default options.
    Strategy(String),
}

/// The words of the command, then the names that are registered.
fn by(text: &str) -> Result<By, String> {
    match text {
        "magnitude" => Ok(By::Magnitude),
        "random" => Ok(By::Random),
        name => match registry::find::<StrategyEntry>(name) {
            Ok(entry) => Ok(By::Strategy(entry.name.into())),
            Err(error) => Err(format!("give `magnitude`, `random`, or a strategy; {error}")),
        },
    }
}

/// How a random mask is drawn.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum Kind {
    /// Every set of that many entries is equally likely
    Uniform,
    /// The smallest magnitudes of a freshly initialised network
    RandomInitMagnitude,
}

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,

    /// What decides which entries are pruned: `magnitude`, the smallest absolute values over all prunable tensors together;
    /// `random`, a draw from a seed; or a strategy whose first mask needs no data and no training, such as `mpi`
    #[arg(long, value_parser = by)]
    by: By,

    /// Share of prunable entries that are pruned, from 0 to 1
    #[arg(long, allow_negative_numbers = true, value_parser = number)]
    sparsity: f64,

    /// How a random mask is drawn, with --by random [default: uniform]
    #[arg(long)]
    kind: Option<Kind>,

    /// Seeds a random mask, with --by random [default: 57]
    #[arg(long)]
    seed: Option<u64>,

    /// Directory for the pruned model and its mask
    #[arg(long)]
    out: PathBuf,

    #[command(flatten)]
    dtype: DtypeArgument,
}

/// The type that weights are saved in.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct DtypeArgument {
    /// The type that weights are saved in: "as loaded", float32, float16 or bfloat16
    #[arg(long = "dtype", value_name = "TYPE", default_value = "as loaded")]
    pub(super) dtype: SaveDtype,
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| format!("give {SHARE}"))
}

#[derive(Serialize)]
struct Pruned {
    model: String,
    by: String,
    sparsity: f64,
    pruned: u64,
    entries: u64,
    /// Prunable entries of the model that were zero before.
    zeros_before: u64,
    /// Those that are in the saved one, whether the mask prunes them or not.
    zeros: u64,
    /// The type of most weights in the saved model.
    dtype: &'static str,
    model_dir: PathBuf,
    mask: PathBuf,
}

impl Arguments {
    pub(super) fn execute(&self, json: bool) -> Result<()> {
        let sparsity = Sparsity::new(self.sparsity).map_err(|_| Error::invalid("--sparsity", self.sparsity, SHARE))?;
        let drawn = match (&self.by, self.kind, self.seed) {
            (By::Magnitude | By::Strategy(_), None, None) => None,
            (By::Magnitude | By::Strategy(_), ..) => {
                return Err(Error::invalid("--by", self.by.name(), "--kind and --seed belong to --by random"));
            }
            (By::Random, kind, seed) => Some((
                match kind.unwrap_or(Kind::Uniform) {
                    Kind::Uniform => RandomKind::Uniform,
                    Kind::RandomInitMagnitude => RandomKind::RandomInitMagnitude,
                },
                seed.unwrap_or(SEED),
            )),
        };
        let open = self.model.open()?;
        let model = open.model.as_ref();
        let mut origin = MaskOrigin::from([
            ("lopper".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("model".to_owned(), open.entry.name.to_owned()),
            ("source".to_owned(), self.model.source()),
        ]);
        lopper_weights::record_model_options(&mut origin, model);
        let layout = Arc::new(model.layout()?);
        let by = match drawn {
            None => self.by.name().to_owned(),
            Some((RandomKind::Uniform, _)) => "random, uniform".to_owned(),
            Some((RandomKind::RandomInitMagnitude, _)) => "random, random_init_magnitude".to_owned(),
        };
        origin.insert("method".into(), by.clone());
        let mask = match drawn {
            None => match &self.by {
                By::Strategy(name) => first_mask(name, &layout, model, sparsity)?,
                By::Magnitude | By::Random => magnitude(&layout, &prunable(model)?, sparsity)?,
            },
            Some((kind, seed)) => {
                origin.insert("seed".into(), seed.to_string());
                match kind {
                    RandomKind::Uniform => MaskSet::random(layout, sparsity, seed),
                    RandomKind::RandomInitMagnitude => magnitude(&layout, &model.random_prunable(seed)?, sparsity)?,
                }
            }
        };
        save((&self.out, self.dtype), model, &self.model.source(), &mask, &origin, by, json)
    }
}

/// Saves a model with its mask, and tells what was pruned by what.
///
/// # Errors
/// Those of [`lopper_weights::save_model`].
pub(super) fn save(
    (out, dtype): (&Path, DtypeArgument),
    model: &dyn Model,
    source: &str,
    mask: &MaskSet,
    origin: &MaskOrigin,
    by: String,
    json: bool,
) -> Result<()> {
    let (zeros_before, zeros) = (model.zeros()?, zeros_after(model, mask)?);
    let dtype = dtype.dtype;
    lopper_weights::save_model_with(out, model, Some(mask), origin, Overwrite::default(), dtype)?;
    let pruned = Pruned {
        model: source.to_owned(),
        by,
        sparsity: mask.sparsity().get(),
        pruned: mask.pruned(),
        entries: mask.layout().entries(),
        zeros_before,
        zeros,
        dtype: dtype.usual_name(model),
        model_dir: out.to_owned(),
        mask: out.join("mask.safetensors"),
    };
    output::report(json, &pruned, || {
        let already = match zeros_before {
            0 => String::new(),
            before => format!(
                "\n{} of them were zero before; with these {} are zero now, {:.6} of all",
                count(before),
                count(zeros),
                zeros as f64 / pruned.entries.max(1) as f64
            ),
        };
        let dtype = match pruned.dtype {
            "float32" => String::new(),
            other => format!("\nweights in {other}"),
        };
        format!(
            "pruned {} of {} entries by {}: sparsity {:.6}{already}{dtype}\nmodel  {}\nmask   {}",
            count(pruned.pruned),
            count(pruned.entries),
            pruned.by,
            pruned.sparsity,
            display(&pruned.model_dir),
            display(&pruned.mask),
        )
    })
}

/// Prunable entries that are zero once the mask is applied.
fn zeros_after(model: &dyn Model, mask: &MaskSet) -> Result<u64> {
    let mut zeros = 0;
    for (index, tensor) in prunable(model)?.iter().enumerate() {
        let mut values = vec![0f32; tensor.numel()];
        tensor.f_to_device(Device::Cpu)?.f_copy_data(&mut values, tensor.numel())?;
        mask.apply(index, &mut values)?;
        zeros += values.iter().filter(|value| **value == 0.0).count() as u64;
    }
    Ok(zeros)
}

fn display(path: &Path) -> String {
    path.display().to_string()
}

fn prunable(model: &dyn Model) -> Result<Vec<Tensor>> {
    let parameters = model.parameters();
    let get = |name| parameters.get(name).map(|p| p.tensor.detach());
    model
        .prunable()
        .iter()
        .map(|name| get(name).ok_or_else(|| Error::Other(format!("prunable `{name}` is not a parameter"))))
        .collect()
}

impl By {
    fn name(&self) -> &str {
        match self {
            Self::Magnitude => "magnitude",
            Self::Random => "random",
            Self::Strategy(name) => name,
        }
    }
}

/// The mask that a strategy's first stage starts with.
///
/// # Errors
/// [`Error::Unsupported`] for a strategy whose first mask needs data or training, or is not of that sparsity; its own refusals
/// of this layout or sparsity.
fn first_mask(name: &str, layout: &Arc<Layout>, model: &dyn Model, sparsity: Sparsity) -> Result<MaskSet> {
    let entry = registry::find::<StrategyEntry>(name)?;
    let plugin = format!("strategy plugin `{name}`");
    lopper_torch::guarded(&plugin, || {
        let strategy = (entry.open)(&toml::Table::new())?;
        strategy.accepts(layout, sparsity)?;
        let run = RunSpec { sparsity, updates: 0, updates_per_epoch: 1, recipe: untrained(), seed: SEED };
        let stages = strategy.plan(&run)?;
        let refuse = |feature: &str| Error::Unsupported {
            what: plugin.clone(),
            feature: format!("{feature}; use `lopper run`"),
        };
        let stage = stages.first().ok_or_else(|| refuse("a plan without stages"))?;
        stage.check(layout)?;
        if stage.calibration.is_some() {
            return Err(refuse("pruning without data: it is calibrated on training batches"));
        }
        match &stage.mask {
            InitialMask::Discover { on: RewindPoint::Pretrained | RewindPoint::Current, sparsity: first, among }
                if *first == sparsity =>
            {
                let tensors = prunable(model)?;
                let weights = view(layout, &tensors)?;
                let dense = MaskSet::dense(layout.clone());
                let seen = View::new(&weights, stage, &dense).of_run(name, run.seed);
                let mut method = strategy.method(stage, layout)?;
                Ok(Selector::new().next_mask(method.as_mut(), &seen, sparsity, *among)?.0)
            }
            InitialMask::Random { kind: RandomKind::Uniform, sparsity: first, seed } if *first == sparsity => {
                Ok(MaskSet::random_as(layout.clone(), &stage.request(sparsity, Among::All), *seed)?)
            }
            _ => Err(refuse("pruning without training: its first mask is another one")),
        }
    })
}

/// A recipe for plans of which nothing is trained.
fn untrained() -> Recipe {
    Recipe::new(Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 }, 0.0, Batching::Examples(1))
}

fn view<'a>(layout: &'a Arc<Layout>, tensors: &'a [Tensor]) -> Result<WeightView<'a>> {
    let weights = layout.tensors().iter().zip(tensors);
    let weights = weights.map(|(place, tensor)| PrunableWeight::new(place.name(), tensor));
    Ok(WeightView::new(layout, weights.collect::<Result<_>>()?).lent_by(lopper_torch::lend_hosts))
}

/// The mask that prunes the smallest magnitudes of `tensors`, which stand in the order of the layout.
fn magnitude(layout: &Arc<Layout>, tensors: &[Tensor], sparsity: Sparsity) -> Result<MaskSet> {
    if tensors.len() != layout.tensors().len() {
        let (found, wanted) = (tensors.len(), layout.tensors().len());
        return Err(Error::Other(format!("the model made {found} tensors to rank; it has {wanted} that are prunable")));
    }
    let view = view(layout, tensors)?;
    let dense = MaskSet::dense(layout.clone());
    Selector::new().select(&view, &Scores::Magnitude, &dense, &Request::global(sparsity))
}
