#!/usr/bin/env python3
"""Makes the fixtures of this crate's tests with transformers and torchaudio.

    python make_parity_fixtures.py

Needs torch, torchaudio, transformers 4.57.1, safetensors and numpy. Each small configuration becomes a checkpoint
directory under fixtures/ with config.json, model.safetensors, and expected.safetensors: a padded batch, the logits and the
CTC loss with an attention mask, the gradient of every parameter, the logits without an attention mask, and those of every
row alone. Beside them lie the same weights as torchaudio and fairseq would write them.
"""

import argparse
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch
import torchaudio_side
import transformers
from safetensors.torch import save_file
from torchaudio_side import plain
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

FIXTURES = Path(__file__).parent / "fixtures"
SMALL = dict(
    conv_dim=[12, 8, 10], conv_kernel=[10, 3, 2], conv_stride=[5, 2, 2], hidden_size=16, num_attention_heads=4,
    num_hidden_layers=2, intermediate_size=20, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=4, vocab_size=11,
    ctc_zero_infinity=True,
)
USUAL = dict(
    conv_dim=[4] * 7, hidden_size=64, num_attention_heads=1, num_hidden_layers=1, intermediate_size=16,
    num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=16, vocab_size=6, ctc_zero_infinity=True,
)
# name, configuration, samples of each row, target of each row, how the checkpoint spells its names
CASES = [
    ("base", dict(SMALL), [640, 401, 333, 95], [[3, 3, 5, 1, 9, 2], [7, 7, 7], [4], [10, 1]], "old"),
    ("xlsr", dict(SMALL, feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True, num_attention_heads=2),
     [300, 700, 520, 75], [[1, 2, 3], [4, 4, 4, 8, 9, 10, 1], [5, 6], [1, 2, 3, 4, 5]], "new"),
    ("group_first", dict(SMALL, conv_bias=True, do_stable_layer_norm=True, num_conv_pos_embeddings=7, pad_token_id=10),
     [450, 450, 222], [[0, 1, 0], [9, 9], [3]], "bare"),
    ("layer_last", dict(SMALL, feat_extract_norm="layer", pad_token_id=4, num_hidden_layers=1),
     [60, 610], [[1], [0, 0, 2, 3, 5, 5]], "old"),
    ("other", dict(SMALL, layer_norm_eps=1e-2, hidden_act="gelu_new", feat_extract_activation="relu", num_hidden_layers=1),
     [330, 500], [[1, 4], [2, 2]], "new"),
    ("usual", dict(USUAL), [2400, 1300], [[1, 2], [5, 4]], "new"),
]


