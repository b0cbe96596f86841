"""How good an encoder is, at a bounded price: exactly solved linear heads on a part of train and valid, read five ways.

A probe reads the whole train split; on a large set that costs more than the training that it judges, while a linear
head is known well from a thousand rows, or from as many as say as much where labels are rare (docs/fidelity.md). Few
valid rows are noisy, so the same features are also cross-fitted: heads solved on four fifths of train and valid
together, read on the rest. A loss moves with every prediction, but the metric on valid is what a search is scored by;
the weights are read from four of them (`PLAIN`: docs/fidelity.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hpo_bench.core.adaptation import features_of
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.pretraining import Diverged
from hpo_bench.core.rng import generator
from hpo_bench.tasks.base import Labelled, Task

WORTH = 1024  # of train, in rows of balanced labels, and of valid in rows
FOLDS = 5
READINGS = ("valid loss", "valid metric", "cross loss", "cross metric", "crossed valid metric")
PLAIN = ("valid metric", "crossed valid metric", "valid loss", "cross loss")  # by two heads: what counts, and a loss


@dataclass(frozen=True)
class Judge:
    """The same rows and folds for every encoder that is compared, whatever the search's seed.

    Of a larger train split rows are drawn by lot, so that a head sees labels as often as a probe does: as many as say
    what `rows` of balanced labels say (`information`), `most` at most. Of a larger valid split `rows`, of which at most
    half are those with a rarer class, as many as there are, and the rest by lot: a metric of ranks is known as well as
    its rarer class is.

    Folds are dealt row by row in the splits' order: a table may be sorted by its labels, and a block of it would be
    judged by heads that have not seen its classes.
    """

    task: Task
    meter: CostMeter
    rows: int = WORTH
    most: float = math.inf

    def cost(self, batch_size: int) -> float:
        """Step-equivalents of one verdict."""
        return sum(min(len(split), self._wanted(split)) for split in (self.task.train, self.task.valid)) / batch_size

    def __call__(self, encoder: nn.Module) -> dict[str, float]:
        """The readings, each the better the larger; the encoder is read in evaluation mode and left as it was.

        A metric that the labels leave undefined (a single class) is NaN, for every encoder alike.

        Raises:
            Diverged: features or losses are not finite.
        """
        training = encoder.training
        encoder.eval()
        try:
            with torch.no_grad():
                train, valid = self._embedded(encoder, self.task.train), self._embedded(encoder, self.task.valid)
                values = [*self._read(train, valid), *self._crossed(train, valid)]
        finally:
            encoder.train(training)
        found = dict(zip(READINGS, values, strict=True))
        if not all(math.isfinite(found[name]) for name in ("valid loss", "cross loss")):
            raise Diverged("the judge's loss is not finite")
        return found

    def _embedded(self, encoder: nn.Module, split: Labelled) -> tuple[Tensor, Tensor]:
        """Features (B, D) and labels (B, L) of the split's rows."""
        index = self._drawn(split).to(self.task.device)
        return features_of(self.task, encoder, split, index, self.meter), split.labels[index]

    def _wanted(self, split: Labelled) -> int:
        """How many rows of a split a verdict takes, if there are so many."""
        if split is self.task.valid:
            return self.rows
        return math.ceil(max(self.rows, min(self.rows / information(split.labels), self.most)))

    def _drawn(self, split: Labelled) -> Tensor:
        """Rows (B,) of the split, ascending."""
        wanted = self._wanted(split)
        if len(split) <= wanted:
            return torch.arange(len(split))
        order = torch.randperm(len(split), generator=generator(torch.device("cpu"), 0, "judge", split.name))
        if split is self.task.valid:
            rare = _rarer(split.labels.cpu()).index_select(0, order)
            kept = torch.cumsum(rare, 0) <= wanted // 2
            order = torch.cat([order[rare & kept], order[~(rare & kept)]])
        return order[:wanted].sort().values

    def _crossed(self, train: tuple[Tensor, Tensor], valid: tuple[Tensor, Tensor]) -> tuple[float, float, float]:
        """Loss and metric, means over the folds in which they are defined; and the metric on all of valid at once."""
        features, labels = (torch.cat(both) for both in zip(train, valid, strict=True))
        fold = torch.cat([torch.arange(len(part[1])) % FOLDS for part in (train, valid)])
        fold = fold.to(labels.device)
        each, outputs = [], torch.zeros_like(labels)
        for number in range(FOLDS):
            rest, own = fold != number, fold == number
            if rest.any() and own.any():
                found = self._outputs((features[rest], labels[rest]), features[own])
                outputs[own] = found.to(outputs)
                each.append(self._scores(found, labels[own]))
        losses, metrics = zip(*each, strict=True)
        on_valid = slice(len(train[1]), None)
        return _mean(losses), _mean(metrics), self._scores(outputs[on_valid], labels[on_valid])[1]

    def _read(self, train: tuple[Tensor, Tensor], judged: tuple[Tensor, Tensor]) -> tuple[float, float]:
        """Loss and metric of the head solved on `train`."""
        return self._scores(self._outputs(train, judged[0]), judged[1])

    def _outputs(self, train: tuple[Tensor, Tensor], features: Tensor) -> Tensor:
        weight, bias = self.task.solve_probe(*train)
        return features @ weight.T + bias

    def _scores(self, outputs: Tensor, labels: Tensor) -> tuple[float, float]:
        """Loss and metric of head outputs (B, L), both with the sign that makes more better."""
        loss = -float(self.task.task_loss(outputs, labels))
        try:
            value = self.task.metric.compute(self.task.decode(outputs).double().cpu().numpy(), labels.cpu().numpy())
        except ValueError:  # a fold of one class
            value = math.nan
        return loss, value if self.task.metric.higher_is_better else -value


def information(labels: Tensor) -> float:
    """What a row of labels (N, L) says, in known labels of two balanced classes; by the label that says most.

    4 p (1 − p) of the rows where it is known, with the share p of a class: the variance of a label, which is what a
    head is fitted to. A number counts as balanced.
    """
    share = labels.double().nanmean(0)
    spread = torch.where(_classes(labels), 4 * share * (1 - share), 1.0)
    return max(float((spread * (~labels.isnan()).double().mean(0)).nan_to_num().max()), 1 / len(labels))


def _classes(labels: Tensor) -> Tensor:
    """Which labels (L,) of (N, L) are classes, not numbers."""
    return ((labels == 0) | (labels == 1) | labels.isnan()).all(0)


def _rarer(labels: Tensor) -> Tensor:
    """Which rows (N,) of labels (N, L) have the rarer of two classes in any label; none where labels are numbers."""
    rarer = torch.where(labels.nanmean(0) <= 0.5, 1.0, 0.0)
    return (~labels.isnan() & _classes(labels) & (labels == rarer)).any(1)


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
