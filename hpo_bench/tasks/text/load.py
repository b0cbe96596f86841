"""Entry points: GLUE's tasks by name, and a user's own file (`text`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from hpo_bench.errors import UserError, unknown_name
from hpo_bench.tasks.presets import TaskPreset

if TYPE_CHECKING:
    import torch

    from hpo_bench.data.text_table import TextSplits
    from hpo_bench.tasks.base import LoadedTask

SHIPPED = "bert-4x256"
"""The name by which `--model` means the base that is shipped; its card is base_bert/README.md."""
SHIPPED_BASE = Path(__file__).parent / "base_bert"

# What the presets mean for text. At `quick` and `standard` a probe: two cores solve it in seconds, and few epochs of
# fine-tuning take longer than the pretraining that they judge (docs/decisions.md). `paper`: batches, rates and AdamW as
# in TapWeight's scripts (arXiv 2410.10006).
_SMALL = {"mode": "probe", "batch_size": 32, "learning_rate": 5e-5, "adapt_batch_size": 32}
PRESETS = {
    "quick": TaskPreset({**_SMALL, "adapt_learning_rate": 1e-4}, {"tokens": 64, "rows": 1250}),
    "standard": TaskPreset({**_SMALL, "steps": 100, "epochs": 5, "patience": 2, "adapt_learning_rate": 5e-5}),
    "paper": TaskPreset(
        protocol={
            "batch_size": 32,
            "learning_rate": 2e-5,
            "weight_decay": 0.01,
            "epochs": 10,
            "patience": 10,
            "adapt_batch_size": 32,
            "adapt_learning_rate": 2e-5,
            "dropout": 0.1,
        },
        options={"model": "roberta-base", "tokens": 512, "pooling": "first", "pairs": "joint"},
    ),
}


@dataclass(frozen=True)
class TextOptions:
    """Options of every text task."""

    model: str = SHIPPED  # or minilm (through pip), a folder, a name on the hub
    layers: int | None = None  # the first so many
    tokens: int = 128  # of an input
    pooling: Literal["mean", "first"] = "mean"
    pairs: Literal["joint", "apart"] = "apart"  # the shipped base never saw a pair; `paper` joins them
    rows: int | None = None  # labelled rows that train and valid are cut from, drawn by a fixed seed
    corpus: str | None = None  # file of unlabelled texts; default: the train split's sentences
    objectives: Sequence[str] | None = None
    plant: Sequence[str] | None = None
    allow_suspicious: bool | str = False  # go on where much is left out or leaks

    @classmethod
    def parsed(cls, task: str, given: dict[str, Any]) -> TextOptions:
        """From names and values, which may be text.

        Raises:
            UserError: an unknown option, or a value that does not fit.
        """
        from pydantic import TypeAdapter, ValidationError

        known = [f.name for f in fields(cls)]
        if "base" in given:
            message = f"--base is a checkpoint of molecules' encoders; the task {task} starts from a language model"
            raise UserError(message, "give its folder, such as pretrain-base --corpus made it, with --model")
        for name in given:
            if name not in known:
                raise unknown_name(f"option of the task {task}", name, known)
        try:
            options = TypeAdapter(cls).validate_python(given)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise UserError(
                f"option {where} of the task {task}: {first['msg']}", f"you gave {first['input']!r}"
            ) from error
        for name in ("layers", "tokens", "rows"):
            if (value := getattr(options, name)) is not None and value < 1:
                raise UserError(
                    f"option {name} of the task {task} must be at least 1, not {value}", "give a larger one"
                )
        return options


@dataclass(frozen=True)
class TextLoader:
    """A loader of one task; `splits(rows, own options)` reads its data and names its metric."""

    name: str
    splits: Callable[..., tuple[TextSplits, str]]
    own: tuple[str, ...] = ()  # options that are `splits`' alone
    presets: ClassVar[dict[str, TaskPreset]] = PRESETS  # read by the configuration of a run

    def __call__(self, *, device: torch.device, **given: Any) -> LoadedTask:
        """Data, model and tokeniser as a task.

        Raises:
            UserError: data or model cannot be had, or an option does not fit.
        """
        mine = {name: given.pop(name) for name in self.own if name in given}
        options = TextOptions.parsed(self.name, given)
        splits, metric = self.splits(self.name, options.rows, **mine)
        return _build(self.name, splits, metric, options, device)


def _build(name: str, splits: TextSplits, metric: str, options: TextOptions, device: torch.device) -> LoadedTask:
    from hpo_bench.data.notices import Notices
    from hpo_bench.data.text_table import doubts_of_corpus, read_corpus
    from hpo_bench.tasks.planted import with_plants
    from hpo_bench.tasks.text.encoder import load_base
    from hpo_bench.tasks.text.inspection import inspect_corpus, inspect_pieces, inspect_splits, inspect_tokens
    from hpo_bench.tasks.text.objectives import DEFAULT_OBJECTIVES, OBJECTIVES
    from hpo_bench.tasks.text.task import build_task
    from hpo_bench.tasks.text.tokens import Tokeniser

    notices = Notices(options.allow_suspicious)
    inspect_splits(notices, splits, metric)
    texts, corpus_source = (None, None) if options.corpus is None else read_corpus(options.corpus)
    if texts is not None and corpus_source is not None:
        notices.say(*doubts_of_corpus(corpus_source))
        inspect_corpus(notices, splits, texts)
    path, origin, leak = _find(options.model)
    notices.say(*_unfinished(path))
    tokeniser = Tokeniser(path)
    loaded = build_task(
        name,
        splits,
        load_base(path, options.layers, options.pooling),
        tokeniser,
        metric=metric,
        objectives=with_plants(options.objectives, DEFAULT_OBJECTIVES, options.plant, OBJECTIVES),
        corpus_texts=texts,
        tokens=options.tokens,
        pairs=options.pairs,
        device=device,
    )
    inspect_tokens(
        notices, loaded.report["unknown"], loaded.report["truncated"], loaded.report["sizes"], loaded.report["tokens"]
    )
    inspect_pieces(notices, splits.train, len(loaded.task.train.inputs.ids))
    report = {
        **loaded.report,
        "source": splits.train.source,
        "test_source": splits.test.source,
        "corpus_source": corpus_source,
        "model": origin,
        "leak": leak,
        "classes": list(splits.train.classes),
        "labels": _shares(splits),
    }
    return replace(loaded, report=report, notices=(*notices.sentences, *loaded.notices))


def _find(model: str) -> tuple[str, str, str | None]:
    """Where a model lies, how a record names it, and what is known to be leaked by it."""
    from hpo_bench.data.hub import locate_model
    from hpo_bench.data.language_model import LEAK, MINILM, locate_minilm

    if model == SHIPPED:
        return str(SHIPPED_BASE), SHIPPED, None
    if model == MINILM:
        embedded = locate_minilm()
        return str(embedded.path), embedded.origin, LEAK
    return locate_model(model), model.rstrip("/").rpartition("/")[2], None


def _unfinished(model: str) -> list[str]:
    """A sentence on a model of `pretrain-base` whose training was broken off."""
    import json

    from hpo_bench.tasks.text.scratch import METADATA

    try:
        metadata = json.loads((Path(model) / METADATA).read_text(encoding="utf-8"))
        if metadata["finished"]:
            return []
        stood = f"its training was broken off at step {metadata['steps']:,}"
    except (OSError, ValueError, KeyError, TypeError):  # none of ours
        return []
    return [f"the model {Path(model).name} is not finished: {stood}; the same pretrain-base command goes on"]


def _shares(splits: TextSplits) -> dict[str, Any]:
    """Mean of the train labels, or the share of each class."""
    import numpy as np

    labels = splits.train.labels
    if splits.train.kind == "regression":
        return {"mean": float(labels.mean())}
    shares = np.bincount(labels.astype(int), minlength=len(splits.train.classes)) / len(labels)
    return dict(zip(splits.train.classes, shares.tolist(), strict=True))


def _glue(name: str, rows: int | None) -> tuple[TextSplits, str]:
    from hpo_bench.data.glue import GLUE, load_glue

    return load_glue(name, rows=rows), GLUE[name].metric


def _own(
    name: str,
    rows: int | None,
    path: str | None = None,
    text: str = "text",
    text2: str | None = None,
    label: Sequence[str] | str = "label",
    kind: str | None = None,
    score_range: str | None = None,
    quoting: str = "standard",
) -> tuple[TextSplits, str]:
    """A CSV, TSV or JSONL: the columns of the text, of a second text if there are pairs, and of the label."""
    from hpo_bench.data.text_table import read_texts, split_table

    if path is None or kind is None:
        raise UserError(
            "the task text needs a file and the kind of its labels",
            "give --path FILE --kind classification or regression, --label COLUMN, and the text's column with "
            "--task-option text=COLUMN (text2=COLUMN for pairs)",
        )
    table = read_texts(path, text, label, kind, text2, score_range, quoting)
    return split_table(table, rows), "pearson_spearman" if kind == "regression" else "accuracy"


cola = TextLoader("cola", _glue)
sst2 = TextLoader("sst2", _glue)
mrpc = TextLoader("mrpc", _glue)
stsb = TextLoader("stsb", _glue)
qqp = TextLoader("qqp", _glue)
mnli = TextLoader("mnli", _glue)
qnli = TextLoader("qnli", _glue)
rte = TextLoader("rte", _glue)
text = TextLoader("text", _own, ("path", "text", "text2", "label", "kind", "score_range", "quoting"))