def build(index, options):
    torch.manual_seed(200 + index)
    config = Wav2Vec2Config(attn_implementation="eager", **options)
    model = Wav2Vec2ForCTC(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # so that no bias is zero and no norm is the identity
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return config, model


def batch(index, lengths):
    generator = torch.Generator().manual_seed(index)
    rows = torch.zeros(len(lengths), max(lengths))
    for row, length in zip(rows, lengths):
        row[:length] = torch.randn(length, generator=generator)
    mask = (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).long()
    return rows, mask


def labels(targets):
    longest = max(map(len, targets))
    return torch.tensor([target + [-100] * (longest - len(target)) for target in targets])


def spell(name, style):
    name = name if style == "new" else plain(name)
    return name.removeprefix("wav2vec2.") if style == "bare" else name


def torchaudio_agrees(model, rows, lengths, targets, steps, expected):
    """torchaudio's model of the same weights: logits and loss for the fixture, and gradients compared here."""
    other, logits, out, loss, gradients = torchaudio_side.answers(model, rows, lengths, targets)
    assert out.tolist() == steps.tolist()
    name, error = torchaudio_side.furthest(gradients, {name: expected[f"gradient.{name}"] for name in gradients})
    assert error < 1e-4, (name, error)
    expected["torchaudio_logits"] = logits.contiguous()
    expected["torchaudio_loss"] = loss.reshape(1)
    return other


def case(index, name, options, lengths, targets, style):
    config, model = build(index, options)
    rows, mask = batch(index, lengths)
    model.zero_grad()
    out = model(rows.clone(), attention_mask=mask, labels=labels(targets))
    out.loss.backward()
    steps = model._get_feat_extract_output_lengths(torch.tensor(lengths))
    expected = dict(
        input_values=rows, lengths=torch.tensor(lengths), steps=steps, logits=out.logits.detach().contiguous(),
        loss=out.loss.detach().reshape(1), target_lengths=torch.tensor([len(target) for target in targets]),
        targets=torch.tensor([symbol for target in targets for symbol in target]),
    )
    for parameter, tensor in model.named_parameters():
        if tensor.grad is not None:
            expected[f"gradient.{plain(parameter)}"] = tensor.grad.contiguous()
    with torch.no_grad():
        expected["unmasked_logits"] = model(rows.clone()).logits.contiguous()
        for row, length in enumerate(lengths):
            expected[f"alone.{row}"] = model(rows[row:row + 1, :length].clone()).logits[0].contiguous()
    # torchaudio has one epsilon and one activation.
    other = torchaudio_agrees(model, rows, lengths, targets, steps, expected) if name != "other" else None
    directory = FIXTURES / name
    directory.mkdir(parents=True, exist_ok=True)
    weights = {spell(key, style): tensor.contiguous() for key, tensor in model.state_dict().items()}
    if style == "new":  # what pre-training leaves behind
        weights |= {"quantizer.codevectors": torch.zeros(1, 2), "project_hid.bias": torch.zeros(2)}
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    save_file(expected, directory / "expected.safetensors")
    known = options | dict.fromkeys(
        ["model_type", "feat_extract_norm", "conv_bias", "do_stable_layer_norm", "layer_norm_eps", "pad_token_id",
         "mask_time_prob", "mask_time_length", "conv_kernel", "conv_stride", "feat_extract_activation", "hidden_act"])
    text = json.loads(model.config.to_json_string(use_diff=False))
    kept = {key: value for key, value in text.items() if key in known}
    kept["architectures"] = ["Wav2Vec2ForCTC"]
    (directory / "config.json").write_text(json.dumps(kept, indent=1) + "\n")
    return model, other


def fairseq_key(name):
    """fairseq's name for Hugging Face's, within the pre-trained model."""
    name = plain(name).removeprefix("wav2vec2.")
    if name.startswith("feature_extractor.conv_layers."):
        _, _, layer, part, what = name.split(".")
        return f"feature_extractor.conv_layers.{layer}.{'0' if part == 'conv' else '2.{norm}'}.{what}"
    for ours, theirs in [
        ("masked_spec_embed", "mask_emb"), ("feature_projection.projection", "post_extract_proj"),
        ("feature_projection.layer_norm", "layer_norm"), ("encoder.pos_conv_embed.conv", "encoder.pos_conv.0"),
        (".attention.", ".self_attn."), ("feed_forward.intermediate_dense", "fc1"), ("feed_forward.output_dense", "fc2"),
    ]:
        name = name.replace(ours, theirs)
    if name.startswith("encoder.layers.") and name.split(".")[3] == "layer_norm":
        name = name.replace(".layer_norm.", ".self_attn_layer_norm.")
    return name


def fairseq_state(model, prefix, head):
    layered = model.config.feat_extract_norm == "layer"
    state = {}
    for key, tensor in model.state_dict().items():
        if key.startswith("lm_head."):
            if head:
                state[key.replace("lm_head.", "w2v_encoder.proj.")] = tensor
            continue
        theirs = fairseq_key(key).replace("2.{norm}", "2.1" if layered else "2")
        state[prefix + theirs] = tensor
    return state


def classes(module, *names):
    """Classes of a module that need not be there to read what is pickled."""
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:count]), types.ModuleType(".".join(parts[:count])))
    made = [type(name, (), {"__module__": module}) for name in names]
    for one in made:
        setattr(sys.modules[module], one.__name__, one)
    return made


