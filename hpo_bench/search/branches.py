"""Weights from short branches: from the base, h steps with each objective alone, and a verdict on the encoder.

The outer problem is TapWeight's (Zhang et al., arXiv 2410.10006); the estimate is a finite difference over h steps in
place of a derivative at one point. A derivative of one step points the wrong way in the middle of training, and one
through many steps reads a hair's effect through the noise of training (docs/fidelity.md).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from hpo_bench.core.checkpoint import save_state
from hpo_bench.core.judge import Judge
from hpo_bench.core.problem import Problem
from hpo_bench.core.protocol import Protocol
from hpo_bench.core.rng import derive_seed
from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.errors import UserError
from hpo_bench.records.files import append_line, read_lines
from hpo_bench.records.journal import Journal, Progress
from hpo_bench.search.base import ObjectiveWeightSearch, SearchResult, Support
from tapweight.horizon import DESIGNS, Effects, effects, weights_of

LOG, AS_SEARCHED = "branches.jsonl", "as_searched.safetensors"


@dataclass
class Branches(ObjectiveWeightSearch):
    """Branch, fit what each objective's share does, move the weights as far as that can be trusted, train once.

    All branches of a replicate share their random numbers. The verdict is `core.judge`'s loss on valid, whatever the
    protocol adapts by: a bounded price whatever the size of the data.

    Attributes:
        spend: trials that all branches together may cost; it sets h, their number of steps.
        replicates: random seeds of every branch. What they disagree about is noise: where it is as large as the effects
            the weights stay equal, and the record says flat. With one nobody knows, and the estimate is taken whole.
        share: of the protocol's batch size, in a branch.
        design: the weightings to branch into: vertices, leave-one-out, halves.
        rows: of train and of valid, at most, that a verdict takes.
        strength: λ ∝ exp(strength · share of signal · effect / root mean square of the effects).
    """

    name: ClassVar[str] = "branches"
    summary: ClassVar[str] = "short branches from the base with each objective alone, weights by trust (ours)"

    spend: float = 1.4
    replicates: int = 2
    share: float = 0.25
    design: Literal["vertices", "leave-one-out", "halves"] = "vertices"
    rows: int = 1024
    strength: float = 1.0

    def __post_init__(self) -> None:
        if self.replicates < 1 or self.rows < 2:
            raise UserError("replicates must be at least 1 and rows at least 2", "see --option")
        if not (0 < self.share <= 1 and 0 < self.spend < math.inf and 0 < self.strength < math.inf):
            raise UserError("share must lie in (0, 1], spend and strength must be positive", "see --option")

    def supports(self, problem: Problem) -> Support:
        if problem.num_objectives < 2:
            return Support.no("there is a single objective, so there is nothing to weight")
        if (steps := self.steps(problem)) < 1:
            return Support.no(f"spend={self.spend} trials pay for no step of every branch; give a larger -o spend")
        cost = self.branches_cost(problem, steps) + problem.trial_cost
        if problem.allowance < cost:
            return Support.no(
                f"branches and one training cost {cost:.0f} step-equivalents, {cost / problem.trial_cost:.1f} trials, "
                f"and the budget pays for {problem.allowance:.0f}; give a larger --budget, or a smaller -o spend"
            )
        return super().supports(problem)

    def steps(self, problem: Problem) -> int:
        """h: what `spend` pays for, T at most; 0 if nothing."""
        each = self.spend * problem.trial_cost / (problem.num_objectives * self.replicates)
        verdict = self._judge(problem).cost(problem.protocol.batch_size)
        batch = self._protocol(problem, 1).batch_size / problem.protocol.batch_size
        return max(0, min(problem.protocol.steps, int((each - verdict) / (3 * batch) + 1e-9)))

    def branches_cost(self, problem: Problem, steps: int) -> float:
        """Step-equivalents of all branches."""
        batch = self._protocol(problem, 1).batch_size / problem.protocol.batch_size
        verdict = self._judge(problem).cost(problem.protocol.batch_size)
        return problem.num_objectives * self.replicates * (3 * steps * batch + verdict)

    def search(self, problem: Problem, journal: Journal) -> SearchResult:
        if not journal.trials:
            found, steps = self._effects(problem, journal), self.steps(problem)
            weights = weights_of(found, self.strength)
            journal.record_weights(0, weights.tolist(), **told(found), branch_steps=steps)
            with problem.meter.phase("pretraining"):
                trial = problem.start_trial()
            trial.follow(WeightSchedule.constant(weights.numpy()))
            adapted = trial.validate()
            save_state(journal.workspace / AS_SEARCHED, {"model": dict(adapted.model.state_dict())})
            note = {**told(found), "branch_steps": steps, "branches": problem.num_objectives * self.replicates}
            journal.record_trial(0, weights.tolist(), adapted.value, problem.meter.snapshot(), note=note)
        (record,) = journal.trials
        assert record.value is not None
        return SearchResult(WeightSchedule.constant(record.weights), record.value, journal.workspace / AS_SEARCHED)

    def _effects(self, problem: Problem, journal: Journal) -> Effects:
        """Score every branch that the log does not have yet; a verdict is a line, so that a kill loses one branch."""
        design, steps, log = DESIGNS[self.design](problem.num_objectives), self.steps(problem), journal.workspace / LOG
        losses = {(line["replicate"], line["point"]): line["loss"] for line in read_lines(log)}
        for replicate in range(self.replicates):
            for point, weights in enumerate(design):
                if (replicate, point) in losses:
                    continue
                loss = self._branch(problem, replicate, weights, steps)
                line = {"replicate": replicate, "point": point, "weights": weights.tolist(), "steps": steps}
                losses[replicate, point] = loss
                journal.save_bill()  # first: what the log holds must have been paid for
                append_line(log, {**line, "loss": loss})
                done = len(losses) / (len(design) * self.replicates + problem.trial_cost / self._a_branch(problem))
                journal.report(Progress(f"branch {len(losses)}", done, weights.tolist()))
        scores = [[-losses[r, point] for point in range(len(design))] for r in range(self.replicates)]
        return effects(design, torch.tensor(scores, dtype=torch.float64))

    def _branch(self, problem: Problem, replicate: int, weights: Tensor, steps: int) -> float:
        seed = derive_seed(problem.seed, "branch", replicate)
        trial = dataclasses.replace(problem, seed=seed, protocol=self._protocol(problem, steps)).start_trial()
        trial.follow(WeightSchedule.constant(weights.numpy()))
        with problem.meter.phase("hypergradient"):
            return self._judge(problem)(trial.pretrainer.model.get_submodule("encoder"))

    def _a_branch(self, problem: Problem) -> float:
        branches = problem.num_objectives * self.replicates
        return self.branches_cost(problem, self.steps(problem)) / branches

    def _protocol(self, problem: Problem, steps: int) -> Protocol:
        """Of a branch: a whole training of h steps, warm-up and decay included, with smaller batches."""
        size = max(2, round(self.share * problem.protocol.batch_size))
        return dataclasses.replace(problem.protocol, steps=steps, batch_size=size)

    def _judge(self, problem: Problem) -> Judge:
        return Judge(problem.task, problem.seed, problem.meter, self.rows)


def told(found: Effects) -> dict[str, Any]:
    """What a record says of the effects; NaN, where one replicate cannot tell, becomes None."""
    return {
        "effects": found.values.tolist(),
        "effects_per_replicate": found.per_replicate.tolist(),
        "signal_to_noise": None if math.isnan(found.ratio) else found.ratio,
        "signal_share": found.shrinkage,
        "flat": found.flat,
    }
