#!/usr/bin/env python3
"""Writes the masks of torch in fixtures/ that tests/cli/masks.rs reads.

    python make_mask_fixtures.py

Made with torch 2.11.0 and transformers 5.24.0; transformers 4.57.1 makes the same. torch.nn.utils.prune prunes the 13 tensors
that Lopper prunes of the tiny BERT in fixture.rs, and torch.save writes:

    prune_state_dict.pt         a state dict: NAME_orig and NAME_mask for each of them, biases whole
    lottery_masks.pt            NAME_mask alone, as the published lottery-ticket scripts for BERT save masks
    lottery_masks_module.pt     the same as a model within DataParallel names them, each with `module.` before its name
    masks.json                  of each tensor the positions that are kept

The same masks in other layouts, in masks/:

    bert_model.pt               of transformers' BertModel, whose names have no `bert.` before them
    classifier.pt               of BertForSequenceClassification, with prune.identity on classifier, embeddings and biases
    open_lth.pt                 int32 under the parameters' names, as facebookresearch/open_lth saves them
    nested.pt                   {"epoch": …, "masks": {…}}, int16
    by_module.pt                {MODULE: {"weight": …, "bias": …}}, bool, as NNI exports them
    feed_forward.pt             float64, of the feed-forward layers alone
    sparsifier.pt               the state of torch.ao.pruning.WeightNormSparsifier, two layers; kept positions in
                                sparsifier.json
    imp.pt                      after three rounds of prune.global_unstructured, each 1/(10-k) of what is left: 30 % but for
                                rounding; kept positions in imp.json

And of the small wav2vec 2.0 in plugins/wav2vec2/tests/fixtures/base, kept positions in wav2vec2.json:

    parp.pt                     as PARP's own scripts save it: what has "mask" in its name in the state dict of fairseq's model
                                in half precision, `mask_emb` and the masks of weights and biases
    wav2vec2_model.pt           of transformers' Wav2Vec2Model
"""

import json
from pathlib import Path

import torch
import transformers
from torch import nn
from torch.ao.pruning import WeightNormSparsifier
from torch.nn.utils import prune
from transformers import BertConfig, BertForSequenceClassification, BertModel, Wav2Vec2Config, Wav2Vec2Model

WIDTH, WIDE, LAYERS = 16, 32, 2
FIXTURES = Path(__file__).parent / "fixtures"
MASKS = FIXTURES / "masks"


def linear_names():
    for layer in range(LAYERS):
        at = f"bert.encoder.layer.{layer}"
        for name in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]:
            yield f"{at}.{name}", WIDTH, WIDTH
        yield f"{at}.intermediate.dense", WIDTH, WIDE
        yield f"{at}.output.dense", WIDE, WIDTH
    yield "bert.pooler.dense", WIDTH, WIDTH


def place(root, path, module):
    """Puts a module where its dotted path says."""
    *parents, last = path.split(".")
    for name in parents:
        if not hasattr(root, name):
            root.add_module(name, nn.Module())
        root = getattr(root, name)
    root.add_module(last, module)


def main():
    torch.manual_seed(0)
    model = nn.Module()
    layers = []
    for name, inputs, outputs in linear_names():
        layer = nn.Linear(inputs, outputs)
        place(model, name, layer)
        layers.append(layer)
    prune.global_unstructured([(layer, "weight") for layer in layers], prune.L1Unstructured, amount=0.6)
    state = model.state_dict()
    masks = {name: tensor for name, tensor in state.items() if name.endswith("_mask")}
    FIXTURES.mkdir(exist_ok=True)
    torch.save(state, FIXTURES / "prune_state_dict.pt")
    torch.save(masks, FIXTURES / "lottery_masks.pt")
    torch.save({f"module.{name}": mask for name, mask in masks.items()}, FIXTURES / "lottery_masks_module.pt")
    kept = {name.removesuffix("_mask"): mask.flatten().nonzero().flatten().tolist() for name, mask in masks.items()}
    (FIXTURES / "masks.json").write_text(json.dumps(kept) + "\n")


def kept_of(masks):
    return {name: mask.flatten().nonzero().flatten().tolist() for name, mask in masks.items()}


def write_json(name, kept):
    (MASKS / name).write_text(json.dumps(kept) + "\n")


def masked(model, masks):
    """Puts masks, by the names of their parameters, on a model's modules, and returns the masks in its state dict."""
    for name, mask in masks.items():
        module, parameter = name.rsplit(".", 1)
        prune.custom_from_mask(model.get_submodule(module), parameter, mask)
    return {name: tensor for name, tensor in model.state_dict().items() if name.endswith("_mask")}


