//! Saved models: complete, masked, and never in place of what Lopper did not write.
#![allow(clippy::unwrap_used)]

use lopper_core::{
    Artifact, Batch, Error, Loss, MaskOrigin, MaskSet, Mode, Model, Parameter, ParameterName, Parameters, Predictions,
    Result, Role, Sparsity,
};
use lopper_weights::{
    Checkpoint, Dtype, MARKER, Overwrite, SaveDtype, remove_saved_model, save_model, save_model_with,
};
use std::path::Path;
use std::sync::Arc;
use tch::{Kind, Tensor};

struct Toy {
    parameters: Parameters,
    prunable: Vec<ParameterName>,
    artifacts: Vec<Artifact>,
    /// The type that all but `norm` had.
    loaded: Kind,
}

impl Toy {
    fn new(scale: f32) -> Self {
        let values: Vec<f32> = (1..=12).map(|i| i as f32 * scale).collect();
        let parameter = |name: &str, shape: &[i64]| Parameter {
            name: name.into(),
            role: Role::Encoder,
            tensor: Tensor::from_slice(&values).reshape(shape).set_requires_grad(true),
        };
        let parameters = vec![parameter("b.weight", &[3, 4]), parameter("a.weight", &[12]), parameter("norm", &[2, 6])];
        let artifact = Artifact { name: "config.json".into(), bytes: format!("{{\"scale\":{scale}}}").into_bytes() };
        Self {
            parameters: Parameters::new(parameters).unwrap(),
            prunable: vec!["b.weight".into(), "a.weight".into()],
            artifacts: vec![artifact],
            loaded: Kind::Float,
        }
    }
}

impl Model for Toy {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn prunable(&self) -> &[ParameterName] {
        &self.prunable
    }

    fn loss(&self, _: &Batch, _: Mode) -> Result<Loss> {
        Err(Error::Other("has no loss".into()))
    }

    fn predict(&self, _: &Batch) -> Result<Predictions> {
        Err(Error::Other("has no output".into()))
    }

    fn identity(&self) -> String {
        "toy".into()
    }

    fn loaded_kind(&self, name: &ParameterName) -> Kind {
        if name.as_str() == "norm" { Kind::Float } else { self.loaded }
    }

    fn carried(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(vec![("cls.bias".into(), Tensor::from_slice(&[0.5f32, -3.0]).to_kind(self.loaded))])
    }

    fn artifacts(&self) -> Result<Vec<Artifact>> {
        Ok(self.artifacts.clone())
    }
}

fn origin() -> MaskOrigin {
    [("method".to_owned(), "mpi".to_owned())].into()
}

fn first_value(dir: &Path) -> f32 {
    Checkpoint::open(dir).unwrap().read_f32("norm").unwrap()[0]
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_dense_model_is_a_hugging_face_directory() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("models/toy");
    let toy = Toy::new(1.0);
    save_model(&dir, &toy, None, &origin()).unwrap();
    assert_eq!(names(&dir), ["config.json", MARKER, "model.safetensors"]);
    assert_eq!(names(&parent.path().join("models")), ["toy"], "no temporary stays");
    let checkpoint = Checkpoint::open(&dir).unwrap();
    for parameter in toy.parameters.iter() {
        assert_eq!(checkpoint.tensor(parameter.name.as_str()).unwrap(), parameter.tensor.detach());
    }
    let metadata = lopper_weights::read_metadata(&dir.join("model.safetensors")).unwrap();
    assert_eq!(metadata, [("format".to_owned(), "pt".to_owned())].into());
    let marker: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.join(MARKER)).unwrap()).unwrap();
    assert_eq!(marker["origin"]["method"], "mpi");
}

#[test]
fn a_saved_model_is_replaced_whole_and_other_files_stay() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("toy");
    let mut first = Toy::new(1.0);
    first.artifacts.push(Artifact { name: "vocab.txt".into(), bytes: b"old".to_vec() });
    save_model(&dir, &first, None, &origin()).unwrap();
    std::fs::write(dir.join("notes.txt"), "mine").unwrap();
    save_model(&dir, &Toy::new(2.0), None, &origin()).unwrap();
    assert_eq!(first_value(&dir), 2.0);
    assert_eq!(names(&dir), ["config.json", MARKER, "model.safetensors", "notes.txt"], "and what is obsolete goes");
    assert_eq!(names(parent.path()), ["toy"]);
}

