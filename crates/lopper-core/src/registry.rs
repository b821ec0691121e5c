//! What plugins register, and how it is found.
//!
//! `inventory` collects entries from every linked crate; a crate that nobody names is not linked, hence the
//! `use my_method as _;` of a binary.

use crate::error::nearest;
use crate::{Error, OptionDoc, Result};

/// What all plugin entries share.
pub trait Entry: Send + Sync + 'static {
    /// `strategy`, `model`, `dataset` or `mask schedule`.
    const KIND: &'static str;
    /// The name used in configurations.
    fn name(&self) -> &'static str;
    /// One line.
    fn summary(&self) -> &'static str;
    /// Its options.
    fn options(&self) -> &'static [OptionDoc];
    /// The crate that registered it, and its version.
    fn origin(&self) -> &'static str;
}

/// Declares an entry: a kind of plugin beside whose trait it stands.
macro_rules! entry {
    ($(#[$meta:meta])* $name:ident, $kind:literal { $($(#[$field_meta:meta])* $field:ident: $type:ty),* $(,)? }) => {
        $(#[$meta])*
        pub struct $name {
            /// The name used in configurations: lower case, `-` between words.
            pub name: &'static str,
            /// One line for `lopper plugins`.
            pub summary: &'static str,
            /// Every option it reads.
            pub options: &'static [$crate::OptionDoc],
            /// The crate and its version: `concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"))`.
            pub origin: &'static str,
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl $name {
            /// An entry with these fields.
            pub const fn new(
                name: &'static str,
                summary: &'static str,
                options: &'static [$crate::OptionDoc],
                origin: &'static str,
                $($field: $type,)*
            ) -> Self {
                Self { name, summary, options, origin, $($field,)* }
            }
        }

        inventory::collect!($name);

        impl $crate::registry::Entry for $name {
            const KIND: &'static str = $kind;
            fn name(&self) -> &'static str {
                self.name
            }
            fn summary(&self) -> &'static str {
                self.summary
            }
            fn options(&self) -> &'static [$crate::OptionDoc] {
                self.options
            }
            fn origin(&self) -> &'static str {
                self.origin
            }
        }
    };
}

pub(crate) use entry;

/// All plugins of one kind, sorted by name.
///
/// # Errors
/// [`Error::DuplicatePlugin`] naming both origins.
pub fn all<E: Entry>() -> Result<Vec<&'static E>>
where
    inventory::iter<E>: IntoIterator<Item = &'static E>,
{
    let mut entries: Vec<&'static E> = inventory::iter::<E>.into_iter().collect();
    entries.sort_by_key(|e| e.name());
    match entries.windows(2).find(|pair| pair[0].name() == pair[1].name()) {
        None => Ok(entries),
        Some(pair) => Err(Error::DuplicatePlugin {
            kind: E::KIND,
            name: pair[0].name().into(),
            first: pair[0].origin().into(),
            second: pair[1].origin().into(),
        }),
    }
}

/// The plugin of that kind and name.
///
/// # Errors
/// [`Error::UnknownPlugin`] with the nearest name, [`Error::DuplicatePlugin`].
pub fn find<E: Entry>(name: &str) -> Result<&'static E>
where
    inventory::iter<E>: IntoIterator<Item = &'static E>,
{
    let entries = all::<E>()?;
    entries.iter().find(|e| e.name() == name).copied().ok_or_else(|| Error::UnknownPlugin {
        kind: E::KIND,
        name: name.into(),
        nearest: nearest(name, entries.iter().map(|e| e.name())),
        known: entries.iter().map(|e| e.name().to_owned()).collect(),
    })
}
