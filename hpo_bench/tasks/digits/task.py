"""The task `digits`: 8×8 images of handwritten digits (scikit-learn's own copy, no download), few of them labelled.

Source: Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI, doi 10.24432/C50P49; 1,797 images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hpo_bench.data.digest import digest_of
from hpo_bench.errors import UserError
from hpo_bench.tasks.base import Labelled, LoadedTask
from hpo_bench.tasks.corpus import DrawnCorpus
from hpo_bench.tasks.digits.objectives import DEFAULT_OBJECTIVES, OBJECTIVES, DigitsData
from hpo_bench.tasks.metrics import metric_of
from hpo_bench.tasks.objective import Truth, seeded, select
from hpo_bench.tasks.planted import with_plants
from hpo_bench.tasks.presets import TaskPreset, with_presets
from hpo_bench.tasks.supervised import CorpusTask
from hpo_bench.tasks.targets import Classes

WIDTH, CLASSES = 64, 10
TEST, VALID = 60, 30  # images of each digit; all others are the corpus


class Encoder(nn.Module):
    """Two convolutions and a projection: images (B, 1, 8, 8) to embeddings (B, 64). No batch norm: rows do not mix."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 16, WIDTH),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class DigitsCorpus(DrawnCorpus):
    """Images (N, 1, 8, 8); all views of a step go through the encoder in one pass."""

    def __init__(self, images: Tensor, kinds: Sequence[Any], seed: int) -> None:
        encoder = seeded(Encoder, seed, "encoder")
        super().__init__(kinds, encoder, WIDTH, size=len(images), device=images.device, seed=seed)
        self.images = images

    def clean(self, index: Tensor) -> Tensor:
        return self.images.index_select(0, index)

    def encode(self, encoder: nn.Module, views: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        embedded = encoder(torch.cat(list(views.values())))
        return dict(zip(views, embedded.chunk(len(views)), strict=True))


class DigitsTask(CorpusTask):
    """A split's `inputs` are images (N, 1, 8, 8)."""

    def embed(self, encoder: nn.Module, inputs: Tensor, index: Tensor) -> Tensor:
        return encoder(inputs.index_select(0, index))


# An encoder from scratch needs a higher rate than a pretrained one; a probe shows best what the weights do to the
# encoder, and costs next to nothing.
_RATES = {"mode": "probe", "batch_size": 64, "learning_rate": 2e-3, "adapt_batch_size": 32}


@with_presets(quick=TaskPreset({"steps": 100, **_RATES}), standard=TaskPreset({"steps": 300, **_RATES}))
def load(
    *,
    device: torch.device,
    objectives: Sequence[str] | None = None,
    plant: Sequence[str] | None = None,
    labelled: int = 5,
    **others: Any,
) -> LoadedTask:
    """The task with `labelled` train rows of each digit; the corpus is all images outside valid and test.

    Raises:
        UserError: an option that does not fit.
    """
    if others:
        raise UserError(f"the task digits has no option {', '.join(others)}", "leave it out")
    names = with_plants(objectives, DEFAULT_OBJECTIVES, plant, OBJECTIVES)
    kinds = select(OBJECTIVES, names, "objective on digits")
    images, classes, parts = _data(labelled)

    def split(name: str) -> Labelled:
        rows = parts[name]
        return Labelled(name, _put(images[rows], device), _put(np.eye(CLASSES)[classes[rows]], device))

    everything, train, valid, test = (split(name) for name in ("corpus", "train", "valid", "test"))
    truth = Truth(everything.labels, Classes())
    data = DigitsData(size=len(everything), device=device, seed=0, truth=truth, images=everything.inputs)
    corpus = DigitsCorpus(everything.inputs, [kind(data) for kind in kinds], seed=0)
    task = DigitsTask(
        "digits", metric_of("accuracy"), Classes(), train, valid, corpus, embedding_width=WIDTH, base_id="none"
    )
    report = {
        "source": "scikit-learn's load_digits",
        "train": len(train),
        "valid": len(valid),
        "test": len(test),
        "corpus": f"{len(corpus)} images: all outside valid and test",
    }
    content = {
        "table": digest_of(images, classes),
        "split": digest_of(*parts.values()),
        "corpus": digest_of(images[parts["corpus"]]),
    }
    return LoadedTask(task, test, report, content)


def _data(labelled: int) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Images (N, 1, 8, 8) from 0 to 1, classes (N,), and the rows of each part, as many of each digit in each."""
    from sklearn.datasets import load_digits

    found = load_digits()
    draw = np.random.default_rng(0)
    orders = [draw.permutation(np.flatnonzero(found.target == digit)) for digit in range(CLASSES)]
    most = min(len(order) for order in orders) - TEST - VALID
    if not 1 <= labelled <= most:
        raise UserError(
            f"labelled must be from 1 to {most} images of each digit, not {labelled}", "give another number"
        )

    def rows(start: int, stop: int | None) -> np.ndarray:
        return np.concatenate([order[start:stop] for order in orders])

    first = TEST + VALID
    parts = {"test": rows(0, TEST), "valid": rows(TEST, first), "train": rows(first, first + labelled)}
    return found.images[:, None] / 16, found.target, parts | {"corpus": rows(first, None)}


def _put(array: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(array).to(device, torch.float32)
