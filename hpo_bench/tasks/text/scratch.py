"""A language model from nothing: a WordPiece vocabulary of a corpus, a fresh BERT, and the trained one written down."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hpo_bench.errors import UserError
from hpo_bench.tasks.corpus import Model
from hpo_bench.tasks.text.encoder import quiet
from hpo_bench.tasks.text.vocabulary import SPECIALS, train_wordpiece

METADATA = "hpo_bench.json"
_HEAD_WIDTH = 32
_ASIDE = ".writing-"
_WRITTEN_ASIDE = re.compile(re.escape(_ASIDE) + "[a-z0-9_]{8}")  # as `tempfile` names them
_DROPOUT = 0.1  # BERT's


def write_tokeniser(folder: Path, texts: Sequence[str], *, vocabulary: int, tokens: int, typed: bool) -> None:
    """An uncased WordPiece tokeniser trained on `texts`, for inputs of `tokens`.

    `typed`: the second text of a pair has token type 1. A model that never saw that type must not be given it.
    """
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    backend = train_wordpiece(texts, vocabulary)
    ends = [("[CLS]", SPECIALS.index("[CLS]")), ("[SEP]", SPECIALS.index("[SEP]"))]
    second = int(typed)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair=f"[CLS]:0 $A:0 [SEP]:0 $B:{second} [SEP]:{second}", special_tokens=ends
    )
    names = {f"{name.strip('[]').lower()}_token": name for name in SPECIALS}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=tokens, model_input_names=inputs, **names
    ).save_pretrained(folder)


def write_fresh(
    folder: Path, *, layers: int, width: int, vocabulary: int, positions: int, types: int, dropout: float, seed: int
) -> None:
    """A random BERT with a head for masked language modelling, beside the tokeniser in `folder`."""
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=_heads(width),
        intermediate_size=4 * width,
        max_position_embeddings=positions,
        type_vocab_size=types,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        pad_token_id=0,
    )
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        BertForMaskedLM(config).save_pretrained(folder)


def _heads(width: int) -> int:
    return max(1, width // _HEAD_WIDTH)


def check_width(width: int) -> None:
    """Raise UserError for a width that the heads of attention cannot share."""
    if width % _heads(width):
        below = width // _HEAD_WIDTH * _HEAD_WIDTH
        raise UserError(
            f"a width of {width} cannot be shared by {_heads(width)} heads",
            f"give --width {below} or {below + _HEAD_WIDTH}",
        )


def clear_half_written(folder: Path) -> None:
    """Remove what a kill left of `write_trained`."""
    for entry in folder.iterdir():
        if _WRITTEN_ASIDE.fullmatch(entry.name):
            shutil.rmtree(entry, ignore_errors=True)


def write_trained(folder: Path, fresh: Path, model: Model, metadata: dict[str, Any], half: bool = False) -> None:
    """The trained encoder and its `mlm` head in the form of `fresh`, with its tokeniser and `metadata`.

    Every file is replaced whole, the metadata last. The dropout that is written down is BERT's, which continued
    pretraining and fine-tuning use, whatever the model was trained with. `half`: weights as float16.
    """
    from transformers import AutoTokenizer, BertForMaskedLM

    with quiet(), tempfile.TemporaryDirectory(dir=folder, prefix=_ASIDE) as name:
        aside = Path(name)
        whole: Any = BertForMaskedLM.from_pretrained(fresh)
        whole.bert.load_state_dict(model.encoder.backbone.state_dict())
        head: Any = model.heads["mlm"]
        transform = whole.cls.predictions.transform
        transform.dense.load_state_dict(head.dense.state_dict())
        transform.LayerNorm.load_state_dict(head.norm.state_dict())
        with torch.no_grad():
            whole.cls.predictions.bias.copy_(head.bias)
        whole.config.hidden_dropout_prob = whole.config.attention_probs_dropout_prob = _DROPOUT
        (whole.half() if half else whole).save_pretrained(aside)
        AutoTokenizer.from_pretrained(str(fresh)).save_pretrained(aside)
        _as_every_version_reads_it(aside / "tokenizer_config.json")
        files = [file.name for file in aside.iterdir()]
        (aside / METADATA).write_text(json.dumps(metadata, indent=1), encoding="utf-8")
        for file in [*files, METADATA]:
            shutil.copymode(aside / METADATA, aside / file)  # safetensors lets nobody else read what it writes
            os.replace(aside / file, folder / file)


def _as_every_version_reads_it(path: Path) -> None:
    """transformers 5 names a class that 4 lacks, and notes how the tokeniser was loaded here."""
    config = json.loads(path.read_text(encoding="utf-8"))
    kept = {name: value for name, value in config.items() if name not in ("backend", "is_local", "local_files_only")}
    path.write_text(json.dumps({**kept, "tokenizer_class": "PreTrainedTokenizerFast"}, indent=1), encoding="utf-8")
