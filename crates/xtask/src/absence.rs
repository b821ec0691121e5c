//! What must never be found in some place (ARCHITECTURE.md), checked on tokens and manifests.

use crate::checkout::Checkout;
use crate::circles::circles;
use crate::metadata::{Metadata, Package};
use anyhow::{Context, Result, bail};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The crates that may say `unsafe`.
const UNSAFE_CRATES: [&str; 1] = ["crates/lopper-torch"];
/// Parts of `std` through which code would reach files, the network, other processes or a clock.
const IMPURE: [&str; 6] = ["fs", "net", "process", "Instant", "SystemTime", "File"];
/// They run libtorch's unpickler on a file: a crafted one crashes it.
const UNPICKLING: [&str; 3] = ["load_multi", "loadz_multi", "CModule"];

/// Packages that link libtorch.
const TORCH: [&str; 2] = ["tch", "torch-sys"];
/// The crates that do nothing but compute, and name no plugin.
const PURE: [&str; 2] = ["crates/lopper-core/src/", "crates/lopper-mask/src/"];

/// A token with its line; delimiters are tokens too.
#[derive(Debug, PartialEq)]
struct Token {
    text: String,
    line: usize,
}

/// The tokens of a source. Comments are gone, and a doc comment is one literal.
fn tokens(source: &str) -> Result<Vec<Token>> {
    fn flatten(stream: TokenStream, into: &mut Vec<Token>) {
        for tree in stream {
            let line = tree.span().start().line;
            match tree {
                TokenTree::Group(group) => {
                    let (open, close) = match group.delimiter() {
                        Delimiter::Brace => ("{", "}"),
                        Delimiter::Bracket => ("[", "]"),
                        Delimiter::Parenthesis => ("(", ")"),
                        Delimiter::None => ("", ""),
                    };
                    into.push(Token { text: open.into(), line });
                    flatten(group.stream(), into);
                    into.push(Token { text: close.into(), line: group.span_close().start().line });
                }
                tree => into.push(Token { text: tree.to_string(), line }),
            }
        }
    }
    let stream = TokenStream::from_str(source).map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut all = Vec::new();
    flatten(stream, &mut all);
    Ok(all)
}

/// Lines on which the tokens of `pattern` follow one another.
fn occurrences(tokens: &[Token], pattern: &[&str]) -> Vec<usize> {
    let matches = |window: &&[Token]| window.iter().zip(pattern).all(|(token, text)| token.text == *text);
    tokens.windows(pattern.len()).filter(matches).map(|window| window[0].line).collect()
}

/// Impure parts of `std` that a source names, each with its line: `std::fs`, and `std::{…, time::Instant}`.
fn impure(tokens: &[Token]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, window) in tokens.windows(3).enumerate() {
        if window[0].text != "std" || window[1].text != ":" || window[2].text != ":" {
            continue;
        }
        let mut depth = 0;
        let mut before = ":";
        for token in &tokens[at + 3..] {
            match token.text.as_str() {
                // The braces of a `use`; those of a body end the path.
                "{" if depth > 0 || before == ":" => depth += 1,
                "}" => depth -= 1,
                "," if depth > 0 => {}
                ":" => {}
                name if IMPURE.contains(&name) => found.push((token.line, format!("std::…{name}"))),
                name if name.starts_with(|c: char| c.is_alphabetic() || c == '_') => {}
                _ => break,
            }
            if depth <= 0 && token.text == "}" {
                break;
            }
            before = &token.text;
        }
    }
    found
}

/// Whose rules a source must keep.
struct Place<'a> {
    /// Relative to the checkout.
    path: &'a str,
    /// What the core must not name: the crates of plugins, and what they register.
    plugin_words: &'a BTreeSet<String>,
}

