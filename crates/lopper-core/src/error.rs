//! What can go wrong. Every variant names the thing, its value and what would be accepted.

pub use lopper_mask::Cause;
use std::path::PathBuf;

/// The result of every fallible operation of Lopper.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure that a user can act on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A mask that cannot be read or made. What goes wrong with anything else too is a variant of its own:
    /// [`NonFinite`](Self::NonFinite), [`Layout`](Self::Layout), [`InvalidValue`](Self::InvalidValue).
    #[error(transparent)]
    Mask(lopper_mask::Error),

    /// A weight or score that cannot be ranked.
    #[error("{tensor}[{index}] is {value}: magnitudes can only be ranked when every weight is finite")]
    NonFinite {
        /// Name of the tensor.
        tensor: String,
        /// Flat index into the tensor, row-major.
        index: u64,
        /// The value found.
        value: f32,
    },

    /// Scores of a method that cannot be ranked, or are not what its stage promises.
    #[error("the scores of method `{method}` in stage {stage} {problem}")]
    Scores {
        /// The strategy's name.
        method: String,
        /// The stage's name.
        stage: String,
        /// What is wrong with them, naming the tensor, and what would be accepted.
        problem: String,
    },

    /// Scores of other shapes than the weights.
    #[error("scores: {}", list(problems))]
    ScoreShapes {
        /// One line a tensor.
        problems: Vec<String>,
    },

    /// Something that a method's view shows only where its stage asks for it.
    #[error("method `{method}` looks at {what} that stage {stage} does not ask for: {how}")]
    NotAskedFor {
        /// The strategy's name.
        method: String,
        /// The stage's name.
        stage: String,
        /// Such as `gradients`.
        what: &'static str,
        /// How a plan asks for it.
        how: String,
    },

    /// A state that a method does not know.
    #[error("this method keeps no state, and is given {names}: a method that overrides `state` overrides `load_state`")]
    ForeignState {
        /// What is in it.
        names: String,
    },

    /// A stage that cannot be run.
    #[error("stage {stage}: {problem}")]
    Stage {
        /// The stage's name.
        stage: String,
        /// Why not.
        #[source]
        problem: Box<Error>,
    },

    /// Two mask sets, or a mask set and a model, that do not describe the same tensors.
    #[error("{context}: {}", list(problems))]
    Layout {
        /// Which two things were compared.
        context: String,
        /// One line a difference.
        problems: Vec<String>,
    },

    /// A name that no plugin has registered.
    #[error("no {kind} is called `{name}`{}; registered: {}", hint(nearest.as_deref()), known.join(", "))]
    UnknownPlugin {
        /// `strategy`, `model`, `dataset` or `mask schedule`.
        kind: &'static str,
        /// The name asked for.
        name: String,
        /// The most similar registered name, if any is close.
        nearest: Option<String>,
        /// All registered names, sorted.
        known: Vec<String>,
    },

    /// Two plugins under one name.
    #[error("two {kind} plugins are called `{name}`: one from {first}, one from {second}; remove or rename one")]
    DuplicatePlugin {
        /// `strategy`, `model`, `dataset` or `mask schedule`.
        kind: &'static str,
        /// The shared name.
        name: String,
        /// The crate that registered it first.
        first: String,
        /// The crate that registered it again.
        second: String,
    },

    /// A key that nothing reads.
    #[error("{context}: unknown key `{key}`{}; accepted: {}", hint(nearest.as_deref()), known.join(", "))]
    UnknownKey {
        /// The table the key stands in.
        context: String,
        /// The key.
        key: String,
        /// The most similar accepted key, if any is close.
        nearest: Option<String>,
        /// All accepted keys.
        known: Vec<String>,
    },

    /// A key whose value cannot be used.
    #[error("{key} = {value} is not accepted: {expected}")]
    InvalidValue {
        /// Dotted path of the key.
        key: String,
        /// The value as it was written.
        value: String,
        /// What would be accepted.
        expected: String,
    },

    /// A file that cannot be read, written or understood.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it, and what would be accepted.
        reason: String,
        /// What caused it, whose words the reason holds, where that was an error of its own: such as a
        /// [`std::io::Error`], by whose kind a full disk can be told from a missing file.
        source: Option<Cause>,
    },

    /// One line of a text file that cannot be used.
    #[error("{}, line {line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// One-based line number.
        line: u64,
        /// What is wrong with it, and what would be accepted.
        reason: String,
    },

    /// Something this model, dataset or device cannot do.
    #[error("{what} does not support {feature}")]
    Unsupported {
        /// The model, dataset or device.
        what: String,
        /// What was asked of it.
        feature: String,
    },

    /// Training that produced no usable number.
    #[error("{0}")]
    Diverged(String),

    /// The run was asked to stop; what was done is saved.
    #[error("interrupted: {0}")]
    Interrupted(String),

    /// Memory that could not be had, on the host or a GPU.
    #[error("out of memory while {during}: {reason}; {advice}")]
    OutOfMemory {
        /// What was being done.
        during: String,
        /// libtorch's own words, with sizes.
        reason: String,
        /// What to lower.
        advice: String,
    },

    /// An error of libtorch.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),

    /// What is wrong with something that a configuration names: a path, with the key under which it stands.
    #[error("{}", configured(key, error))]
    Configured {
        /// Such as `[data] path`.
        key: String,
        /// What is wrong.
        #[source]
        error: Box<Error>,
    },

    /// Code that panicked, such as a plugin's.
    #[error("{who} panicked: {message}")]
    Panicked {
        /// Whose code it is.
        who: String,
        /// What the panic said.
        message: String,
    },

    /// A device that was asked for and cannot be used.
    #[error("{name} was asked for, but {reason}; use device = \"cpu\"")]
    Device {
        /// As it was asked for.
        name: String,
        /// Why it cannot be used.
        reason: String,
    },

    /// A model that cannot be had from the hub.
    #[error("{model} {reason}")]
    Hub {
        /// The model, with its revision if one was asked for.
        model: String,
        /// What went wrong with it, where it was looked for, and what to do.
        reason: String,
    },

    /// Several independent problems, reported together.
    #[error("{} problems:\n{}", .0.len(), .0.iter().map(item).collect::<Vec<_>>().join("\n"))]
    Many(Vec<Error>),

    /// An error of a plugin that fits nothing above.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// An [`Error::File`] from anything printable.
    pub fn file(path: impl Into<PathBuf>, reason: impl std::fmt::Display) -> Self {
        Self::File { path: path.into(), reason: reason.to_string(), source: None }
    }

    /// An [`Error::File`] with what caused it: its reason is `what`, a colon, and the cause's own words.
    pub fn file_caused(path: impl Into<PathBuf>, what: impl std::fmt::Display, cause: impl Into<Cause>) -> Self {
        let cause = cause.into();
        Self::File { path: path.into(), reason: format!("{what}: {cause}"), source: Some(cause) }
    }

    /// An [`Error::InvalidValue`] from anything printable.
    pub fn invalid(key: impl Into<String>, value: impl std::fmt::Display, expected: impl Into<String>) -> Self {
        Self::InvalidValue { key: key.into(), value: value.to_string(), expected: expected.into() }
    }

    /// An [`Error::Layout`] of what is compared and every difference, of which ten are listed.
    pub fn layout(context: impl Into<String>, problems: Vec<String>) -> Self {
        lopper_mask::Error::layout(context, problems).into()
    }

    /// No error for an empty list, the error itself for one, [`Error::Many`] for more. An [`Error::Many`] among the
    /// problems counts as those it holds.
    ///
    /// # Errors
    /// When `problems` is not empty.
    pub fn all(problems: Vec<Error>) -> Result<()> {
        let mut problems: Vec<_> = problems.into_iter().flat_map(Self::into_single).collect();
        match problems.len() {
            0 => Ok(()),
            1 => Err(problems.remove(0)),
            _ => Err(Self::Many(problems)),
        }
    }

    /// The errors that an [`Error::Many`] holds, and those that they hold; any other error is itself.
    pub fn into_single(self) -> Vec<Error> {
        match self {
            Self::Many(several) => several.into_iter().flat_map(Self::into_single).collect(),
            one => vec![one],
        }
    }

    /// Both values, or the errors of both together: for two steps of which neither needs the other.
    ///
    /// # Errors
    /// That of `a`, that of `b`, or both as [`Error::Many`].
    pub fn both<A, B>(a: Result<A>, b: Result<B>) -> Result<(A, B)> {
        match (a, b) {
            (Ok(a), Ok(b)) => Ok((a, b)),
            (Err(a), Err(b)) => Err(Self::Many([a, b].into_iter().flat_map(Self::into_single).collect())),
            (Err(e), _) | (_, Err(e)) => Err(e),
        }
    }
}

