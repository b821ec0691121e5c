//! Reading a `config.json` key by key.

use lopper_core::{Error, Result};
use serde_json::{Map, Value};
use std::path::Path;

/// Longest configuration that is read, far above any published one: parsed, JSON may take many times its size.
pub const MAX_BYTES: usize = 1 << 20;

/// Collects what is wrong with single keys of a `config.json`, so that all of it is reported.
#[derive(Debug)]
pub struct Reader<'a> {
    source: &'a Map<String, Value>,
    path: &'a Path,
    problems: Vec<Error>,
}

impl<'a> Reader<'a> {
    /// A reader of `source`; `path` names the file in errors.
    pub fn new(source: &'a Map<String, Value>, path: &'a Path) -> Self {
        Self { source, path, problems: Vec::new() }
    }

    /// The text of a `config.json` as an object.
    ///
    /// # Errors
    /// [`Error::File`] when it is longer than [`MAX_BYTES`] or no JSON object.
    pub fn object(text: &[u8], path: &Path) -> Result<Map<String, Value>> {
        if text.len() > MAX_BYTES {
            let reason = format!("is {} bytes long; a configuration of at most {MAX_BYTES} is accepted", text.len());
            return Err(Error::file(path, reason));
        }
        serde_json::from_slice(text).map_err(|e| Error::file_caused(path, "not a JSON object", e))
    }

    /// The value of `key` as `read` accepts it, or `default` when the key is absent or refused.
    pub fn field<T>(&mut self, key: &str, default: T, expected: &str, read: impl Fn(&Value) -> Option<T>) -> T {
        let Some(value) = self.source.get(key) else { return default };
        read(value).unwrap_or_else(|| {
            self.refuse(key, value.clone(), expected);
            default
        })
    }

    /// An integer from 1 to `max`.
    pub fn size(&mut self, key: &str, default: i64, max: i64) -> i64 {
        self.field(key, default, &format!("an integer from 1 to {max}"), |v| {
            v.as_i64().filter(|n| (1..=max).contains(n))
        })
    }

    /// A number from 0 up to, not including, 1.
    pub fn probability(&mut self, key: &str, default: f64) -> f64 {
        self.field(key, default, "a probability from 0 up to, not including, 1", |v| {
            v.as_f64().filter(|p| (0.0..1.0).contains(p))
        })
    }

    /// Notes that `value` of `key` cannot be used.
    pub fn refuse(&mut self, key: &str, value: impl std::fmt::Display, expected: &str) {
        let (mut value, key) = (value.to_string(), format!("{}: {key}", self.path.display()));
        if value.chars().count() > 80 {
            value = value.chars().take(80).chain("…".chars()).collect();
        }
        self.problems.push(Error::invalid(key, value, expected));
    }

    /// Whether everything was accepted.
    ///
    /// # Errors
    /// All that was not, together.
    pub fn finish(self) -> Result<()> {
        Error::all(self.problems)
    }
}
