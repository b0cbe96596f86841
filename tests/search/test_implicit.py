"""What TapWeight does beyond the contract: its two levels II, its bill, and solvers that fail."""

import inspect
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

import tapweight
from hpo_bench.core.captured import CapturedStep
from hpo_bench.core.finetuning import FineTuner
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.rng import derive_seed, generator
from hpo_bench.errors import UserError
from hpo_bench.records.journal import Journal
from hpo_bench.search import implicit as suite
from hpo_bench.search import implicit_levels as levels
from hpo_bench.search.implicit import RETRIES, Implicit, UnrolledHead
from hpo_bench.search.implicit_levels import TaskProbe
from hpo_bench.testing.method_contract import MethodContract
from hpo_bench.testing.problems import quick_problem
from tapweight import (
    Finetuning,
    HypergradientFailure,
    ObjectiveWeights,
    Pretraining,
    Probe,
    SolverFailure,
    WeightLearner,
    hypergradient,
    solvers,
)
from tapweight.solvers import Report


class TestTuned(MethodContract):
    """The contract's problem adapts by a probe; this is the other level II."""

    @pytest.fixture
    def method(self):
        return Implicit(warmup=4, level_two="tuned")


def search(method, problem, folder):
    assert method.supports(problem).ok, method.supports(problem).reason
    journal = Journal.open(folder, problem.meter)
    return method.search(problem, journal), journal


@pytest.mark.parametrize(
    ("mode", "level_two", "expected"),
    [("full", "protocol", "tuned"), ("probe", "protocol", "probe"), ("full", "probe", "probe")],
)
def test_level_two_is_the_protocols_adaptation_unless_named(mode, level_two, expected):
    assert Implicit(level_two=level_two).level(quick_problem(mode=mode)).name == expected


@pytest.mark.parametrize("last_step", ["jvp", "central", "gradients"])
@pytest.mark.parametrize(("level_two", "batches"), [("probe", 0), ("probe", 2), ("tuned", 0), ("tuned", 3)])
def test_every_pass_is_billed_by_its_samples(level_two, batches, last_step, tmp_path):
    """Against a count by hand: 24 steps, 4 updates, 80 rows of train and of valid, batches of 16."""
    problem = quick_problem(steps=24, adapt_batch_size=16, batch_size=16)
    method = Implicit(warmup=4, level_two=level_two, batches=batches, last_step=last_step)
    search(method, problem, tmp_path)
    passes = {"jvp": 3, "central": 2, "gradients": 1 + 2 * problem.num_objectives}
    judged = {"probe": 3 * (80 + 80) / 16, "tuned": 3 * 80 / 16}[level_two]
    beside = {"probe": 0, "tuned": 3}[level_two]
    expected = 24 * (3 + beside) + 4 * (judged + passes[last_step] * (batches or 4)) + (80 + 80) / 16
    assert problem.meter.snapshot().step_equivalents == pytest.approx(expected)
    assert method.expected_cost(problem) == pytest.approx(expected)


def test_a_finished_search_keeps_its_model_and_no_state(tmp_path):
    """The state (weights, moments, the copy beside) is several times the model; only an unfinished search needs it."""
    problem = quick_problem(steps=24)
    found, journal = search(Implicit(warmup=4), problem, tmp_path)
    assert [path.name for path in journal.workspace.iterdir()] == ["as_searched.safetensors"]
    spent = problem.meter.snapshot().step_equivalents
    again, _ = search(Implicit(warmup=4), problem, tmp_path)  # killed while it retrained, and gone on with
    assert (again.value, again.as_searched) == (found.value, found.as_searched)
    assert again.weights.tolist() == found.weights.tolist()
    assert problem.meter.snapshot().step_equivalents == spent, "nothing is trained again"


def test_finds_the_harmful_objective(tmp_path):
    problem = quick_problem("20", steps=400, learning_rate=0.01, mode="probe")
    result, _ = search(Implicit(), problem, tmp_path)
    weights = dict(zip(problem.objectives, result.weights, strict=True))
    assert weights["harmful"] < 1 / 3 < weights["signal"]


