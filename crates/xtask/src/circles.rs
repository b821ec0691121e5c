//! Circles: files of one crate that import each other, so that none can be read without all the others.
//!
//! An arrow runs from a file to the one that defines what it names, through whatever re-exports it. What a file takes from
//! a module that it is part of (`super::…` of its own parent) is no arrow: a parent and its children are one house. Code
//! under `#[cfg(test)]` is free, as development dependencies are.

use anyhow::{Context, Result};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Re-exports of re-exports that are followed; more is a mistake in the source, which the compiler names.
const DEEPEST: usize = 8;

/// A path within a crate, such as `crate`, `config`, `Split`.
type Names = Vec<String>;

/// A module: the whole of a file, or one written within it.
#[derive(Debug, Default)]
struct Module {
    /// Place among [`Crate::files`].
    file: usize,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    /// What `use` brings in, by the name it has here.
    imports: BTreeMap<String, Names>,
    /// Paths of which everything is brought in.
    globs: Vec<Names>,
    /// Items that it defines; too many, those within functions too, do no harm.
    items: BTreeSet<String>,
    /// Every path that it names, those of `use` too.
    named: BTreeSet<Names>,
}

/// The modules of a crate; the first is its root.
#[derive(Debug, Default)]
struct Crate {
    files: Vec<PathBuf>,
    modules: Vec<Module>,
}

/// What one file takes from others: their places, each with one path by which it names them.
type Arrows = Vec<BTreeMap<usize, String>>;

/// The circles of the crate whose root is this file (`lib.rs` or `main.rs`), each as one line that names every file in it
/// with what it takes from the others, by paths below `folder`.
///
/// # Errors
/// A file that is missing, cannot be read or is no Rust.
pub(crate) fn circles(root: &Path, folder: &Path) -> Result<Vec<String>> {
    let mut found = Crate::default();
    found.read(root, root.parent().unwrap_or(Path::new(".")), None)?;
    let arrows = found.arrows();
    let name = |file: usize| found.files[file].strip_prefix(folder).unwrap_or(&found.files[file]).display();
    let circles = components(&arrows).into_iter().map(|circle| {
        let lines = circle.iter().map(|file| {
            let within = arrows[*file].iter().filter(|(to, _)| circle.contains(to));
            let taken: Vec<String> = within.map(|(to, path)| format!("{} ({path})", name(*to))).collect();
            format!("{} -> {}", name(*file), taken.join(", "))
        });
        format!("files import each other in a circle:\n  {}", lines.collect::<Vec<_>>().join("\n  "))
    });
    Ok(circles.collect())
}

impl Crate {
    /// Reads a file and all that it declares; modules that are files of their own lie in `folder`.
    fn read(&mut self, path: &Path, folder: &Path, parent: Option<usize>) -> Result<usize> {
        let source = std::fs::read_to_string(path).with_context(|| format!("{}: cannot be read", path.display()))?;
        let tokens = TokenStream::from_str(&source)
            .map_err(|error| anyhow::anyhow!("{}: is no Rust: {error}", path.display()))?;
        self.files.push(path.to_owned());
        let module = self.add(self.files.len() - 1, parent);
        self.scan(module, tokens, folder)?;
        Ok(module)
    }

    fn add(&mut self, file: usize, parent: Option<usize>) -> usize {
        self.modules.push(Module { file, parent, ..Module::default() });
        self.modules.len() - 1
    }

