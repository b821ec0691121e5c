#!/usr/bin/env bash
# One directory with both files of a feature extractor: transformers 4 and 5 normalise differently, and neither says a word.
#
# transformers 5 writes the settings of a Wav2Vec2Processor's feature extractor into `processor_config.json`; transformers 4 wrote
# `preprocessor_config.json`. A checkpoint that was finetuned with 5 in the directory of one that 4 saved has both. Where they
# differ, 4.57.1 believes the old file and 5.24.0 the new one, through every class that loads them, so the same
# directory gives a model other inputs. do_normalize decides the scale of the whole input.
#
# Output seen, 2026-11-28, of the samples 3, 5, 4, 6 (the old file says do_normalize = false, the new one true):
#   transformers 4.57.1 AutoProcessor: [3.0, 5.0, 4.0, 6.0]
#   transformers 4.57.1 Wav2Vec2FeatureExtractor: [3.0, 5.0, 4.0, 6.0]
#   transformers 5.24.0 AutoProcessor: [-1.34, 0.45, -0.45, 1.34]
#   transformers 5.24.0 Wav2Vec2FeatureExtractor: [-1.34, 0.45, -0.45, 1.34]
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
for version in 4.57.1 5.24.0; do
  python3 -m venv "$work/$version"
  "$work/$version/bin/pip" -q install "transformers==$version" numpy==2.3.5
done
cat > "$work/show.py" <<'PY'
import json
import logging
import pathlib
import sys

import numpy
import transformers

directory = pathlib.Path(sys.argv[1])
directory.mkdir(exist_ok=True)
logging.disable(logging.WARNING)


def write(name, content):
    (directory / name).write_text(json.dumps(content))


settings = dict(feature_extractor_type="Wav2Vec2FeatureExtractor", feature_size=1, sampling_rate=16000, padding_value=0.0,
                return_attention_mask=False, processor_class="Wav2Vec2Processor")
write("config.json", {"model_type": "wav2vec2"})
write("vocab.json", {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "a": 5})
write("tokenizer_config.json", {"tokenizer_class": "Wav2Vec2CTCTokenizer"})
write("preprocessor_config.json", {**settings, "do_normalize": False})
write("processor_config.json", {"processor_class": "Wav2Vec2Processor", "feature_extractor": {**settings, "do_normalize": True}})
samples = numpy.array([3, 5, 4, 6], dtype=numpy.float32)
expected = {"4": [3.0, 5.0, 4.0, 6.0], "5": [-1.34, 0.45, -0.45, 1.34]}[transformers.__version__[0]]
for name in ["AutoProcessor", "Wav2Vec2FeatureExtractor"]:
    read = getattr(transformers, name).from_pretrained(directory)
    found = numpy.asarray(read(samples, sampling_rate=16000)["input_values"][0], dtype=numpy.float64).round(2).tolist()
    print(f"transformers {transformers.__version__} {name}: {found}")
    assert found == expected, found
PY
for version in 4.57.1 5.24.0; do
  "$work/$version/bin/python" "$work/show.py" "$work/checkpoint" 2> "$work/err" || { cat "$work/err" >&2; exit 1; }
done
