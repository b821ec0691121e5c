#!/usr/bin/env python3
"""Makes tiny checkpoints of the kinds that people have, as transformers saves them, with what transformers says of them.

    python make_checkpoint_kinds.py            with transformers 4.57.1, then with 5.24.0
    python make_checkpoint_kinds.py --check    with the other one each: what was written is what it reads too

Needs torch 2.11.0, transformers 4.57.1 or 5.24.0, safetensors and numpy. Every kind becomes a directory fixtures/kinds/V_NAME,
where V is 4 or 5 for the transformers that saved it, with an expected.json: whether waveforms are normalised, the logits of
one waveform, their text, and how the tokenizer encodes and decodes. fairseq2.pt is the CTC-less encoder of 5_pretraining
under the names that fairseq2 0.8 gives it (fairseq2.models.wav2vec2, as in omniASR_W2V_300M).
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import (
    AutoTokenizer, Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC, Wav2Vec2ForPreTraining,
    Wav2Vec2ForSequenceClassification, Wav2Vec2ForXVector, Wav2Vec2PhonemeCTCTokenizer, Wav2Vec2Processor,
)

KINDS = Path(__file__).parent / "fixtures" / "kinds"
VERSION = transformers.__version__
MAJOR = VERSION.split(".")[0]
TINY = dict(
    conv_dim=[4, 4, 6], conv_kernel=[10, 3, 2], conv_stride=[5, 2, 2], hidden_size=8, num_attention_heads=2,
    num_hidden_layers=1, intermediate_size=6, num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
    attn_implementation="eager",
)
LAYERED = dict(feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True)
LETTERS = ["|", "A", "B", "C", "[UNK]", "[PAD]"]
PHONES = ["<s>", "<pad>", "</s>", "<unk>", "ts", "a", "aː", "t"]
TEXTS = ["AB C", "A", "abc", "ts a t", "a aː"]
# A kind: the model's class, further configuration, the tokenizer's symbols (None for no tokenizer) and its arguments,
# do_normalize, and what else is done to the directory.
BRACKETS = dict(unk_token="[UNK]", pad_token="[PAD]")
PLAIN = dict(bos_token=None, eos_token=None) | BRACKETS


def dropped(name):
    return lambda at: (at / name).unlink()


def differing(at):
    """The old file beside the new one, as a copy of the hub's keeps it when transformers 5 saves over it."""
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(at)


def gaps(at):
    vocabulary = json.loads((at / "vocab.json").read_text())
    del vocabulary["B"]
    (at / "vocab.json").write_text(json.dumps(vocabulary))


def nested(at):
    vocabulary = json.loads((at / "vocab.json").read_text())
    other = dict(zip(reversed(vocabulary), vocabulary.values()))
    (at / "vocab.json").write_text(json.dumps({"abc": other, "eng": vocabulary}))
    config = json.loads((at / "tokenizer_config.json").read_text()) | {"target_lang": "eng"}
    (at / "tokenizer_config.json").write_text(json.dumps(config))


def old_mask(at):
    weights = load_file(at / "model.safetensors")
    weights["wav2vec2.mask_time_emb_vector"] = weights.pop("wav2vec2.masked_spec_embed")
    save_file(weights, at / "model.safetensors", metadata={"format": "pt"})


CASES = {
    "plain": (Wav2Vec2ForCTC, {}, LETTERS, PLAIN, True, None),
    "as_is": (Wav2Vec2ForCTC, LAYERED, LETTERS, PLAIN, False, None),
    "differ": (Wav2Vec2ForCTC, {}, LETTERS, PLAIN, False, differing),
    "added": (Wav2Vec2ForCTC, dict(vocab_size=8), LETTERS, BRACKETS, True, None),
    "gaps": (Wav2Vec2ForCTC, dict(vocab_size=9), LETTERS, PLAIN, True, gaps),
    "space": (Wav2Vec2ForCTC, {}, [" "] + LETTERS[1:], PLAIN | dict(word_delimiter_token=" ", do_lower_case=True), True, None),
    "phones": (Wav2Vec2ForCTC, dict(pad_token_id=1), PHONES, dict(do_phonemize=False), True, None),
    "languages": (Wav2Vec2ForCTC, {}, LETTERS, PLAIN, True, nested),
    "no_mask": (Wav2Vec2ForCTC, dict(mask_time_prob=0.0), LETTERS, PLAIN, True, None),
    "old_mask": (Wav2Vec2ForCTC, {}, LETTERS, PLAIN, True, old_mask),
    "classes": (Wav2Vec2ForSequenceClassification, dict(num_labels=3, classifier_proj_size=4, use_weighted_layer_sum=True),
                None, {}, True, None),
    "speakers": (Wav2Vec2ForXVector, dict(tdnn_dim=[4, 4, 8], tdnn_kernel=[2, 1, 1], tdnn_dilation=[1, 1, 1],
                                          xvector_output_dim=4), None, {}, True, None),
    "pretraining": (Wav2Vec2ForPreTraining, LAYERED | dict(codevector_dim=4, proj_codevector_dim=4,
                                                           num_codevectors_per_group=2), LETTERS, PLAIN, True, None),
}
# What only one version writes.
ONLY = {"differ": "5"}


def waveform():
    """A waveform of 160 samples, not centred, that any language makes alike."""
    index = np.arange(160)
    return (((index * 37) % 101 + (index * 11) % 7) / 101 - 0.2).astype(np.float32)