    fn scan(&mut self, module: usize, tokens: TokenStream, folder: &Path) -> Result<()> {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match (word(token).as_str(), tokens.get(at)) {
                ("#", Some(TokenTree::Group(attribute))) if is_test(attribute) => at = behind_item(&tokens, at),
                // `pub(in …)` names a place, and takes nothing from it.
                ("pub", Some(TokenTree::Group(group))) if group.delimiter() == Delimiter::Parenthesis => at += 1,
                ("mod", Some(TokenTree::Ident(name))) => {
                    let name = name.to_string();
                    at += 2;
                    let child = match tokens.get(at - 1) {
                        Some(TokenTree::Group(body)) => {
                            let child = self.add(self.modules[module].file, Some(module));
                            self.scan(child, body.stream(), &folder.join(&name))?;
                            child
                        }
                        _ => self.declared(&name, folder, module)?,
                    };
                    self.modules[module].children.insert(name, child);
                }
                ("use", Some(_)) => {
                    let end = tokens[at..].iter().position(|token| word(token) == ";").map_or(tokens.len(), |n| at + n);
                    self.import(module, &Vec::new(), &tokens[at..end]);
                    at = end;
                }
                ("struct" | "enum" | "trait" | "fn" | "type" | "const" | "static", Some(TokenTree::Ident(name))) => {
                    self.modules[module].items.insert(name.to_string());
                }
                _ => match token {
                    TokenTree::Group(group) => self.scan(module, group.stream(), folder)?,
                    TokenTree::Ident(_) => {
                        let (path, end) = path(&tokens, at - 1);
                        at = end;
                        if path.len() > 1 {
                            self.modules[module].named.insert(path);
                        }
                    }
                    _ => {}
                },
            }
        }
        Ok(())
    }

    /// Reads the file of `mod name;`.
    fn declared(&mut self, name: &str, folder: &Path, parent: usize) -> Result<usize> {
        let own = folder.join(name);
        let file = folder.join(format!("{name}.rs"));
        let file = if file.is_file() { file } else { own.join("mod.rs") };
        self.read(&file, &own, Some(parent))
    }

    /// Takes in the tree of a `use`, whose beginning is `before`.
    fn import(&mut self, module: usize, before: &Names, tree: &[TokenTree]) {
        let (path, end) = path(tree, 0);
        let mut whole = [before.as_slice(), path.as_slice()].concat();
        match tree.get(end).map(word).as_deref() {
            Some("{") => {
                let Some(TokenTree::Group(group)) = tree.get(end) else { return };
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                inner.split(|token| word(token) == ",").filter(|part| !part.is_empty()).for_each(|part| {
                    self.import(module, &whole, part);
                });
            }
            Some("*") => {
                let module = &mut self.modules[module];
                module.globs.push(whole.clone());
                module.named.insert(whole);
            }
            renamed => {
                if whole.len() > 1 && whole.last().is_some_and(|last| last == "self") {
                    whole.pop();
                }
                let new = renamed.filter(|word| *word == "as").and_then(|_| tree.get(end + 1)).map(word);
                let Some(name) = new.or_else(|| whole.last().cloned()) else { return };
                let module = &mut self.modules[module];
                module.named.insert(whole.clone());
                module.imports.insert(name, whole);
            }
        }
    }

    /// The module in which a path ends that `from` names; `None` outside of the crate.
    fn find(&self, from: usize, path: &[String], depth: usize) -> Option<usize> {
        let here = &self.modules[from];
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => 0,
            "self" => from,
            "super" => here.parent?,
            name if here.children.contains_key(name) || here.imports.contains_key(name) => {
                rest = path;
                from
            }
            _ => return None,
        };
        while let Some((name, further)) = rest.split_first() {
            let here = &self.modules[at];
            if name == "super" {
                at = here.parent?;
            } else if let Some(child) = here.children.get(name) {
                at = *child;
            } else if let Some(import) = here.imports.get(name).filter(|import| *import != path && depth < DEEPEST) {
                return self.find(at, &[import.as_slice(), further].concat(), depth + 1);
            } else {
                return Some(self.defined(at, name, depth).unwrap_or(at));
            }
            rest = further;
        }
        Some(at)
    }

    /// The module from which everything is brought into `at`, and so the item `name`.
    fn defined(&self, at: usize, name: &str, depth: usize) -> Option<usize> {
        let here = &self.modules[at];
        if here.items.contains(name) || depth == DEEPEST {
            return None;
        }
        let sources = here.globs.iter().filter_map(|glob| self.find(at, glob, depth + 1));
        sources.into_iter().find_map(|source| {
            let there = &self.modules[source];
            if let Some(import) = there.imports.get(name) {
                return self.find(source, import, depth + 1);
            }
            if there.items.contains(name) { Some(source) } else { self.defined(source, name, depth + 1) }
        })
    }

    fn arrows(&self) -> Arrows {
        let mut arrows = vec![BTreeMap::new(); self.files.len()];
        for (from, module) in self.modules.iter().enumerate() {
            let above: BTreeSet<usize> = std::iter::successors(Some(from), |at| self.modules[*at].parent)
                .map(|at| self.modules[at].file)
                .collect();
            for path in &module.named {
                let Some(to) = self.find(from, path, 0).map(|to| self.modules[to].file) else { continue };
                if !above.contains(&to) {
                    arrows[module.file].entry(to).or_insert_with(|| path.join("::"));
                }
            }
        }
        arrows
    }
}

/// A token as text; a group as what opens it.
fn word(token: &TokenTree) -> String {
    match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => "{".into(),
        TokenTree::Group(_) => String::new(),
        token => token.to_string(),
    }
}

/// The names from `at` on between which `::` stands, and the place behind them.
fn path(tokens: &[TokenTree], mut at: usize) -> (Names, usize) {
    let mut names = Names::new();
    let colon = |at: usize| tokens.get(at).is_some_and(|token| word(token) == ":");
    // Before the first name stands `::` where the path is one of another crate.
    while let Some(TokenTree::Ident(name)) = tokens.get(at) {
        names.push(name.to_string());
        at += 1;
        if !(colon(at) && colon(at + 1)) {
            break;
        }
        at += 2;
    }
    (names, at)
}

