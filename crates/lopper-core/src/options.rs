//! Options of plugins: one declaration gives the type, its defaults, its parser and its documentation.

use crate::{Error, Result, error::nearest};
use serde::de::DeserializeOwned;

/// One option as `lopper plugins` prints it.
#[derive(Debug, Clone, Copy)]
pub struct OptionDoc {
    /// The key in the configuration.
    pub name: &'static str,
    /// Its type, as written in the source.
    pub kind: &'static str,
    /// Makes its default; `None` when the option is absent by default.
    pub default: fn() -> Option<toml::Value>,
    /// What it does.
    pub doc: &'static str,
}

/// Declares a struct of options: every field has a doc comment and a default; unknown keys are refused with the
/// nearest known one.
///
/// ```no_run,standalone_crate
/// lopper_core::options! {
///     /// Options of a method.
///     pub struct MyOptions {
///         /// Updates between re-prunes.
///         every: u64 = 50,
///     }
/// }
/// assert_eq!(MyOptions::default().every, 50);
/// assert_eq!(MyOptions::DOCS[0].doc, "Updates between re-prunes.");
/// let table = "evry = 3".parse().unwrap();
/// let error = MyOptions::parse(&table, "[prune]").unwrap_err();
/// assert!(error.to_string().contains("did you mean `every`?"), "{error}");
/// ```
#[macro_export]
macro_rules! options {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $name:ident {
            $($(#[doc = $doc:literal])+ $field:ident : $kind:ty = $default:expr),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        $visibility struct $name {
            $($(#[doc = $doc])+ pub $field: $kind,)*
        }

        impl ::std::default::Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $name {
            /// Every option with its type, default and purpose.
            pub const DOCS: &'static [$crate::OptionDoc] = &[
                $($crate::OptionDoc {
                    name: stringify!($field),
                    kind: stringify!($kind),
                    default: || $crate::__private::toml::Value::try_from(Self::default().$field).ok(),
                    doc: concat!($($doc),+).trim_ascii(),
                },)*
            ];

            /// Reads a table that may hold these options and nothing else; `context` names it in errors.
            ///
            /// # Errors
            /// [`UnknownKey`]($crate::Error::UnknownKey) and [`InvalidValue`]($crate::Error::InvalidValue), all
            /// problems at once.
            #[allow(unused_mut, unused_variables, reason = "there may be no options")]
            pub fn parse(table: &$crate::__private::toml::Table, context: &str) -> $crate::Result<Self> {
                let mut options = Self::default();
                $crate::__private::parse_options(table, context, Self::DOCS, |key, value| {
                    $(if key == stringify!($field) {
                        options.$field = $crate::__private::parse_option(value)?;
                    })*
                    Ok(())
                })?;
                Ok(options)
            }

            /// The options as a table; those that are absent are not in it.
            #[allow(unused_mut, reason = "there may be no options")]
            pub fn to_table(&self) -> $crate::__private::toml::Table {
                let mut table = $crate::__private::toml::Table::new();
                $(if let Ok(value) = $crate::__private::toml::Value::try_from(&self.$field) {
                    table.insert(stringify!($field).to_owned(), value);
                })*
                table
            }
        }
    };
}

/// A deserializer's message with its types in words.
fn plain(message: &str) -> String {
    let words = [("expected f64", "expected a number"), ("expected u64", "expected an integer from 0 up")];
    let words = words.into_iter().chain([("expected u32", "expected an integer from 0 to 4294967295")]);
    words.fold(message.to_owned(), |text, (kind, word)| text.replace(kind, word))
}

/// Reads what can be read of a table, key by key, so that one that is wrong hides nothing about the others; `parse` reads
/// any part of it, and `context` names it in errors.
///
/// The errors go to `problems`. Options that are wrong have their defaults.
pub fn parse_leniently<T: Default>(
    table: &toml::Table,
    parse: impl Fn(&toml::Table, &str) -> Result<T>,
    context: &str,
    problems: &mut Vec<Error>,
) -> T {
    let mut good = toml::Table::new();
    for (key, value) in table {
        let alone = toml::Table::from_iter([(key.clone(), value.clone())]);
        match parse(&alone, context) {
            Ok(_) => good.extend(alone),
            Err(e) => problems.push(e),
        }
    }
    parse(&good, context).map_err(|e| problems.push(e)).unwrap_or_default()
}

/// Reads a table of the options that `docs` lists with `set`, which takes one value; [`options!`](crate::options) calls it.
///
/// # Errors
/// [`Error::UnknownKey`] and [`Error::InvalidValue`], all problems at once.
pub fn parse_options(
    table: &toml::Table,
    context: &str,
    docs: &[OptionDoc],
    mut set: impl FnMut(&str, &toml::Value) -> Result<(), String>,
) -> Result<()> {
    let known: Vec<&str> = docs.iter().map(|d| d.name).collect();
    let mut problems = Vec::new();
    for (key, value) in table {
        match docs.iter().find(|d| d.name == key) {
            None => problems.push(Error::UnknownKey {
                context: context.to_owned(),
                key: key.clone(),
                nearest: nearest(key, known.iter().copied()),
                known: known.iter().map(|k| (*k).to_owned()).collect(),
            }),
            Some(doc) => {
                if let Err(message) = set(key, value) {
                    let expected = format!("{} ({})", plain(&message), doc.doc);
                    problems.push(Error::invalid(format!("{context} {key}"), value, expected));
                }
            }
        }
    }
    Error::all(problems)
}

/// Reads one value, or says why not; [`options!`](crate::options) calls it.
///
/// # Errors
/// The deserializer's message.
pub fn parse_option<T: DeserializeOwned>(value: &toml::Value) -> Result<T, String> {
    value.clone().try_into().map_err(|error: toml::de::Error| error.message().to_owned())
}
