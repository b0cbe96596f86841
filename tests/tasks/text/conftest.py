"""Small random models with tokenisers of their own, and a small labelled set: nothing is fetched."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from hpo_bench.data.text_table import TextSplits, TextTable
from hpo_bench.tasks.objective import on_any_corpus
from hpo_bench.tasks.text.encoder import load_base
from hpo_bench.tasks.text.objectives import OBJECTIVES
from hpo_bench.tasks.text.task import build_task
from hpo_bench.tasks.text.tokens import Tokeniser

WORDS = "a the man dog cat river rides eats sees plays big small red old fast and near under sun sea".split()  # noqa: SIM905
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """One cache for the session; the user's is left alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPO_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HF_HUB_OFFLINE", "1")  # a wrong name must not be asked for on a network
        patch.delenv("HPO_BENCH_DATA", raising=False)
        yield


def save_model(folder: Path, kind: str, *, head: bool = False, mask: bool = True) -> Path:
    """A random model of `kind` (bert, roberta, deberta-v2) with a word-level tokeniser in that model's convention."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, PreTrainedTokenizerFast

    roberta = kind == "roberta"
    start, end, pad = ("<s>", "</s>", "<pad>") if roberta else ("[CLS]", "[SEP]", "[PAD]")
    specials = [start, pad, end, "[UNK]", "[MASK]"] if roberta else [pad, start, end, "[UNK]", "[MASK]"]
    vocabulary = {word: i for i, word in enumerate([*specials, *WORDS])}
    backend = Tokenizer(models.WordLevel(vocabulary, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    ids = [(start, vocabulary[start]), (end, vocabulary[end])]
    single, pair = (
        (f"{start} $A {end}", f"{start} $A {end} {end} $B {end}")
        if roberta
        else (f"{start}:0 $A:0 {end}:0", f"{start}:0 $A:0 {end}:0 $B:1 {end}:1")
    )
    backend.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=ids)
    names = {"cls_token": start, "sep_token": end, "pad_token": pad, "unk_token": "[UNK]"}
    if mask:
        names["mask_token"] = "[MASK]"
    inputs = ["input_ids", "attention_mask"] + ([] if roberta else ["token_type_ids"])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=64, model_input_names=inputs, **names
    )
    tokenizer.save_pretrained(folder)
    config = AutoConfig.for_model(
        kind,
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=66 if roberta else 64,
        type_vocab_size=1 if roberta else 2,
        pad_token_id=vocabulary[pad],
        initializer_range=0.3,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = (AutoModelForMaskedLM if head else AutoModel).from_config(config)
        for parameter in model.parameters():  # biases and layer norms too: a part left behind must show
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def bert(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "bert", "bert")


@pytest.fixture(scope="session")
def tokeniser(bert):
    return Tokeniser(bert)


def sentences(count: int, seed: int, longest: int = 12) -> list[str]:
    """Different sentences of 3 to `longest` words."""
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, draw.integers(3, longest + 1))) for _ in range(count)]


def table(count: int, seed: int, kind: str) -> TextTable:
    draw = np.random.default_rng(seed)
    first, second = sentences(count, seed), sentences(count, seed + 100)
    if kind == "regression":
        return TextTable(first, second, draw.uniform(0, 5, count), "regression")
    if kind == "binary":
        return TextTable(first, None, draw.permutation(count) % 2.0, "binary", ("no", "yes"))
    return TextTable(first, second, draw.permutation(count) % 3.0, "classes", ("a", "b", "c"))


METRICS = {"regression": "pearson_spearman", "binary": "matthews", "classes": "accuracy"}


EVERY = on_any_corpus(OBJECTIVES)


def load(kind, base, tokeniser, objectives=EVERY, **options):
    """A task on 60, 20 and 20 texts."""
    splits = TextSplits(table(60, 1, kind), table(20, 2, kind), table(20, 3, kind))
    return build_task(
        kind, splits, load_base(base), tokeniser, metric=METRICS[kind], objectives=objectives, tokens=32, **options
    )


@pytest.fixture(scope="session")
def loaded(bert, tokeniser):
    """All six objectives on pairs with a score."""
    return load("regression", bert, tokeniser)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def glue_files() -> Path:
    """GLUE's own files: `HPO_BENCH_SHARED_DATA`, or `shared/data` beside the repository."""
    folder = Path(os.environ.get("HPO_BENCH_SHARED_DATA") or ROOT.parent / "shared" / "data") / "glue"
    if not folder.is_dir():
        pytest.skip(f"no GLUE files in {folder} (set HPO_BENCH_SHARED_DATA)")
    return folder
