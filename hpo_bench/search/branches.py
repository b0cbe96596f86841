"""Weights from short branches: from the base, h steps with each objective alone, and a verdict on the encoder.

The outer problem is TapWeight's (Zhang et al., arXiv 2410.10006); the estimate is a finite difference over h steps in
place of a derivative at one point. A derivative of one step points the wrong way in the middle of training, and one
through many steps is the effect of a very small change, which the noise of training hides (docs/fidelity.md).
"""

from __future__ import annotations

import bisect
import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from hpo_bench.core.adaptation import adapt
from hpo_bench.core.checkpoint import load_state, save_state
from hpo_bench.core.judge import PLAIN, READINGS, WORTH, Judge
from hpo_bench.core.problem import Problem
from hpo_bench.core.protocol import Protocol
from hpo_bench.core.rng import derive_seed
from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.errors import UserError
from hpo_bench.records.files import append_line, read_lines
from hpo_bench.records.journal import Journal, Progress
from hpo_bench.search.base import ObjectiveWeightSearch, SearchResult, Support
from hpo_bench.tasks.base import Task
from tapweight.horizon import DESIGNS, Effects, pooled, weights_of

LOG, AS_SEARCHED = "branches.jsonl", "as_searched.safetensors"
SEEN_AGAIN = 8  # batches: at torch's momentum a fifth is left of what two views had not been a part of


