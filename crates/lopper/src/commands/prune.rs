//! `lopper prune`: a checkpoint, once, without training.

use crate::models::ModelArguments;
use crate::output::{self, count};
use lopper_core::{
    Among, Error, Layout, MaskOrigin, MaskSet, Model, PrunableWeight, RandomKind, Result, Scores, Selector, Sparsity,
    WeightView,
};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tch::Tensor;

/// What a sparsity is.
const SHARE: &str = "a number from 0 (dense) to 1 (everything pruned)";

/// What decides which entries go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum By {
    /// The smallest absolute values over all prunable tensors together
    Magnitude,
    /// A draw from a seed
    Random,
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

    /// What decides which entries are pruned
    #[arg(long)]
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
    model_dir: PathBuf,
    mask: PathBuf,
}

impl Arguments {
    pub(super) fn execute(&self, json: bool) -> Result<()> {
        let sparsity = Sparsity::new(self.sparsity).map_err(|_| Error::invalid("--sparsity", self.sparsity, SHARE))?;
        let drawn = match (self.by, self.kind, self.seed) {
            (By::Magnitude, None, None) => None,
            (By::Magnitude, ..) => {
                return Err(Error::invalid("--by", "magnitude", "--kind and --seed belong to --by random"));
            }
            (By::Random, kind, seed) => Some((
                match kind.unwrap_or(Kind::Uniform) {
                    Kind::Uniform => RandomKind::Uniform,
                    Kind::RandomInitMagnitude => RandomKind::RandomInitMagnitude,
                },
                seed.unwrap_or(57),
            )),
        };
        let open = self.model.open()?;
        let model = open.model.as_ref();
        let mut origin = MaskOrigin::from([
            ("lopper".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("model".to_owned(), open.entry.name.to_owned()),
            ("source".to_owned(), self.model.source()),
        ]);
        let layout = Arc::new(model.layout()?);
        let by = match drawn {
            None => "magnitude".to_owned(),
            Some((RandomKind::Uniform, _)) => "random, uniform".to_owned(),
            Some((RandomKind::RandomInitMagnitude, _)) => "random, random_init_magnitude".to_owned(),
        };
        origin.insert("method".into(), by.clone());
        let mask = match drawn {
            None => magnitude(&layout, &prunable(model)?, sparsity)?,
            Some((kind, seed)) => {
                origin.insert("seed".into(), seed.to_string());
                match kind {
                    RandomKind::Uniform => MaskSet::random(layout, sparsity, seed),
                    RandomKind::RandomInitMagnitude => magnitude(&layout, &model.random_prunable(seed)?, sparsity)?,
                }
            }
        };
        save(&self.out, model, &self.model.source(), &mask, &origin, by, json)
    }
}

/// Saves a model with its mask, and tells what was pruned by what.
///
/// # Errors
/// Those of [`lopper_weights::save_model`].
pub(super) fn save(
    out: &Path,
    model: &dyn Model,
    source: &str,
    mask: &MaskSet,
    origin: &MaskOrigin,
    by: String,
    json: bool,
) -> Result<()> {
    lopper_weights::save_model(out, model, Some(mask), origin)?;
    let pruned = Pruned {
        model: source.to_owned(),
        by,
        sparsity: mask.sparsity().get(),
        pruned: mask.pruned(),
        entries: mask.layout().entries(),
        model_dir: out.to_owned(),
        mask: out.join("mask.safetensors"),
    };
    output::report(json, &pruned, || {
        format!(
            "pruned {} of {} entries by {}: sparsity {:.6}\nmodel  {}\nmask   {}",
            count(pruned.pruned),
            count(pruned.entries),
            pruned.by,
            pruned.sparsity,
            display(&pruned.model_dir),
            display(&pruned.mask),
        )
    })
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

/// The mask that prunes the smallest magnitudes of `tensors`, which stand in the order of the layout.
fn magnitude(layout: &Arc<Layout>, tensors: &[Tensor], sparsity: Sparsity) -> Result<MaskSet> {
    if tensors.len() != layout.tensors().len() {
        let (found, wanted) = (tensors.len(), layout.tensors().len());
        return Err(Error::Other(format!("the model made {found} tensors to rank; it has {wanted} that are prunable")));
    }
    let weights = layout.tensors().iter().zip(tensors).map(|(place, tensor)| PrunableWeight {
        name: place.name(),
        tensor,
        host: lopper_torch::host_slice(tensor),
        gradient: None,
    });
    let view = WeightView::new(layout, weights.collect(), 0);
    let dense = MaskSet::dense(layout.clone());
    Selector::new().select(&view, &Scores::Magnitude, &dense, sparsity, Among::All)
}