@pytest.mark.parametrize("level_two", ["probe", "tuned"])
def test_the_librarys_own_loop_gives_the_suites_weights_bit_by_bit(level_two, tmp_path):
    """A training loop of one's own around `WeightLearner`, with the suite's seeds: batch norm and dropout included."""
    problem = quick_problem("30", steps=60, learning_rate=0.01, task_options={"network": True})
    _, journal = search(Implicit(warmup=10, level_two=level_two), problem, tmp_path)
    recorded = [line["weights"] for line in journal.trajectory]

    task, protocol = problem.task, problem.protocol
    model = task.build_model()
    adamw = torch.optim.AdamW(model.parameters(), lr=protocol.learning_rate, weight_decay=0.0)
    weights = ObjectiveWeights(task.objectives)
    tuner = FineTuner(task, protocol, model.encoder, problem.seed, CostMeter(protocol.batch_size, task.device))

    def task_loss(module, batch):
        return task.task_loss(module.outputs(task, batch[0].inputs, batch[1]), batch[0].labels[batch[1]])

    level = TaskProbe(task) if level_two == "probe" else Finetuning(tuner.model, task_loss, gamma=0.1)
    learner = WeightLearner(Pretraining(model, task.objective_losses), level, weights, every=5, warmup=10)
    whole = [[(split, torch.arange(len(split)))] for split in (task.train, task.valid)]
    batches = [
        task.draw_batch(16, generator(task.device, 0, "pretraining", step))
        for step in range(64 + learner.estimator.batches)
    ]
    found = [weights.values.tolist()]
    for step in range(1, 61):
        model.train()
        torch.manual_seed(derive_seed(0, "dropout", step - 1))
        losses = task.objective_losses(model, batches[step - 1])
        adamw.zero_grad()
        torch.dot(weights.values.float(), losses).backward()
        adamw.step()
        train = whole[0]
        if level_two == "tuned":
            train = [(task.train, tuner.draw_batch(step - 1))]
            tuner.step(train[0][1], lambda: level.add_proximal_grad_(learner.pretraining))
        if learner.due(step):
            learner.update(batches[step - 1 : step - 1 + learner.estimator.batches], train, whole[1])
            found.append(weights.values.tolist())
    assert found == recorded


def test_defaults_are_the_librarys():
    options, learner = Implicit(), inspect.signature(WeightLearner).parameters
    weights = inspect.signature(ObjectiveWeights).parameters
    assert options.every == learner["every"].default
    assert learner["retries"].default == RETRIES
    assert options.parametrisation == weights["parametrisation"].default
    assert (options.weight_lr or None) == weights["lr"].default
    estimator, theirs = options.estimator(torch.optim.Adam([torch.zeros(1)]), None), tapweight.Implicit()
    for name in ("last_step", "levels", "normalise", "batches", "finetune_solver"):
        assert getattr(estimator, name) == getattr(theirs, name), name
    assert type(estimator.pretrain_solver) is type(theirs.pretrain_solver)


def test_nothing_of_algorithm_1_is_written_twice():
    """What the suite asks of the library is a learner: no product with an inverse Hessian, no derivative of its own."""
    for module in (suite, levels):
        source = inspect.getsource(module)
        assert "tapweight.hypergradient" not in source
        assert "autograd.grad" not in source.replace(inspect.getsource(levels.SteppedProbe), "")


def test_an_unrolled_head_makes_one_step_from_where_it_was(tmp_path):
    task = quick_problem().task
    probe = levels.SteppedProbe(task)
    features = torch.randn(20, task.embedding_width, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.randn(20, 1, generator=torch.Generator().manual_seed(1))
    weight, bias = probe.solve(features, labels)
    slope = -2 * (labels.T @ features) / 20  # of the mean squared error at a head of zeros
    assert torch.allclose(weight, -probe.RATE * slope, atol=1e-6)
    assert torch.allclose(bias, 2 * probe.RATE * labels.mean(0), atol=1e-6)
    assert torch.autograd.grad(weight.sum(), features)[0].abs().sum() > 0, "the step is differentiated"
    again, _ = probe.solve(features, labels)
    assert not torch.allclose(again, weight), "the next step starts where this one ended"
    solver = UnrolledHead().make_solver(torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.5))
    matrix, b = torch.tensor([[1.0, 0.2], [0.2, 0.5]]), torch.tensor([1.0, -1.0])

    problem = SimpleNamespace(product=lambda v, damping: matrix @ v + damping * v)
    expected = 0.5 * (b + (torch.eye(2) - 0.5 * matrix) @ b)
    assert torch.allclose(solver.solve(problem, b).x, expected)


class Stubborn(solvers.Identity):
    """Refuses until the damping is large enough."""

    name = "stubborn"
    tried: ClassVar[list[float]] = []

    def __init__(self, *, damping: float, enough: float = 5.0) -> None:
        self.damping, self.enough = damping, enough

    def solve(self, problem, rhs):
        self.tried.append(self.damping)
        if self.damping < self.enough:
            raise SolverFailure("indefinite", Report(self.name, converged=False))
        return super().solve(problem, rhs)


