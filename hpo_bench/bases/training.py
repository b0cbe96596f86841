"""The training of a base checkpoint: equal weights, epochs that see every row, a state that outlives a kill."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hpo_bench.bases.progress import Progress
from hpo_bench.core.checkpoint import load_state, save_state
from hpo_bench.core.device import synchronise
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.pretraining import Pretrainer
from hpo_bench.core.protocol import Protocol
from hpo_bench.core.rng import generator
from hpo_bench.errors import UserError
from hpo_bench.records import environment
from hpo_bench.tasks.base import Pretrainable

_WINDOW = 32  # batches whose rows are sorted by length together
_LOOK = 50  # steps between two looks at the losses: reading one stalls an accelerator
_KEPT = 100  # steps whose mean the report gives


@dataclass(frozen=True)
class Recipe:
    """How long and how a base is trained. The end comes with `epochs` or with `minutes`, whichever is first."""

    epochs: int | None
    minutes: float | None
    batch_size: int
    learning_rate: float  # the peak
    weight_decay: float
    warmup: int  # steps over which the rate rises, of known `epochs` a tenth at most; a cosine to zero afterwards
    clip: float  # longest gradient
    precision: str
    seed: int

    def __post_init__(self) -> None:
        if self.epochs is None and self.minutes is None:
            raise UserError("nothing says when the training ends", "give --epochs or --minutes")
        for name in ("epochs", "minutes", "clip"):
            if (value := getattr(self, name)) is not None and not 0 < value < math.inf:
                raise UserError(f"{name} must be positive, not {value}", f"give another --{name}, or leave it out")
        if self.warmup < 0:
            raise UserError(f"warmup must not be negative, not {self.warmup}", "0 starts at the full rate")
        self.protocol(1)

    def protocol(self, steps: int) -> Protocol:
        """These settings as the core's `Protocol`.

        Raises:
            UserError: one that is out of range.
        """
        names = ("batch_size", "learning_rate", "weight_decay", "precision")
        return Protocol.parsed({"steps": steps} | {name: getattr(self, name) for name in names})

    def rate(self, step: int, steps: int | None, elapsed: float) -> float:
        """The learning rate of a step: tied to the steps where they are known, to the clock, or to what ends first."""
        done = 0.0 if steps is None else step / steps
        if self.minutes is not None:
            done = max(done, elapsed / (60 * self.minutes))
        warmup = self.warmup if steps is None else min(self.warmup, steps // 10)
        return self.learning_rate * min(1.0, (step + 1) / max(1, warmup)) * (1 + math.cos(math.pi * min(1.0, done))) / 2


class Rows:
    """The rows of every step: each epoch is a new order of all of them, cut into batches that differ by one at most.

    With `lengths` (N,), rows of like length share a batch: 32 batches at a time are sorted, then shuffled. Padding to
    the longest of 256 lines drawn by lot costs 2.5 times the work.
    """

    def __init__(self, count: int, batch_size: int, seed: int, lengths: np.ndarray | None = None) -> None:
        self.count, self.seed, self.lengths = count, seed, lengths
        self.batches = -(-count // batch_size)  # of an epoch
        self._bounds = np.linspace(0, count, self.batches + 1).astype(np.int64)
        self._epoch, self._order, self._turns = -1, np.zeros(0, np.int64), np.zeros(0, np.int64)

    def of(self, step: int) -> np.ndarray:
        """Rows (B,) int64 of a step, counted from 0."""
        epoch, place = divmod(step, self.batches)
        if epoch != self._epoch:
            draw = np.random.default_rng([self.seed, epoch])
            self._epoch, self._order = epoch, draw.permutation(self.count)
            if self.lengths is not None:
                for first in range(0, self.batches, _WINDOW):
                    window = slice(self._bounds[first], self._bounds[min(first + _WINDOW, self.batches)])
                    rows = self._order[window]
                    self._order[window] = rows[self.lengths[rows].argsort(kind="stable")]
            self._turns = draw.permutation(self.batches)
        which = self._turns[place]
        return self._order[self._bounds[which] : self._bounds[which + 1]]


class _Trainer(Pretrainer):
    """The core's pretrainer on `Rows`, with clipped gradients; norms and biases do not decay."""

    def __init__(self, corpus: Pretrainable, recipe: Recipe, rows: Rows) -> None:
        meter = CostMeter(recipe.batch_size, corpus.device)
        super().__init__(corpus, recipe.protocol(1), recipe.seed, meter)
        self.rows, weights = rows, list(self.model.parameters())
        groups = [
            {"params": [one for one in weights if one.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [one for one in weights if one.ndim <= 1], "weight_decay": 0.0},
        ]
        on_gpu = corpus.device.type == "cuda"
        # What was captured reads the rate from a tensor.
        rate: Any = torch.tensor(recipe.learning_rate, device=corpus.device) if on_gpu else recipe.learning_rate
        self.optimizer = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=on_gpu, capturable=on_gpu)

        def clip(*_: Any) -> None:
            nn.utils.clip_grad_norm_(weights, recipe.clip)

        self.optimizer.register_step_pre_hook(clip)

    def draw_batch(self, step: int) -> Any:
        device = self.task.draws_on
        index = torch.from_numpy(self.rows.of(step)).to(device)
        return self.task.batch_at(index, generator(device, self.seed, "pretraining", step))