impl From<lopper_mask::Error> for Error {
    fn from(error: lopper_mask::Error) -> Self {
        match error {
            lopper_mask::Error::NonFinite { tensor, index, value } => Self::NonFinite { tensor, index, value },
            lopper_mask::Error::Layout { context, problems } => Self::Layout { context, problems },
            lopper_mask::Error::InvalidValue { key, value, expected } => Self::InvalidValue { key, value, expected },
            of_masks => Self::Mask(of_masks),
        }
    }
}

/// The most similar of `known` to `name`, when one is similar enough to be a likely typo.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let length = name.chars().count();
    known
        .into_iter()
        .filter_map(|candidate| {
            let other = candidate.chars().count();
            let most = (length.max(other) / 3).max(1);
            // The distance is at least this, and takes memory for every pair of characters.
            let close = length.abs_diff(other) <= most;
            let distance = close.then(|| strsim::damerau_levenshtein(name, candidate))?;
            (distance <= most).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.to_owned())
}

/// One of several problems; a list within it stands further in.
fn item(problem: &Error) -> String {
    format!("  - {}", problem.to_string().replace('\n', "\n  "))
}

/// A problem with the key that names its path, which stands behind the path.
fn configured(key: &str, error: &Error) -> String {
    match error {
        Error::File { path, reason, .. } => format!("{} ({key}): {reason}", path.display()),
        Error::Line { path, line, reason } => format!("{} ({key}), line {line}: {reason}", path.display()),
        other => format!("{key}: {other}"),
    }
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default()
}

