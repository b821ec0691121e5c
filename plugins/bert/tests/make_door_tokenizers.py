#!/usr/bin/env python3
"""Makes the fixtures of tokenizer_files.rs: tokenizers' files as people have them, and what transformers makes of texts.

    python make_door_tokenizers.py

Needs transformers 4.57.1 or 5.24.0, no torch. Run it with each: directories come out alike, and what that version makes of the
texts goes into fixtures/door/tokens-VERSION.json. A case that a version cannot load has no entry there.
"""

import json
import shutil
from pathlib import Path

import transformers
from transformers import AutoTokenizer

assert transformers.__version__ in ("4.57.1", "5.24.0"), transformers.__version__
DOOR = Path(__file__).parent / "fixtures" / "door"
VOCABULARY = ("[PAD] [UNK] [CLS] [SEP] [MASK] the cat sat on mat un ##aff ##able e1 [ ] / ##1 e dog and a ##s "
              "[unused1] [unused2] x y <s> </s> <pad> <unk> <mask>").split()
SIZE = len(VOCABULARY)
TEXTS = [
    ("the cat sat on the mat", None),
    ("[E1] the cat [/E1] sat on[E1]the mat", None),
    ("The CAT [e1] sat [unused1] on", "[E1] dogs [/E1] and a [unused1]"),
    ("x <s> y </s> [CLS] [MASK] the cat", None),
    ("the cat sat on the mat and a dog sat", "the dog and the cat"),
]
LIMITS = [None, 6]


def token(content, **flags):
    plain = dict(lstrip=False, normalized=False, rstrip=False, single_word=False, special=True)
    return {"content": content, **plain, **flags}


def fast(vocabulary=None, added=()):
    """A tokenizer.json over the vocabulary, as transformers writes it."""
    words = {word: id for id, word in enumerate(vocabulary or VOCABULARY)}
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": words[name], **token(name)} for name in special] + list(added),
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                       {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                     {"SpecialToken": {"id": "[SEP]", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}},
                     {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "special_tokens": {name: {"id": name, "ids": [words[name]], "tokens": [name]} for name in ["[CLS]", "[SEP]"]},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": words},
    }


OWN = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
MARKERS = {"[E1]": SIZE, "[/E1]": SIZE + 1}
# name → files; a list is a vocabulary, one token a line
CASES = {
    "added": {"vocab.txt": VOCABULARY, "added_tokens.json": MARKERS, "tokenizer_config.json": OWN},
    "added_special": {
        "vocab.txt": VOCABULARY, "added_tokens.json": MARKERS, "tokenizer_config.json": OWN,
        "special_tokens_map.json": {"additional_special_tokens": ["[E1]", "[/E1]"], "cls_token": "[CLS]",
                                    "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]",
                                    "unk_token": "[UNK]"}},
    "added_alone": {"vocab.txt": VOCABULARY, "added_tokens.json": MARKERS},
    "decoder": {
        "vocab.txt": VOCABULARY,
        "tokenizer_config.json": {**OWN, "added_tokens_decoder": {
            **{str(id): token(VOCABULARY[id]) for id in range(5)},
            str(SIZE): token("[E1]", lstrip=True, special=False, normalized=True),
            str(SIZE + 1): token("[/E1]", rstrip=True, special=True)}}},
    "json_added": {"tokenizer.json": fast(), "added_tokens.json": MARKERS, "tokenizer_config.json": OWN},
    "json_decoder": {
        "tokenizer.json": fast(),
        "tokenizer_config.json": {**OWN, "added_tokens_decoder": {
            **{str(id): token(VOCABULARY[id]) for id in range(5)},
            str(SIZE): token("[E1]", special=False, normalized=True), str(SIZE + 1): token("[/E1]")}}},
    "json_both": {
        "tokenizer.json": fast(added=[{"id": SIZE, **token("[E1]")}, {"id": SIZE + 1, **token("[/E1]")}]),
        "added_tokens.json": MARKERS, "vocab.txt": VOCABULARY, "tokenizer_config.json": OWN},
    "additional": {"vocab.txt": VOCABULARY, "tokenizer_config.json": {
        **OWN, "additional_special_tokens": ["[unused1]"]}},
    "extra": {"vocab.txt": VOCABULARY, "tokenizer_config.json": {
        **OWN, "extra_special_tokens": ["[unused1]"]}},
    "additional_new": {"vocab.txt": VOCABULARY, "tokenizer_config.json": {
        **OWN, "additional_special_tokens": ["[E1]", "[/E1]"]}},
    "map_names": {"vocab.txt": VOCABULARY, "tokenizer_config.json": {"tokenizer_class": "BertTokenizer"},
                  "special_tokens_map.json": {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>",
                                              "unk_token": "<unk>", "mask_token": token("<mask>", lstrip=True)}},
    "left": {"vocab.txt": VOCABULARY, "tokenizer_config.json": {**OWN, "truncation_side": "left"}},
    "left_json": {"tokenizer.json": fast(), "tokenizer_config.json": {**OWN, "truncation_side": "left"}},
    "one_segment": {"vocab.txt": VOCABULARY, "tokenizer_config.json": {
        **OWN, "model_input_names": ["input_ids", "attention_mask"]}},
    "distil_json": {"tokenizer.json": fast(), "tokenizer_config.json": {
        "tokenizer_class": "DistilBertTokenizer", "do_lower_case": True}},
    "fast_json": {"tokenizer.json": fast(), "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"}},
    "backend_json": {"tokenizer.json": fast(), "tokenizer_config.json": {"tokenizer_class": "TokenizersBackend"}},
}


def write(name, files):
    where = DOOR / name
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir(parents=True)
    for file, content in files.items():
        text = "\n".join(content) + "\n" if isinstance(content, list) else json.dumps(content, ensure_ascii=False) + "\n"
        (where / file).write_text(text, encoding="utf-8")
    (where / "config.json").write_text(json.dumps({"model_type": "bert", "vocab_size": SIZE + 2}) + "\n")
    return where


def main():
    expected = []
    for name, files in CASES.items():
        where = write(name, files)
        try:
            tokenizer = AutoTokenizer.from_pretrained(where)
        except Exception as error:
            print(f"{name}: {transformers.__version__} refuses it: {type(error).__name__}: {str(error)[:200]}")
            continue
        for first, second in TEXTS:
            for limit in LIMITS:
                cut = "longest_first" if limit else False
                second_list = None if second is None else [second]
                encoded = tokenizer([first], second_list, truncation=cut, max_length=limit)
                ids = encoded["input_ids"][0]
                segments = encoded.get("token_type_ids", [[0] * len(ids)])[0]
                expected.append(dict(tokenizer=name, first=first, second=second, max_length=limit, ids=ids,
                                     segments=segments))
    lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in expected)
    (DOOR / f"tokens-{transformers.__version__}.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(len(expected), "expectations by", transformers.__version__)


if __name__ == "__main__":
    main()
