"""Peak memory of a run, of its continuation and of its plan, and the time from SIGINT to the end, of one or more Loppers.

    python benches/reference/memory.py WORK NAME=BINARY [NAME=BINARY ...] [--model xlsr|bert] [--rounds 3] [--torch PYTHON]

Needs nothing but Python; with --torch also an interpreter that has torch and transformers, whose dense training of the same
checkpoint with AdamW is measured beside: the floor of what training takes there, without any pruning. Into WORK it writes, once, a checkpoint with random weights of the size of XLSR-53 (315 438 720
parameters of the encoder) or of BERT-base, and data of a few short examples. Rounds of all binaries take turns. A peak is
the largest of all rounds, because a kernel may report less than there was, less that of the same binary on a model of
nearly no parameters. Times are medians.
"""

import argparse
import array
import json
import os
import pathlib
import random
import signal
import shutil
import statistics
import struct
import subprocess
import time
import wave

BLOCK = 1 << 16


def values(shape, norm, noise):
    """Bytes of one tensor: ones for a norm's weight, else noise that repeats after a while."""
    entries = 1
    for size in shape:
        entries *= size
    if norm:
        return array.array("f", [1.0]).tobytes() * entries
    repeats, rest = divmod(entries * 4, len(noise))
    return noise * repeats + noise[:rest]


def write_tensors(path, shapes):
    random.seed(7)
    noise = array.array("f", [random.gauss(0, 0.02) for _ in range(BLOCK)]).tobytes()
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes.items():
        size = 4
        for dimension in shape:
            size *= dimension
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            file.write(values(shape, "norm.weight" in name.lower() and len(shape) == 1, noise))


def layer(shapes, name, shape):
    shapes[f"{name}.weight"] = shape
    shapes[f"{name}.bias"] = shape[:1]


def wav2vec2(directory, width, blocks, inner, heads, channels):
    directory.mkdir(parents=True)
    config = dict(model_type="wav2vec2", hidden_size=width, num_hidden_layers=blocks, num_attention_heads=heads,
                  intermediate_size=inner, conv_dim=[channels] * 7, feat_extract_norm="layer", conv_bias=True,
                  do_stable_layer_norm=True, apply_spec_augment=False, layerdrop=0.0, num_conv_pos_embedding_groups=16)
    (directory / "config.json").write_text(json.dumps(config))
    features = dict(feature_extractor_type="Wav2Vec2FeatureExtractor", feature_size=1, sampling_rate=16000,
                    padding_value=0.0, do_normalize=True, return_attention_mask=True)
    (directory / "preprocessor_config.json").write_text(json.dumps(features))
    shapes = {"wav2vec2.masked_spec_embed": [width]}
    before = 1
    for number, kernel in enumerate([10, 3, 3, 3, 3, 2, 2]):
        name = f"wav2vec2.feature_extractor.conv_layers.{number}"
        layer(shapes, f"{name}.conv", [channels, before, kernel])
        layer(shapes, f"{name}.layer_norm", [channels])
        before = channels
    layer(shapes, "wav2vec2.feature_projection.layer_norm", [channels])
    layer(shapes, "wav2vec2.feature_projection.projection", [width, channels])
    position = "wav2vec2.encoder.pos_conv_embed.conv"
    shapes |= {f"{position}.bias": [width], f"{position}.weight_g": [1, 1, 128],
               f"{position}.weight_v": [width, width // 16, 128]}
    layer(shapes, "wav2vec2.encoder.layer_norm", [width])
    for block in range(blocks):
        name = f"wav2vec2.encoder.layers.{block}"
        for part in ["k_proj", "v_proj", "q_proj", "out_proj"]:
            layer(shapes, f"{name}.attention.{part}", [width, width])
        layer(shapes, f"{name}.layer_norm", [width])
        layer(shapes, f"{name}.feed_forward.intermediate_dense", [inner, width])
        layer(shapes, f"{name}.feed_forward.output_dense", [width, inner])
        layer(shapes, f"{name}.final_layer_norm", [width])
    write_tensors(directory / "model.safetensors", shapes)
    return shapes


def bert(directory, width, blocks, inner, heads):
    directory.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "the", "is"]
    words += [f"word{n}" for n in range(30522 - len(words) if width == 768 else 0)]
    config = dict(model_type="bert", vocab_size=len(words), hidden_size=width, num_hidden_layers=blocks,
                  num_attention_heads=heads, intermediate_size=inner, max_position_embeddings=512)
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "vocab.txt").write_text("\n".join(words))
    shapes = {}
    for table, rows in [("word", len(words)), ("position", 512), ("token_type", 2)]:
        shapes[f"bert.embeddings.{table}_embeddings.weight"] = [rows, width]
    layer(shapes, "bert.embeddings.LayerNorm", [width])
    for block in range(blocks):
        name = f"bert.encoder.layer.{block}"
        for part in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]:
            layer(shapes, f"{name}.{part}", [width, width])
        layer(shapes, f"{name}.attention.output.LayerNorm", [width])
        layer(shapes, f"{name}.intermediate.dense", [inner, width])
        layer(shapes, f"{name}.output.dense", [width, inner])
        layer(shapes, f"{name}.output.LayerNorm", [width])
    layer(shapes, "bert.pooler.dense", [width, width])
    write_tensors(directory / "model.safetensors", shapes)
    return shapes


