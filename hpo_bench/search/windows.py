"""Online methods that train a window of steps several times from a common point, and go on from one of the ends."""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hpo_bench.core.problem import Problem
from hpo_bench.search.base import Support
from hpo_bench.search.online import OnlineSearch
from hpo_bench.search.online_run import Look, OnlineRun, State


@dataclass
class End:
    """Where a window can end: the weights (K,) that lead there, the trainer's state, its losses and valid score."""

    weights: np.ndarray
    state: dict[str, Any]
    losses: Tensor
    value: float


class Window:
    """A window of a run: steps from where the run stands to `until`."""

    def __init__(self, run: OnlineRun, until: int) -> None:
        self.run, self.until, self.problem = run, until, run.problem
        self._start = copy.deepcopy(run.trial.pretrainer.state_dict())

    def branch(self, weights: np.ndarray) -> End:
        """Train the window from its start under constant weights (K,), and score the end on valid."""
        trial = self.run.trial
        trial.pretrainer.load_state_dict(copy.deepcopy(self._start))
        losses = trial.advance(weights, self.until - trial.step)
        state = copy.deepcopy(trial.pretrainer.state_dict())
        return End(weights, state, torch.tensor(losses), trial.validate().value)

    def mixed(self, one: End, other: End, share: float) -> End:
        """(1 − share)·one + share·other in encoder, heads and the optimiser's moments, scored on valid."""
        trial, state = self.run.trial, merge(one.state, other.state, share)
        trial.pretrainer.load_state_dict(copy.deepcopy(state))
        weights = (1 - share) * one.weights + share * other.weights
        return End(weights, state, torch.lerp(one.losses, other.losses, share), trial.validate().value)


@dataclass
class WindowSearch(OnlineSearch):
    """An online method that goes on, window by window, from the best of several ends. Write `close`.

    Attributes:
        windows: in a run.
    """

    windows: int = 4

    @abstractmethod
    def close(self, window: Window) -> End:
        """The end that the run goes on from."""

    @classmethod
    def takes(cls) -> tuple[str, ...]:
        return ("validation",)

    def supports(self, problem: Problem) -> Support:
        if not 1 <= self.windows <= problem.protocol.steps:
            return Support.no(f"windows must be 1 to {problem.protocol.steps}, the steps of a run")
        return super().supports(problem)

    def begin(self, run: OnlineRun) -> State:
        return {}

    def weigh(self, state: State, look: Look) -> Tensor:
        raise NotImplementedError("whole windows are trained, not steps")

    def advance(self, run: OnlineRun) -> None:
        start, steps = run.trial.step, run.problem.protocol.steps
        ends = [round(window * steps / self.windows) for window in range(1, self.windows + 1)]
        end = self.close(Window(run, next(until for until in ends if until > start)))
        run.trial.pretrainer.load_state_dict(end.state)
        run.losses = end.losses
        run.use(torch.from_numpy(end.weights))
        run.record(start, losses=end.losses.tolist(), valid=end.value)


def merge(a: Any, b: Any, share: float) -> Any:
    """(1 − share)·a + share·b through two states of one shape; what is no floating tensor is a's."""
    if isinstance(a, dict):
        return {key: merge(value, b[key], share) for key, value in a.items()}
    if isinstance(a, list | tuple):
        return type(a)(merge(x, y, share) for x, y in zip(a, b, strict=True))
    return torch.lerp(a, b, share) if isinstance(a, Tensor) and a.is_floating_point() else a