def train(
    corpus: Pretrainable,
    recipe: Recipe,
    state: Path,
    *,
    rows: Rows,
    save_every: float = 60.0,
    on_save: Callable[[nn.Module, dict[str, Any]], None] | None = None,
) -> tuple[nn.Module, dict[str, Any]]:
    """Train from the base of `corpus`, or on from what lies in `state`, which is written every `save_every` seconds.

    With epochs alone, a training that was killed and taken up again ends with the weights of an unbroken one. With
    minutes, the time of what was lost does not count.

    Args:
        on_save: called with the model and its outcome so far after every save, and not at the end.

    Returns:
        The model, and its outcome for its metadata: steps, epochs, losses at the end, seconds, environment.

    Raises:
        Diverged: a loss is not finite.
    """
    if corpus.compares_rows and rows.count < 2 * rows.batches:
        names = ", ".join(corpus.compares_rows)
        warnings.warn(f"{names} compares the rows of a batch, and some have one: its loss tells nothing", stacklevel=2)
    trainer = _Trainer(corpus, recipe, rows)
    recent: list[Tensor] = []
    before = 0.0
    if state.exists():
        kept = load_state(state, corpus.device)
        trainer.load_state_dict(kept["trainer"])
        recent, before = list(kept["recent"]), kept["elapsed"]
    steps = None if recipe.epochs is None else recipe.epochs * rows.batches
    seconds = math.inf if recipe.minutes is None else 60 * recipe.minutes
    made_by = environment.describe()  # before training: the checkout may change meanwhile
    equal = torch.full((corpus.num_objectives,), 1 / corpus.num_objectives, device=corpus.device)
    started = saved = time.perf_counter()

    def elapsed() -> float:
        return before + time.perf_counter() - started

    def outcome() -> dict[str, Any]:
        synchronise(corpus.device)
        losses = torch.stack(recent).mean(0).tolist()
        return {
            "steps": trainer.step_number,
            "epochs": trainer.step_number / rows.batches,
            "losses": dict(zip(corpus.objectives, losses, strict=True)),
            "seconds": elapsed(),
            "environment": made_by,
        }

    with Progress(corpus.objectives, steps, None if recipe.minutes is None else seconds) as progress:
        progress.resumed(trainer.step_number)
        while (steps is None or trainer.step_number < steps) and (elapsed() < seconds or not trainer.step_number):
            trainer.set_rate(recipe.rate(trainer.step_number, steps, elapsed()))
            losses = trainer.step(equal, trainer.draw_batch(trainer.step_number))
            recent.append(losses)
            del recent[:-_KEPT]
            if corpus.device.type == "cpu" or trainer.step_number % _LOOK == 1:
                trainer.check(losses)
                progress.update(trainer.step_number, elapsed(), losses.tolist())
            if time.perf_counter() - saved >= save_every:
                trainer.check(losses)  # a state that has diverged must not replace one that has not
                kept = {"trainer": trainer.state_dict(), "recent": recent, "elapsed": elapsed()}
                save_state(state, kept)
                if on_save is not None:
                    on_save(trainer.model, outcome())
                saved = time.perf_counter()
        trainer.check(recent[-1])
    return trainer.model, outcome()