def make(name, kind, more, symbols, arguments, normalize, change, at):
    torch.manual_seed(sorted(CASES).index(name))
    options = TINY | dict(vocab_size=len(symbols or LETTERS), pad_token_id=(symbols or LETTERS).index("[PAD]")
                          if "[PAD]" in (symbols or LETTERS) else 0) | more
    model = kind(Wav2Vec2Config(**options)).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # so that no bias is zero and no norm is the identity
            parameter.add_(torch.randn_like(parameter) * 0.3)
    shutil.rmtree(at, ignore_errors=True)
    model.save_pretrained(at)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=normalize, return_attention_mask="feat_extract_norm" in more)
    if symbols is None:
        extractor.save_pretrained(at)
    else:
        (at / "vocab.json").write_text(json.dumps({symbol: number for number, symbol in enumerate(symbols)}))
        tokenizer = Wav2Vec2PhonemeCTCTokenizer if "do_phonemize" in arguments else Wav2Vec2CTCTokenizer
        Wav2Vec2Processor(extractor, tokenizer(str(at / "vocab.json"), **arguments)).save_pretrained(at)
    if change:
        change(at)


def said(at):
    """What this transformers says of a directory."""
    config = json.loads((at / "config.json").read_text())
    kind = getattr(transformers, config["architectures"][0])
    model = kind.from_pretrained(at).eval()
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(at)
    values = extractor(waveform(), sampling_rate=16000, return_tensors="pt").input_values
    with torch.no_grad():
        answer = model.wav2vec2(values).last_hidden_state if kind is Wav2Vec2ForPreTraining else model(values).logits
    out = dict(normalize=extractor.do_normalize, answer=[[round(x, 5) for x in row] for row in answer[0].tolist()]
               if answer.dim() == 3 else [[round(x, 5) for x in answer[0].tolist()]])
    if (at / "vocab.json").exists():
        tokenizer = AutoTokenizer.from_pretrained(at)
        paths = [answer[0].argmax(-1).tolist()] if kind is Wav2Vec2ForCTC else []
        paths += [list(range(config["vocab_size"])), [0, 1, 1, 2, 0, 3, 0]]
        out |= dict(
            paths=paths,
            decoded=[tokenizer.decode(path) for path in paths],
            encoded=[tokenizer(text).input_ids for text in TEXTS],
            special={key: getattr(tokenizer, key) for key in ["pad_token", "unk_token", "bos_token", "eos_token"]},
        )
    return out


def close(a, b):
    a, b = np.array(a), np.array(b)
    return a.shape == b.shape and np.abs(a - b).max() <= 2e-5 * max(1.0, np.abs(b).max())


def fairseq2(at):
    """The encoder of a directory under fairseq2's names."""
    new = {}
    for name, tensor in load_file(at / "model.safetensors").items():
        name = name.removeprefix("wav2vec2.")
        for ours, theirs in [
            ("feature_extractor.conv_layers.", "encoder_frontend.feature_extractor.layers."),
            ("feature_projection.layer_norm.", "encoder_frontend.post_extract_layer_norm."),
            ("feature_projection.projection.", "encoder_frontend.model_dim_proj."),
            ("encoder.pos_conv_embed.conv.parametrizations.weight.original0", "encoder_frontend.pos_encoder.conv.weight_g"),
            ("encoder.pos_conv_embed.conv.parametrizations.weight.original1", "encoder_frontend.pos_encoder.conv.weight_v"),
            ("encoder.pos_conv_embed.conv.", "encoder_frontend.pos_encoder.conv."),
            (".attention.out_proj.", ".self_attn.output_proj."), (".attention.", ".self_attn."),
            (".feed_forward.intermediate_dense.", ".ffn.inner_proj."), (".feed_forward.output_dense.", ".ffn.output_proj."),
            (".final_layer_norm.", ".ffn_layer_norm."), ("masked_spec_embed", "masker.temporal_mask_embed"),
            ("quantizer.codevectors", "quantizer.entries"), ("quantizer.weight_proj.", "quantizer.entry_proj."),
            ("project_q.", "final_target_proj."), ("project_hid.", "final_proj."),
        ]:
            name = name.replace(ours, theirs)
        if name.startswith("encoder.layers.") and name.split(".")[3] == "layer_norm":
            name = name.replace(".layer_norm.", ".self_attn_layer_norm.")
        new[name] = tensor
    new["quantizer.num_updates"] = torch.zeros(())
    torch.save({"model": new, "fs2": True}, KINDS / "fairseq2.pt")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing: read what is there")
    parser.add_argument("--kinds", type=Path, default=KINDS)
    arguments = parser.parse_args()
    assert VERSION in ("4.57.1", "5.24.0"), VERSION
    torch.set_num_threads(1)
    if arguments.check:
        wrong = 0
        for at in sorted(path.parent for path in arguments.kinds.glob("*/expected.json")):
            expected, found = json.loads((at / "expected.json").read_text()), said(at)
            # Where two files differ, the older version believes the older one.
            ours = {"4": at.name != "5_differ", "5": True}[MAJOR]
            same = close(found.pop("answer"), expected.pop("answer")) and found == expected
            if same != ours:
                wrong += 1
                print(f"{at.name}: transformers {VERSION} says {found}, expected {expected}")
        print(f"transformers {VERSION}: {wrong} differ")
        return wrong
    for name, case in CASES.items():
        if ONLY.get(name, MAJOR) != MAJOR:
            continue
        at = KINDS / f"{MAJOR}_{name}"
        make(name, *case, at)
        (at / "expected.json").write_text(json.dumps(said(at), ensure_ascii=False) + "\n")
    if MAJOR == "5":
        fairseq2(KINDS / "5_pretraining")
    return 0


if __name__ == "__main__":
    sys.exit(main())
