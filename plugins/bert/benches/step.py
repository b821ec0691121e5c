#!/usr/bin/env python3
"""The measurement of step.rs in transformers, eager attention, two threads: python step.py CHECKPOINT"""

import sys
import time

import torch
from transformers import BertForSequenceClassification

ROWS = 32


def main():
    torch.set_num_threads(2)
    model = BertForSequenceClassification.from_pretrained(sys.argv[1], attn_implementation="eager").train()
    for length in (16, 48, 128):
        for kind, shortest in (("full", length), ("padded", length // 8)):
            lengths = torch.linspace(shortest, length, ROWS).long()[:, None]
            mask = (torch.arange(length)[None] < lengths).long()
            ids = torch.randint(1000, 30000, (ROWS, length)) * mask
            labels = torch.zeros(ROWS, dtype=torch.long)
            times = []
            for _ in range(12):
                start = time.perf_counter()
                model(input_ids=ids, attention_mask=mask, token_type_ids=ids * 0, labels=labels).loss.backward()
                model.zero_grad(set_to_none=False)
                times.append(time.perf_counter() - start)
            times.sort()
            print(f"{kind}/{length}: fastest {times[0] * 1e3:.0f} ms, median {times[len(times) // 2] * 1e3:.0f} ms", flush=True)


if __name__ == "__main__":
    main()
