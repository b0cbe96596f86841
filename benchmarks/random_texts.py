"""Texts of words drawn by lot and a BERT that nobody trained: a corpus of any shape, with no file at hand."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from hpo_bench.tasks.text.encoder import BaseModel, TextEncoder
from hpo_bench.tasks.text.tokens import Tokeniser

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def base_of(config: Any) -> tuple[BaseModel, Tokeniser]:
    """A BERT of that configuration with random weights, and a tokeniser that knows the words of `texts`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.txt"
        path.write_text("\n".join([*_SPECIAL, *_words(config)]) + "\n")
        tokenizer: Any = transformers.BertTokenizerFast  # type: ignore[attr-defined]
        tokenizer(str(path)).save_pretrained(folder)
        tokeniser = Tokeniser(folder)
    encoder = TextEncoder(transformers.BertModel(config, add_pooling_layer=False))
    base = BaseModel(encoder, {}, config.hidden_size, config.vocab_size, 512, config.num_hidden_layers, "random")
    return base, tokeniser


def texts(config: Any, lengths: Sequence[int], generator: torch.Generator) -> list[str]:
    """A text of so many words for each of `lengths`."""
    words = _words(config)
    drawn = torch.randint(len(words), (sum(lengths),), generator=generator).split(list(lengths))
    return [" ".join(words[number] for number in each.tolist()) for each in drawn]


def _words(config: Any) -> list[str]:
    return [f"w{number}" for number in range(config.vocab_size - len(_SPECIAL))]
