#!/usr/bin/env python3
"""Makes the fixtures of parity.rs and tokenizer.rs with Hugging Face's transformers.

    python make_parity_fixtures.py [--minilm DIRECTORY]

Needs torch, transformers 4.57.1, safetensors and numpy. Each small configuration becomes a checkpoint directory under
fixtures/ with config.json, model.safetensors, and expected.safetensors: inputs, logits, loss and the gradient of every
parameter. For MiniLM, whose weights are not kept here, only inputs, logits, loss and a part of each gradient are kept.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizerFast

FIXTURES = Path(__file__).parent / "fixtures"

# name, configuration, labels (1: regression), length of each row, how the checkpoint spells its names
SMALL = [
    ("full", dict(vocab_size=97, hidden_size=24, num_attention_heads=3, num_hidden_layers=2, intermediate_size=40),
     2, [9, 9, 9], "task"),
    ("padded", dict(vocab_size=61, hidden_size=32, num_attention_heads=4, num_hidden_layers=3, intermediate_size=64),
     3, [12, 3, 7, 1], "bare"),
    ("pairs", dict(vocab_size=83, hidden_size=20, num_attention_heads=5, num_hidden_layers=1, intermediate_size=28,
                   hidden_act="gelu_new", type_vocab_size=3), 2, [11, 6], "gamma"),
    ("regression", dict(vocab_size=50, hidden_size=16, num_attention_heads=1, num_hidden_layers=2, intermediate_size=48,
                        hidden_act="relu", type_vocab_size=1), 1, [8, 5, 8, 2, 4], "task"),
    ("wide_eps", dict(vocab_size=40, hidden_size=36, num_attention_heads=6, num_hidden_layers=2, intermediate_size=20,
                      layer_norm_eps=1e-5, pad_token_id=3), 3, [16, 10, 13], "task"),
    ("deep", dict(vocab_size=70, hidden_size=16, num_attention_heads=2, num_hidden_layers=5, intermediate_size=32,
                  pad_token_id=None), 2, [5, 14, 1], "bare"),
    ("one_token", dict(vocab_size=30, hidden_size=12, num_attention_heads=2, num_hidden_layers=2, intermediate_size=12),
     1, [1, 1], "task"),
]


def spell(name, style):
    if style == "gamma":
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    if style == "bare" and name.startswith("bert."):
        name = name[len("bert."):]
    return name


def batch(generator, config, lengths, labels):
    rows, longest = len(lengths), max(lengths)
    pad = 0 if config.pad_token_id is None else config.pad_token_id
    ids = torch.randint(0, config.vocab_size, (rows, longest), generator=generator)
    mask = torch.arange(longest)[None] < torch.tensor(lengths)[:, None]
    # One real token of a row is the padding id: its embedding has no gradient, yet it is attended to.
    ids[0, longest // 2] = pad
    ids = torch.where(mask, ids, torch.tensor(pad))
    segments = torch.randint(0, config.type_vocab_size, (rows, longest), generator=generator) * mask
    if labels == 1:
        targets = torch.randn(rows, generator=generator)
    else:
        targets = torch.randint(0, labels, (rows,), generator=generator)
    return dict(input_ids=ids, attention_mask=mask.long(), token_type_ids=segments), targets


def run(model, inputs, targets):
    model.eval()
    model.zero_grad()
    out = model(**inputs, labels=targets)
    out.loss.backward()
    tensors = {f"input.{name}": tensor.contiguous() for name, tensor in inputs.items()}
    tensors |= {"targets": targets, "logits": out.logits.detach(), "loss": out.loss.detach().reshape(1)}
    return tensors


def small(index, name, options, labels, lengths, style):
    torch.manual_seed(100 + index)
    config = BertConfig(max_position_embeddings=20, num_labels=labels, attn_implementation="eager", **options)
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        for parameter in model.parameters():  # so that no bias is zero and no norm is the identity
            parameter.add_(torch.randn_like(parameter) * 0.2)
    inputs, targets = batch(torch.Generator().manual_seed(index), config, lengths, labels)
    expected = run(model, inputs, targets)
    expected |= {f"gradient.{n}": p.grad.contiguous() for n, p in model.named_parameters()}
    directory = FIXTURES / name
    directory.mkdir(parents=True, exist_ok=True)
    weights = {spell(n, style): t.contiguous() for n, t in model.state_dict().items()}
    if style == "bare":
        weights["embeddings.position_ids"] = torch.arange(20)[None]
    if style == "gamma":
        weights["cls.predictions.bias"] = torch.zeros(config.vocab_size)
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    save_file(expected, directory / "expected.safetensors")
    text = model.config.to_json_string(use_diff=False)
    kept = {k: v for k, v in json.loads(text).items() if k in (BertConfig().to_diff_dict() | options | dict(
        id2label=0, model_type=0, max_position_embeddings=0, problem_type=0, pad_token_id=0, type_vocab_size=0))}
    kept["architectures"] = ["BertForSequenceClassification"]
    (directory / "config.json").write_text(json.dumps(kept, indent=1) + "\n")


def head(rows, width):
    """A head that both sides can compute: no generator is shared."""
    entry = torch.arange(rows * width, dtype=torch.float64).reshape(rows, width)
    return (0.05 * torch.sin(0.37 * entry + 0.2)).float()


def minilm(source):
    """Rows of unlike length and rows without padding; of a gradient its norm and its largest entries."""
    directory = FIXTURES / "minilm"
    directory.mkdir(parents=True, exist_ok=True)
    config = BertConfig.from_pretrained(source, num_labels=3, attn_implementation="eager")
    model = BertForSequenceClassification(config)
    missing = model.bert.load_state_dict(BertModel.from_pretrained(source).state_dict(), strict=True)
    assert not missing.missing_keys
    with torch.no_grad():
        model.classifier.weight.copy_(head(3, config.hidden_size))
        model.classifier.bias.copy_(head(3, 1).flatten())
    out = {}
    for case, lengths in (("padded", [31, 12, 20, 5]), ("full", [16, 16])):
        generator = torch.Generator().manual_seed(len(lengths))
        inputs, targets = batch(generator, config, lengths, 3)
        tensors = run(model, inputs, targets)
        for name, parameter in model.named_parameters():
            gradient = parameter.grad.flatten()
            top = gradient.abs().topk(min(32, gradient.numel())).indices.sort().values
            tensors[f"norm.{name}"] = gradient.double().norm().float().reshape(1)
            tensors[f"index.{name}"] = top
            tensors[f"value.{name}"] = gradient[top]
        out |= {f"{case}.{name}": tensor for name, tensor in tensors.items()}
    save_file(out, directory / "expected.safetensors")


TEXTS = [
    "", " ", "the cat sat on the mat .", "The CAT's mat!", "unaffable catlike", "\u00dcber caf\u00e9 na\u00efve",
    "re\u0301sume\u0301", "\u4e2d\u6587 and \u65e5\u672c\u8a9e", "cat\u4e2dmat", "a" * 101, "a" * 100, "zzz qqq",
    "tab\tnew\nline\r\nend\u00a0space\u3000wide", "null\x00byte \ufffd replaced", "zero\u200bwidth\u200djoin", "[CLS] x [SEP] [MASK] [PAD] [UNK]",
    "[cls] [ SEP ]", "cat-mat, 3.14 $5 50% a/b", "\U0001f600 cat \U0001f469\u200d\U0001f4bb", "\u0130stanbul STRASSE stra\u00dfe",
    "\ufb01ne \u2460 \u00bd", "\u0e44\u0e17\u0e22 \u0627\u0644\u0639\u0631\u0628\u064a\u0629", "\u03a3\u03a3 \u03c3\u03c2", "##cat # # cat##", "`` '' \u201cquoted\u201d \u2014 dash",
    "the " * 40, "e\u0301" * 30, "\ufeffbom cat", "I\u0307", "cat\u00admat",
]
PAIRS = [
    ("the cat", "the mat"), ("", "cat"), ("cat", ""), ("", ""), ("the cat sat " * 5, "mat"), ("mat", "the cat sat " * 5),
    ("the cat sat on the mat " * 4, "a b c d e f " * 4), ("cat [SEP] mat", "caf\u00e9 \u4e2d"),
]
PIECES = """[PAD] [UNK] [CLS] [SEP] [MASK] the cat sat on mat un ##aff ##able ##like uber caf cafe naive resume and a ##a b c d e f
s x # ' . , ! - $ % / ` 3 5 50 14 ##cat ##mat null byte zero width join ##width ##join tab new line end space wide is stanbul
strasse fine 1 quoted dash \u4e2d \u6587 \u65e5 \u672c \u8a9e \u00dcber caf\u00e9 na\u00efve The CAT \u00fcber \U0001f600 \u03c3 ##\u03c3 ##\u03c2
\u201c \u201d \u2014 [ ] sep cls ##e e\u0301 i ##\u0307 bom ##d \u03a3 \u03a3\u03a3 \u00bd STRASSE stra\u00dfe \u0130stanbul tabnew re ##sume ##\u0301""".split()