def data(directory, model):
    directory.mkdir(parents=True)
    if model == "bert":
        rows = "".join(f"the film is {['bad', 'good'][row % 2]}\t{row % 2}\n" for row in range(16))
        for name in ["train", "dev"]:
            (directory / f"{name}.tsv").write_text("sentence\tlabel\n" + rows)
        return
    random.seed(1)
    rows = []
    for row in range(4):
        samples = array.array("h", [max(-32768, min(32767, round(random.gauss(0, 3000)))) for _ in range(16000)])
        with wave.open(str(directory / f"{row}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(samples.tobytes())
        rows.append({"audio": f"{row}.wav", "text": "THE HOUSE"})
    for name, part in [("train", rows), ("validation", rows[:1])]:
        (directory / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))


def prepare(work, model):
    """The checkpoints, the data and the number of parameters of the large one."""
    sizes = {"xlsr": (wav2vec2, (1024, 24, 4096, 16, 512), (16, 1, 16, 2, 16)),
             "bert": (bert, (768, 12, 3072, 12), (16, 1, 16, 2))}
    make, large, small = sizes[model]
    folder = work / model
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        data(folder / "data", model)
        make(folder / "idle", *small)
        parameters = 0
        for shape in make(folder / "model", *large).values():
            entries = 1
            for size in shape:
                entries *= size
            parameters += entries
        (folder / "done").write_text(str(parameters))
    return folder, int((folder / "done").read_text())


def configuration(folder, name, model, updates, every):
    source = 'name = "glue"\ntask = "sst-2"' if model == "bert" else 'name = "speech"\ndictionary = "letters"'
    text = f"""device = "cpu"
[model]
path = "{folder / name}"
[data]
{source}
path = "{folder / 'data'}"
[prune]
method = "parp"
sparsity = 0.5
every = 2
[train]
updates = {updates}
batch_size = 1
optimizer = "adamw"
learning_rate = 1e-5
[evaluate]
batch_size = 1
[checkpoint]
every = {every}
[run]
store = "{folder / 'runs' / 'store'}"
out = "{folder / 'runs' / 'out'}"
"""
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


def start(binary, arguments):
    return subprocess.Popen([binary, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end(process, expected):
    """The peak of a process, in bytes, once it has ended as expected."""
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != expected:
        raise SystemExit(f"{process.args}: ended with {process.returncode}\n{said}")
    return usage.ru_maxrss * 1024


def updates_done(folder):
    try:
        return (folder / "runs/out/metrics.jsonl").read_text().count('"loss"')
    except FileNotFoundError:
        return 0


def fresh(folder):
    shutil.rmtree(folder / "runs", ignore_errors=True)


def interrupt(binary, folder, config, after):
    """Seconds from SIGINT to the end, and the peak; the signal comes once so many updates are done."""
    process = start(binary, ["run", config])
    while updates_done(folder) < after:
        time.sleep(0.01)
        if process.poll() is not None:
            raise SystemExit(f"{binary} ended early:\n{process.stdout.read()}")
    process.send_signal(signal.SIGINT)
    signalled = time.monotonic()
    peak = end(process, 130)
    return time.monotonic() - signalled, peak


def measure(binary, folder, model):
    found = {}
    config = configuration(folder, "idle", model, 4, 1)
    fresh(folder)
    found["idle"] = end(start(binary, ["run", config]), 0)
    config = configuration(folder, "model", model, 4, 1)
    fresh(folder)
    found["plan"] = end(start(binary, ["plan", config]), 0)
    found["run"] = end(start(binary, ["run", config]), 0)
    fresh(folder)
    found["seconds to stop"], _ = interrupt(binary, folder, config, 2)
    found["resume"] = end(start(binary, ["run", config]), 0)
    fresh(folder)
    config = configuration(folder, "model", model, 100, 0)
    found["seconds to stop, nothing saved before"], _ = interrupt(binary, folder, config, 2)
    fresh(folder)
    return found


TORCH = """
import sys, torch, transformers
from transformers import AutoModelForSequenceClassification, Wav2Vec2ForCTC
path, kind, updates = sys.argv[1], sys.argv[2], int(sys.argv[3])
transformers.logging.set_verbosity_error()
if kind == "bert":
    model = AutoModelForSequenceClassification.from_pretrained(path)
    batch = dict(input_ids=torch.tensor([[2, 5, 6, 5, 6, 3]]), labels=torch.tensor([1]))
else:
    model = Wav2Vec2ForCTC.from_pretrained(path, vocab_size=32, ctc_loss_reduction="mean")
    batch = dict(input_values=torch.randn(1, 16000), labels=torch.tensor([[5, 6, 7, 8, 9, 10, 11, 12, 13]]))
model.train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
for _ in range(updates):
    optimizer.zero_grad()
    model(**batch).loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
"""


def torch_peak(python, folder, name, model):
    return end(start(python, ["-c", TORCH, folder / name, model, 4]), 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("binaries", nargs="+", metavar="NAME=BINARY")
    parser.add_argument("--model", choices=["xlsr", "bert"], default="xlsr")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--torch", metavar="PYTHON")
    options = parser.parse_args()
    folder, parameters = prepare(options.work.absolute(), options.model)
    binaries = dict(binary.split("=", 1) for binary in options.binaries)
    rounds = {name: [] for name in binaries}
    reference = []
    for _ in range(options.rounds):
        if options.torch:
            reference.append([torch_peak(options.torch, folder, name, options.model) for name in ["idle", "model"]])
        for name, binary in binaries.items():
            rounds[name].append(measure(binary, folder, options.model))
    for name, found in rounds.items():
        peak = {what: max(one[what] for one in found) for what in ["idle", "plan", "run", "resume"]}
        line = {what: f"{(bytes - peak['idle']) / parameters:.2f} bytes a parameter" for what, bytes in peak.items()}
        line["idle"] = f"{peak['idle'] / 2**20:.0f} MiB"
        for what in ["seconds to stop", "seconds to stop, nothing saved before"]:
            line[what] = round(statistics.median(one[what] for one in found), 2)
        print(json.dumps({"binary": name, "model": options.model, "parameters": parameters, **line}, indent=2))
    if reference:
        idle, run = (max(one[which] for one in reference) for which in [0, 1])
        line = {"idle": f"{idle / 2**20:.0f} MiB", "run": f"{(run - idle) / parameters:.2f} bytes a parameter"}
        print(json.dumps({"reference": "torch and transformers", "model": options.model, **line}, indent=2))


if __name__ == "__main__":
    main()
