//! What the files of a checkpoint are called.

/// The mask beside a saved model's weights.
pub(crate) const MASK: &str = "mask.safetensors";
/// What weights are called in a directory; the first that is there counts. An index names several files.
pub(crate) const WEIGHTS: [&str; 4] =
    ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];

/// Whether a file of weights is an index of several others.
pub(crate) fn is_index(name: &str) -> bool {
    name.ends_with(".index.json")
}

/// Whether a file is named as those of `torch.save` are.
pub(crate) fn is_pickled(name: &str) -> bool {
    [".bin", ".pt", ".pth"].iter().any(|suffix| name.ends_with(suffix))
}

/// Whether joining `name` to a directory stays in that directory.
pub(crate) fn is_plain_name(name: &str) -> bool {
    let safe = !name.contains(['/', '\\', ':', '\0']);
    safe && !matches!(name, "" | "." | "..")
}