def fairseq(base, xlsr):
    DictConfig, = classes("omegaconf.dictconfig", "DictConfig")
    AnyNode, = classes("omegaconf.nodes", "AnyNode")
    ContainerMetadata, = classes("omegaconf.base", "ContainerMetadata")

    def node(value, parent=None):
        wrapped = DictConfig() if isinstance(value, dict) else AnyNode()
        wrapped._parent, wrapped._metadata = parent, ContainerMetadata()
        if isinstance(value, dict):
            wrapped._content = {key: node(one, wrapped) for key, one in value.items()}
        else:
            wrapped._val = value
        return wrapped

    layers = "[(12, 10, 5)] + [(8, 3, 2)] + [(10, 2, 2)]"
    pretrained = dict(
        task=dict(_name="audio_pretraining", normalize=False),
        model=dict(_name="wav2vec2", extractor_mode="default", encoder_attention_heads=4, layer_norm_first=False,
                   conv_feature_layers=layers, conv_bias=False, activation_fn="gelu", mask_prob=0.65, dropout=0.1))
    finetuned = dict(
        task=dict(_name="audio_finetuning", normalize=True, labels="ltr"),
        model=dict(_name="wav2vec_ctc", apply_mask=True, mask_prob=0.75, mask_length=7, mask_channel_prob=0.25,
                   mask_channel_length=4, layerdrop=0.05, dropout=0.0, attention_dropout=0.0, activation_dropout=0.2,
                   final_dropout=0.0, w2v_path="/somewhere/wav2vec_small.pt", w2v_args=pretrained))
    state = fairseq_state(base, "w2v_encoder.w2v_model.", True)
    content = dict(args=None, cfg=node(finetuned), model=state, optimizer_history=[dict(num_updates=7)],
                   extra_state=dict(epoch=1), task_state={})
    torch.save(content, FIXTURES / "fairseq_finetuned.pt")

    # As fairseq wrote before it had configurations, with the quantizer that pre-training leaves behind.
    namespace = argparse.Namespace(
        arch="wav2vec2", extractor_mode="layer_norm", encoder_attention_heads=2, layer_norm_first=True,
        conv_feature_layers=layers, conv_bias=True, normalize=True, activation_fn="gelu", dropout=0.0, mask_prob=0.65)
    state = fairseq_state(xlsr, "", False) | {"quantizer.vars": torch.zeros(1, 4, 2), "final_proj.bias": torch.zeros(3)}
    torch.save(dict(args=namespace, model=state), FIXTURES / "fairseq_pretrained.pt",
               _use_new_zipfile_serialization=False)


def normalization():
    """Waveforms before and after Hugging Face's feature extractor."""
    generator = np.random.default_rng(0)
    waves = [generator.normal(0.1, 0.2, 500), np.zeros(450), generator.normal(0.0, 1e-4, 600) + 0.5]
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
    tensors = {}
    for index, wave in enumerate(waves):
        wave = wave.astype(np.float32)
        out = extractor(wave, sampling_rate=16000).input_values[0]
        tensors |= {f"{index}.raw": torch.tensor(wave), f"{index}.normalized": torch.tensor(np.asarray(out))}
    save_file(tensors, FIXTURES / "normalization.safetensors")


def ctc():
    """Random cases of the CTC loss and its gradient in the logits."""
    generator = torch.Generator().manual_seed(5)
    tensors = {}
    for index in range(12):
        rows, steps, outputs, blank = 1 + index % 4, 3 + 2 * index, 3 + index % 5, index % 3
        logits = (torch.randn(rows, steps, outputs, generator=generator) * 3).requires_grad_()
        lengths = torch.randint(max(1, steps // 2), steps + 1, (rows,), generator=generator)
        symbols = [symbol for symbol in range(outputs) if symbol != blank]
        targets = [[symbols[i] for i in torch.randint(0, len(symbols), (int(n),), generator=generator)]
                   for n in torch.randint(1, steps // 2 + 3, (rows,), generator=generator)]
        loss = torch.nn.functional.ctc_loss(
            torch.log_softmax(logits, -1).transpose(0, 1), torch.tensor([s for t in targets for s in t]), lengths,
            torch.tensor([len(t) for t in targets]), blank=blank, reduction="sum", zero_infinity=True)
        loss.backward()
        tensors |= {
            f"{index:02}.logits": logits.detach(), f"{index:02}.gradient": logits.grad, f"{index:02}.lengths": lengths,
            f"{index:02}.loss": loss.detach().reshape(1), f"{index:02}.blank": torch.tensor([blank]),
            f"{index:02}.targets": torch.tensor([s for t in targets for s in t]),
            f"{index:02}.target_lengths": torch.tensor([len(t) for t in targets]),
        }
    save_file(tensors, FIXTURES / "ctc.safetensors")


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    assert transformers.__version__ == "4.57.1", transformers.__version__
    torch.set_num_threads(1)
    models = {}
    for index, (name, *rest) in enumerate(CASES):
        model, other = case(index, name, *rest)
        models[name] = model
        if name in ("base", "usual"):
            torch.save(other.state_dict(), FIXTURES / f"torchaudio_{name}.pt")
    fairseq(models["base"], models["xlsr"])
    normalization()
    ctc()


if __name__ == "__main__":
    main()
