"""The gradient of the validation loss on the encoder: what online methods with a validation signal look at."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hpo_bench.core.adaptation import features_of
from hpo_bench.core.memory import by_parts
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.pretraining import Diverged
from hpo_bench.core.rng import generator
from hpo_bench.tasks.base import Labelled, Task

MOST_ROWS = 4096  # of a split in one gradient; a larger split is sampled anew each time


class ValidGradient:
    """∇ of the validation loss, under a linear head that is solved exactly on the train split.

    The head is a constant of the gradient: only the features' own effect counts. The encoder is in evaluation mode.
    With full fine-tuning this is the gradient before the encoder has moved.
    """

    def __init__(self, task: Task, seed: int, meter: CostMeter) -> None:
        self.task, self.seed, self.meter = task, seed, meter

    @staticmethod
    def cost(task: Task, batch_size: int) -> float:
        """Step-equivalents of one gradient."""
        return (min(len(task.train), MOST_ROWS) + 3 * min(len(task.valid), MOST_ROWS)) / batch_size

    def __call__(self, encoder: nn.Module, number: int) -> tuple[float, Tensor]:
        """The loss, and its gradient (D,) on the encoder's trainable parameters, flattened in their order.

        `number` names the sample, where a split is larger than `MOST_ROWS`.

        Raises:
            Diverged: features, loss or gradient are not finite.
        """
        task, training = self.task, encoder.training
        encoder.eval()
        try:
            train, valid = self._rows(task.train, number), self._rows(task.valid, number)
            with torch.no_grad():
                features = features_of(task, encoder, task.train, train, self.meter)
            weight, bias = (part.detach() for part in task.solve_probe(features, task.train.labels[train]))
            parameters = trainable(encoder)
            loss, gradient = torch.zeros((), device=task.device), [torch.zeros_like(p) for p in parameters]

            def passed(rows: Tensor) -> Tensor:
                outputs = task.embed(encoder, task.valid.inputs, rows).float() @ weight.T + bias
                part = task.task_loss(outputs, task.valid.labels[rows]) * (len(rows) / len(valid))
                for total, own in zip(gradient, grads(part, parameters), strict=True):
                    total += own
                return part.detach()

            for part in by_parts(task, valid, passed):
                loss += part
            self.meter.passes(len(valid), forward=1, backward=1, kind="adaptation")
        finally:
            encoder.train(training)
        flat = torch.cat([part.flatten() for part in gradient])
        if not torch.isfinite(flat).all():
            raise Diverged("the gradient of the validation loss is not finite")
        return float(loss), flat

    def _rows(self, split: Labelled, number: int) -> Tensor:
        device = self.task.device
        if len(split) <= MOST_ROWS:
            return torch.arange(len(split), device=device)
        draw = generator(device, self.seed, "valid-gradient", split.name, number)
        return torch.randperm(len(split), generator=draw, device=device)[:MOST_ROWS]


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that training moves, in the module's order."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def grads(loss: Tensor, parameters: list[nn.Parameter], *, keep: bool = False) -> list[Tensor]:
    """Gradients of a scalar; zeros for a parameter that it does not depend on. `keep`: the graph is used again."""
    found = torch.autograd.grad(loss, parameters, retain_graph=keep, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
