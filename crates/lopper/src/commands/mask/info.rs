//! `lopper mask info`: what a mask keeps.

use crate::output::{self, Table, count};
use lopper_core::{MaskOrigin, Result};
use lopper_weights::GivenMask;
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
struct Info {
    path: String,
    entries: u64,
    kept: u64,
    pruned: u64,
    sparsity: f64,
    origin: MaskOrigin,
    tensors: Vec<TensorInfo>,
}

#[derive(Serialize)]
struct TensorInfo {
    name: String,
    shape: Vec<u64>,
    entries: u64,
    kept: u64,
    pruned: u64,
    sparsity: f64,
}

pub(super) fn info(path: &Path, json: bool) -> Result<()> {
    let file = GivenMask::read(path)?;
    let mask = &file.mask;
    let tensors =
        mask.layout().tensors().iter().zip(mask.tensors()).map(|(tensor, (name, entries, kept, sparsity))| {
            let (name, shape) = (name.to_string(), tensor.shape().to_vec());
            TensorInfo { name, shape, entries, kept, pruned: entries - kept, sparsity: sparsity.get() }
        });
    let info = Info {
        path: path.display().to_string(),
        entries: mask.layout().entries(),
        kept: mask.kept(),
        pruned: mask.pruned(),
        sparsity: mask.sparsity().get(),
        origin: file.origin.clone(),
        tensors: tensors.collect(),
    };
    output::report(json, &info, || {
        let mut table = Table::new(["<tensor", "<shape", "entries", "kept", "pruned", "sparsity"]);
        for t in &info.tensors {
            let shape = t.shape.iter().map(u64::to_string).collect::<Vec<_>>().join(" x ");
            let sparsity = format!("{:.6}", t.sparsity);
            table.row([t.name.clone(), shape, count(t.entries), count(t.kept), count(t.pruned), sparsity]);
        }
        let (entries, kept, pruned) = (count(info.entries), count(info.kept), count(info.pruned));
        table.row(["all".to_owned(), String::new(), entries, kept, pruned, format!("{:.6}", info.sparsity)]);
        let origin: String = info.origin.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
        if origin.is_empty() { table.render() } else { format!("{origin}\n{}", table.render()) }
    })
}
