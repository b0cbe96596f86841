"""The loop of online methods: what a method may ask for, what it costs, what is recorded, how it is retrained."""

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.errors import Doubt, UserError
from hpo_bench.records.journal import Journal
from hpo_bench.search import online_run
from hpo_bench.search.online import OnlineSearch
from hpo_bench.testing.problems import quick_problem
from hpo_bench.testing.watched import Interruption, Watch


@dataclass
class Curious(OnlineSearch):
    """Asks for everything, keeps what it saw, and turns its weights a little at every step."""

    name: ClassVar[str] = "curious"
    needs: ClassVar = ("gradients", "after", "valid_gradient", "along")

    scale: float = 1.0

    def begin(self, run):
        self.seen = []
        self.run = run
        return {"turn": torch.zeros(run.problem.num_objectives, dtype=torch.float64)}

    def weigh(self, state, look):
        gradient = look.valid_gradient()
        self.seen.append(
            {
                "theta": look.run.trial.pretrainer.model.encoder.theta.detach().clone(),
                "batch": look.batch,
                "losses": look.losses.clone(),
                "gradients": look.gradients.clone(),
                "valid": gradient.clone(),
                "along": look.along(gradient, 0.1),
            }
        )
        state["turn"] = state["turn"] + 0.01 * torch.arange(len(state["turn"]))
        return self.scale * state["turn"].softmax(0)

    def observe(self, state, look):
        self.seen[-1]["after"] = look.after()
        look.more["seen"] = len(self.seen)


def search(method, problem, folder, watch=None):
    journal = Journal.open(folder, problem.meter)
    if watch is not None:
        problem.meter.heartbeat = watch.heartbeat(problem.meter.heartbeat)
    return method.search(problem, journal), journal


def test_what_a_method_sees_is_what_it_is_called(tmp_path):
    """On the quadratic problem every quantity is known: ∇ℓ_i = θ − c_i − noise_i."""
    method, problem = Curious(), quick_problem("9")
    search(method, problem, tmp_path)
    task = problem.task
    for first, then in zip(method.seen, method.seen[1:], strict=False):
        away = first["theta"] - task.centres - first["batch"]
        assert torch.allclose(first["gradients"], away, atol=1e-6)
        assert torch.allclose(first["losses"], (away**2).sum(1) / 2, atol=1e-7)
        later = then["theta"] - task.centres - first["batch"]
        assert torch.allclose(first["after"], (later**2).sum(1) / 2, atol=1e-7)
        assert torch.allclose(first["along"], away @ first["valid"], rtol=1e-3, atol=1e-6)


def test_the_valid_gradient_is_that_of_the_loss_under_the_solved_head(tmp_path):
    method, problem = Curious(), quick_problem("9")
    search(method, problem, tmp_path)
    task = problem.task
    seen = method.seen[5]
    encoder = task.build_model().encoder
    rows = torch.arange(len(task.train))

    def loss(theta, head):
        with torch.no_grad():
            encoder.theta.copy_(theta)
            return task.task_loss(task.embed(encoder, task.valid.inputs, rows) @ head[0].T + head[1], task.valid.labels)

    with torch.no_grad():
        encoder.theta.copy_(seen["theta"])
        head = task.solve_probe(task.embed(encoder, task.train.inputs, rows), task.train.labels)
    h = 1e-2
    units = torch.eye(len(seen["theta"]))
    slopes = [(loss(seen["theta"] + h * u, head) - loss(seen["theta"] - h * u, head)) / (2 * h) for u in units]
    assert torch.allclose(seen["valid"], torch.stack(slopes), rtol=1e-2, atol=1e-4)


def test_every_pass_is_billed_by_its_samples(tmp_path):
    """Against a count by hand: 24 steps, K = 3, 80 rows of train and of valid, batches of 16."""
    problem = quick_problem("9")
    search(Curious(), problem, tmp_path)
    a_look = 2 * 2 + 1 + (80 + 3 * 80) / 16 + 2
    expected = 24 * (3 + a_look) + (80 + 80) / 16
    assert problem.meter.snapshot().step_equivalents == pytest.approx(expected)
    assert Curious().expected_cost(problem) == pytest.approx(expected)
    seldom = quick_problem("9")
    search(Curious(every=5), seldom, tmp_path / "seldom")
    assert seldom.meter.snapshot().step_equivalents == pytest.approx(24 * 3 + 5 * a_look + 10)


def test_looking_changes_nothing(tmp_path, monkeypatch):
    """The encoder that a method ends with is that of a trial under the weights it gave, bit by bit."""
    monkeypatch.setattr(Curious, "needs", ("after", "valid_gradient", "along"))
    monkeypatch.setattr(online_run.Look, "gradients", property(lambda look: torch.zeros(3, 8)))
    for network in (False, True):
        options = {"task_options": {"network": network}}
        problem = quick_problem("9", **options)
        method = Curious(retrain_with="schedule")
        monkeypatch.setattr(Curious, "weigh", _quiet)
        result, _ = search(method, problem, tmp_path / str(network))
        trial = quick_problem("9", **options).start_trial()
        trial.follow(result.schedule)
        assert trial.validate().value == result.value


def _quiet(self, state, look):
    look.along(look.valid_gradient(), 0.1)
    self.seen.append({})
    state["turn"] = state["turn"] + 0.01 * torch.arange(3)
    return state["turn"].softmax(0)


def test_gradients_that_were_not_declared_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(Curious, "needs", ("after",))
    with pytest.raises(RuntimeError, match='needs = \\("gradients",\\)'):
        search(Curious(), quick_problem("9"), tmp_path)


