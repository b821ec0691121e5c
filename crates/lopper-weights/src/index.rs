//! `model.safetensors.index.json`, `pytorch_model.bin.index.json`: which tensor lies in which file of a checkpoint in
//! several files.

use crate::header::{MAX_HEADER, UniqueMap, open_regular};
use crate::listed::MAX_PROBLEMS;
use crate::names::{is_pickled, is_plain_name};
use lopper_core::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

#[derive(serde::Deserialize)]
struct Raw {
    weight_map: UniqueMap<String>,
}

/// Reads an index: tensor name → file name. The file names are plain names of files beside the index, of safetensors or,
/// by the index's own name, of PyTorch.
pub(crate) fn read_index(path: &Path) -> Result<BTreeMap<String, String>> {
    let (file, length) = open_regular(path)?;
    if length > MAX_HEADER {
        return Err(Error::file(path, format!("is {length} bytes long; an index of at most {MAX_HEADER} is accepted")));
    }
    let mut bytes = Vec::new();
    file.take(MAX_HEADER).read_to_end(&mut bytes).map_err(|e| Error::file_caused(path, "cannot be read", e))?;
    let Raw { weight_map: UniqueMap(map) } = serde_json::from_slice(&bytes)
        .map_err(|e| Error::file_caused(path, "is no index of a checkpoint in several files", e))?;
    if map.is_empty() {
        return Err(Error::file(path, "names no tensor"));
    }
    let shards: BTreeSet<&str> = map.values().map(String::as_str).collect();
    let of_pytorch = path.to_string_lossy().strip_suffix(".index.json").is_some_and(is_pickled);
    let ending = if of_pytorch { ".bin" } else { ".safetensors" };
    let problems = shards
        .into_iter()
        .filter(|shard| !is_plain_name(shard) || !shard.ends_with(ending))
        .take(MAX_PROBLEMS)
        .map(|shard| {
            Error::file(path, format!("names the file {shard:?}: a plain file name ending in {ending} is accepted"))
        })
        .collect();
    Error::all(problems)?;
    Ok(map)
}