fn list(problems: &[String]) -> String {
    match problems {
        [one] => one.clone(),
        many => format!("{} problems:\n  - {}", many.len(), many.join("\n  - ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(text: &str) -> Error {
        Error::Other(text.into())
    }

    #[test]
    fn problems_within_problems_are_one_list() {
        let nested = Error::all(vec![other("a"), Error::Many(vec![other("b"), Error::Many(vec![other("c")])])]);
        assert_eq!(nested.unwrap_err().to_string(), "3 problems:\n  - a\n  - b\n  - c");
        assert!(Error::all(vec![Error::Many(Vec::new())]).is_ok());
        let layout = Error::Layout { context: "x".into(), problems: vec!["d".into(), "e".into()] };
        let listed = Error::all(vec![other("a"), layout]).unwrap_err().to_string();
        assert_eq!(listed, "2 problems:\n  - a\n  - x: 2 problems:\n    - d\n    - e");
    }

    #[test]
    fn causes_can_be_asked_for() {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        let error = Error::file_caused("a/b", "cannot be written", full());
        assert_eq!(error.to_string(), format!("a/b: cannot be written: {}", full()));
        let named = Error::Configured { key: "[run] out".into(), error: Box::new(error) };
        assert_eq!(named.to_string(), format!("a/b ([run] out): cannot be written: {}", full()));
        let io = std::error::Error::source(&named).and_then(std::error::Error::source).unwrap();
        assert_eq!(io.downcast_ref::<std::io::Error>().unwrap().kind(), std::io::ErrorKind::StorageFull);
        let line = Error::Line { path: "c".into(), line: 3, reason: "is empty".into() };
        let named = Error::Configured { key: "[data] path".into(), error: Box::new(line) };
        assert_eq!(named.to_string(), "c ([data] path), line 3: is empty");
    }

    #[test]
    fn two_steps_fail_together() {
        assert_eq!(Error::both(Ok(1), Ok("a")).unwrap(), (1, "a"));
        assert_eq!(Error::both::<u8, u8>(Ok(1), Err(other("b"))).unwrap_err().to_string(), "b");
        let both = Error::both::<u8, u8>(Err(other("a")), Err(other("b"))).unwrap_err();
        assert_eq!(both.to_string(), "2 problems:\n  - a\n  - b");
    }
}
