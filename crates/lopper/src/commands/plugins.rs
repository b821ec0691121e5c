//! `lopper plugins`: what is registered.

use crate::output;
use lopper_core::registry::{self, Entry};
use lopper_core::{DatasetEntry, MaskScheduleEntry, ModelEntry, OptionDoc, Result, StrategyEntry};
use serde::Serialize;

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only plugins of this name
    name: Option<String>,
}

#[derive(Serialize)]
struct Plugins {
    strategies: Vec<Plugin>,
    models: Vec<Plugin>,
    datasets: Vec<Plugin>,
    mask_schedules: Vec<Plugin>,
}

#[derive(Serialize)]
struct Plugin {
    name: &'static str,
    summary: &'static str,
    origin: &'static str,
    options: Vec<PluginOption>,
}

#[derive(Serialize)]
struct PluginOption {
    name: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    /// Null when the option is absent by default.
    default: Option<toml::Value>,
    doc: &'static str,
}

impl Arguments {
    pub(super) fn execute(&self, json: bool) -> Result<()> {
        let plugins = Plugins {
            strategies: self.describe(registry::all::<StrategyEntry>()?),
            models: self.describe(registry::all::<ModelEntry>()?),
            datasets: self.describe(registry::all::<DatasetEntry>()?),
            mask_schedules: self.describe(registry::all::<MaskScheduleEntry>()?),
        };
        let kinds = plugins.kinds();
        if let Some(name) = &self.name
            && kinds.iter().all(|(_, plugins)| plugins.is_empty())
        {
            let mut known = Vec::new();
            known.extend(registry::all::<StrategyEntry>()?.iter().map(|e| e.name()));
            known.extend(registry::all::<ModelEntry>()?.iter().map(|e| e.name()));
            known.extend(registry::all::<DatasetEntry>()?.iter().map(|e| e.name()));
            known.extend(registry::all::<MaskScheduleEntry>()?.iter().map(|e| e.name()));
            return Err(lopper_core::Error::UnknownPlugin {
                kind: "plugin",
                name: name.clone(),
                nearest: lopper_core::nearest(name, known.iter().copied()),
                known: known.into_iter().map(str::to_owned).collect(),
            });
        }
        output::report(json, &plugins, || text(&kinds))
    }

    fn describe<E: Entry>(&self, entries: Vec<&'static E>) -> Vec<Plugin> {
        let wanted = entries.into_iter().filter(|entry| self.name.as_deref().is_none_or(|name| name == entry.name()));
        let option = |doc: &OptionDoc| PluginOption {
            name: doc.name,
            kind: kind(doc.kind),
            default: (doc.default)(),
            doc: doc.doc,
        };
        wanted
            .map(|entry| Plugin {
                name: entry.name(),
                summary: entry.summary(),
                origin: entry.origin(),
                options: entry.options().iter().map(option).collect(),
            })
            .collect()
    }
}

impl Plugins {
    fn kinds(&self) -> [(&'static str, &[Plugin]); 4] {
        [
            ("strategies: [prune] method", &self.strategies),
            ("models: [model] name", &self.models),
            ("datasets: [data] name", &self.datasets),
            ("mask schedules", &self.mask_schedules),
        ]
    }
}

/// A type of the source in the words of TOML. Types of a plugin's own are written as strings.
pub(super) fn kind(source: &'static str) -> &'static str {
    let inner = source.trim().strip_prefix("Option").map_or(source, |rest| rest.trim().trim_matches(['<', '>']));
    match inner.trim() {
        "u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" | "isize" => "integer",
        "f32" | "f64" => "number",
        "bool" => "boolean",
        list if list.starts_with("Vec") => "list",
        _ => "text",
    }
}

fn text(kinds: &[(&str, &[Plugin])]) -> String {
    let mut text = String::new();
    for (title, plugins) in kinds.iter().filter(|(_, plugins)| !plugins.is_empty()) {
        text += &format!("{title}\n");
        for plugin in *plugins {
            text += &format!("\n  {}  ({})\n      {}\n", plugin.name, plugin.origin, plugin.summary);
            for option in &plugin.options {
                let default = option.default.as_ref().map_or(String::new(), |value| format!(" = {value}"));
                text += &format!("      {}: {}{default}\n          {}\n", option.name, option.kind, option.doc);
            }
        }
        text.push('\n');
    }
    text.trim_end().to_owned()
}
