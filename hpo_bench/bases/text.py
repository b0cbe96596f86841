"""Making a language model of one's own: a BERT with a clean history, from an unlabelled corpus, with equal weights."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from hpo_bench.bases.training import Recipe, Rows, train
from hpo_bench.bases.workplace import FRESH, FRESH_ASIDE, STATE, check_plan, clear_leftovers, workplace
from hpo_bench.core.device import prepare_process, resolve_device
from hpo_bench.errors import UserError
from hpo_bench.records.run_folder import check_new

if TYPE_CHECKING:
    from hpo_bench.tasks.text.packed import PackedTexts


@dataclass(frozen=True)
class TextShape:
    """What is made: the model, its vocabulary, and the objectives that train it."""

    objectives: Sequence[str] = ("mlm",)
    layers: int = 3
    width: int = 64
    vocabulary: int = 8000  # at most
    tokens: int = 128  # of an input, at most; longer texts are cut
    dropout: float = 0.1  # of the training; what is written down is BERT's 0.1
    half: bool = False  # weights written as float16


def pretrain_text(
    out: Path, *, corpus_file: Path, shape: TextShape, recipe: Recipe, device: str, save_every: float = 60.0
) -> dict[str, Any]:
    """Train a vocabulary and a BERT on a file of texts, write a folder that `--model` takes, return its metadata.

    A training that was killed goes on where it was saved last; the folder holds a model from the first save on, and its
    metadata say whether it is finished. A finished one is not made again (`made` in what is returned). The model claims
    what was trained and no more: positions up to the longest input, and token type 1 only if an objective has pairs.

    Raises:
        UserError: the file cannot be read, `out` cannot be written or holds another training, or a setting is out of
            range.
        Diverged: a loss is not finite.
    """
    from hpo_bench.data.text_table import read_corpus
    from hpo_bench.tasks.objective import select
    from hpo_bench.tasks.text.corpus import TextCorpus
    from hpo_bench.tasks.text.encoder import load_base
    from hpo_bench.tasks.text.objectives import OBJECTIVES
    from hpo_bench.tasks.text.scratch import METADATA, check_width, clear_half_written, write_trained
    from hpo_bench.tasks.text.tokens import Tokeniser

    select(OBJECTIVES, shape.objectives, "objective on text")
    if "mlm" not in shape.objectives:
        raise UserError("a language model is made with mlm at least", "name it among the objectives")
    if shape.tokens < 8:
        raise UserError(f"{shape.tokens} tokens leave no room for a text", "give --tokens 32 or more")
    if not 0 <= shape.dropout < 1:
        raise UserError(f"dropout must lie in [0, 1), not {shape.dropout}", "0.1 is BERT's")
    check_width(shape.width)
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file", "a language model is a folder: give another --out")
    check_new(out)
    texts, source = read_corpus(corpus_file)
    plan = {"corpus": source["sha256"], **asdict(shape), **asdict(recipe)}
    if (out / METADATA).exists():
        check_plan(out / METADATA, plan)
        known = json.loads((out / METADATA).read_text(encoding="utf-8"))
        if known.get("finished"):
            clear_half_written(out)
            clear_leftovers(out / "training", plan)
            return {**known, "sha256": load_base(out).sha256, "made": False}
    elif out.exists() and not (out / "training").exists() and any(out.iterdir()):
        raise UserError(f"{out} is there and holds no training", "give --out a new folder")
    prepare_process()
    with workplace(out / "training", plan) as folder:
        clear_half_written(out)
        fresh = folder / FRESH
        if not fresh.exists():
            _make_fresh(fresh, texts, shape, recipe.seed)
        base, tokeniser = load_base(fresh), Tokeniser(fresh)
        corpus = TextCorpus(
            texts,
            replace(base, mlm_head={}),  # a fresh head starts at the corpus's frequencies, the file's at zero
            tokeniser,
            objectives=shape.objectives,
            limit=base.limit,
            device=resolve_device(device),
            seed=recipe.seed,
        )
        _say_doubts(source, corpus.packed, tokeniser.unknown_share(corpus.packed.ids))
        metadata = {
            "corpus": source,
            "plan": plan,
            "positions": base.limit,
            "vocabulary": base.vocabulary,
            "truncated": corpus.packed.truncated,
            "tokens_of_corpus": len(corpus.packed.ids),
            "chance_in_nats": corpus.baseline_losses,
        }

        def write(model: nn.Module, outcome: dict[str, Any], finished: bool = False) -> None:
            write_trained(out, fresh, model, {"finished": finished, **metadata, **outcome}, shape.half)  # type: ignore[arg-type]

        rows = Rows(len(corpus), recipe.batch_size, recipe.seed, corpus.packed.counts[:, 0].cpu().numpy())
        model, outcome = train(corpus, recipe, folder / STATE, rows=rows, save_every=save_every, on_save=write)
        write(model, outcome, finished=True)
    return {"finished": True, **metadata, **outcome, "sha256": load_base(out).sha256, "made": True}


def _say_doubts(source: dict[str, Any], packed: PackedTexts, unknown: float) -> None:
    """Warn of rows without text, of repeats, of unknown tokens and of the ends of long texts (a book is one text)."""
    from hpo_bench.data.text_table import doubts_of_corpus
    from hpo_bench.tasks.text.inspection import UNKNOWN_SAID

    for sentence in doubts_of_corpus(source):
        warnings.warn(sentence, stacklevel=3)
    if unknown > UNKNOWN_SAID:
        warnings.warn(
            f"{unknown:.0%} of the corpus's tokens are not in the vocabulary ([UNK]): the model never sees them; "
            "give a larger --vocabulary (the 1,000 most frequent characters have a place at most)",
            stacklevel=3,
        )
    if packed.truncated:
        lost = 1 - int(packed.counts.sum()) / len(packed.ids)
        warnings.warn(
            f"texts longer than {packed.limit} tokens are cut: {packed.truncated:,} of {len(packed):,}; {lost:.1%} of "
            "all tokens are never seen; break long lines up, a paragraph or a sentence a line",
            stacklevel=3,
        )


def _make_fresh(folder: Path, texts: Sequence[str], shape: TextShape, seed: int) -> None:
    """Tokeniser and random model, made aside: a kill leaves the whole folder or none."""
    from hpo_bench.tasks.objective import select
    from hpo_bench.tasks.text.objectives import OBJECTIVES
    from hpo_bench.tasks.text.scratch import write_fresh, write_tokeniser
    from hpo_bench.tasks.text.tokens import Tokeniser

    aside = folder.with_name(FRESH_ASIDE)
    shutil.rmtree(aside, ignore_errors=True)
    pairs = any(kind.pairs for kind in select(OBJECTIVES, shape.objectives, "objective on text"))
    write_tokeniser(aside, texts, vocabulary=shape.vocabulary, tokens=shape.tokens, typed=pairs)
    tokeniser = Tokeniser(aside)
    specials = shape.tokens - tokeniser.frame.room(shape.tokens, pair=pairs)
    longest = int(tokeniser.tokenise(texts).counts.max()) + specials
    write_fresh(
        aside,
        layers=shape.layers,
        width=shape.width,
        vocabulary=len(tokeniser.hf),
        positions=min(shape.tokens, longest),
        types=2 if pairs else 1,
        dropout=shape.dropout,
        seed=seed,
    )
    os.replace(aside, folder)