def case(tokenizer, name, first, second, limit):
    # As lists, because an empty second text that stands alone is taken for none.
    second_list = None if second is None else [second]
    encoded = tokenizer([first], second_list, truncation="longest_first" if limit else False, max_length=limit)
    return dict(tokenizer=name, first=first, second=second, max_length=limit,
                ids=encoded["input_ids"][0], segments=encoded["token_type_ids"][0])


def tokenizers():
    directory = FIXTURES / "tokenizer"
    directory.mkdir(parents=True, exist_ok=True)
    vocab = "\n".join(dict.fromkeys(PIECES)) + "\n"
    cases = []
    for name, options in (("uncased", {}), ("cased", dict(do_lower_case=False)),
                          ("accents", dict(do_lower_case=True, strip_accents=False)),
                          ("cased_stripped", dict(do_lower_case=False, strip_accents=True, tokenize_chinese_chars=False))):
        where = directory / name
        where.mkdir(exist_ok=True)
        (where / "vocab.txt").write_text(vocab, encoding="utf-8")
        if options:
            (where / "tokenizer_config.json").write_text(json.dumps(options) + "\n")
        tokenizer = BertTokenizerFast.from_pretrained(where)
        for first, second in [(t, None) for t in TEXTS] + PAIRS:
            for limit in (None, 16, 7, 5):
                cases.append(case(tokenizer, name, first, second, limit))
    # A tokenizer.json whose casing tokenizer_config.json overrules, with truncation and padding of its own.
    tokenizer = BertTokenizerFast.from_pretrained(directory / "cased")
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=9)
    where = directory / "json"
    where.mkdir(exist_ok=True)
    tokenizer.backend_tokenizer.save(str(where / "tokenizer.json"))
    (where / "tokenizer_config.json").write_text(json.dumps(dict(do_lower_case=True, tokenizer_class="BertTokenizer")) + "\n")
    tokenizer = BertTokenizerFast.from_pretrained(where)
    for first, second in [(t, None) for t in TEXTS] + PAIRS:
        cases.append(case(tokenizer, "json", first, second, 32))
    lines = ",\n".join(json.dumps(one) for one in cases)
    (directory / "expected.json").write_text(f"[\n{lines}\n]\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minilm", type=Path, help="checkpoint directory of MiniLM-L6-H384-uncased")
    arguments = parser.parse_args()
    assert transformers.__version__ == "4.57.1", transformers.__version__
    torch.set_num_threads(1)
    for index, case in enumerate(SMALL):
        small(index, *case)
    tokenizers()
    if arguments.minilm:
        minilm(arguments.minilm)


if __name__ == "__main__":
    main()