/// Whether an attribute says that what follows is there for tests alone.
fn is_test(attribute: &Group) -> bool {
    let text: String = attribute.stream().to_string().split_whitespace().collect();
    text.starts_with("cfg(test)") || text.starts_with("cfg(all(test,")
}

/// The place behind the item whose attribute stands at `at`: behind its body, or its semicolon.
fn behind_item(tokens: &[TokenTree], at: usize) -> usize {
    let end = tokens[at..].iter().position(|token| matches!(word(token).as_str(), "{" | ";"));
    end.map_or(tokens.len(), |end| at + end + 1)
}

/// Sets of several files of which each reaches each other, in the order of their first files.
fn components(arrows: &Arrows) -> Vec<BTreeSet<usize>> {
    let reached: Vec<BTreeSet<usize>> = (0..arrows.len())
        .map(|from| {
            let (mut seen, mut waiting) = (BTreeSet::new(), vec![from]);
            while let Some(at) = waiting.pop() {
                waiting.extend(arrows[at].keys().copied().filter(|to| seen.insert(*to)));
            }
            seen
        })
        .collect();
    let circle = |from: usize| reached[from].iter().copied().filter(|to| reached[*to].contains(&from)).collect();
    let all: BTreeSet<BTreeSet<usize>> = (0..arrows.len()).map(circle).filter(|c: &BTreeSet<_>| c.len() > 1).collect();
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The circles of a crate of these files.
    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, source) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, source).unwrap();
        }
        circles(&folder.path().join(files[0].0), folder.path()).unwrap()
    }

    #[test]
    fn a_circle_is_named_with_what_ties_it() {
        let files = [
            ("lib.rs", "mod a;\nmod b;\nmod c;\npub use a::One;"),
            ("a.rs", "use crate::b::Two;\npub struct One;"),
            ("b.rs", "pub struct Two;\nfn f(_: crate::c::Three) {}"),
            ("c.rs", "use super::{a::{self, One as Other}};\npub struct Three;"),
        ];
        let expected = "files import each other in a circle:\n  a.rs -> b.rs (crate::b::Two)\n  \
                        b.rs -> c.rs (crate::c::Three)\n  c.rs -> a.rs (super::a)";
        assert_eq!(found(&files), [expected]);
        let opened = [files[0], files[1], files[2], ("c.rs", "use crate::One;\n#[cfg(test)]\nuse crate::a;")];
        assert_eq!(found(&opened).len(), 1, "a re-export leads to the file that defines the item");
        let opened = [files[0], files[1], files[2], ("c.rs", "#[cfg(test)]\nmod tests { use crate::One; }")];
        assert_eq!(found(&opened), [""; 0]);
    }

    #[test]
    fn what_a_module_shares_with_its_children_is_no_circle() {
        let child = "use super::Shared;\nuse super::other;\npub(in crate::a) fn f(_: Shared) { other::g() }";
        let files = [
            ("lib.rs", "mod a;\nmod d;\npub use d::*;\npub struct Own;"),
            ("a.rs", "mod child;\nmod other;\nstruct Shared;\nfn f() { child::f() }"),
            ("a/child.rs", child),
            ("a/other/mod.rs", "pub fn g(_: crate::Own, _: std::fs::File) {}"),
            ("d.rs", "pub struct Four;"),
        ];
        assert_eq!(found(&files), [""; 0]);
        let mut back = files;
        back[4] = ("d.rs", "pub struct Four;\nuse crate::a::child::f;");
        assert_eq!(found(&back), [""; 0]);
        // Through the child, what the root's glob brings in comes back to where it is defined.
        back[3] = ("a/other/mod.rs", "use crate::Four;");
        let expected = "files import each other in a circle:\n  a/child.rs -> a/other/mod.rs (other::g)\n  \
                        a/other/mod.rs -> d.rs (crate::Four)\n  d.rs -> a/child.rs (crate::a::child::f)";
        assert_eq!(found(&back), [expected]);
    }

    #[test]
    fn two_circles_are_two() {
        let files = [
            ("main.rs", "mod a; mod b; mod c; mod d; use a::x;"),
            ("a.rs", "use crate::b; use crate::c;"),
            ("b.rs", "use crate::a;"),
            ("c.rs", "mod inner { use super::super::d; }"),
            ("d.rs", "fn f() { let _ = vec![crate::c::new()]; }"),
        ];
        let circles = found(&files);
        assert_eq!(circles.len(), 2);
        assert!(circles[0].contains("a.rs -> b.rs (crate::b)") && !circles[0].contains("c.rs"), "{circles:?}");
        assert!(circles[1].contains("d.rs -> c.rs (crate::c::new)"), "{circles:?}");
    }
}
