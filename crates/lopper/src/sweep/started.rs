//! Who started a sweep last, and as what: the first table of the `sweep.toml` in its directory.

use lopper_core::{Error, Result};
use lopper_session::FORMAT;
use std::fs;
use std::path::Path;
use std::time::SystemTime;
use toml::{Table, Value};

/// Written by whoever starts a sweep; a worker that makes other results of the same configuration takes no part in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Started {
    /// Version of Lopper.
    lopper: String,
    /// Version of what results are a function of, which all keys of the store hold.
    results: u32,
    /// Of no other start of a sweep. Cells note in which round they ended, so that no clocks of machines are compared.
    round: String,
}

impl Started {
    /// The table's name.
    pub(super) const TABLE: &str = "started";

    /// A start by this process.
    pub(super) fn now() -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let unique = format!("{boot} {} {:?}", std::process::id(), SystemTime::now());
        let round = blake3::hash(unique.as_bytes()).to_hex()[..16].to_owned();
        Self { lopper: env!("CARGO_PKG_VERSION").into(), results: FORMAT, round }
    }

    /// The name of the round that it began.
    pub(super) fn round(&self) -> &str {
        &self.round
    }

    /// As the value of its key.
    pub(super) fn to_value(&self) -> Value {
        let mut table = Table::new();
        table.insert("lopper".into(), self.lopper.as_str().into());
        table.insert("results".into(), i64::from(self.results).into());
        table.insert("round".into(), self.round.as_str().into());
        Value::Table(table)
    }

    /// What a sweep's source says, if it is a start by a Lopper whose results are those of this one.
    ///
    /// # Errors
    /// [`Error::File`] naming the Lopper that started the sweep in `source`, this one, and what to do.
    pub(super) fn of(table: &Table, source: &Path) -> Result<Self> {
        let started = table.get(Self::TABLE).and_then(Self::read);
        let here = format!("this one is Lopper {}, results {FORMAT}", env!("CARGO_PKG_VERSION"));
        let why = match started {
            Some(started) if started.lopper == env!("CARGO_PKG_VERSION") && started.results == FORMAT => {
                return Ok(started);
            }
            Some(Self { lopper, results, .. }) => {
                format!("the sweep was started by Lopper {lopper}, results {results}, and {here}")
            }
            None => format!("does not say which Lopper started the sweep, and {here}"),
        };
        let what = "work with that one, or start the sweep again with this one, by `lopper run` or `lopper submit`";
        Err(Error::file(source, format!("{why}: two versions may make two results of one cell; {what}")))
    }

    fn read(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key)?.as_str().map(str::to_owned);
        let results = value.get("results")?.as_integer()?;
        Some(Self { lopper: text("lopper")?, results: results.try_into().ok()?, round: text("round")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(value: Value) -> Table {
        [(Started::TABLE.to_owned(), value)].into_iter().collect()
    }

    #[test]
    fn every_start_is_another_one_and_comes_back() {
        let (one, other) = (Started::now(), Started::now());
        assert_ne!(one.round(), other.round());
        assert_eq!(Started::of(&table(one.to_value()), Path::new("sweep.toml")).unwrap(), one);
    }

    #[test]
    fn another_version_is_named_and_refused() {
        let refused = |change: &dyn Fn(&mut Started)| {
            let mut started = Started::now();
            change(&mut started);
            Started::of(&table(started.to_value()), Path::new("d/sweep.toml")).unwrap_err().to_string()
        };
        let error = refused(&|started| started.lopper = "9.0.1".into());
        assert!(error.starts_with("d/sweep.toml: ") && error.contains("by Lopper 9.0.1, results"), "{error}");
        let error = refused(&|started| started.results = FORMAT + 1);
        assert!(error.contains(&format!("results {}, and this one", FORMAT + 1)), "{error}");
        for value in [Value::Integer(1), Value::Table(Table::new())] {
            let error = Started::of(&table(value), Path::new("sweep.toml")).unwrap_err().to_string();
            assert!(error.contains("does not say which Lopper"), "{error}");
        }
    }
}