#[test]
fn what_lopper_did_not_save_is_not_replaced_unless_told() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("toy");
    std::fs::create_dir(&dir).unwrap();
    save_model(&dir, &Toy::new(1.0), None, &origin()).unwrap();
    std::fs::remove_file(dir.join(MARKER)).unwrap();
    std::fs::write(dir.join("README.md"), "theirs").unwrap();
    let error = save_model(&dir, &Toy::new(2.0), None, &origin()).unwrap_err().to_string();
    assert!(error.contains(dir.to_str().unwrap()) && error.contains(MARKER), "{error}");
    assert_eq!(first_value(&dir), 1.0);
    save_model_with(&dir, &Toy::new(2.0), None, &origin(), Overwrite::Anything, SaveDtype::Float32).unwrap();
    assert_eq!(first_value(&dir), 2.0);
    assert_eq!(std::fs::read_to_string(dir.join("README.md")).unwrap(), "theirs");

    let file = parent.path().join("file");
    std::fs::write(&file, "x").unwrap();
    assert!(save_model_with(&file, &Toy::new(1.0), None, &origin(), Overwrite::Anything, SaveDtype::Float32).is_err());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "x");
}

#[test]
fn what_lopper_saved_is_removed_and_nothing_else() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("toy");
    remove_saved_model(&dir).unwrap();
    save_model(&dir, &Toy::new(1.0), None, &origin()).unwrap();
    std::fs::write(dir.join("README.md"), "theirs").unwrap();
    remove_saved_model(&dir).unwrap();
    assert_eq!(names(&dir), ["README.md"]);
    // No longer Lopper's.
    std::fs::write(dir.join("model.safetensors"), "theirs").unwrap();
    remove_saved_model(&dir).unwrap();
    assert_eq!(names(&dir), ["README.md", "model.safetensors"]);
    let alone = parent.path().join("alone");
    save_model(&alone, &Toy::new(1.0), None, &origin()).unwrap();
    remove_saved_model(&alone).unwrap();
    assert!(!alone.exists());
}

#[cfg(unix)]
#[test]
fn a_link_to_a_directory_stays_a_link() {
    let parent = tempfile::tempdir().unwrap();
    let (real, link) = (parent.path().join("real"), parent.path().join("link"));
    save_model(&real, &Toy::new(1.0), None, &origin()).unwrap();
    std::os::unix::fs::symlink("real", &link).unwrap();
    save_model(&link, &Toy::new(2.0), None, &origin()).unwrap();
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert_eq!(first_value(&real), 2.0);
}

#[test]
fn bad_artifacts_are_refused_and_the_old_model_stays() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("toy");
    save_model(&dir, &Toy::new(1.0), None, &origin()).unwrap();
    let mut toy = Toy::new(2.0);
    for name in ["../config.json", "model.safetensors", "config.json"] {
        toy.artifacts.push(Artifact { name: name.into(), bytes: Vec::new() });
    }
    let error = save_model(&dir, &toy, None, &origin()).unwrap_err().to_string();
    assert!(error.contains("3 problems") && error.contains("../config.json"), "{error}");
    assert_eq!((first_value(&dir), names(parent.path())), (1.0, vec!["toy".to_owned()]));
}

#[test]
fn a_mask_of_another_model_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let mut other = Toy::new(1.0);
    other.prunable.pop();
    let mask = MaskSet::dense(Arc::new(other.layout().unwrap()));
    let error = save_model(&parent.path().join("toy"), &Toy::new(1.0), Some(&mask), &origin()).unwrap_err().to_string();
    assert!(error.contains("a.weight"), "{error}");
    assert!(names(parent.path()).is_empty());
}

