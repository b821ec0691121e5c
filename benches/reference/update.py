"""An update of a BERT in transformers: zero_grad, forward, backward, clip_grad_norm_, AdamW; batches are made beforehand."""

import argparse

import torch
from pace import Pace, add_options, autocast
from texts import read
from transformers import AutoTokenizer, BertForSequenceClassification

ROWS = 32


def batches(model, data, device):
    """Batches without padding: every sentence must have the same number of tokens."""
    sentences, labels = read(data)
    tokens = AutoTokenizer.from_pretrained(model)(sentences)
    lengths = {len(ids) for ids in tokens["input_ids"]}
    assert len(lengths) == 1, f"{data}: sentences of {sorted(lengths)} tokens, expected one length"
    inputs = {name: torch.tensor(values, device=device).split(ROWS) for name, values in tokens.items()}
    inputs["labels"] = torch.tensor(labels, device=device).split(ROWS)
    return [dict(zip(inputs, parts)) for parts in zip(*inputs.values())]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--attention", choices=["eager", "sdpa"], required=True)
    parser.add_argument("--adamw", choices=["default", "fused"], required=True)
    add_options(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(57)
    model = BertForSequenceClassification.from_pretrained(
        options.model, num_labels=2, attn_implementation=options.attention, dtype=torch.float32
    ).train().to(options.device)
    fused = True if options.adamw == "fused" else None
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5, weight_decay=0.0, fused=fused)
    pace = Pace(options.device)
    made = batches(options.model, options.data, options.device)
    while True:
        for batch in made:
            pace.next_update()
            optimizer.zero_grad()
            with autocast(options):
                loss = model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            loss.item()


if __name__ == "__main__":
    main()