def bert_layouts():
    state = torch.load(FIXTURES / "lottery_masks.pt")
    masks = {name.removesuffix("_mask"): mask for name, mask in state.items()}
    config = BertConfig(
        vocab_size=17, hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=2, intermediate_size=WIDE,
        max_position_embeddings=128,
    )
    bare = {name.removeprefix("bert."): mask for name, mask in masks.items()}
    torch.save(masked(BertModel(config), bare), MASKS / "bert_model.pt")

    model = BertForSequenceClassification(config)
    masked(model, masks)
    prune.identity(model.classifier, "weight")
    prune.identity(model.bert.embeddings.word_embeddings, "weight")
    for name, _, _ in linear_names():
        prune.identity(model.get_submodule(name), "bias")
    state = {name: tensor for name, tensor in model.state_dict().items() if name.endswith("_mask")}
    torch.save(state, MASKS / "classifier.pt")

    torch.save({name: mask.int() for name, mask in masks.items()}, MASKS / "open_lth.pt")
    torch.save({"epoch": 3, "masks": {name: mask.short() for name, mask in masks.items()}}, MASKS / "nested.pt")
    by_module = {
        name.removesuffix(".weight"): {"weight": mask.bool(), "bias": torch.ones(mask.shape[0], dtype=torch.bool)}
        for name, mask in masks.items()
    }
    torch.save(by_module, MASKS / "by_module.pt")
    part = {f"{n}_mask": m.double() for n, m in masks.items() if "attention" not in n and "pooler" not in n}
    torch.save(part, MASKS / "feed_forward.pt")


def sparsifier():
    model = nn.Module()
    names = [name for name, _, _ in linear_names()][:2]
    for name in names:
        place(model, name, nn.Linear(WIDTH, WIDTH))
    pruner = WeightNormSparsifier(sparsity_level=0.5, sparse_block_shape=(1, 4))
    pruner.prepare(model, [{"tensor_fqn": f"{name}.weight"} for name in names])
    pruner.step()
    torch.save(pruner.state_dict(), MASKS / "sparsifier.pt")
    masks = {f"{name}.weight": model.get_submodule(name).parametrizations.weight[0].mask for name in names}
    write_json("sparsifier.json", kept_of(masks))


def imp():
    layers = {name: nn.Linear(inputs, outputs) for name, inputs, outputs in linear_names()}
    for k in range(3):
        prune.global_unstructured(
            [(layer, "weight") for layer in layers.values()], prune.L1Unstructured, amount=1 / (10 - k)
        )
    masks = {f"{name}.weight": layer.weight_mask for name, layer in layers.items()}
    torch.save({f"{name}_mask": mask.bool() for name, mask in masks.items()}, MASKS / "imp.pt")
    write_json("imp.json", kept_of(masks))


def wav2vec2():
    config = Wav2Vec2Config.from_pretrained(Path(__file__).parents[2] / "plugins/wav2vec2/tests/fixtures/base")
    width, inner = config.hidden_size, config.intermediate_size
    fairseq = nn.Module()
    fairseq.mask_emb = nn.Parameter(torch.rand(width))
    theirs = {"fc1": "feed_forward.intermediate_dense", "fc2": "feed_forward.output_dense"}
    names = {}
    for index in range(config.num_hidden_layers):
        for part in ["self_attn.k_proj", "self_attn.v_proj", "self_attn.q_proj", "self_attn.out_proj", "fc1", "fc2"]:
            inputs, outputs = {"fc1": (width, inner), "fc2": (inner, width)}.get(part, (width, width))
            name = f"encoder.layers.{index}.{part}"
            place(fairseq, name, nn.Linear(inputs, outputs))
            own = theirs.get(part, part.replace("self_attn", "attention"))
            names[name] = f"encoder.layers.{index}.{own}"
    fairseq.half()
    parameters = [(fairseq.get_submodule(name), kind) for name in names for kind in ["weight", "bias"]]
    prune.global_unstructured(parameters, prune.L1Unstructured, amount=0.4)
    state = {name: tensor for name, tensor in fairseq.state_dict().items() if "mask" in name}
    assert "mask_emb" in state
    torch.save(state, MASKS / "parp.pt")
    masks = {
        f"{own}.{kind}": getattr(fairseq.get_submodule(name), f"{kind}_mask")
        for name, own in names.items()
        for kind in ["weight", "bias"]
    }
    torch.save(
        {name: mask.bool() for name, mask in masked(Wav2Vec2Model(config), masks).items()}, MASKS / "wav2vec2_model.pt"
    )
    write_json("wav2vec2.json", kept_of({f"wav2vec2.{name}": mask for name, mask in masks.items()}))


def check_versions():
    assert torch.__version__.split("+")[0] == "2.11.0", torch.__version__
    assert transformers.__version__ in ["5.24.0", "4.57.1"], transformers.__version__


if __name__ == "__main__":
    check_versions()
    main()
    MASKS.mkdir(exist_ok=True)
    bert_layouts()
    sparsifier()
    imp()
    wav2vec2()
