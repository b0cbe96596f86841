"""The ways in which TapWeight sees the task: a fine-tuned copy that trains along, a head solved exactly, or one step.

Each hands the library a level II, names its batches, bills its passes by the samples they take, and says beforehand how
many those will be. Which of them is faithful depends on how the protocol adapts an encoder (docs/decisions.md).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

import tapweight
from hpo_bench.core.adaptation import AdaptedModel, adaptation
from hpo_bench.core.finetuning import FineTuner
from hpo_bench.core.micro_batches import objective_losses
from hpo_bench.core.pretraining import Pretrainer
from hpo_bench.core.problem import Problem
from hpo_bench.errors import UserError
from hpo_bench.tasks.base import Labelled, Task

Rows = tuple[Labelled, Tensor]
LEVELS_TWO: dict[str, type[LevelTwo]] = {}


class LevelTwo(ABC):
    """Levels II and III, beside the pretrainer whose encoder they judge. A subclass with a name is found by it.

    Attributes:
        name: what `-o level_two` and an adaptation's `level_two` call it.
        kind, task: the library's level. pretraining: its level I.
        trains: is it trained beside pretraining (else solved)? optimizer: then, its own.
    """

    name: ClassVar[str]
    kind: ClassVar[type[tapweight.TaskLevel]]
    trains: ClassVar[bool] = False
    task: tapweight.TaskLevel
    optimizer: torch.optim.Optimizer | None = None

    def __init_subclass__(cls) -> None:
        if "name" in vars(cls):
            LEVELS_TWO[cls.name] = cls

    def __init__(self, problem: Problem, pretrainer: Pretrainer, gamma: float) -> None:
        self.problem, self.gamma = problem, gamma
        self.pretraining = tapweight.Pretraining(
            pretrainer.model, partial(objective_losses, problem.task), capture=pretrainer.capture
        )

    @staticmethod
    @abstractmethod
    def rows(problem: Problem) -> tuple[int, int, int]:
        """Rows that are trained on beside a pretraining step, and rows of train and of valid in an update."""

    def step(self) -> None:  # noqa: B027 (what is solved is not trained)
        """What is trained beside a pretraining step."""

    def train_batches(self) -> list[Rows]:
        """Batches of level II for one update: all rows, unless the level trains."""
        return whole(self.problem.task, self.problem.task.train)

    def valid_batches(self) -> list[Rows]:
        """Batches of level III: all rows."""
        return whole(self.problem.task, self.problem.task.valid)

    def bill(self, passes: Mapping[str, int]) -> None:
        """Passes are counted in batches by the library, in samples by the meter."""
        _, train, valid = self.rows(self.problem)
        parts = {"train": train / len(self.train_batches()), "valid": valid / len(self.valid_batches())}
        for level, size in {"pretrain": self.problem.protocol.batch_size, **parts}.items():
            forward, backward = passes.get(f"{level}_forward", 0), passes.get(f"{level}_backward", 0)
            kind = "pretraining" if level == "pretrain" else "adaptation"
            self.problem.meter.passes(size, forward=forward, backward=backward, kind=kind)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 (a level may have no state)
        """Go on where `state_dict` was taken."""


def whole(task: Task, split: Labelled) -> list[Rows]:
    """All rows of a split, in parts."""
    return [(split, part) for part in torch.arange(len(split), device=task.device).split(task.eval_batch_size)]


class Tuned(LevelTwo):
    """A fine-tuned copy of the encoder, pulled to it by γ‖φ_e − θ_e‖²; a step of it beside each pretraining step."""

    name = "tuned"
    kind = tapweight.Finetuning
    trains = True

    def __init__(self, problem: Problem, pretrainer: Pretrainer, gamma: float) -> None:
        super().__init__(problem, pretrainer, gamma)
        encoder = pretrainer.model.get_submodule("encoder")
        self.tuner = FineTuner(problem.task, problem.protocol, encoder, problem.seed, problem.meter)
        self.optimizer = self.tuner.optimizer
        self.task = self.finetuning = tapweight.Finetuning(
            self.tuner.model, self._loss, gamma=gamma, batch_size=lambda batch: len(batch[1])
        )

    @staticmethod
    def rows(problem: Problem) -> tuple[int, int, int]:
        size = problem.protocol.adapt_batch_size
        return size, size, len(problem.task.valid)

    def _loss(self, model: nn.Module, batch: Rows) -> Tensor:
        assert isinstance(model, AdaptedModel)
        split, index = batch
        outputs = model.outputs(self.problem.task, split.inputs, index)
        return self.problem.task.task_loss(outputs, split.labels[index])

    def step(self) -> None:
        index = self.tuner.draw_batch(self.tuner.step_number)
        self.tuner.step(index, lambda: self.finetuning.add_proximal_grad_(self.pretraining))

    def train_batches(self) -> list[Rows]:
        return [(self.problem.task.train, self.tuner.draw_batch(self.tuner.step_number - 1))]

    def state_dict(self) -> dict[str, Any]:
        return self.tuner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.tuner.load_state_dict(state)


class Joint(Tuned):
    """The bilevel ablation: the pretrained encoder itself, trained in turn on Σ λ_i ℓ_i and on the task's loss."""

    name = "joint"

    def __init__(self, problem: Problem, pretrainer: Pretrainer, gamma: float) -> None:
        super().__init__(problem, pretrainer, gamma)
        self.tuner.model.encoder = pretrainer.model.get_submodule("encoder")
        rate = problem.protocol.adapt_learning_rate
        self.tuner.optimizer = self.optimizer = torch.optim.Adam(self.tuner.model.parameters(), lr=rate)

    def step(self) -> None:
        self.tuner.step(self.tuner.draw_batch(self.tuner.step_number))


