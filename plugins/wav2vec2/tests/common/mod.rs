//! What the tests of this crate share.
#![allow(dead_code)]

use lopper_core::{Batch, Head, Inputs, ModelRequest, Result, Targets, Task};
use lopper_wav2vec2::Wav2Vec2Model;
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

pub(crate) type Fixture = BTreeMap<String, Tensor>;

/// The four ways of normalising, and other sizes and functions.
pub(crate) const CASES: [&str; 6] = ["base", "xlsr", "group_first", "layer_last", "other", "usual"];

/// Options that turn off everything random.
pub(crate) const STILL: &str = "hidden_dropout = 0.0\nattention_dropout = 0.0\nactivation_dropout = 0.0
feat_proj_dropout = 0.0\nfinal_dropout = 0.0\nlayerdrop = 0.0\nmask_time_prob = 0.0\nmask_feature_prob = 0.0\n";

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// All tensors of a safetensors file.
pub(crate) fn read(path: &Path) -> Fixture {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.iter()
        .map(|(name, view)| {
            let kind = match view.dtype() {
                Dtype::F32 => Kind::Float,
                Dtype::I64 => Kind::Int64,
                other => panic!("{name}: {other:?}"),
            };
            let shape: Vec<i64> = view.shape().iter().map(|d| *d as i64).collect();
            (name.to_owned(), Tensor::from_data_size(view.data(), &shape, kind))
        })
        .collect()
}

pub(crate) fn expected(case: &str) -> Fixture {
    read(&fixtures().join(case).join("expected.safetensors"))
}

pub(crate) fn open(path: &Path, options: &str, task: Option<&Task>) -> Result<Wav2Vec2Model> {
    let options = options.parse().unwrap();
    let request = ModelRequest { path: path.to_owned(), options: &options, task, device: Device::Cpu, seed: 5 };
    Wav2Vec2Model::open(&request)
}

pub(crate) fn ctc(symbols: &[&str], blank: usize) -> Head {
    Head::Ctc { vocabulary: symbols.iter().map(|s| (*s).to_owned()).collect(), blank }
}

pub(crate) fn task(head: Head) -> Task {
    Task::new("test", head, "wer").lower_is_better()
}

pub(crate) fn integers(tensor: &Tensor) -> Vec<i64> {
    Vec::try_from(tensor).unwrap()
}

/// Sequences that were written one after the other.
pub(crate) fn sequences(flat: &Tensor, lengths: &Tensor) -> Vec<Vec<i64>> {
    let mut rest = integers(flat).into_iter();
    integers(lengths).iter().map(|n| rest.by_ref().take(*n as usize).collect()).collect()
}

/// The batch of a fixture.
pub(crate) fn batch(fixture: &Fixture) -> Batch {
    let inputs = ["input_values", "lengths"].map(|name| (name, fixture[name].shallow_clone()));
    let targets = sequences(&fixture["targets"], &fixture["target_lengths"]);
    let len = targets.len();
    Batch::new(Inputs::from(inputs), Targets::Sequences(targets), len)
}

/// The largest magnitude.
pub(crate) fn peak(x: &Tensor) -> f64 {
    x.abs().max().double_value(&[])
}

/// max |a - b| / max |b|.
pub(crate) fn relative_error(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    peak(&(a.to_kind(Kind::Double) - b.to_kind(Kind::Double))) / peak(b)
}

/// The valid steps of a row.
pub(crate) fn row(logits: &Tensor, row: usize, steps: i64) -> Tensor {
    logits.get(row as i64).narrow(0, 0, steps)
}

/// Writes tensors as `model.safetensors`.
pub(crate) fn save(directory: &Path, tensors: &[(String, Tensor)]) {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, t)| Vec::<f32>::try_from(t.detach().to_kind(Kind::Float).flatten(0, -1)).unwrap())
        .map(|values| values.iter().flat_map(|v| v.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, t), bytes)| {
        let shape = t.size().iter().map(|d| *d as usize).collect();
        (name, safetensors::tensor::TensorView::new(Dtype::F32, shape, bytes).unwrap())
    });
    std::fs::write(directory.join("model.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
}

/// A copy of a case's checkpoint whose tensors `change` may change.
pub(crate) fn changed(case: &str, change: impl Fn(&mut Fixture)) -> tempfile::TempDir {
    let (directory, source) = (tempfile::tempdir().unwrap(), fixtures().join(case));
    std::fs::copy(source.join("config.json"), directory.path().join("config.json")).unwrap();
    let mut tensors = read(&source.join("model.safetensors"));
    change(&mut tensors);
    save(directory.path(), &tensors.into_iter().collect::<Vec<_>>());
    directory
}
