"""A language model from nothing: a WordPiece vocabulary of a corpus, a fresh BERT, and the trained one written down."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hpo_bench.tasks.text.corpus import TextModel
from hpo_bench.tasks.text.encoder import quiet

METADATA = "hpo_bench.json"
_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_HEAD_WIDTH = 32


def write_fresh(folder: Path, texts: Sequence[str], *, layers: int, width: int, vocabulary: int, seed: int) -> None:
    """A random BERT with a head for masked language modelling and an uncased tokeniser trained on `texts`."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # type: ignore[call-arg]
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    backend.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=vocabulary, special_tokens=_SPECIALS, show_progress=False)
    )
    ends = [("[CLS]", _SPECIALS.index("[CLS]")), ("[SEP]", _SPECIALS.index("[SEP]"))]
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=ends
    )
    names = {f"{name.strip('[]').lower()}_token": name for name in _SPECIALS}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=512, model_input_names=inputs, **names
    )
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // _HEAD_WIDTH),
        intermediate_size=4 * width,
        pad_token_id=0,
    )
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_trained(folder: Path, fresh: Path, model: TextModel, metadata: dict[str, Any]) -> None:
    """The trained encoder and its `mlm` head in the form of `fresh`, with its tokeniser and `metadata`."""
    from transformers import AutoTokenizer, BertForMaskedLM

    with quiet():
        whole: Any = BertForMaskedLM.from_pretrained(fresh)
        whole.bert.load_state_dict(model.encoder.backbone.state_dict())
        head: Any = model.heads["mlm"]
        transform = whole.cls.predictions.transform
        transform.dense.load_state_dict(head.dense.state_dict())
        transform.LayerNorm.load_state_dict(head.norm.state_dict())
        with torch.no_grad():
            whole.cls.predictions.bias.copy_(head.bias)
        whole.save_pretrained(folder)
        AutoTokenizer.from_pretrained(str(fresh)).save_pretrained(folder)
    (folder / METADATA).write_text(json.dumps(metadata, indent=1), encoding="utf-8")
