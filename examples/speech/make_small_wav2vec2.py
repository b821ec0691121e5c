#!/usr/bin/env python3
"""A small wav2vec 2.0 with random weights, to be trained from scratch: no public checkpoint is as small.

python examples/speech/make_small_wav2vec2.py OUT [--layer-norm] [--width 144] [--layers 4]

Needs transformers and torch. It has the architecture of BASE, and with --layer-norm that of XLSR-53, with fewer and
narrower layers: 20 ms a time step, as they have, from convolutions of 64 channels.
"""
import argparse

import torch
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out")
    parser.add_argument("--layer-norm", action="store_true")
    parser.add_argument("--width", type=int, default=144)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    config = Wav2Vec2Config(
        hidden_size=options.width,
        num_hidden_layers=options.layers,
        num_attention_heads=4,
        intermediate_size=4 * options.width,
        conv_dim=(64,) * 7,
        conv_bias=options.layer_norm,
        feat_extract_norm="layer" if options.layer_norm else "group",
        do_stable_layer_norm=options.layer_norm,
        num_conv_pos_embeddings=32,
        num_conv_pos_embedding_groups=8,
        hidden_dropout=0.05,
        attention_dropout=0.0,
        activation_dropout=0.05,
        feat_proj_dropout=0.0,
        layerdrop=0.0,
        mask_time_prob=0.05,
        mask_feature_prob=0.0,
    )
    Wav2Vec2Model(config).save_pretrained(options.out)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=options.layer_norm).save_pretrained(options.out)


if __name__ == "__main__":
    main()
