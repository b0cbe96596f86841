"""A text task: labelled splits, the corpus of continued pretraining, the base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from hpo_bench.data.digest import digest_of
from hpo_bench.data.text_table import TextSplits, TextTable
from hpo_bench.errors import UserError
from hpo_bench.tasks.base import Labelled, LoadedTask
from hpo_bench.tasks.metrics import metric_of
from hpo_bench.tasks.objective import Truth
from hpo_bench.tasks.supervised import CorpusTask
from hpo_bench.tasks.targets import Target, target_of
from hpo_bench.tasks.text.corpus import TextCorpus
from hpo_bench.tasks.text.encoder import BaseModel
from hpo_bench.tasks.text.objectives import DEFAULT_OBJECTIVES
from hpo_bench.tasks.text.packed import PackedTexts
from hpo_bench.tasks.text.tokens import Tokeniser

Pairs = Literal["joint", "apart"]
_ROOM = 8  # tokens of text that an input must have room for
_FEW, _CPU_TOKENS, _MOST_TOKENS = 128, 2**15, 2**17


class TextTask(CorpusTask):
    """Train and valid texts with labels; a split's `inputs` are `PackedTexts`.

    Pairs go in as one input (`joint`, as BERT is fine-tuned on GLUE), or each text by itself (`apart`): then the
    embedding is [|u − v|, u ∘ v] of the two texts' embeddings (Conneau et al. 2017), on which a linear probe can tell
    similarity.
    """

    def __init__(self, *parts: Any, apart: bool = False, **named: Any) -> None:
        super().__init__(*parts, **named)
        self.apart = apart
        self.eval_batch_size = rows_at_once(self.train.inputs.limit, self.device)

    def embed(self, encoder: Any, inputs: PackedTexts, index: Tensor) -> Tensor:
        views = [inputs.side(index, 0), inputs.side(index, 1)] if self.apart else [inputs.batch(index)]
        pooled = [encoder.pool(hidden, view) for hidden, view in zip(encoder(views), views, strict=True)]
        if not self.apart:
            return pooled[0]
        return torch.cat([(pooled[0] - pooled[1]).abs(), pooled[0] * pooled[1]], dim=1)


def build_task(
    name: str,
    splits: TextSplits,
    base: BaseModel,
    tokeniser: Tokeniser,
    *,
    metric: str,
    objectives: Sequence[str] = DEFAULT_OBJECTIVES,
    corpus_texts: Sequence[str] | None = None,
    tokens: int = 128,
    pairs: Pairs = "joint",
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> LoadedTask:
    """Tokenise once, and hand back the task and, beside it, the test split.

    Args:
        corpus_texts: texts for continued pretraining. By default the train split's own sentences, each once: with
            those of valid or test the encoder would adapt to what it is later judged on.
        tokens: of an input, special ones included; the model's own limit holds where it is lower.
    """
    limit = min(tokens, base.limit, tokeniser.limit)
    if tokeniser.frame.room(limit, pair=True) < _ROOM:
        own = limit < tokens
        raise UserError(
            f"the {limit} tokens that {'this model takes' if own else 'are asked for'} leave no room for a text",
            "use a model that was trained on longer texts" if own else "give --task-option tokens=32 or more",
        )
    if len(tokeniser.hf) > base.vocabulary:
        raise UserError(
            f"the tokeniser knows {len(tokeniser.hf)} tokens, the model {base.vocabulary}", "use the model's own one"
        )
    device = torch.device(device)

    def labelled(split: str, table: TextTable) -> Labelled:
        second = None if table.second is None else tokeniser.tokenise(table.second)
        packed = PackedTexts(tokeniser.tokenise(table.first), second, tokeniser.frame, limit, device)
        return Labelled(split, packed, torch.from_numpy(label_columns(table)).to(device))

    train, valid, test = (labelled(part, getattr(splits, part)) for part in ("train", "valid", "test"))
    texts = splits.train.sentences() if corpus_texts is None else list(corpus_texts)
    target = target_of(splits.train.kind, train.labels)
    apart = pairs == "apart" and splits.train.second is not None
    corpus = TextCorpus(
        texts,
        base,
        tokeniser,
        objectives=objectives,
        limit=limit,
        device=device,
        seed=seed,
        truth=_truth(splits.train, texts, train.labels, target),
    )
    task = TextTask(
        name,
        metric_of(metric),
        target,
        train,
        valid,
        corpus,
        embedding_width=base.width * (2 if apart else 1),
        base_id=base.sha256,
        apart=apart,
    )
    report = {
        "train": len(train),
        "valid": len(valid),
        "test": len(test),
        "corpus": f"{len(corpus)} texts of the train split" if corpus_texts is None else f"{len(corpus)} given texts",
        "corpus_hash": corpus.data_hash,
        "tokens": limit,
        "truncated": {part.name: part.inputs.truncated for part in (train, valid, test)}
        | {"corpus": corpus.packed.truncated},
        "sizes": {part.name: len(part) for part in (train, valid, test)} | {"corpus": len(corpus)},
        "unknown": {part.name: tokeniser.unknown_share(part.inputs.ids) for part in (train, valid, test)}
        | {"corpus": tokeniser.unknown_share(corpus.packed.ids)},
        "corpus_tokens": len(corpus.packed.ids),
        "layers": base.layers,
        "base": base.sha256,
        "mlm_head": "the checkpoint's" if base.mlm_head else "fresh transform, decoder tied to the word embeddings",
        "pairs": None if splits.train.second is None else ("apart" if task.apart else "joint"),
        "pooling": base.encoder.pooling,
    }
    parts = (splits.train, splits.valid, splits.test)
    content = {
        "table": digest_of(*(column for part in parts for column in (part.first, part.second or [], part.labels))),
        "split": digest_of(np.array([len(part) for part in parts])),  # the rows of `table` in order: train, valid, test
        "corpus": digest_of(texts),
        "tokeniser": tokeniser.fingerprint,
    }
    return LoadedTask(task, test, report, content)


def rows_at_once(limit: int, device: torch.device) -> int:
    """Rows of one pass outside training.

    As many as have 32,768 tokens at most on a processor, 131,072 on an accelerator, which waits for Python between
    small passes; 128 at least. Of many rows those of like length share a bucket, so little is padding.
    """
    return max(_FEW, (_CPU_TOKENS if device.type == "cpu" else _MOST_TOKENS) // limit)


def _truth(table: TextTable, texts: Sequence[str], labels: Tensor, target: Target) -> Truth | None:
    """The labels of a corpus whose texts are the table's own; of a text that occurs twice, the first one's."""
    first = {text: row for row, text in reversed(list(enumerate(table.first)))}
    if table.second is not None or not all(text in first for text in texts):
        return None
    return Truth(labels[torch.tensor([first[text] for text in texts], device=labels.device)], target)


def label_columns(table: TextTable) -> np.ndarray:
    """A table's labels as columns (N, L): values as float64, of several classes one column each, 0 or 1 as float32."""
    if table.kind == "classes":
        return np.eye(len(table.classes), dtype=np.float32)[table.labels.astype(int)]
    return table.labels.astype(np.float64 if table.kind == "regression" else np.float32)[:, None]
