"""What every sampler of Optuna shares: the study, the simplex, resuming, pruning."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo_bench.core.pretraining import Diverged
from hpo_bench.core.problem import Problem
from hpo_bench.core.rng import derive_seed
from hpo_bench.errors import UserError
from hpo_bench.records.files import drop_torn_line, read_lines, write_whole
from hpo_bench.records.journal import Journal, TrialRecord
from hpo_bench.search.base import Support
from hpo_bench.search.outcome import Outcome
from hpo_bench.search.trials import TrialSearch

if TYPE_CHECKING:
    import optuna

STORAGE = "optuna-journal.log"
_CREATED, _TOLD = 4, 6  # codes of Optuna's journal: a trial is created, its state is set
_NUMBER = "number"  # the attribute that is written last, when a trial's parameters are known
LOWEST = 1e-6  # u runs from LOWEST to 1 − LOWEST: −log u is finite and positive


@dataclass
class OptunaSearch(TrialSearch):
    """A sampler of Optuna on the simplex. Akiba et al., "Optuna", KDD 2019, https://arxiv.org/abs/1907.10902.

    The simplex: K floats u_i in (0, 1), x_i = −log u_i, weights x / Σ x. Uniform u gives uniform weights. The first
    trial is the centre. The study is kept in `workspace/optuna-journal.log` for optuna-dashboard. The sampler is seeded
    anew for each trial from (seed, number), and trials.jsonl is the truth: on resuming, what the study lacks is added
    to it, a trial that a kill left running is gone on with, and a study that contradicts trials.jsonl is set aside and
    written anew. A diverged trial is told as pruned.

    Attributes:
        prune: stop a trial whose valid score on the way is worse than the median of the earlier trials' (Golovin et
            al., "Google Vizier", KDD 2017). The adaptations on the way are billed and come out of the same budget, so
            there are fewer trials unless pruning saves as much; never more than a budget of trials says.
        prune_points: valid scores on the way, evenly spread, if `prune`.
    """

    prune: bool = False
    prune_points: int = 2

    @abstractmethod
    def sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        """The sampler of one trial."""

    def supports(self, problem: Problem) -> Support:
        if self.prune and (self.workers > 1 or self.ray_address):
            return Support.no(
                "pruning compares with finished trials, one after the other; give --workers 1 and no --ray-address"
            )
        if self.prune and not 0 < self.prune_points < problem.protocol.steps:
            return Support.no(f"prune_points={self.prune_points} do not fit {problem.protocol.steps} steps")
        if self.prune and problem.allowance < self.worst_cost(problem):
            return Support.no(
                f"the budget pays for {problem.allowance:.0f} step-equivalents and one trial with its scores on the "
                f"way costs {self.worst_cost(problem):.0f}; give a larger --budget"
            )
        return super().supports(problem)

    def worst_cost(self, problem: Problem) -> float:
        return problem.trial_cost + (self.prune_points * problem.adaptation_cost if self.prune else 0)

    def payable(self, problem: Problem, records: Sequence[TrialRecord], wanted: int) -> int:
        if self.prune:
            # Scores on the way come out of the same money, and a budget of n trials is n trials of the protocol.
            spent = sum(record.cost["step_equivalents"] for record in records)
            wanted = min(wanted, int((problem.allowance - spent) / self.worst_cost(problem) + 1e-9))
        return super().payable(problem, records, wanted)

    def prepare(self, problem: Problem, journal: Journal) -> None:
        """Open the study and bring it into line with trials.jsonl."""
        records = {record.number: record for record in journal.trials}
        path, maximise = journal.workspace / STORAGE, problem.metric.higher_is_better
        self._asked: dict[int, optuna.trial.Trial] = {}
        try:
            self._study = open_study(path, self.name, maximise)
            usable = self._agrees(records)
        except (UserError, ValueError, KeyError, TypeError, AttributeError, AssertionError, IndexError):
            # Not an Optuna journal: it can be made again from trials.jsonl.
            usable = False
        if not usable:
            path.replace(path.with_name(f"{STORAGE}.set-aside"))
            self._study = open_study(path, self.name, maximise)
        self._adopt_running(problem.num_objectives)

    def propose(self, problem: Problem, number: int) -> np.ndarray:
        if number in self._asked:  # left running by a kill
            return to_simplex(self._coordinates(number))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna calls some samplers and options experimental
            self._study.sampler = self.sampler(derive_seed(problem.seed, self.name, number) % 2**32)
        size = problem.num_objectives
        if number == 0:
            self._asked[number] = self._add_running(number, [float(np.exp(-1))] * size)
        else:
            self._asked[number] = self._study.ask(_space(size))
            self._asked[number].set_user_attr(_NUMBER, number)
        return to_simplex(self._coordinates(number))

    def replay(self, problem: Problem, record: TrialRecord) -> None:
        self._asked[record.number] = self._add_running(record.number, record.note["u"])

    def observe(self, problem: Problem, record: TrialRecord) -> None:
        import optuna

        if record.number in self._in_study():
            return
        trial = self._asked.pop(record.number, None) or self._add_running(record.number, record.note["u"])
        reported = self._reported(trial)
        for step, value in record.note.get("on_the_way", []):
            if step not in reported:
                trial.report(value, step)
        if record.state == "done":
            self._study.tell(trial, record.value)
        else:
            self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)

    def note(self, problem: Problem, number: int) -> dict[str, Any]:
        return {"u": self._coordinates(number)}

    def train(self, problem: Problem, number: int, weights: np.ndarray) -> Outcome:
        if not self.prune:
            return super().train(problem, number, weights)
        before, asked = problem.meter.snapshot(), self._asked[number]
        scores: list[tuple[int, float]] = []
        value: float | None = None
        try:
            trial, steps = problem.start_trial(), problem.protocol.steps
            for point in range(1, self.prune_points + 1):
                trial.advance(weights, round(point * steps / (self.prune_points + 1)) - trial.step)
                scores.append((trial.step, trial.validate().value))
                with problem.meter.phase("orchestration"):
                    if trial.step not in self._reported(asked):
                        asked.report(scores[-1][1], trial.step)
                    stop = asked.should_prune()
                if stop:
                    cost = problem.meter.snapshot() - before
                    return Outcome("pruned", scores[-1][1], cost, {"on_the_way": scores})
            trial.advance(weights, steps)
            value = trial.validate().value
        except Diverged:
            return Outcome("diverged", None, problem.meter.snapshot() - before, {"on_the_way": scores})
        return Outcome("done", value, problem.meter.snapshot() - before, {"on_the_way": scores})

    def _reported(self, trial: optuna.trial.Trial) -> dict[int, float]:
        return self._study.get_trials(deepcopy=False)[trial.number].intermediate_values

    def _coordinates(self, number: int) -> list[float]:
        params = self._asked[number].params
        return [params[f"u{i}"] for i in range(len(params))]

    def _in_study(self) -> dict[int, Any]:
        """Finished trials of the study by our number."""
        import optuna

        states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
        found = self._study.get_trials(deepcopy=False, states=states)
        return {trial.user_attrs.get(_NUMBER, -1): trial for trial in found}

    def _agrees(self, records: dict[int, TrialRecord]) -> bool:
        """Does the study hold finished trials of trials.jsonl alone, with their values?"""
        for number, trial in self._in_study().items():
            record = records.get(number)
            if record is None or "u" not in record.note:
                return False
            coordinates = [trial.params.get(f"u{i}") for i in range(len(record.note["u"]))]
            if coordinates != record.note["u"] or (record.state == "done" and trial.value != record.value):
                return False
        return True

    def _adopt_running(self, size: int) -> None:
        """Go on with the trials that a kill left running; one that was not whole yet is marked failed."""
        import optuna

        for trial in self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            number = trial.user_attrs.get(_NUMBER)
            if number is None or number in self._asked or len(trial.params) < size:
                self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            else:
                self._asked[number] = optuna.trial.Trial(self._study, trial._trial_id)

    def _add_running(self, number: int, coordinates: list[float]) -> optuna.trial.Trial:
        """A running trial with given parameters."""
        import optuna

        space = _space(len(coordinates))
        frozen = optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING,
            params=dict(zip(space, coordinates, strict=True)),
            distributions=space,
            user_attrs={_NUMBER: number},
        )
        self._study.add_trial(frozen)
        newest = self._study.get_trials(deepcopy=False)[-1]
        return optuna.trial.Trial(self._study, newest._trial_id)


def to_simplex(coordinates: object) -> np.ndarray:
    """u (K,) in (0, 1) to weights (K,): x = −log u, normalised; uniform u gives Dirichlet(1, …, 1)."""
    x = -np.log(np.asarray(coordinates, dtype=np.float64))
    return x / x.sum()


def open_study(path: Path, name: str, maximise: bool) -> optuna.study.Study:
    """The study in a journal file, made if it is not there; Optuna is told to be quiet.

    What a kill leaves behind (half a line, a lock) is cleared away first: the file belongs to one run.

    Raises:
        UserError: the file exists and holds something else than JSON objects; what Optuna raises on others: KeyError,
            TypeError and their like.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    drop_torn_line(path)
    _drop_begun(path)
    Path(f"{path}.lock").unlink(missing_ok=True)
    return optuna.create_study(
        study_name=name,
        storage=JournalStorage(JournalFileBackend(str(path))),
        direction="maximize" if maximise else "minimize",
        pruner=optuna.pruners.MedianPruner(),
        load_if_exists=True,
    )


def _drop_begun(path: Path) -> None:
    """Cut a trial off the journal whose parameters a kill left unwritten.

    Marked as failed it would still be counted, and CMA-ES draws by Optuna's number of a trial.
    """
    lines = read_lines(path)
    begun = next((at for at, line in reversed(list(enumerate(lines))) if line.get("op_code") == _CREATED), len(lines))
    attributes = [line.get("user_attr") or line.get("user_attrs") or {} for line in lines[begun:]]
    told = any(line.get("op_code") == _TOLD for line in lines[begun:])
    if attributes and not told and not any(_NUMBER in one for one in attributes):
        write_whole(path, b"".join(path.read_bytes().splitlines(keepends=True)[:begun]))


def _space(size: int) -> dict[str, Any]:
    from optuna.distributions import FloatDistribution

    return {f"u{i}": FloatDistribution(LOWEST, 1 - LOWEST) for i in range(size)}
