//! Named weights and what each is for.

use crate::{Error, ParameterName, Result};
use tch::Tensor;

/// What part a parameter plays in finetuning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Pre-trained and trained further.
    Encoder,
    /// Made fresh for the task, from the run's seed.
    Head,
    /// Pre-trained and never changed.
    Frozen,
}

/// One weight of a model. `tensor` shares its storage with the model: writing into it in place changes the model.
#[derive(Debug)]
pub struct Parameter {
    /// Hugging Face's name.
    pub name: ParameterName,
    /// Whether and how it is trained.
    pub role: Role,
    /// Any shape; float32 on the model's device. Leaf tensor, `requires_grad` unless the role is `Frozen`.
    pub tensor: Tensor,
}

/// All weights of a model, in a fixed order.
#[derive(Debug, Default)]
pub struct Parameters {
    entries: Vec<Parameter>,
}

impl Parameters {
    /// Collects parameters.
    ///
    /// # Errors
    /// [`Error::Layout`] naming every name that occurs twice.
    pub fn new(entries: Vec<Parameter>) -> Result<Self> {
        let mut seen = std::collections::BTreeSet::new();
        let problems: Vec<_> =
            entries.iter().filter(|p| !seen.insert(&p.name)).map(|p| format!("`{}` occurs twice", p.name)).collect();
        if problems.is_empty() {
            Ok(Self { entries })
        } else {
            Err(Error::Layout { context: "parameters".into(), problems })
        }
    }

    /// In the model's order.
    pub fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.entries.iter()
    }

    /// The parameter of that name.
    pub fn get(&self, name: &ParameterName) -> Option<&Parameter> {
        self.entries.iter().find(|p| p.name == *name)
    }

    /// Those that an optimizer updates: every role but `Frozen`.
    pub fn trainable(&self) -> impl Iterator<Item = &Parameter> {
        self.entries.iter().filter(|p| p.role != Role::Frozen)
    }
}
