"""How good an encoder is, at a bounded price: the loss of an exactly solved linear head on a part of train and valid.

A probe reads the whole train split; on a large set that costs more than the training that it judges. A linear head on
64 features is known from a thousand rows nearly as well as from thirty thousand, and the loss says more than the metric
on few rows: it moves with every prediction.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hpo_bench.core.meter import CostMeter
from hpo_bench.core.pretraining import Diverged
from hpo_bench.core.rng import generator
from hpo_bench.tasks.base import Labelled, Task

MOST_ROWS = 1024  # of each split


@dataclass(frozen=True)
class Judge:
    """The same rows for every encoder that is compared; drawn by `seed` where a split is larger than `rows`."""

    task: Task
    seed: int
    meter: CostMeter
    rows: int = MOST_ROWS

    def cost(self, batch_size: int) -> float:
        """Step-equivalents of one verdict."""
        return sum(min(len(split), self.rows) for split in (self.task.train, self.task.valid)) / batch_size

    def __call__(self, encoder: nn.Module) -> float:
        """The valid loss; the encoder is read in evaluation mode and left as it was.

        Raises:
            Diverged: features or loss are not finite.
        """
        training = encoder.training
        encoder.eval()
        try:
            with torch.no_grad():
                train, valid = self._embedded(encoder, self.task.train), self._embedded(encoder, self.task.valid)
                weight, bias = self.task.solve_probe(*train)
                loss = float(self.task.task_loss(valid[0] @ weight.T + bias, valid[1]))
        finally:
            encoder.train(training)
        if loss != loss or loss in (float("inf"), float("-inf")):
            raise Diverged("the judge's loss is not finite")
        return loss

    def _embedded(self, encoder: nn.Module, split: Labelled) -> tuple[Tensor, Tensor]:
        """Features (B, D) and labels (B, L) of the split's rows."""
        device = self.task.device
        index = torch.arange(len(split), device=device)
        if len(split) > self.rows:
            source = generator(device, self.seed, "judge", split.name)
            index = torch.randperm(len(split), generator=source, device=device)[: self.rows].sort().values
        parts = [self.task.embed(encoder, split.inputs, part) for part in index.split(self.task.eval_batch_size)]
        features = torch.cat(parts).float()
        self.meter.passes(len(index), forward=1, kind="adaptation")
        if not torch.isfinite(features).all():
            raise Diverged(f"the encoder's features of the {split.name} split are not finite")
        return features, split.labels[index]
