"""Writes a tiny BERT with random weights and a tiny SST-2 into the directory that is given; nothing but Python is needed."""

import json
import random
import struct
import sys
from pathlib import Path

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] the a is was good fine bad dull film play book .".split()
WIDTH, INNER, BLOCKS, POSITIONS = 64, 128, 2, 128

random.seed(57)
at = Path(sys.argv[1])
shapes = {
    "bert.embeddings.word_embeddings.weight": (len(WORDS), WIDTH),
    "bert.embeddings.position_embeddings.weight": (POSITIONS, WIDTH),
    "bert.embeddings.token_type_embeddings.weight": (2, WIDTH),
    "bert.pooler.dense.weight": (WIDTH, WIDTH),
    "bert.pooler.dense.bias": (WIDTH,),
}
norms = ["bert.embeddings.LayerNorm"]
for block in range(BLOCKS):
    layer = f"bert.encoder.layer.{block}"
    for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
        shapes |= {f"{layer}.{name}.weight": (WIDTH, WIDTH), f"{layer}.{name}.bias": (WIDTH,)}
    shapes |= {f"{layer}.intermediate.dense.weight": (INNER, WIDTH), f"{layer}.intermediate.dense.bias": (INNER,)}
    shapes |= {f"{layer}.output.dense.weight": (WIDTH, INNER), f"{layer}.output.dense.bias": (WIDTH,)}
    norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
for norm in norms:
    shapes |= {f"{norm}.weight": (WIDTH,), f"{norm}.bias": (WIDTH,)}

# safetensors: the length of a JSON header, the header, the numbers.
header, body = {}, bytearray()
for name, shape in shapes.items():
    count = shape[0] * (shape[1] if len(shape) == 2 else 1)
    one = name.endswith("LayerNorm.weight")
    start = len(body)
    body += struct.pack(f"<{count}f", *(1.0 if one else random.uniform(-0.1, 0.1) for _ in range(count)))
    header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, len(body)]}
head = json.dumps(header).encode()
model, data = at / "model", at / "SST-2"
for directory in (model, data):
    directory.mkdir(parents=True)
(model / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + body)
(model / "vocab.txt").write_text("\n".join(WORDS))
(model / "config.json").write_text(json.dumps({
    "model_type": "bert", "vocab_size": len(WORDS), "hidden_size": WIDTH, "num_hidden_layers": BLOCKS,
    "num_attention_heads": 4, "intermediate_size": INNER, "max_position_embeddings": POSITIONS,
}))
for file, rows in (("train", 256), ("dev", 64)):
    text = "sentence\tlabel\n"
    for row in range(rows):
        words, label = (("good", "fine"), 1) if random.random() < 0.5 else (("bad", "dull"), 0)
        # One label in ten is wrong, or every method would be right about everything.
        label = 1 - label if random.random() < 0.1 else label
        noun = random.choice(("film", "play", "book"))
        text += f"the {random.choice(words)} {noun} is {random.choice(words)}\t{label}\n"
    (data / f"{file}.tsv").write_text(text)