@pytest.fixture
def stubborn(monkeypatch):
    monkeypatch.setitem(solvers._SOLVERS, Stubborn.name, Stubborn)
    monkeypatch.setattr(Stubborn, "tried", [])
    return Stubborn


def test_a_failed_solve_is_damped_more_until_it_succeeds(stubborn, tmp_path):
    problem = quick_problem()
    _, journal = search(Implicit(solver="stubborn", warmup=4), problem, tmp_path)
    assert stubborn.tried[:4] == [0.1, 0.4, 1.6, 6.4]
    assert set(stubborn.tried[4:]) == {6.4}, "what was needed once stays"
    assert journal.trials[0].note["updates"] == 4, "no update was left out"
    assert [line["damping"] for line in journal.trajectory if "failure" in line] == [0.1, 0.4, 1.6]


def test_a_solver_that_never_succeeds_ends_the_run_with_its_reason(stubborn, monkeypatch, tmp_path):
    monkeypatch.setattr(Stubborn.__init__, "__kwdefaults__", {"enough": float("inf")})
    with pytest.raises(RuntimeError, match="indefinite"):
        search(Implicit(solver="stubborn", warmup=4), quick_problem(), tmp_path)
    assert len(stubborn.tried) == RETRIES + 4, "and each of the four updates was tried"


def test_two_levels_have_no_probe():
    assert Implicit(levels=2, warmup=4).supports(quick_problem(mode="probe")).ok, "the protocol's choice is tuned then"
    support = Implicit(levels=2, level_two="probe", warmup=4).supports(quick_problem(mode="probe"))
    assert not support.ok
    assert "level_two=tuned" in support.reason


def test_a_failed_probe_says_what_it_cost():
    module = torch.nn.Module()
    module.encoder = torch.nn.Linear(2, 2)
    pretraining = Pretraining(module, lambda m, b: m.encoder(b).square().mean(0))
    probe = Probe(lambda m, b: m.encoder(b), lambda b: torch.ones(len(b), 1), head="logistic")
    x = [torch.randn(6, 2)]
    with pytest.raises(HypergradientFailure) as caught:
        hypergradient(pretraining, probe, torch.ones(2) / 2, pretrain_batches=x, train_batches=x, valid_batches=x)
    assert caught.value.passes["train_forward"] == 1


@pytest.mark.parametrize(
    "option", [{"gamma": -1.0}, {"gamma": float("nan")}, {"weight_lr": float("inf")}, {"damping": -1}]
)
def test_numbers_that_mean_nothing_are_refused(option):
    with pytest.raises(UserError, match="must be positive"):
        Implicit(**option)


def test_a_horizon_of_many_steps_finds_the_planted_optimum_and_is_billed_as_announced(tmp_path):
    problem = quick_problem("40", steps=60, learning_rate=0.01)
    method = Implicit(warmup=4, horizon=8, parametrisation="mirror", weight_lr=0.2)
    found, _ = search(method, problem, tmp_path)
    assert found.weights[0] > 0.5
    assert problem.meter.snapshot().step_equivalents <= method.expected_cost(problem)


@pytest.mark.parametrize(
    "options", [{"horizon": -1}, {"horizon": 5, "levels": 2}, {"horizon": 5, "level_two": "tuned"}]
)
def test_a_horizon_that_cannot_be_is_refused(options):
    with pytest.raises(UserError, match="horizon"):
        Implicit(**options)


@pytest.mark.parametrize("options", [{}, {"solver": "cg", "damping": 5.0}], ids=["identity", "cg"])
def test_recorded_passes_find_what_eager_ones_find(options, tmp_path, monkeypatch):
    """As on an accelerator, where level I's passes are recorded: with a stand-in that runs the same closure again."""
    made = []

    def recorded(body):
        made.append(CapturedStep(body, lambda run: run))
        return made[-1]

    found = []
    for capture in (None, recorded):
        method = Implicit(warmup=4, every=2, parametrisation="mirror", retrain_with="schedule", **options)
        problem = quick_problem("60", task_options={"network": True}, steps=40)
        start = problem.start_trial
        monkeypatch.setattr(problem, "start_trial", lambda start=start, capture=capture: recording(start(), capture))
        result, _ = search(method, problem, tmp_path / str(len(found)))
        found.append((result.schedule.to_json(), result.value, problem.meter.total.step_equivalents))
    assert found[0][2] == found[1][2]
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-4)
    (eager, other) = (torch.tensor([weights for _, weights in one[0]]) for one in found)
    assert torch.allclose(eager, other, atol=1e-4)
    assert len(eager) > 5
    assert sum(step.replays for step in made) > 10
    assert [step.reason for step in made if step.reason] == []


def recording(trial, capture):
    trial.pretrainer.capture = capture
    return trial