class TaskProbe(tapweight.Probe):
    """The head that the task itself solves, and its loss."""

    def __init__(self, task: Task) -> None:
        super().__init__(self._features, lambda batch: batch[0].labels[batch[1]])
        self.task = task

    def _features(self, model: nn.Module, batch: Rows) -> Tensor:
        return self.task.embed(model.get_submodule("encoder"), batch[0].inputs, batch[1])

    def solve(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return self.task.solve_probe(features, labels)

    def loss(self, head: tuple[Tensor, Tensor], features: Tensor, labels: Tensor) -> Tensor:
        return self.task.task_loss(features @ head[0].T + head[1], labels)


class Solved(LevelTwo):
    """The limit γ → ∞: the probe's head on the encoder itself, solved on the whole train split at every update."""

    name = "probe"
    kind = tapweight.Probe

    def __init__(self, problem: Problem, pretrainer: Pretrainer, gamma: float) -> None:
        super().__init__(problem, pretrainer, gamma)
        self.task = TaskProbe(problem.task)

    @staticmethod
    def rows(problem: Problem) -> tuple[int, int, int]:
        return 0, len(problem.task.train), len(problem.task.valid)


class SteppedProbe(TaskProbe):
    """A head that makes one step of gradient descent, from where the last update left it."""

    RATE = 0.1

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.weight = torch.zeros(task.outputs, task.embedding_width, device=task.device)
        self.bias = torch.zeros(task.outputs, device=task.device)

    def solve(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            head = self.weight.clone().requires_grad_(), self.bias.clone().requires_grad_()
            slopes = torch.autograd.grad(self.loss(head, features, labels), head, create_graph=True)
        weight, bias = (part - self.RATE * slope for part, slope in zip(head, slopes, strict=True))
        self.weight, self.bias = weight.detach(), bias.detach()
        return weight, bias


class Stepped(Solved):
    """A head of its own on the encoder, one step of which is unrolled at every update (Raghu et al. 2021)."""

    name = "step"

    def __init__(self, problem: Problem, pretrainer: Pretrainer, gamma: float) -> None:
        super().__init__(problem, pretrainer, gamma)
        self.task = self.probe = SteppedProbe(problem.task)

    def state_dict(self) -> dict[str, Any]:
        return {"weight": self.probe.weight, "bias": self.probe.bias}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        device = self.problem.task.device
        self.probe.weight, self.probe.bias = state["weight"].to(device), state["bias"].to(device)


def of_mode(mode: str) -> type[LevelTwo]:
    """The level II that a protocol's adaptation is.

    Raises:
        UserError: the adaptation names none that there is.
    """
    name = adaptation(mode).level_two
    if name not in LEVELS_TWO:
        raise UserError(
            f"the adaptation {mode} names {name!r} as its level II, and there is none: {', '.join(LEVELS_TWO)}",
            "give -o level_two=tuned or -o level_two=probe",
        )
    return LEVELS_TWO[name]
