//! The part of `deny.toml` that can be checked without a network: licences, banned crates, sources.
//!
//! The file is cargo-deny's, and `cargo deny check` reads it too. A key that nobody here would check is refused, so that
//! the file promises nothing that does not happen.

use crate::metadata::{Metadata, Package};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rules {
    pub(crate) graph: Graph,
    licenses: Licences,
    bans: Bans,
    sources: Sources,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Graph {
    pub(crate) targets: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Licences {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

/// Licences that one crate may have beside the common ones.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bans {
    wildcards: Level,
    #[serde(rename = "allow-wildcard-paths")]
    allow_wildcard_paths: bool,
    deny: Vec<Ban>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sources {
    #[serde(rename = "unknown-registry")]
    #[expect(dead_code, reason = "`deny` is its only value, and cargo-deny wants it stated")]
    unknown_registry: Level,
    #[serde(rename = "unknown-git")]
    #[expect(dead_code, reason = "as above")]
    unknown_git: Level,
    #[serde(rename = "allow-registry")]
    allow_registry: Vec<String>,
}

/// Nothing here is a warning.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Deny,
}

impl Rules {
    /// Reads `deny.toml`.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{}: cannot be read", path.display()))?;
        Self::parse(&text).with_context(|| format!("{}: not as expected", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }

    /// Checks every package, and returns one line that says what was checked.
    ///
    /// # Errors
    /// All violations at once.
    pub(crate) fn check(&self, metadata: &Metadata) -> Result<String> {
        let mut problems: Vec<String> = metadata.packages.iter().flat_map(|p| self.problems(p)).collect();
        for exception in &self.licenses.exceptions {
            if !metadata.packages.iter().any(|p| p.name == exception.name) {
                problems.push(format!("deny.toml: the exception for {} is of no use any more", exception.name));
            }
        }
        if !problems.is_empty() {
            bail!("{}", problems.join("\n"));
        }
        let mut licences: BTreeMap<&str, usize> = BTreeMap::new();
        for package in &metadata.packages {
            *licences.entry(package.license.as_deref().unwrap_or_default()).or_default() += 1;
        }
        Ok(format!(
            "{} packages: {} licence expressions allowed, none of {} banned crates, all from {}",
            metadata.packages.len(),
            licences.len(),
            self.bans.deny.len(),
            self.sources.allow_registry.join(", "),
        ))
    }

    fn problems(&self, package: &Package) -> Vec<String> {
        let mut problems = Vec::new();
        let exceptions = self.licenses.exceptions.iter().filter(|e| e.name == package.name).flat_map(|e| &e.allow);
        let allowed: Vec<&str> = self.licenses.allow.iter().chain(exceptions).map(String::as_str).collect();
        match package.license.as_deref().map(|licence| satisfied(licence, &allowed)) {
            None => problems.push("states no licence".to_owned()),
            Some(Err(reason)) => problems.push(format!("licence: {reason}")),
            Some(Ok(false)) => {
                let licence = package.license.as_deref().unwrap_or_default();
                problems.push(format!("licence `{licence}` is not allowed by deny.toml"));
            }
            Some(Ok(true)) => {}
        }
        if let Some(ban) = self.bans.deny.iter().find(|ban| ban.name == package.name) {
            problems.push(format!("is banned: {}", ban.reason));
        }
        if let Some(source) = &package.source {
            let registry = source.strip_prefix("registry+").or_else(|| source.strip_prefix("sparse+"));
            if !registry.is_some_and(|r| self.sources.allow_registry.iter().any(|a| a == r)) {
                problems.push(format!("comes from `{source}`, which deny.toml does not allow"));
            }
        } else if self.bans.wildcards == Level::Deny {
            let wild = package.dependencies.iter().filter(|d| d.req == "*");
            for dependency in wild.filter(|d| !(self.bans.allow_wildcard_paths && d.path.is_some())) {
                problems.push(format!("asks for any version of {}", dependency.name));
            }
        }
        problems.iter().map(|problem| format!("{} {}: {problem}", package.name, package.version)).collect()
    }
}

/// Whether the allowed licences satisfy an SPDX expression.
fn satisfied(expression: &str, allowed: &[&str]) -> Result<bool> {
    let parse = |text: &str| {
        // Lax: `MIT/Apache-2.0` is how crates said OR before SPDX.
        spdx::Expression::parse_mode(text, spdx::ParseMode::LAX).map_err(|e| anyhow::anyhow!("`{text}`: {}", e.reason))
    };
    let allowed: Vec<String> = allowed
        .iter()
        .map(|text| Ok(parse(text)?.requirements().map(|r| r.req.to_string()).collect::<String>()))
        .collect::<Result<_>>()?;
    Ok(parse(expression)?.evaluate(|requirement| allowed.contains(&requirement.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
        [graph]
        targets = []
        [licenses]
        allow = ["MIT"]
        exceptions = [{ crate = "special", allow = ["ISC"] }]
        [bans]
        wildcards = "deny"
        allow-wildcard-paths = true
        deny = [{ crate = "bad", reason = "it is bad" }]
        [sources]
        unknown-registry = "deny"
        unknown-git = "deny"
        allow-registry = ["https://index"]
    "#;

    fn package(name: &str, license: &str, source: &str) -> Package {
        Package {
            name: name.into(),
            version: "1.0.0".into(),
            license: (!license.is_empty()).then(|| license.into()),
            source: (!source.is_empty()).then(|| source.into()),
            ..Package::default()
        }
    }

    #[test]
    fn expressions_are_evaluated() {
        let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"];
        for (expression, expected) in [
            ("MIT", true),
            ("MIT OR GPL-3.0-only", true),
            ("GPL-3.0-only OR LGPL-2.1-only", false),
            ("MIT AND GPL-3.0-only", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("(MIT OR Apache-2.0) AND BSD-3-Clause", false),
            ("MIT/Apache-2.0", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("GPL-2.0-only WITH Classpath-exception-2.0", false),
        ] {
            assert_eq!(satisfied(expression, &allowed).unwrap(), expected, "{expression}");
        }
        assert!(
            !satisfied("Apache-2.0 WITH LLVM-exception", &["Apache-2.0"]).unwrap(),
            "an exception is its own licence"
        );
        assert!(satisfied("no such licence", &allowed).is_err());
    }

    #[test]
    fn every_violation_is_named() {
        let rules = Rules::parse(RULES).unwrap();
        let index = "registry+https://index";
        let mut own = package("own", "MIT", "");
        let wild = |path: Option<&str>| Dependency {
            name: "any".into(),
            req: "*".into(),
            path: path.map(Into::into),
            ..Dependency::default()
        };
        own.dependencies = vec![wild(None), wild(Some("/here"))];
        let bad = Metadata {
            packages: vec![
                package("special", "ISC", index),
                package("other", "ISC", index),
                package("none", "", index),
                package("bad", "MIT", index),
                package("git", "MIT", "git+https://elsewhere"),
                own,
            ],
        };
        let message = rules.check(&bad).unwrap_err().to_string();
        let lines: Vec<&str> = message.lines().collect();
        assert_eq!(
            lines,
            [
                "other 1.0.0: licence `ISC` is not allowed by deny.toml",
                "none 1.0.0: states no licence",
                "bad 1.0.0: is banned: it is bad",
                "git 1.0.0: comes from `git+https://elsewhere`, which deny.toml does not allow",
                "own 1.0.0: asks for any version of any",
            ]
        );
        let good = Metadata { packages: vec![package("special", "ISC", index), package("own", "MIT", "")] };
        assert!(rules.check(&good).unwrap().starts_with("2 packages"));
        let stale = Metadata { packages: vec![package("own", "MIT", "")] };
        assert!(rules.check(&stale).unwrap_err().to_string().contains("exception for special"));
    }

    #[test]
    fn a_rule_that_nobody_checks_is_refused() {
        let text = RULES.replace("[licenses]", "[licenses]\nconfidence-threshold = 0.8");
        assert!(Rules::parse(&text).unwrap_err().to_string().contains("confidence-threshold"));
    }

    use crate::metadata::Dependency;
}
