"""h steps of training as a function of the weights: states on the way, and any step made again with a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tapweight.evaluation import Evaluator, Passes
from tapweight.horizon.rules import Named, Rule, State, rule_of
from tapweight.levels import Pretraining
from tapweight.parts import trainable


class Point(NamedTuple):
    """θ and the optimiser's state before a step."""

    values: Named
    state: State

    def leaves(self) -> Point:
        """The same numbers as leaves of a new graph."""
        return Point(_leaves(self.values), {key: _leaves(named) for key, named in self.state.items()})

    def tensors(self) -> list[Tensor]:
        """All tensors in a fixed order."""
        return [*self.values.values(), *(t for named in self.state.values() for t in named.values())]

    def detached(self) -> Point:
        return Point(_detached(self.values), {key: _detached(named) for key, named in self.state.items()})


class Trajectory:
    """Training from where module and optimiser stand, one batch a step, as the optimiser itself would do it.

    Nothing of module and optimiser is changed: steps run on copies, step t with the random seed `seed` + t. `buffers`
    are those that `run` has come to (batch norm's running statistics, which training itself does not read).
    """

    def __init__(
        self,
        pretraining: Pretraining,
        optimizer: torch.optim.Optimizer,
        batches: Sequence[Any],
        *,
        seed: int,
        passes: Passes,
        rate: Callable[[int], float] | None = None,
    ) -> None:
        self.rule: Rule
        self.rule, state = rule_of(optimizer, pretraining.module, rate)
        values = {name: p.detach().clone() for name, p in trainable(pretraining.module).items()}
        self.start = Point(values, state)
        self.passes, self.steps = passes, len(batches)
        self.buffers = {name: b.detach().clone() for name, b in pretraining.module.named_buffers()}
        self._losses = Evaluator(
            pretraining.module, pretraining.losses, batches, level="pretrain", passes=passes, seed=seed
        )

    def step(self, point: Point, weights: Tensor, number: int, *, graph: bool) -> Point:
        """Step `number` under weights (K,); with `graph` it can be differentiated in point and weights.

        The tensors of `point` must require a gradient.
        """
        with torch.enable_grad():
            losses = self._losses(point.values, number)
            total = (losses * weights.to(losses)).sum()
            found = torch.autograd.grad(total, list(point.values.values()), create_graph=graph, allow_unused=True)
        gradients = {name: g for name, g in zip(point.values, found, strict=True) if g is not None}
        self.passes.add("pretrain", forward=1, backward=1)
        with torch.set_grad_enabled(graph):
            return Point(*self.rule.step(point.values, point.state, gradients, number))

    def run(self, point: Point, weights: Tensor, first: int, last: int) -> Point:
        """Steps first, …, last − 1 without a graph."""
        for number in range(first, last):
            point = self.step(point.leaves(), weights, number, graph=False).detached()
            self.advance_buffers()
        return point

    def advance_buffers(self) -> None:
        """Keep the buffers that the last step left."""
        self.buffers = self._losses.keep_buffers()


def _leaves(named: Named) -> Named:
    return {name: value.detach().requires_grad_() for name, value in named.items()}


def _detached(named: Named) -> Named:
    return {name: value.detach() for name, value in named.items()}