/// Violations in one source.
fn violations(place: &Place<'_>, source: &str) -> Result<Vec<String>> {
    let tokens = tokens(source).with_context(|| format!("{}: is no Rust", place.path))?;
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut forbid = |pattern: &[&str], reason: &str| {
        found.extend(occurrences(&tokens, pattern).into_iter().map(|line| (line, reason.to_owned())));
    };
    if !UNSAFE_CRATES.iter().any(|c| place.path.starts_with(&format!("{c}/"))) {
        forbid(&["unsafe"], &format!("`unsafe` belongs into {}", UNSAFE_CRATES.join(", ")));
        forbid(&["(", "unsafe_code"], "no lint about `unsafe` is lifted here");
    }
    forbid(&["#", "[", "ignore"], "no test is ignored");
    for name in UNPICKLING {
        forbid(&[name], &format!("`{name}` runs libtorch's unpickler on a file"));
    }
    if PURE.iter().any(|folder| place.path.starts_with(folder)) {
        for word in place.plugin_words {
            let literal = format!("\"{word}\"");
            forbid(&[&literal], &format!("the core names the plugin `{word}`"));
            if word.contains('_') {
                forbid(&[word], &format!("the core names the plugin `{word}`"));
            }
        }
        found.extend(impure(&tokens).into_iter().map(|(line, what)| (line, format!("the core uses `{what}`"))));
    }
    found.sort();
    Ok(found.into_iter().map(|(line, reason)| format!("{}:{line}: {reason}", place.path)).collect())
}

/// Violations among the arrows between our own packages. Development dependencies are free.
fn arrows(root: &Path, packages: &[Package]) -> Vec<String> {
    let ours: Vec<&Package> = packages.iter().filter(|p| p.ours()).collect();
    let mut found = Vec::new();
    for package in &ours {
        let normal = package.dependencies.iter().filter(|d| d.kind.as_deref() != Some("dev"));
        for on in normal.filter_map(|d| ours.iter().find(|p| p.name == d.name && d.path.is_some())) {
            let reason = match package.name.as_str() {
                "lopper-core" | "lopper-report" if ["lopper-mask", "lopper-metrics"].contains(&on.name.as_str()) => {
                    None
                }
                "lopper-core" | "lopper-report" => Some("of ours it depends on lopper-mask and lopper-metrics alone"),
                "lopper-mask" | "lopper-metrics" | "xtask" => Some("it depends on nothing of ours"),
                "lopper" => None,
                _ if on.name == "lopper" => Some("only a user's program depends on the facade"),
                _ if on.plugin(root) && package.plugin(root) => Some("plugins never depend on each other"),
                _ if on.plugin(root) => Some("only `lopper` knows the built-in plugins"),
                _ if package.plugin(root) && on.name == "lopper-session" => Some("no plugin depends on the session"),
                _ => None,
            };
            found.extend(reason.map(|reason| format!("{} -> {}: {reason}", package.name, on.name)));
        }
        // Development dependencies too: its tests and examples are to run where there is no libtorch.
        let torch = package.dependencies.iter().filter(|d| TORCH.contains(&d.name.as_str()));
        let reason = match package.name.as_str() {
            "lopper-mask" => Some("masks are had without libtorch"),
            "lopper-metrics" => Some("metrics are had without libtorch"),
            "lopper-report" => Some("figures are drawn without libtorch"),
            _ => None,
        };
        let pure = torch.filter_map(|d| Some((d, reason?)));
        found.extend(pure.map(|(d, reason)| format!("{} -> {}: {reason}", package.name, d.name)));
    }
    found
}

