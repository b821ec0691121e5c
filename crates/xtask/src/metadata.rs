//! The part of `cargo metadata` that the checks look at.

use crate::checkout::{Checkout, output};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// A resolved workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
}

/// One package, ours or not.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// SPDX expression.
    pub(crate) license: Option<String>,
    /// Where it was fetched from; none for a package of this workspace.
    pub(crate) source: Option<String>,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    #[serde(default)]
    pub(crate) targets: Vec<Target>,
}

/// What is compiled of a package.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Target {
    /// Such as `lib` and `bin`.
    pub(crate) kind: Vec<String>,
    /// Its root.
    pub(crate) src_path: PathBuf,
}

/// A dependency as a manifest declares it.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// None is a normal one.
    pub(crate) kind: Option<String>,
    /// Version requirement.
    pub(crate) req: String,
    /// Where it lies, for one within the workspace.
    pub(crate) path: Option<PathBuf>,
}

impl Package {
    /// Whether it belongs to this workspace.
    pub(crate) fn ours(&self) -> bool {
        self.source.is_none()
    }

    /// Whether it is one of the workspace's plugins.
    pub(crate) fn plugin(&self, root: &Path) -> bool {
        self.ours() && self.manifest_path.starts_with(root.join("plugins"))
    }
}

impl Metadata {
    /// Everything that a build for `targets` would use, as `Cargo.lock` has it.
    ///
    /// # Errors
    /// When the lock file does not fit the manifests, among others.
    pub(crate) fn load(checkout: &Checkout, targets: &[String]) -> Result<Self> {
        let mut cargo = checkout.cargo(["metadata", "--locked", "--format-version", "1"]);
        for target in targets {
            cargo.args(["--filter-platform", target]);
        }
        serde_json::from_str(&output(&mut cargo)?).context("cargo metadata is not what this tool expects")
    }
}
