#!/usr/bin/env python3
"""Makes the checkpoints of heads.rs as people have them, and what transformers answers from them.

    python make_door_checkpoints.py

Needs torch 2.11.0 and transformers 4.57.1 or 5.24.0. The first makes the directories under fixtures/heads; both write what they
answer to fixtures/heads/answers-VERSION.json. Run 4.57.1 first.
"""

import json
import shutil
import sys
import types
from pathlib import Path

import torch
import transformers
from torch.nn.utils import prune

VERSION = transformers.__version__
assert VERSION in ("4.57.1", "5.24.0"), VERSION
HEADS = Path(__file__).parent / "fixtures" / "heads"
VOCABULARY = ("[PAD] [UNK] [CLS] [SEP] [MASK] the cat sat on mat un ##aff ##able e1 [ ] / ##1 e dog and a ##s").split()
SMALL = dict(vocab_size=len(VOCABULARY), hidden_size=8, num_attention_heads=2, num_hidden_layers=1, intermediate_size=12,
             max_position_embeddings=16, initializer_range=0.3)
TEXT = "the cat sat on the mat"

# name, class, configuration, what is done to the saved directory
CASES = [
    ("sequence", "BertForSequenceClassification", dict(num_labels=3)),
    ("one_output", "BertForSequenceClassification", dict(num_labels=1)),
    ("several_labels", "BertForSequenceClassification", dict(num_labels=3, problem_type="multi_label_classification")),
    ("token", "BertForTokenClassification", dict(num_labels=3)),
    ("choice", "BertForMultipleChoice", {}),
    ("spans", "BertForQuestionAnswering", {}),
    ("masked_lm", "BertForMaskedLM", {}),
    ("pretraining", "BertForPreTraining", {}),
    ("next_sentence", "BertForNextSentencePrediction", {}),
    ("base", "BertModel", {}),
    ("pad", "BertForSequenceClassification", dict(pad_token_id=5)),
    ("half", "BertForSequenceClassification", {}),
    ("numbers", "BertForSequenceClassification", dict(num_labels=2)),
    ("wrapped", "BertForSequenceClassification", {}),
    ("compiled", "BertModel", {}),
    ("pruning", "BertForSequenceClassification", {}),
    ("trainer", "BertForSequenceClassification", {}),
]


def tokenizer(where):
    (where / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 16}
    (where / "tokenizer_config.json").write_text(json.dumps(settings) + "\n")


def rewrite(where, state, name):
    (where / "model.safetensors").unlink()
    torch.save(state, where / name)


def answer(model):
    """All outputs for one text, flat, by their names."""
    ids = torch.tensor([[2, 5, 6, 7, 8, 5, 9, 3]])
    if type(model).__name__ == "BertForMultipleChoice":
        ids = ids.repeat(1, 2, 1)
        ids[0, 1, 3] = 10
    with torch.no_grad():
        out = model.eval().float()(input_ids=ids, attention_mask=torch.ones_like(ids), token_type_ids=torch.zeros_like(ids))
    return {key: value.flatten().tolist() for key, value in out.items() if isinstance(value, torch.Tensor)}


def make(name, kind, settings):
    where = HEADS / name
    shutil.rmtree(where, ignore_errors=True)
    config = transformers.BertConfig(**SMALL, **settings)
    torch.manual_seed(sum(map(ord, name)))
    model = getattr(transformers, kind)(config)
    if name == "half":
        model = model.to(torch.bfloat16)
    model.save_pretrained(where)
    tokenizer(where)
    if name == "one_output":
        # As sentence-transformers saves its cross-encoders.
        described = json.loads((where / "config.json").read_text())
        assert "problem_type" not in described, described
    if name == "numbers":
        described = json.loads((where / "config.json").read_text())
        described["id2label"], described["label2id"] = {"0": 0, "1": True}, {"0": 0, "true": 1}
        (where / "config.json").write_text(json.dumps(described, indent=2) + "\n")
    if name == "wrapped":
        rewrite(where, {f"module.{key}": value for key, value in model.state_dict().items()}, "pytorch_model.bin")
    if name == "compiled":
        rewrite(where, {f"_orig_mod.{key}": value for key, value in model.state_dict().items()}, "pytorch_model.bin")
    if name == "trainer":
        state = {f"model.{key}": value for key, value in model.state_dict().items()}
        # Lightning keeps hyperparameters in a class of its own, here under its name.
        data = types.ModuleType("lightning.fabric.utilities.data")
        data.AttributeDict = type("AttributeDict", (dict,), {"__module__": data.__name__})
        parts = data.__name__.split(".")
        sys.modules.update({".".join(parts[:n]): types.ModuleType(".".join(parts[:n])) for n in range(1, len(parts))})
        sys.modules[data.__name__] = data
        beside = {"hparams_name": "kwargs", "hyper_parameters": data.AttributeDict(lr=1e-3, folder=Path("runs"))}
        whole = {"epoch": 3, "global_step": 7, "pytorch-lightning_version": "2.5.0", "state_dict": state, **beside}
        rewrite(where, whole, "last.ckpt")
    if name == "pruning":
        for module in model.bert.encoder.modules():
            if isinstance(module, torch.nn.Linear):
                prune.l1_unstructured(module, "weight", amount=0.5)
        rewrite(where, model.state_dict(), "pytorch_model.bin")
    return answer(model)


def main():
    answers = {}
    for name, kind, settings in CASES:
        where = HEADS / name
        made = make(name, kind, settings) if VERSION == "4.57.1" else None
        own = (where / "model.safetensors").is_file() and name != "numbers"
        if own:
            answers[name] = answer(getattr(transformers, kind).from_pretrained(where))
        elif made is not None:
            answers[name] = made
        elif name == "numbers":
            try:
                answers[name] = answer(getattr(transformers, kind).from_pretrained(where))
            except Exception as error:
                print(f"{name}: {VERSION} refuses it: {type(error).__name__}: {str(error)[:120]}")
    HEADS.mkdir(exist_ok=True)
    (HEADS / f"answers-{VERSION}.json").write_text(json.dumps(answers, indent=0) + "\n")
    print(len(answers), "checkpoints answered by", VERSION)


if __name__ == "__main__":
    main()
