"""The two ways in which TapWeight sees the task: a fine-tuned copy that trains along, or a head solved exactly.

Both give the hypergradient at the encoder as it is, bill its passes by the samples they take, and say beforehand what
they will cost. Which of them is faithful depends on how the protocol adapts an encoder (docs/decisions.md).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

import tapweight
from hpo_bench.core.adaptation import AdaptedModel, FineTuner
from hpo_bench.core.pretraining import Pretrainer
from hpo_bench.core.problem import Problem
from hpo_bench.tasks.base import Labelled, Task

MakeSolver = Callable[[torch.optim.Optimizer], tapweight.solvers.Solver]
Rows = tuple[Labelled, Tensor]


class LevelTwo(ABC):
    """Levels II and III, beside the pretrainer whose encoder they judge."""

    name: ClassVar[str]

    def __init__(self, problem: Problem, pretrainer: Pretrainer, gamma: float) -> None:
        self.problem, self.pretrainer = problem, pretrainer
        self.pretraining = tapweight.Pretraining(pretrainer.model, problem.task.objective_losses)

    @staticmethod
    @abstractmethod
    def cost(problem: Problem, a_solve: float) -> tuple[float, float]:
        """Step-equivalents of its part in a step and in an update of the weights, `a_solve` for one batch's solve."""

    @abstractmethod
    def step(self) -> None:
        """What is trained beside a pretraining step."""

    @abstractmethod
    def hypergradient(
        self, batches: Sequence[Any], weights: Tensor, make_solver: MakeSolver, levels: Literal[2, 3], **options: Any
    ) -> tapweight.Hypergradient:
        """dF/dλ (K,) under weights (K,); its passes are billed, also those of a failure, which is raised."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]: ...

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None: ...

    def whole(self, split: Labelled) -> list[Rows]:
        """All rows of a split, in parts."""
        task = self.problem.task
        return [(split, part) for part in torch.arange(len(split), device=task.device).split(task.eval_batch_size)]

    def billed(
        self, call: Callable[[], tapweight.Hypergradient], samples: Mapping[str, float]
    ) -> tapweight.Hypergradient:
        """What `call` gives, its passes billed, also where it fails; `samples` in a batch of each level of the task."""
        try:
            found = call()
        except tapweight.HypergradientFailure as failure:
            self._bill(failure.passes, samples)
            raise
        self._bill(found.passes, samples)
        return found

    def _bill(self, passes: Mapping[str, int], samples: Mapping[str, float]) -> None:
        """Passes are counted in batches by the library, in samples by the meter."""
        for level, size in {"pretrain": self.problem.protocol.batch_size, **samples}.items():
            forward, backward = passes.get(f"{level}_forward", 0), passes.get(f"{level}_backward", 0)
            kind = "pretraining" if level == "pretrain" else "adaptation"
            self.problem.meter.passes(size, forward=forward, backward=backward, kind=kind)


class Tuned(LevelTwo):
    """A fine-tuned copy of the encoder, pulled to it by γ‖φ_e − θ_e‖²; a step of it beside each pretraining step."""

    name = "tuned"

    def __init__(self, problem: Problem, pretrainer: Pretrainer, gamma: float) -> None:
        super().__init__(problem, pretrainer, gamma)
        encoder = pretrainer.model.get_submodule("encoder")
        self.tuner = FineTuner(problem.task, problem.protocol, encoder, problem.seed, problem.meter)
        self.finetuning = tapweight.Finetuning(
            self.tuner.model, self._loss, gamma=gamma, batch_size=lambda batch: len(batch[1])
        )

    @staticmethod
    def cost(problem: Problem, a_solve: float) -> tuple[float, float]:
        share = problem.protocol.adapt_batch_size / problem.protocol.batch_size
        return 3 * share, 3 * len(problem.task.valid) / problem.protocol.batch_size + a_solve * share

    def _loss(self, model: nn.Module, batch: Rows) -> Tensor:
        assert isinstance(model, AdaptedModel)
        split, index = batch
        outputs = model.outputs(self.problem.task, split.inputs, index)
        return self.problem.task.task_loss(outputs, split.labels[index])

    def step(self) -> None:
        index = self.tuner.draw_batch(self.tuner.step_number)
        self.tuner.step(index, lambda: self.finetuning.add_proximal_grad_(self.pretraining))

    def hypergradient(
        self, batches: Sequence[Any], weights: Tensor, make_solver: MakeSolver, levels: Literal[2, 3], **options: Any
    ) -> tapweight.Hypergradient:
        task = self.problem.task
        train = self.tuner.draw_batch(self.tuner.step_number - 1)
        valid = self.whole(task.valid)
        return self.billed(
            lambda: tapweight.hypergradient(
                self.pretraining,
                self.finetuning,
                weights,
                pretrain_batches=batches,
                train_batches=[(task.train, train)],
                valid_batches=valid,
                finetune_solver=make_solver(self.tuner.optimizer) if levels == 3 else None,
                pretrain_solver=make_solver(self.pretrainer.optimizer),
                levels=levels,
                **options,
            ),
            {"train": len(train), "valid": len(task.valid) / len(valid)},
        )

    def state_dict(self) -> dict[str, Any]:
        return self.tuner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.tuner.load_state_dict(state)


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

    @staticmethod
    def cost(problem: Problem, a_solve: float) -> tuple[float, float]:
        return 0.0, 3 * (len(problem.task.train) + len(problem.task.valid)) / problem.protocol.batch_size

    def step(self) -> None:
        pass  # nothing to train: the head is solved when it is needed

    def hypergradient(
        self, batches: Sequence[Any], weights: Tensor, make_solver: MakeSolver, levels: Literal[2, 3], **options: Any
    ) -> tapweight.Hypergradient:
        task = self.problem.task
        train, valid = self.whole(task.train), self.whole(task.valid)
        return self.billed(
            lambda: tapweight.hypergradient(
                self.pretraining,
                TaskProbe(task),
                weights,
                pretrain_batches=batches,
                train_batches=train,
                valid_batches=valid,
                pretrain_solver=make_solver(self.pretrainer.optimizer),
                **options,
            ),
            {"train": len(task.train) / len(train), "valid": len(task.valid) / len(valid)},
        )

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


LEVELS_TWO: dict[str, type[LevelTwo]] = {kind.name: kind for kind in (Tuned, Solved)}
OF_MODE = {"full": Tuned.name, "probe": Solved.name}  # the protocol's adaptation → the level II that it is