@dataclass
class Branches(ObjectiveWeightSearch):
    """Branch, fit what each objective's share does, and move the weights as far as that can be trusted.

    All branches of a replicate share their random numbers. The verdict is `core.judge`'s, whatever the protocol adapts
    by: a bounded price whatever the size of the data. No training under the found weights belongs to the search: the
    encoder that it ends with is the branches' own, merged by the weights (Σ λ_i θ_i, the first order of training under
    λ; as ForkMerge merges, Jiang et al. 2023), and its valid score is the search's value.

    Attributes:
        spend: trials that the whole search may cost; it sets h, the branches' number of steps, T at most.
        replicates: random seeds of every branch. What they disagree about is noise: where it is as large as the effects
            the weights stay equal, and the record says flat. With one, the readings' disagreement stands for it.
        share: of the protocol's batch size, in a branch.
        design: the weightings to branch into: vertices, leave-one-out, halves.
        rows: of valid that a verdict takes, at most; of train as many as say what so many of balanced labels say, at
            the price of half a branch at most.
        readings: what is read off a verdict: plain (the metric and a loss, by two heads each), all, or one of
            core.judge's by its name.
        reach: of the way from the centre to a vertex that weights go along the effects, times the share of signal.
    """

    name: ClassVar[str] = "tapweight"
    summary: ClassVar[str] = (
        "the three-level problem by short branches, one objective each; weights as far as they agree (ours)"
    )

    spend: float = 2.4
    replicates: int = 1
    share: float = 1.0
    design: Literal["vertices", "leave-one-out", "halves"] = "vertices"
    rows: int = WORTH
    readings: str = "plain"
    reach: float = 0.4

    def __post_init__(self) -> None:
        if self.replicates < 1 or self.rows < 2:
            raise UserError("replicates must be at least 1 and rows at least 2", "correct what -o gives")
        if not (0 < self.share <= 1 and 0 < self.spend < math.inf and 0 < self.reach <= 1):
            raise UserError("share and reach must lie in (0, 1], spend must be positive", "correct what -o gives")
        if self.readings not in ("plain", "all", *READINGS):
            raise UserError(f"there is no reading {self.readings!r}", f"plain, all, or one of: {', '.join(READINGS)}")

    def supports(self, problem: Problem) -> Support:
        if problem.num_objectives < 2:
            return Support.no("there is a single objective, so there is nothing to weight")
        if (steps := self.steps(problem)) < 1:
            return Support.no(f"spend={self.spend} trials pay for no step of every branch; give a larger -o spend")
        cost = self.expected_cost(problem, steps)
        if problem.allowance < cost:
            return Support.no(
                f"the branches cost {cost:.0f} step-equivalents, {cost / problem.trial_cost:.1f} trials, and the "
                f"budget pays for {problem.allowance:.0f}; give a larger --budget, or a smaller -o spend"
            )
        return super().supports(problem)

    def steps(self, problem: Problem) -> int:
        """h: what `spend` pays for, T at most; 0 if nothing."""
        most = self.spend * problem.trial_cost * (1 + 1e-9)
        return bisect.bisect_right(range(1, problem.protocol.steps + 1), most, key=self._cost(problem))

    def expected_cost(self, problem: Problem, steps: int) -> float:
        """Step-equivalents of the search with branches of so many steps, at most."""
        return self._cost(problem)(steps)

    def _cost(self, problem: Problem) -> Callable[[int], float]:
        """The same by the number of steps."""
        tasks = [_alone(problem, weights) for weights in DESIGNS[self.design](problem.num_objectives)]
        verdicts, batch = len(tasks) * self._judge(problem).cost(problem.protocol.batch_size), self._batch(problem)

        def cost(steps: int) -> float:
            passes = sum(3 * steps * task.passes + _unseen(problem, task, steps) for task in tasks)
            return self.replicates * (passes * batch + verdicts) + problem.adaptation_cost

        return cost

    def search(self, problem: Problem, journal: Journal) -> SearchResult:
        if not journal.trials:
            found, steps = self._effects(problem, journal), self.steps(problem)
            weights = weights_of(found, self.reach)
            note = {**told(found), "branch_steps": steps, "branches": problem.num_objectives * self.replicates}
            model = problem.task.build_model()
            model.load_state_dict(self._merged(journal.workspace, weights, problem))
            adapted = adapt(problem.task, model.get_submodule("encoder"), problem.protocol, problem.seed, problem.meter)
            save_state(journal.workspace / AS_SEARCHED, {"model": dict(adapted.model.state_dict())})
            journal.record_weights(steps, weights.tolist(), effects=note["effects"])
            journal.record_trial(0, weights.tolist(), adapted.value, problem.meter.snapshot(), note=note)
        for path in journal.workspace.glob("branch-*.safetensors"):
            path.unlink()
        (record,) = journal.trials
        assert record.value is not None
        schedule = WeightSchedule.constant(np.asarray(record.weights))
        return SearchResult(schedule, record.value, journal.workspace / AS_SEARCHED)

    def _effects(self, problem: Problem, journal: Journal) -> Effects:
        """Judge every branch that the log does not have yet; a verdict is a line, so that a kill loses one branch."""
        design, steps, log = DESIGNS[self.design](problem.num_objectives), self.steps(problem), journal.workspace / LOG
        known = {(line["replicate"], line["point"]): line["readings"] for line in read_lines(log)}
        total = len(design) * self.replicates
        for replicate in range(self.replicates):
            for point, weights in enumerate(design):
                if (replicate, point) in known:
                    continue
                readings = self._branch(problem, replicate, weights, steps, _state(journal.workspace, replicate, point))
                known[replicate, point] = readings
                line = {"replicate": replicate, "point": point, "weights": weights.tolist(), "steps": steps}
                journal.save_bill()  # first: what the log holds must have been paid for
                append_line(log, {**line, "readings": readings})
                journal.report(Progress(f"branch {len(known)} of {total}", len(known) / total, weights.tolist()))
        names = {"plain": PLAIN, "all": READINGS}.get(self.readings, (self.readings,))
        defined = [name for name in names if all(readings[name] is not None for readings in known.values())]
        if not defined:
            raise UserError(f"{self.readings} is not defined on these labels", "give -o readings='valid loss'")
        table = [[[known[r, p][name] for p in range(len(design))] for name in defined] for r in range(self.replicates)]
        return pooled(design, torch.tensor(table, dtype=torch.float64))

    def _branch(
        self, problem: Problem, replicate: int, weights: Tensor, steps: int, state: Path
    ) -> dict[str, float | None]:
        """Train, keep the model, and read; NaN becomes None, as JSON has it."""
        seed = derive_seed(problem.seed, "branch", replicate)
        size = max(2, round(self.share * problem.protocol.batch_size))
        protocol: Protocol = dataclasses.replace(problem.protocol, batch_size=size)  # T, and with it the rate, stays
        task = _alone(problem, weights)
        trial = dataclasses.replace(problem, task=task, seed=seed, protocol=protocol).start_trial()
        trial.advance(weights.numpy(), steps)
        trial.pretrainer.remember(problem.task, _unseen(problem, task, steps))
        save_state(state, {"model": dict(trial.pretrainer.model.state_dict())})
        with problem.meter.phase("hypergradient"):
            readings = self._judge(problem)(trial.pretrainer.model.get_submodule("encoder"))
        return {name: value if math.isfinite(value) else None for name, value in readings.items()}

    def _merged(self, workspace: Path, weights: Tensor, problem: Problem) -> dict[str, Tensor]:
        """Σ_i c_i θ_i over the branches, with the shares c of the weightings that make up `weights`."""
        design = DESIGNS[self.design](problem.num_objectives)
        shares = torch.linalg.solve(design.T, weights) / self.replicates
        total: dict[str, Tensor] = {}
        for replicate in range(self.replicates):
            for point, share in enumerate(shares.tolist()):
                state = load_state(_state(workspace, replicate, point), problem.task.device)["model"]
                for name, value in state.items():
                    if value.is_floating_point():
                        total[name] = total.get(name, torch.zeros_like(value)) + share * value
                    else:
                        total.setdefault(name, value)
        return total

    def _batch(self, problem: Problem) -> float:
        return max(2, round(self.share * problem.protocol.batch_size)) / problem.protocol.batch_size

    def _judge(self, problem: Problem) -> Judge:
        """With half of a branch's price for train rows at most: the rest is for training it."""
        count = problem.num_objectives * self.replicates
        branch = (self.spend * problem.trial_cost - problem.adaptation_cost) / count * problem.protocol.batch_size
        return Judge(problem.task, problem.meter, self.rows, most=branch / 2 - min(len(problem.task.valid), self.rows))


def _alone(problem: Problem, weights: Tensor) -> Task:
    """The task without what a branch of these weights (K,) leaves out: a step passes only what the rest reads."""
    return problem.task.narrowed([name for name, weight in zip(problem.objectives, weights, strict=True) if weight > 0])


def _unseen(problem: Problem, task: Task, steps: int) -> int:
    """How many batches batch norm has to see once more after so many steps that left views out."""
    return min(SEEN_AGAIN, steps) if task.passes < 1 and problem.task.batch_norm else 0


def _state(workspace: Path, replicate: int, point: int) -> Path:
    return workspace / f"branch-{replicate}-{point}.safetensors"


def told(found: Effects) -> dict[str, Any]:
    """What a record says of the effects; NaN, where one replicate cannot tell, becomes None."""
    return {
        "effects": found.values.tolist(),
        "effects_per_replicate": found.per_replicate.tolist(),
        "signal_to_noise": None if math.isnan(found.ratio) else min(found.ratio, 1e12),
        "signal_share": found.shrinkage,
        "flat": found.flat,
    }