#[test]
fn pruned_weights_are_zeros_in_the_file_and_the_model_is_untouched() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("toy");
    // Negative weights: a product with 0 would leave -0.
    let toy = Toy::new(-1.0);
    let before: Vec<Tensor> = toy.parameters.iter().map(|p| p.tensor.detach().copy()).collect();
    let mask = MaskSet::random(Arc::new(toy.layout().unwrap()), Sparsity::new(0.5).unwrap(), 7);
    save_model(&dir, &toy, Some(&mask), &origin()).unwrap();

    let checkpoint = Checkpoint::open(&dir).unwrap();
    let mut zeros = 0;
    for (index, tensor) in mask.layout().tensors().iter().enumerate() {
        let original = toy.parameters.get(tensor.name()).unwrap();
        let original = Vec::<f32>::try_from(original.tensor.detach().flatten(0, -1)).unwrap();
        let saved = checkpoint.read_f32(tensor.name().as_str()).unwrap();
        for ((value, original), kept) in saved.iter().zip(original).zip(mask.to_bytes(index)) {
            let expected = if kept == 1 { original } else { 0.0 };
            assert_eq!(value.to_bits(), expected.to_bits());
            zeros += usize::from(*value == 0.0);
        }
    }
    assert_eq!(zeros, 12);
    assert_eq!(checkpoint.read_f32("norm").unwrap()[11], -12.0, "what is not prunable is saved as it is");
    assert!(toy.parameters.iter().zip(before).all(|(p, before)| p.tensor.detach() == before));
    let bytes = std::fs::read(dir.join("mask.safetensors")).unwrap();
    assert_eq!(MaskSet::from_file_bytes(&bytes).unwrap(), (mask, origin()));

    save_model(&dir, &toy, None, &origin()).unwrap();
    assert!(!dir.join("mask.safetensors").exists(), "the mask of an older save does not stay beside dense weights");
}

#[test]
fn weights_are_saved_in_the_type_that_is_asked_for() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("toy");
    let mut toy = Toy::new(1.0 / 3.0);
    toy.loaded = Kind::BFloat16;
    toy.artifacts[0].bytes = br#"{"dtype": "float32", "other": 1}"#.to_vec();
    let mask = MaskSet::random(Arc::new(toy.layout().unwrap()), Sparsity::new(0.5).unwrap(), 1);
    for (dtype, a, norm, stated) in [
        (SaveDtype::AsLoaded, Dtype::BF16, Dtype::F32, "bfloat16"),
        (SaveDtype::Float32, Dtype::F32, Dtype::F32, "float32"),
        (SaveDtype::Float16, Dtype::F16, Dtype::F16, "float16"),
        (SaveDtype::Bfloat16, Dtype::BF16, Dtype::BF16, "bfloat16"),
    ] {
        save_model_with(&dir, &toy, Some(&mask), &origin(), Overwrite::Saved, dtype).unwrap();
        assert_eq!(dtype.usual_name(&toy), stated);
        let config: serde_json::Value =
            serde_json::from_slice(&std::fs::read(dir.join("config.json")).unwrap()).unwrap();
        assert_eq!((&config["dtype"], &config["other"]), (&stated.into(), &1.into()));
        let saved = Checkpoint::open(&dir).unwrap();
        assert_eq!(
            (saved.dtype("a.weight"), saved.dtype("b.weight"), saved.dtype("norm")),
            (Some(a), Some(a), Some(norm))
        );
        // What is carried along is as it was.
        assert_eq!(saved.dtype("cls.bias"), Some(Dtype::BF16));
        let mut zeros = 0;
        for (index, name) in ["b.weight", "a.weight"].into_iter().enumerate() {
            let own = &toy.parameters.get(&name.into()).unwrap().tensor;
            let mut values = Vec::<f32>::try_from(own.detach().view([-1])).unwrap();
            mask.apply(index, &mut values).unwrap();
            let kind = match a {
                Dtype::F16 => Kind::Half,
                Dtype::BF16 => Kind::BFloat16,
                _ => Kind::Float,
            };
            let rounded = Tensor::from_slice(&values).to_kind(kind).to_kind(Kind::Float);
            let read = saved.tensor(name).unwrap().view([-1]);
            assert!(read == rounded, "{dtype:?}: {name}");
            zeros += Vec::<f32>::try_from(read).unwrap().iter().filter(|value| **value == 0.0).count();
        }
        assert_eq!(zeros as u64, mask.pruned());
    }
    assert_eq!("as loaded".parse(), Ok(SaveDtype::AsLoaded));
    assert!("half".parse::<SaveDtype>().unwrap_err().contains("`bfloat16`"));
}

#[test]
fn a_value_that_the_type_does_not_hold_is_named() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("toy");
    let save = |dtype| save_model_with(&dir, &Toy::new(1e5), None, &origin(), Overwrite::Saved, dtype);
    let error = save(SaveDtype::Float16).unwrap_err().to_string();
    assert!(error.contains("a.weight has a value that Half does not hold; save it as float32"), "{error}");
    assert!(!dir.exists());
    save(SaveDtype::Bfloat16).unwrap();
}
