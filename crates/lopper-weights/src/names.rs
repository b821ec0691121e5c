//! What the files of a checkpoint are called.

/// The mask beside a saved model's weights.
pub(crate) const MASK: &str = "mask.safetensors";
/// What weights are called in a directory; the first that is there counts. An index names several files.
pub(crate) const WEIGHTS: [&str; 4] =
    ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];

/// What training scripts call the weights to go on with: those of Lightning, and of SpeechBrain's encoders.
pub(crate) const PREFERRED: [&str; 2] = ["last.ckpt", "wav2vec2.ckpt"];
/// Files of training scripts that are named like weights and are none.
const BESIDE: [&str; 11] = [
    "training_args.bin",
    "optimizer.bin",
    "optimizer.pt",
    "optimizer.ckpt",
    "scheduler.bin",
    "scheduler.pt",
    "scaler.pt",
    "brain.ckpt",
    "counter.ckpt",
    "tokenizer.ckpt",
    "rng_state.pth",
];

/// Whether a file beside a `config.json` may hold the model's weights, by its name. An adapter's are a few small ones.
pub(crate) fn may_be_weights(name: &str) -> bool {
    let other = name == MASK
        || BESIDE.contains(&name)
        || ["adapter_model.", "rng_state_", "dataloader-"].iter().any(|start| name.starts_with(start));
    !other && (name.ends_with(".safetensors") || is_pickled(name))
}

/// Whether a file of weights is an index of several others.
pub(crate) fn is_index(name: &str) -> bool {
    name.ends_with(".index.json")
}

/// Whether a file is named as those of `torch.save` are.
pub(crate) fn is_pickled(name: &str) -> bool {
    [".bin", ".pt", ".pth", ".ckpt"].iter().any(|suffix| name.ends_with(suffix))
}

/// Whether joining `name` to a directory stays in that directory.
pub(crate) fn is_plain_name(name: &str) -> bool {
    let safe = !name.contains(['/', '\\', ':', '\0']);
    safe && !matches!(name, "" | "." | "..")
}