def test_weights_off_the_simplex_are_recorded_normalised_and_used_as_they_are(tmp_path):
    results, moved = [], []
    for scale in (1.0, 10.0):
        method = Curious(scale=scale, retrain_with="schedule")
        result, journal = search(method, quick_problem("9"), tmp_path / str(scale))
        results.append(result.schedule)
        moved.append(method.run.weights.sum())
        assert all(sum(line["weights"]) == pytest.approx(1) for line in journal.trajectory)
    for (a, left), (b, right) in zip(results[0].pieces, results[1].pieces, strict=True):
        assert a == b
        assert left == pytest.approx(right)
    assert moved == pytest.approx([1, 10])


@pytest.mark.parametrize("useless", [[0.0, 0, 0], [float("nan"), 1, 1], [-1.0, 1, 1]])
def test_weights_that_say_nothing_leave_the_last_ones_in_force(tmp_path, monkeypatch, useless):
    given = iter([[0.5, 0.25, 0.25], useless, [0.1, 0.1, 0.8]] * 8)
    monkeypatch.setattr(Curious, "weigh", lambda self, state, look: self.seen.append({}) or torch.tensor(next(given)))
    result, _ = search(Curious(retrain_with="schedule"), quick_problem("9"), tmp_path)
    assert result.schedule.at(1).tolist() == [0.5, 0.25, 0.25]
    assert result.schedule.at(2) == pytest.approx([0.1, 0.1, 0.8])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (float("nan"), r"24 of 24 times curious gave weights that are negative or not finite"),
        (-1.0, r"24 of 24 times curious gave weights that are negative or not finite"),
        (0.0, r"curious gave no weights in 24 steps: they stayed equal"),
    ],
)
def test_a_method_whose_weights_cannot_be_used_is_no_quiet_equal(tmp_path, monkeypatch, given, told):
    """Before, such a run counted as the method's, without a word. After a kill nothing is counted twice."""
    monkeypatch.setattr(Curious, "weigh", lambda self, state, look: self.seen.append({}) or torch.full((3,), given))
    monkeypatch.setattr(online_run, "CHECKPOINT_EVERY", 10)
    problem = quick_problem("9")
    with pytest.raises(Interruption):
        search(Curious(), problem, tmp_path, Watch(at_pass=35))
    with pytest.warns(Doubt, match=told):
        search(Curious(), quick_problem("9"), tmp_path)


@pytest.mark.parametrize("shape", [(), (1,), (2,), (4,), (3, 1), (1, 3)])
def test_weights_of_another_shape_are_told_whose_they_are(tmp_path, monkeypatch, shape):
    monkeypatch.setattr(Curious, "weigh", lambda self, state, look: self.seen.append({}) or torch.ones(shape))
    with pytest.raises(UserError, match=r"weights that curious gave have the shape .* do not fit 3 objectives"):
        search(Curious(), quick_problem("9"), tmp_path)


def test_how_the_result_is_retrained_is_the_methods_to_say(tmp_path):
    found = {}
    for how in ("final", "average", "schedule", "again"):
        found[how], _ = search(Curious(retrain_with=how), quick_problem("9"), tmp_path / how)
    path = np.array([found["schedule"].schedule.at(step) for step in range(24)])
    assert found["final"].schedule == WeightSchedule.constant(path[-1])
    assert found["average"].weights == pytest.approx(path[12:].mean(axis=0))
    assert found["again"].schedule == found["schedule"].schedule
    other = quick_problem("9", seed=3)
    again = Curious(retrain_with="again").retrain(other, found["again"])
    assert other.meter.snapshot().step_equivalents == pytest.approx(Curious().expected_cost(other)), (
        "looks are paid for"
    )
    fresh, _ = search(Curious(), quick_problem("9", seed=3), tmp_path / "seed-3")
    assert again.value == fresh.value


@pytest.mark.parametrize("at", [5, 130, 300])
def test_a_killed_run_leaves_no_line_twice(tmp_path, at):
    """Also where it is killed before its first checkpoint: what it recorded is dropped and recorded again."""
    whole, unbroken = search(Curious(retrain_with="schedule"), quick_problem("60", steps=70), tmp_path / "whole")
    with pytest.raises(Interruption):
        search(Curious(), quick_problem("60", steps=70), tmp_path / "broken", Watch(at_pass=at))
    result, journal = search(Curious(retrain_with="schedule"), quick_problem("60", steps=70), tmp_path / "broken")
    steps = [line["step"] for line in journal.trajectory]
    assert steps == list(range(1, 71))
    assert result.schedule == whole.schedule
    lines = [{k: v for k, v in line.items() if k != "seen"} for line in journal.trajectory]
    assert lines == [{k: v for k, v in line.items() if k != "seen"} for line in unbroken.trajectory]
    assert json.loads((tmp_path / "broken" / "bill.json").read_text())["step_equivalents"] > 0


def test_the_mean_of_a_schedule():
    schedule = WeightSchedule(((0, (1.0, 0.0)), (4, (0.0, 1.0)), (6, (0.5, 0.5))))
    assert schedule.mean(0, 8).tolist() == [0.625, 0.375]
    assert schedule.mean(5, 7).tolist() == [0.25, 0.75]
    assert schedule.mean(7, 7).tolist() == [0.5, 0.5]
    assert [schedule.at(step).tolist() for step in (0, 3, 4, 9)] == [[1, 0], [1, 0], [0, 1], [0.5, 0.5]]