/// Every Rust source below a folder, in a fixed order.
fn sources(folder: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    let entries = std::fs::read_dir(folder).with_context(|| format!("{}: cannot be read", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            sources(&path, into)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
    Ok(())
}

/// What the core must not name: each plugin's folder and crate, and each method's file.
fn plugin_words(checkout: &Checkout, packages: &[Package]) -> Result<BTreeSet<String>> {
    let mut words = BTreeSet::new();
    for package in packages.iter().filter(|p| p.plugin(checkout.root())) {
        words.insert(package.name.replace('-', "_"));
        let folder = package.manifest_path.parent().and_then(Path::file_name);
        words.extend(folder.map(|f| f.to_string_lossy().into_owned()));
    }
    let mut methods = Vec::new();
    sources(&checkout.path("plugins/strategies/src"), &mut methods)?;
    let stems = methods.iter().filter_map(|m| m.file_stem()).map(|s| s.to_string_lossy().replace('_', "-"));
    // `dense` is a word of the core: the stage that prunes nothing.
    words.extend(stems.filter(|stem| !["lib", "initial", "dense"].contains(&stem.as_str())));
    Ok(words)
}

/// Checks the whole workspace, and returns one line that says what was checked.
///
/// # Errors
/// All violations at once.
pub(crate) fn check(checkout: &Checkout, metadata: &Metadata) -> Result<String> {
    let mut problems = arrows(checkout.root(), &metadata.packages);
    let members: Vec<&Package> = metadata.packages.iter().filter(|p| p.ours()).collect();
    for member in &members {
        let path = &member.manifest_path;
        let text = std::fs::read_to_string(path).with_context(|| format!("{}: cannot be read", path.display()))?;
        let manifest: toml::Table = toml::from_str(&text).with_context(|| format!("{}: no TOML", path.display()))?;
        if manifest.get("lints").and_then(|l| l.get("workspace")) != Some(&toml::Value::Boolean(true)) {
            problems.push(format!("{}: does not take the workspace's lints", path.display()));
        }
        let shipped = |kind: &String| kind == "lib" || kind == "bin";
        for target in member.targets.iter().filter(|target| target.kind.iter().any(shipped)) {
            problems.extend(circles(&target.src_path, checkout.root())?);
        }
    }
    let plugin_words = plugin_words(checkout, &metadata.packages)?;
    let mut files = Vec::new();
    for folder in ["crates", "plugins", "examples", "tests", "benches"] {
        sources(&checkout.path(folder), &mut files)?;
    }
    for file in &files {
        let source = std::fs::read_to_string(file).with_context(|| format!("{}: cannot be read", file.display()))?;
        let path = file.strip_prefix(checkout.root()).unwrap_or(file).to_string_lossy();
        problems.extend(violations(&Place { path: &path, plugin_words: &plugin_words }, &source)?);
    }
    if !problems.is_empty() {
        bail!("{}", problems.join("\n"));
    }
    Ok(format!("{} sources and {} manifests hold nothing that ARCHITECTURE.md rules out", files.len(), members.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Dependency;

    fn found(path: &str, source: &str) -> Vec<String> {
        let plugin_words = BTreeSet::from(["lopper_bert".to_owned(), "parp".to_owned()]);
        violations(&Place { path, plugin_words: &plugin_words }, source).unwrap()
    }

    const CORE: &str = "crates/lopper-core/src/a.rs";

    #[test]
    fn unsafe_code_is_found_and_talk_about_it_is_not() {
        let talk = "//! unsafe\n/// unsafe { }\nfn f() -> &'static str { \"unsafe\" } // unsafe\n/* unsafe */";
        assert_eq!(found("plugins/bert/src/a.rs", talk), [""; 0]);
        let code = "fn f() {}\nfn g() { unsafe { f() } }";
        let reason = "plugins/bert/src/a.rs:2: `unsafe` belongs into crates/lopper-torch";
        assert_eq!(found("plugins/bert/src/a.rs", code), [reason]);
        assert_eq!(found("crates/lopper-torch/src/a.rs", code), [""; 0]);
        assert_eq!(found("crates/lopper-torch-like/a.rs", code).len(), 1);
        assert_eq!(found("tests/a.rs", "#![allow(unsafe_code)]").len(), 1);
    }

    #[test]
    fn the_core_is_pure() {
        for source in [
            "use std::fs;",
            "use std::{collections::BTreeMap, time::Instant};",
            "fn f() { std::fs::read(\"x\"); }",
            "use std::time::{Duration, SystemTime};",
            "use std::io::{self, Read};\nuse std::net::TcpStream;",
        ] {
            assert_eq!(found(CORE, source).len(), 1, "{source}");
            assert_eq!(found("crates/lopper-mask/src/a.rs", source).len(), 1, "{source}");
            assert_eq!(found("crates/lopper-session/src/a.rs", source).len(), 0, "{source}");
        }
        for source in [
            "use std::collections::HashMap; fn f(net: u8, fs: u8) {}",
            "use std::{fmt, io};",
            "mod fs {}",
            "fn f() -> std::fmt::Result { net }",
        ] {
            assert_eq!(found(CORE, source), [""; 0], "{source}");
        }
    }

    #[test]
    fn the_core_names_no_plugin() {
        assert_eq!(
            found(CORE, "use lopper_bert::Bert;"),
            ["crates/lopper-core/src/a.rs:1: the core names the plugin `lopper_bert`"]
        );
        assert_eq!(found(CORE, "const A: &str = \"parp\";").len(), 1);
        assert_eq!(found(CORE, "/// Such as \"parp\".\nconst A: &str = \"parp and more\";"), [""; 0]);
        assert_eq!(found("crates/lopper/src/lib.rs", "use lopper_bert as _;"), [""; 0]);
    }

    #[test]
    fn ignored_tests_and_unpicklers_are_found() {
        let ignored = ["#[test]\n", "#[ignore = \"slow\"]\nfn f() {}"].concat();
        assert_eq!(found("tests/a.rs", &ignored), ["tests/a.rs:2: no test is ignored"]);
        assert_eq!(found("plugins/bert/src/a.rs", "fn f() { Tensor::load_multi(path); }").len(), 1);
    }

    #[test]
    fn arrows_point_one_way() {
        let package = |name: &str, folder: &str, on: &[(&str, Option<&str>)]| Package {
            name: name.into(),
            manifest_path: format!("/root/{folder}/Cargo.toml").into(),
            dependencies: on
                .iter()
                .map(|(name, kind)| Dependency {
                    name: (*name).into(),
                    kind: kind.map(Into::into),
                    path: Some("/root".into()),
                    ..Dependency::default()
                })
                .collect(),
            ..Package::default()
        };
        let packages = [
            package("lopper-mask", "crates/lopper-mask", &[("lopper-metrics", None), ("tch", Some("dev"))]),
            package("lopper-metrics", "crates/lopper-metrics", &[("lopper-mask", None), ("tch", None)]),
            package(
                "lopper-core",
                "crates/lopper-core",
                &[
                    ("lopper-mask", None),
                    ("lopper-metrics", None),
                    ("tch", None),
                    ("lopper-weights", None),
                    ("lopper-testkit", Some("dev")),
                ],
            ),
            package("lopper-weights", "crates/lopper-weights", &[("lopper-core", None)]),
            package(
                "lopper-report",
                "crates/lopper-report",
                &[("lopper-mask", None), ("lopper-metrics", None), ("lopper-core", None), ("tch", None)],
            ),
            package("lopper-testkit", "crates/lopper-testkit", &[("lopper-core", None)]),
            package("lopper-session", "crates/lopper-session", &[("a", None)]),
            package("lopper", ".", &[("a", None), ("lopper-session", None)]),
            package("a", "plugins/a", &[("b", None), ("lopper-session", None), ("lopper-session", Some("dev"))]),
            package("b", "plugins/b", &[("lopper-weights", None)]),
        ];
        assert_eq!(
            arrows(Path::new("/root"), &packages),
            [
                "lopper-mask -> lopper-metrics: it depends on nothing of ours",
                "lopper-mask -> tch: masks are had without libtorch",
                "lopper-metrics -> lopper-mask: it depends on nothing of ours",
                "lopper-metrics -> tch: metrics are had without libtorch",
                "lopper-core -> lopper-weights: of ours it depends on lopper-mask and lopper-metrics alone",
                "lopper-report -> lopper-core: of ours it depends on lopper-mask and lopper-metrics alone",
                "lopper-report -> tch: figures are drawn without libtorch",
                "lopper-session -> a: only `lopper` knows the built-in plugins",
                "a -> b: plugins never depend on each other",
                "a -> lopper-session: no plugin depends on the session",
            ]
        );
    }
}
