//! Named recipes: the keys that a published training sets, to start a configuration from.
//!
//! A recipe is a file in `recipes/`; its first line says what it is. What a configuration gives itself wins.

use crate::config::{ALTERNATIVES, Setting};
use lopper_core::{Error, Result, nearest};
use toml::{Table, Value};

/// A recipe as it is written.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
}

macro_rules! recipes {
    ($($name:literal),* $(,)?) => {
        /// All recipes, sorted by name.
        pub(crate) const ALL: &[Recipe] =
            &[$(Recipe { name: $name, text: include_str!(concat!("recipes/", $name, ".toml")) }),*];
    };
}

recipes![
    "csr-xlsr",
    "fairseq-10h-base",
    "fairseq-10h-large",
    "fairseq-10min-base",
    "fairseq-10min-large",
    "fairseq-1h-base",
    "fairseq-1h-large",
    "glue-bert-tickets",
    "h2l-base",
    "joint-base",
    "joint-xlsr",
    "lsr-10h-base",
    "lsr-10h-large",
    "lsr-10min-base",
    "lsr-10min-large",
    "lsr-1h-base",
    "lsr-1h-large",
];

impl Recipe {
    /// What it is, in one line.
    pub(crate) fn summary(&self) -> &'static str {
        self.text.lines().next().unwrap_or_default().trim_start_matches(['#', ' '])
    }

    fn table(&self) -> Result<Table> {
        self.text.parse().map_err(|e| Error::Other(format!("recipe {}: {e}", self.name)))
    }
}

/// The recipe of that name.
///
/// # Errors
/// [`Error::InvalidValue`] with the nearest name.
pub(crate) fn find(name: &str) -> Result<&'static Recipe> {
    ALL.iter().find(|recipe| recipe.name == name).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|recipe| recipe.name).collect();
        let hint = nearest(name, names.iter().copied()).map(|near| format!("; did you mean `{near}`?"));
        Error::invalid("recipe", name, format!("one of {}{}", names.join(", "), hint.unwrap_or_default()))
    })
}

/// Lays the recipe that a configuration names, in the file or on the command line, under it.
///
/// # Errors
/// An unknown recipe. A `recipe` that is no text is left to whoever reads the keys.
pub(crate) fn lay_under(table: &mut Table, settings: &[Setting]) -> Result<()> {
    let set = settings.iter().rev().find(|setting| setting.key() == "recipe").map(Setting::value);
    if let Some(name) = set.or_else(|| table.get("recipe").and_then(Value::as_str)) {
        merge(table, find(name)?.table()?);
    }
    Ok(())
}

fn merge(table: &mut Table, recipe: Table) {
    for (key, value) in recipe {
        match (table.get_mut(&key), value) {
            (None, value) => {
                table.insert(key, value);
            }
            (Some(Value::Table(own)), Value::Table(mut section)) => {
                if key == "train" {
                    for [one, other] in ALTERNATIVES {
                        if own.contains_key(one) || own.contains_key(other) {
                            section.remove(one);
                            section.remove(other);
                        }
                    }
                }
                section.extend(std::mem::take(own));
                *own = section;
            }
            (Some(_), _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(text: &str, settings: &[&str]) -> Result<Table> {
        let mut table = text.parse().unwrap();
        let settings: Vec<Setting> = settings.iter().map(|s| s.parse().unwrap()).collect();
        lay_under(&mut table, &settings).map(|()| table)
    }

    #[test]
    fn every_recipe_says_what_it_is() {
        assert!(ALL.is_sorted_by_key(|recipe| recipe.name));
        for recipe in ALL {
            assert!(recipe.summary().len() > 20, "{}", recipe.name);
            assert!(recipe.table().unwrap().contains_key("train"), "{}", recipe.name);
        }
    }

    #[test]
    fn the_configuration_wins() {
        let text =
            "recipe = 'lsr-10h-base'\nseed = 3\n[train]\nepochs = 2\nlearning_rate = 1e-3\n[model]\npath = 'm'\n";
        let table = merged(text, &[]).unwrap();
        assert_eq!(table["seed"].as_integer(), Some(3));
        let train = table["train"].as_table().unwrap();
        assert!(!train.contains_key("updates"), "epochs take the place of updates");
        assert_eq!((train["learning_rate"].as_float(), train["accumulate"].as_integer()), (Some(1e-3), Some(8)));
        let model = table["model"].as_table().unwrap();
        assert_eq!((model["path"].as_str(), model["layerdrop"].as_float()), (Some("m"), Some(0.05)));
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let table = merged("recipe = 'lsr-10h-base'\n", &["recipe=csr-xlsr"]).unwrap();
        assert_eq!(table["model"]["name"].as_str(), Some("xlsr"));
    }

    #[test]
    fn unknown_recipes_are_named() {
        let error = merged("recipe = 'lsr-10-base'", &[]).unwrap_err().to_string();
        assert!(error.contains("lsr-10-base") && error.contains("did you mean `lsr-10h-base`"), "{error}");
        assert_eq!(merged("recipe = 3", &[]).unwrap(), "recipe = 3".parse().unwrap());
    }
}
