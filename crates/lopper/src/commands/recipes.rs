//! `lopper recipes`: published trainings to start a configuration from.

use crate::output::{self, Table};
use crate::recipes::{self, Recipe};
use lopper_core::Result;
use serde::Serialize;

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Print this recipe
    name: Option<String>,
}

#[derive(Serialize)]
struct Listed {
    name: &'static str,
    summary: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'static str>,
}

impl Arguments {
    pub(super) fn execute(&self, json: bool) -> Result<()> {
        let listed = |recipe: &Recipe, text| Listed { name: recipe.name, summary: recipe.summary(), text };
        if let Some(name) = &self.name {
            let recipe = recipes::find(name)?;
            return output::report(json, &listed(recipe, Some(recipe.text)), || recipe.text.trim_end().to_owned());
        }
        let all: Vec<_> = recipes::ALL.iter().map(|recipe| listed(recipe, None)).collect();
        output::report(json, &all, || {
            let mut table = Table::new(["<recipe", "<"]);
            for recipe in recipes::ALL {
                table.row([recipe.name.to_owned(), recipe.summary().to_owned()]);
            }
            table.render()
        })
    }
}
