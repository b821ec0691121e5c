"""An update of wav2vec 2.0 in transformers: zero_grad, forward, CTC, backward, clip_grad_norm_, fused AdamW.

`make` writes a checkpoint of the base size with random weights, and recordings of noise with letters to go with them;
`train` trains it at the pace of `pace.py`, on one batch made beforehand.
"""

import argparse
import json
import pathlib
import wave

import torch
from pace import Pace, add_options, autocast
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC, Wav2Vec2Model

RATE = 16_000
# Lopper's `dictionary = "letters"`: four special symbols, the first the blank, then these.
LETTERS = "|ETAONIHSRDLUMWCFGYPBVK'XJQZ"
SPECIAL = 4
WORDS = "THE HOUSE BY WATER STOOD FOR YEARS AND NOBODY KNEW WHO BUILT IT"


def make(options):
    torch.manual_seed(0)
    # Both sides read dropout and masking here.
    config = Wav2Vec2Config(layerdrop=0.0, mask_time_prob=0.65, mask_feature_prob=0.25, mask_feature_length=64)
    Wav2Vec2Model(config).save_pretrained(options.model)
    Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=False).save_pretrained(options.model)
    rows = []
    for row in range(options.rows):
        name = f"{row}.wav"
        samples = (torch.randn(RATE * options.seconds) * 3000).clamp(-32768, 32767).to(torch.int16)
        with wave.open(str(options.data / name), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(samples.numpy().tobytes())
        rows.append({"audio": name, "text": WORDS})
    for split, part in [("train", rows), ("validation", rows[:1])]:
        (options.data / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))


def batch(data):
    rows = [json.loads(line) for line in (data / "train.jsonl").read_text().splitlines()]
    waves = []
    for row in rows:
        with wave.open(str(data / row["audio"]), "rb") as file:
            samples = torch.frombuffer(bytearray(file.readframes(file.getnframes())), dtype=torch.int16)
        waves.append(samples.float() / 32768)
    ids = [[SPECIAL + LETTERS.index(letter) for letter in row["text"].replace(" ", "|") + "|"] for row in rows]
    return {"input_values": torch.stack(waves), "labels": torch.tensor(ids)}


def train(options):
    torch.set_num_threads(options.threads)
    torch.manual_seed(57)
    model = Wav2Vec2ForCTC.from_pretrained(
        options.model,
        vocab_size=SPECIAL + len(LETTERS),
        pad_token_id=0,
        ctc_loss_reduction="mean",
        ctc_zero_infinity=True,
        attn_implementation=options.attention,
        dtype=torch.float32,
    ).train().to(options.device)
    model.freeze_feature_encoder()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=5e-5, weight_decay=0.0, fused=True)
    pace = Pace(options.device)
    made = {name: tensor.to(options.device) for name, tensor in batch(options.data).items()}
    while True:
        pace.next_update()
        optimizer.zero_grad()
        with autocast(options):
            loss = model(**made).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        loss.item()


def main():
    parser = argparse.ArgumentParser()
    add_options(parser)
    verbs = parser.add_subparsers(dest="verb", required=True)
    making = verbs.add_parser("make")
    making.add_argument("--rows", type=int, required=True)
    making.add_argument("--seconds", type=int, required=True)
    training = verbs.add_parser("train")
    training.add_argument("--attention", choices=["eager", "sdpa"], required=True)
    for verb in (making, training):
        verb.add_argument("model", type=pathlib.Path)
        verb.add_argument("data", type=pathlib.Path)
    options = parser.parse_args()
    {"make": make, "train": train}[options.verb](options)


if __name__ == "__main__":
    main()
