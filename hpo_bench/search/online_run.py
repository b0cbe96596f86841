"""One run of an online method: steps, what the method may ask about them, checkpoints, trajectory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hpo_bench.core.adaptation import adaptation
from hpo_bench.core.checkpoint import load_state, save_state
from hpo_bench.core.device import to_device
from hpo_bench.core.micro_batches import parts_of, summed
from hpo_bench.core.problem import Problem, Trial
from hpo_bench.core.schedule import WeightSchedule, one_per_objective
from hpo_bench.core.valid_gradient import ValidGradient, grads, trainable
from hpo_bench.errors import Doubt
from hpo_bench.records.journal import Journal, Progress

if TYPE_CHECKING:
    from hpo_bench.search.online import OnlineSearch

CHECKPOINT_EVERY = 50  # steps: at most this much is trained again after a kill
STATE, AS_SEARCHED = "state.safetensors", "as_searched.safetensors"
State = dict[str, Any]


class Look:
    """What a method sees of one step. What it asks for is computed once, and billed.

    Attributes:
        number: of the step, from 0. batch: that of the step.
        losses: (K,), before the step. share: of the run that is done, in [0, 1).
        valid_loss: of the last `valid_gradient`, NaN before.
        more: JSON values that go into this step's line of the trajectory.
    """

    def __init__(self, run: OnlineRun, number: int, batch: Any, losses: Tensor, jacobian: list[list[Tensor]]) -> None:
        self.run, self.problem, self.number, self.batch = run, run.problem, number, batch
        self.losses = losses.detach()
        self.share = number / run.problem.protocol.steps
        self.valid_loss, self.more = float("nan"), dict[str, Any]()
        self.jacobian = jacobian
        self._gradients: Tensor | None = None
        self._valid: tuple[int, Tensor] | None = None

    @property
    def gradients(self) -> Tensor:
        """∇ℓ_i on the encoder (K, D), at the point where the losses were computed. Needs "gradients"."""
        if self._gradients is None:
            if not self.jacobian:
                raise RuntimeError('a method that looks at gradients says so: needs = ("gradients",)')
            own = self.run.in_encoder
            rows = [torch.cat([g.flatten() for g, of in zip(row, own, strict=True) if of]) for row in self.jacobian]
            self._gradients = torch.stack(rows)
        return self._gradients

    @property
    def gramian(self) -> Tensor:
        """⟨∇ℓ_i, ∇ℓ_j⟩ (K, K). Needs "gradients"."""
        return self.gradients @ self.gradients.T

    def valid_gradient(self) -> Tensor:
        """∇ of the validation loss on the encoder as it is now (D,). Needs "valid_gradient", once a look."""
        step = self.run.trial.step
        if self._valid is None or self._valid[0] != step:
            encoder = self.run.trial.pretrainer.model.get_submodule("encoder")
            self.valid_loss, gradient = self.run.valid_gradient(encoder, step)
            self._valid = (step, gradient)
        return self._valid[1]

    def after(self) -> Tensor:
        """The losses (K,) of the same batch after the step. Needs "after"."""
        return self._losses_now()

    def along(self, direction: Tensor, size: float) -> Tensor:
        """d/dt ℓ_i(θ_e + t·direction) at 0 (K,), as a central difference of half-width `size`. Needs "along"."""
        with self._shifted(direction, size):
            plus = self._losses_now()
        with self._shifted(direction, -size):
            minus = self._losses_now()
        return (plus - minus) / (2 * size)

    def _losses_now(self) -> Tensor:
        pretrainer = self.run.trial.pretrainer
        with pretrainer.forward_alone():
            losses = pretrainer.losses(self.batch, self.number)
        self.problem.meter.passes(self.problem.protocol.batch_size, forward=1)
        return losses.float()

    @contextmanager
    def _shifted(self, direction: Tensor, size: float) -> Iterator[None]:
        parameters = trainable(self.run.trial.pretrainer.model.get_submodule("encoder"))
        parts = direction.split([parameter.numel() for parameter in parameters])
        kept = [parameter.detach().clone() for parameter in parameters]
        # Through `data`: the step's graph still waits, and gets every value back that it holds.
        try:
            for parameter, part in zip(parameters, parts, strict=True):
                parameter.data.add_(part.view_as(parameter), alpha=size)
            yield
        finally:
            for parameter, own in zip(parameters, kept, strict=True):
                parameter.data.copy_(own)


class OnlineRun:
    """Everything that changes during a run; saved whole every `CHECKPOINT_EVERY` steps.

    Without a journal nothing is saved or recorded: a retraining under fresh seeds.

    Attributes:
        trial: the pretraining itself. state: the method's. path: the weights of every step so far.
    """

    def __init__(self, method: OnlineSearch, problem: Problem, journal: Journal | None = None) -> None:
        self.method, self.problem, self.journal = method, problem, journal
        self.trial: Trial = problem.start_trial()
        pretrainer = self.trial.pretrainer
        self.parameters = trainable(pretrainer.model)
        encoder = {id(parameter) for parameter in pretrainer.model.get_submodule("encoder").parameters()}
        self.in_encoder = [id(parameter) in encoder for parameter in self.parameters]
        self.valid_gradient = ValidGradient(problem.task, problem.seed, problem.meter)
        size = problem.num_objectives
        self.weights: np.ndarray = np.full(size, 1 / size)  # in force: of any sum
        self.used = self.unusable = 0  # weights that the method gave, see `use`
        self.losses = torch.full((size,), float("nan"))
        self._pieces: list[tuple[int, tuple[float, ...]]] = []
        self.state = method.begin(self)
        if journal is not None:
            self._resume(journal)

    @property
    def path(self) -> WeightSchedule:
        """The weights of every step, normalised."""
        return WeightSchedule(tuple(self._pieces))

    def train(self) -> None:
        """To the last step, with checkpoints."""
        steps = self.problem.protocol.steps
        while self.trial.step < steps:
            until = min(steps, (self.trial.step // CHECKPOINT_EVERY + 1) * CHECKPOINT_EVERY)
            while self.trial.step < until:
                self.method.advance(self)
            self.trial.pretrainer.check(self.losses)
            self._save()
        self._doubt()

    def step(self, method: OnlineSearch) -> None:
        """One step of pretraining, looked at if it is due."""
        pretrainer, meter, size = self.trial.pretrainer, self.problem.meter, self.problem.protocol.batch_size
        number, due = self.trial.step, method.due(self.trial.step)
        batch = pretrainer.draw_batch(number)
        if not due:
            with meter.phase("pretraining"):
                self.losses = pretrainer.step(to_device(self.weights, self.problem.task.device), batch)
            self.record(number)
            return
        losses, jacobian = self._passed(batch, "gradients" in method.needs)
        self.losses = losses.detach()
        with meter.phase("hypergradient"):
            look = Look(self, number, batch, losses, jacobian)
            self.use(method.weigh(self.state, look))
        with meter.phase("pretraining"):
            weights = to_device(self.weights, self.problem.task.device)
            if jacobian:
                pretrainer.descend_along(jacobian, weights)
            elif losses.requires_grad:
                pretrainer.descend(losses, weights)
                meter.passes(size, forward=1, backward=1)
            else:
                pretrainer.step(weights, batch)
        with meter.phase("hypergradient"):
            method.observe(self.state, look)
        self.record(number, losses=look.losses.tolist(), **look.more)

    def _passed(self, batch: Any, gradients: bool) -> tuple[Tensor, list[list[Tensor]]]:
        """A step's losses (K,), and each objective's gradients where they are needed; those are on the bill.

        Else the losses have their graph, unless the batch is in parts: no memory would hold the graphs of all, so the
        parts pass once more when the weights are known.
        """
        pretrainer, meter, size = self.trial.pretrainer, self.problem.meter, self.problem.protocol.batch_size
        if not gradients:
            parts = len(parts_of(batch)) > 1
            with meter.phase("pretraining"), pretrainer.forward_alone() if parts else nullcontext():
                losses = pretrainer.losses(batch)
            if parts:
                meter.passes(size, forward=1)
            return losses, []
        found: list[Tensor] = []
        jacobian: list[list[Tensor]] = []
        with meter.phase("pretraining"):
            for losses in pretrainer.each(batch):
                last = len(losses) - 1
                with meter.phase("hypergradient"):
                    own = [grads(loss, self.parameters, keep=i < last) for i, loss in enumerate(losses)]
                    jacobian = _added(jacobian, own) if jacobian else own
                found.append(losses.detach())
        meter.passes(size, forward=1, backward=len(jacobian))
        return summed(found), jacobian

    def use(self, weights: Tensor) -> None:
        """The weights (K,) of the next step. With a negative one, a sum of 0, NaN or inf the last ones stay.

        Raises:
            UserError: they are not K numbers.
        """
        numbers = weights.detach().cpu() if isinstance(weights, Tensor) else weights
        array = one_per_objective(numbers, self.problem.num_objectives, self.method.name)
        if not (np.isfinite(array).all() and (array >= 0).all()):
            self.unusable += 1
        elif array.sum() > 0:
            self.used += 1
            self.weights = array

    def _doubt(self) -> None:
        """Say so where weights that count as the method's are not what it gave."""
        name, looks = self.method.name, self.used + self.unusable
        if self.unusable:
            told = f"{self.unusable:,} of {looks:,} times {name} gave weights that are negative or not finite"
            warnings.warn(f"{told}; those of the step before stayed", Doubt, stacklevel=2)
        elif not self.used:
            warnings.warn(
                f"{name} gave no weights in {self.trial.step:,} steps: they stayed equal", Doubt, stacklevel=2
            )

    def record(self, number: int, weights: np.ndarray | None = None, **more: Any) -> None:
        """Note the weights of step `number`, by default those in force.

        The trajectory gets a line if they changed, or if `more` says anything besides the losses.
        """
        array = self.weights if weights is None else weights
        total = array.sum()
        # Weights that sum to 1 up to rounding are recorded as they are, bit by bit.
        own = tuple((array if abs(total - 1) < 1e-9 else array / total).tolist())
        changed = not self._pieces or self._pieces[-1][1] != own
        if changed:
            # Two changes before one step: the later one is in force.
            self._pieces = [piece for piece in self._pieces if piece[0] != number] + [(number, own)]
        if self.journal is not None and (changed or not set(more) <= {"losses"}):
            self.journal.record_weights(self.trial.step, own, **more)

    def finish(self, schedule: WeightSchedule, note: dict[str, Any]) -> None:
        """Adapt the encoder that the run ended with, as every trial does, and record it."""
        assert self.journal is not None
        adapted, meter = self.trial.validate(), self.problem.meter
        adaptation(self.problem.protocol.mode).save(self.journal.workspace / AS_SEARCHED, adapted.model)
        pieces, final = schedule.to_json(), schedule.final.tolist()
        self.journal.record_trial(0, final, adapted.value, meter.snapshot(), schedule=pieces, note=note)

    def _save(self) -> None:
        if self.journal is None:
            return
        self.journal.save_bill()  # first: what a state holds must have been paid for
        method = {
            key: value.state_dict() if hasattr(value, "state_dict") else value for key, value in self.state.items()
        }
        run = {"weights": self.weights.tolist(), "pieces": self._pieces, "used": self.used, "unusable": self.unusable}
        state = {"pretrainer": self.trial.pretrainer.state_dict(), "method": method, "run": run}
        save_state(self.journal.workspace / STATE, state)
        step, steps = self.trial.step, self.problem.protocol.steps
        self.journal.report(Progress(f"step {step} of {steps}", step / steps, self.path.final.tolist()))

    def _resume(self, journal: Journal) -> None:
        """Go on from the last checkpoint, if there is one; what was recorded after it will be recorded again."""
        path = journal.workspace / STATE
        if path.exists():
            saved = load_state(path)  # on the CPU: whoever owns a part puts it where it belongs
            self.trial.pretrainer.load_state_dict(saved["pretrainer"])
            for key, value in saved["method"].items():
                if hasattr(self.state.get(key), "load_state_dict"):
                    self.state[key].load_state_dict(value)
                else:
                    self.state[key] = value
            self.weights = np.asarray(saved["run"]["weights"])
            self._pieces = [(int(step), tuple(own)) for step, own in saved["run"]["pieces"]]
            self.used, self.unusable = (saved["run"].get(key, 0) for key in ("used", "unusable"))
        journal.rewind(self.trial.step)


def _added(one: list[list[Tensor]], two: list[list[Tensor]]) -> list[list[Tensor]]:
    return [[a + b for a, b in zip(*rows, strict=True)] for rows in zip(one, two, strict=True)]
