"""Finetuning with transformers' Trainer, sentences padded to 128 tokens or to the longest of their batch."""

import argparse
import tempfile

import torch
from pace import Pace, add_options, one_gpu
from texts import read
from transformers import (
    AutoTokenizer,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
)

ROWS = 32
LONGEST = 128


class Paced(TrainerCallback):
    """An update's time runs from the end of the one before it, so fetching and padding its batch count."""

    def __init__(self, device):
        self.pace = Pace(device)

    def on_train_begin(self, *_, **__):
        self.pace.next_update()

    def on_step_end(self, *_, **__):
        self.pace.next_update()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("--padding", choices=["fixed", "dynamic"], required=True)
    add_options(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    one_gpu(options)  # The Trainer takes all that it sees.
    model = BertForSequenceClassification.from_pretrained(
        options.model, num_labels=2, attn_implementation="eager", dtype=torch.float32
    )
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    fixed = options.padding == "fixed"
    sentences, labels = read(options.data)
    tokens = tokenizer(sentences, truncation=True, max_length=LONGEST, padding="max_length" if fixed else False)
    examples = [
        {"labels": label, **{name: values[row] for name, values in tokens.items()}} for row, label in enumerate(labels)
    ]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=ROWS,
            num_train_epochs=2,  # One is asked for; the second is never begun.
            learning_rate=2e-5,
            seed=57,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=options.device.type == "cpu",
            bf16=options.precision == "bf16",
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=examples,
            data_collator=default_data_collator if fixed else DataCollatorWithPadding(tokenizer),
            callbacks=[Paced(options.device)],
        )
        trainer.train()


if __name__ == "__main__":
    main()
