#!/usr/bin/env python3
"""Loads a model directory that Lopper saved with transformers, strictly, and prints what it says of a second of noise.

    python check_transformers_loads.py DIRECTORY

Fails when a weight is missing or left over, or when a masked entry is not zero.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import Wav2Vec2ForCTC, Wav2Vec2Processor


def main():
    directory = Path(sys.argv[1])
    model, info = Wav2Vec2ForCTC.from_pretrained(directory, output_loading_info=True)
    left = {kind: names for kind, names in info.items() if names}
    assert not left, left
    processor = Wav2Vec2Processor.from_pretrained(directory)
    assert processor.tokenizer.pad_token_id == model.config.pad_token_id
    assert len(processor.tokenizer) == model.config.vocab_size, "no token was added behind the outputs"
    weights = load_file(directory / "model.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())
    torch.manual_seed(0)
    inputs = processor(torch.randn(16000).numpy(), sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        logits = model.eval()(**inputs).logits
    assert logits.isfinite().all() and logits.shape[-1] == model.config.vocab_size
    print(processor.batch_decode(logits.argmax(-1)))


if __name__ == "__main__":
    main()
