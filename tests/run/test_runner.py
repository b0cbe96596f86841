"""A run from search to record on the closed-form task, and what is left of it after a kill."""

import dataclasses
import json
import signal

import numpy as np
import pytest

from hpo_bench.core.budget import Budget
from hpo_bench.core.pretraining import Diverged, Pretrainer
from hpo_bench.core.protocol import Protocol
from hpo_bench.core.rng import derive_seed
from hpo_bench.core.schedule import WeightSchedule
from hpo_bench.errors import UserError
from hpo_bench.records.run_folder import RunFolder
from hpo_bench.run.config import RunConfig, make_method
from hpo_bench.run.runner import Observer, run
from hpo_bench.search.base import SearchResult
from hpo_bench.tasks.base import LoadedTask
from tests.program import Program, result_of
from tests.run.dying import dying

QUICK = {"steps": 30, "batch_size": 16, "learning_rate": 0.01, "epochs": 2, "patience": 2, "adapt_batch_size": 32}


@pytest.fixture
def configure(tmp_path):
    def make(method="equal", *, seed=0, budget="6", retrains=2, out=tmp_path / "runs", options=None, **protocol):
        rules = Protocol(**{**QUICK, **protocol})
        return RunConfig(
            method, "quadratic", seed, out, rules, Budget.parse(budget), retrains, "quick", "cpu", options or {}
        )

    return make


@pytest.fixture
def spied(loaded):
    """The task, and a list of the names of splits whose labels a metric was computed against."""
    task, read, splits = loaded.task, [], (loaded.task.train, loaded.task.valid, loaded.test)

    def compute(scores, labels):
        read.extend(split.name for split in splits if np.array_equal(split.labels.numpy(), labels))
        return metric.compute(scores, labels)

    metric = task.metric
    task.metric = dataclasses.replace(metric, compute=compute)
    return LoadedTask(task, loaded.test, loaded.report), read


@pytest.fixture
def training(monkeypatch):
    """Steps of continued pretraining that were made, one entry a step."""
    made, step = [], Pretrainer.step

    def counted(self, weights, batch):
        made.append(self.step_number)
        return step(self, weights, batch)

    monkeypatch.setattr(Pretrainer, "step", counted)
    return made


def on_disk(config):
    return json.loads((config.folder / "run.json").read_text())


def lines(config, name):
    return [json.loads(line) for line in (config.folder / name).read_text().splitlines()]


def without_bills(records):
    return [{key: value for key, value in record.items() if key not in ("cost", "spent")} for record in records]


@pytest.mark.parametrize("method", ["equal", "implicit"])
def test_a_whole_run(configure, method):
    config = configure(method)
    seen = []

    class Watching(Observer):
        def started(self, config, problem):
            seen.append("started")

        def finished(self, config, run):
            seen.append(run.status)

    run(config, Watching())
    record = on_disk(config)
    assert seen == ["started", "done"]
    assert (record["status"], record["error"], record["sessions"]) == ("done", None, 1)
    assert (record["method"], record["task"], record["seed"]) == (method, "quadratic", 0)
    assert record["objectives"] == ["signal", "partial", "harmful"]
    assert record["config"]["protocol"] == config.protocol.to_json()
    places = ("ray_address", "ray_timeout")  # where it runs, not what it is
    assert record["options"] == {
        name: value for name, value in dataclasses.asdict(make_method(method, {})).items() if name not in places
    }
    assert record["environments"][0]["versions"]["torch"]
    assert record["environments"][0]["cores"] >= 1

    result = record["result"]
    assert sum(result["weights"]) == pytest.approx(1)
    assert min(result["weights"]) >= 0
    assert result["schedule"] == [[0, result["weights"]]]
    assert result["value"] == lines(config, "trials.jsonl")[-1]["value"]
    assert result["retrained"] == lines(config, "tests.jsonl")
    assert [line["index"] for line in result["retrained"]] == [0, 1]
    bill = record["cost"]["search"]
    assert bill == json.loads((config.folder / "bill.json").read_text())
    assert 0 < bill["step_equivalents"] <= 6 * record["trial_cost"]
    assert bill["flops"] > 0
    assert bill["peak_memory_bytes"] > 0
    retraining = record["cost"]["retraining"]["step_equivalents"]
    assert retraining == pytest.approx(2 * record["trial_cost"]), "the search's passes are not among the retraining's"


def test_equal_is_one_trial_at_the_centre(configure):
    record = run(configure(retrains=0)).content
    assert record["result"]["weights"] == pytest.approx([1 / 3] * 3)
    assert record["cost"]["search"]["step_equivalents"] == pytest.approx(record["trial_cost"])
    assert record["result"]["retrained"] == []
    assert record["result"]["as_searched"] is None


def test_a_retraining_is_a_trial_of_its_own_seed(configure, make_problem):
    record = run(configure()).content
    for index, line in enumerate(record["result"]["retrained"]):
        assert line["seed"] == derive_seed(0, "retraining", index)
        trial = make_problem(seed=line["seed"], **QUICK).start_trial()
        trial.follow(WeightSchedule.from_json(record["result"]["schedule"]))
        assert trial.validate().value == line["valid"]


def test_a_schedule_is_replayed_in_retraining(configure, make_problem, loaded):
    """The runner follows whatever schedule a search returns, piece by piece."""
    from hpo_bench.core.meter import CostMeter
    from hpo_bench.run import runner

    schedule = WeightSchedule(((0, (1.0, 0.0, 0.0)), (12, (0.0, 0.5, 0.5))))
    config, problem = configure(retrains=1), make_problem(**QUICK)
    config.folder.mkdir(parents=True)
    found = SearchResult(schedule, 0.0)
    [line] = runner.retrain(config, problem, loaded, found, RunFolder(config.folder), Observer())
    trial = dataclasses.replace(
        problem, seed=line["seed"], meter=CostMeter(config.protocol.batch_size, loaded.task.device)
    ).start_trial()
    trial.advance([1, 0, 0], 12)
    trial.advance([0, 0.5, 0.5], 18)
    assert trial.validate().value == line["valid"]


def test_seeds_of_retraining_are_paired_across_methods_and_differ_by_repetition(configure):
    seeds = {
        (method, seed): [line["seed"] for line in run(configure(method, seed=seed)).content["result"]["retrained"]]
        for method in ("equal", "random", "implicit")
        for seed in (0, 1)
    }
    for seed in (0, 1):
        assert seeds["equal", seed] == seeds["random", seed] == seeds["implicit", seed]
    assert len({*seeds["equal", 0], *seeds["equal", 1]}) == 4


@pytest.mark.parametrize(("method", "reads"), [("equal", 2), ("random", 2), ("implicit", 3)])
def test_test_is_read_once_per_retraining(configure, spied, method, reads):
    """And once more for the encoder that a single-run method ended with."""
    loaded, read = spied
    run(configure(method, budget="3"), loaded=loaded)
    assert read.count("test") == reads
    assert read.count("train") == 0
    assert read.count("valid") > reads
    assert "test" not in read[: read.index("test")]
    before = len(read)
    run(configure(method, budget="3"), loaded=loaded)
    assert len(read) == before


def test_no_score_on_test_before_the_search_has_ended(configure, spied):
    loaded, read = spied

    class Watching(Observer):
        def progressed(self, progress):
            if progress.message.startswith("trial"):
                assert "test" not in read

    run(configure("random", budget="4"), Watching(), loaded)
    assert read.count("test") == 2


@pytest.mark.parametrize("method", ["equal", "implicit"])
def test_a_second_call_trains_nothing_and_changes_nothing(configure, training, method):
    config = configure(method)
    run(config)
    assert training
    training.clear()
    before = {path: path.read_bytes() for path in config.folder.rglob("*") if path.is_file()}
    record = run(config).content
    assert training == []
    assert record["status"] == "done"
    assert {path: path.read_bytes() for path in config.folder.rglob("*") if path.is_file()} == before


class Interrupting(Observer):
    """Presses Ctrl-C at the n-th report."""

    def __init__(self, report):
        self.left = report

    def progressed(self, progress):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("report", [1, 3, 5, 6])
def test_an_interrupted_run_has_failed_and_goes_on(configure, training, tmp_path, report):
    """Reports 1 to 4 are trials, 5 and 6 retrainings."""
    whole = run(configure("random", budget="4", out=tmp_path / "whole")).content
    config = configure("random", budget="4")
    with pytest.raises(KeyboardInterrupt):
        run(config, Interrupting(report))
    broken = on_disk(config)
    assert (broken["status"], broken["error"]) == ("failed", "KeyboardInterrupt: ")
    assert "result" not in broken
    assert "cost" not in broken
    training.clear()
    record = run(config).content
    assert (record["status"], record["error"], record["sessions"]) == ("done", None, 2)
    assert record["result"]["weights"] == whole["result"]["weights"]
    assert record["result"]["value"] == whole["result"]["value"]
    scores = [[(line["valid"], line["test"]) for line in r["result"]["retrained"]] for r in (record, whole)]
    assert scores[0] == scores[1]
    bills = [r["cost"]["search"]["step_equivalents"] for r in (record, whole)]
    assert bills[0] == pytest.approx(bills[1])
    trained = {1: 3 + 2, 3: 1 + 2, 5: 2, 6: 1}[report]  # trials and retrainings that were left
    assert len(training) == trained * config.protocol.steps


def test_a_run_that_failed_says_why_and_is_no_result(configure, loaded):
    class Broken(type(loaded.task)):
        def task_loss(self, outputs, labels):
            raise ZeroDivisionError("in the task")

    task = Broken(loaded.task.train, loaded.task.valid, loaded.task.centres, loaded.task.device)
    config = configure()
    with pytest.raises(ZeroDivisionError):
        run(config, loaded=LoadedTask(task, loaded.test))
    record = on_disk(config)
    assert (record["status"], record["error"]) == ("failed", "ZeroDivisionError: in the task")
    assert "result" not in record


def test_divergence_in_retraining_is_a_status_of_its_own(configure, loaded):
    """All of the search is well; the labels of test are not numbers."""
    loaded.test.labels.fill_(float("inf"))
    config = configure(retrains=1)
    with pytest.raises(UserError, match="diverged") as caught:
        run(config, loaded=loaded)
    assert "learning rate" in caught.value.remedy
    assert isinstance(caught.value.__cause__, Diverged)
    record = on_disk(config)
    assert record["status"] == "diverged"
    assert "result" not in record


def test_a_trial_that_diverges_is_recorded_and_no_result(configure):
    config = configure(learning_rate=1e30)
    with pytest.raises(UserError, match="no trial ended with a score"):
        run(config)
    [trial] = lines(config, "trials.jsonl")
    assert (trial["state"], trial["value"]) == ("diverged", None)
    assert on_disk(config)["status"] == "diverged"
    assert "result" not in on_disk(config)


class Greedy(Observer):
    """Spends step-equivalents behind the search's back."""

    def progressed(self, progress):
        if progress.message.startswith("trial"):
            self.problem.meter.passes(self.problem.protocol.batch_size, forward=1e5)

    def started(self, config, problem):
        self.problem = problem


@pytest.mark.parametrize("budget", ["2", "150se", "2,1000s"])
def test_a_search_that_spends_more_than_its_budget_is_no_result_and_stays_so(configure, training, budget):
    config = configure(budget=budget)
    assert run(config, Greedy()).status == "over-budget"
    training.clear()
    assert run(config).status == "over-budget"
    assert on_disk(config)["status"] == "over-budget"
    assert training == []


def test_a_budget_smaller_than_a_trial_leaves_no_folder(configure):
    config = configure(budget="0.5")
    with pytest.raises(UserError, match=r"--budget"):
        run(config)
    assert not config.folder.exists()


def test_another_configuration_in_the_same_folder_is_refused_and_nothing_lost(configure, training):
    config = configure()
    run(config)
    before = (config.folder / "run.json").read_bytes()
    training.clear()
    with pytest.raises(UserError, match=r"config\.protocol\.steps is 30 there, 31 now"):
        run(configure(steps=31))
    assert (config.folder / "run.json").read_bytes() == before
    assert training == []


def test_options_are_read_as_their_types():
    assert make_method("implicit", {"levels": "2", "gamma": "0.5", "normalise": "false"}) == make_method(
        "implicit", {"levels": 2, "gamma": 0.5, "normalise": False}
    )


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"gama": 1}, "Did you mean 'gamma'"),
        ({"levels": "4"}, "levels"),
        ({"every": "x"}, "every"),
        ({"solver": "identify"}, "identity"),
    ],
)
def test_options_that_cannot_be_are_refused(options, named):
    with pytest.raises(UserError, match=named):
        make_method("implicit", options)


def command_line(config):
    sizes = [f"--set={key}={value}" for key, value in config.protocol.to_json().items()]
    return [
        *("run", "--method", config.method, "--task", config.task, "--seed", str(config.seed), "--preset", "quick"),
        *("--budget", f"{config.budget.trials:g}", "--retrains", str(config.retrains), "--device", "cpu"),
        *(*sizes, "--out", str(config.out)),
    ]


def die(config, name, at):
    """Run the command line in a process that sends itself a signal after its pass number `at`."""
    config.out.mkdir(parents=True, exist_ok=True)
    return result_of(Program(dying, name, at, *command_line(config), cwd=config.out))


@pytest.mark.parametrize(
    ("method", "at", "lost", "steps_left"),
    [
        # A trial is 30 passes of pretraining and, twice, three batches and a score: 38. Killed in the third one.
        ("random", 2 * 38 + 20, 20, 2 * 30),
        # A pass a step, and three for every update of the weights: killed after the checkpoint of step 50.
        ("implicit", 140, 50, 50),
    ],
)
def test_kill_9_and_the_same_command_again(configure, training, tmp_path, method, at, lost, steps_left):
    settings = {"budget": "4", "retrains": 1} | ({"steps": 100, "budget": "5"} if method == "implicit" else {})
    whole_config = configure(method, out=tmp_path / "whole", **settings)
    whole = run(whole_config).content
    config = configure(method, **settings)
    died = die(config, "SIGKILL", at)
    assert died.returncode == -signal.SIGKILL, died.stderr
    killed = on_disk(config)
    assert killed["status"] == "running"
    assert "result" not in killed
    training.clear()
    record = run(config).content
    assert (record["status"], record["sessions"]) == ("done", 2)
    assert len(training) == steps_left + config.protocol.steps, "what was done before is not trained again"

    for key in ("weights", "schedule", "value", "as_searched"):
        assert record["result"][key] == whole["result"][key]
    assert without_bills(record["result"]["retrained"]) == without_bills(whole["result"]["retrained"])
    for name in ("trials.jsonl", "trajectory.jsonl"):
        if (whole_config.folder / name).exists():
            assert without_bills(lines(config, name)) == without_bills(lines(whole_config, name))
    spent, unbroken = (r["cost"]["search"]["step_equivalents"] for r in (record, whole))
    # No pass here costs more than 20: valid in one piece, or the batches of an update of the weights.
    assert unbroken - 1e-9 <= spent <= unbroken + 20 * lost


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_ends_with_its_status_and_a_word_and_the_run_goes_on(configure, name, status):
    config = configure("random", budget="3", retrains=1)
    stopped = die(config, name, 50)
    assert stopped.returncode == status
    assert "the same command goes on" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert on_disk(config)["status"] == "failed"
    assert len(lines(config, "trials.jsonl")) == 1
    assert run(config).content["status"] == "done"


def test_batches_in_parts_are_in_the_record_with_what_they_change(configure):
    import torch

    from hpo_bench.tasks.quadratic import load

    config = configure(micro_batch_size=4, budget="1", retrains=0)
    with pytest.warns(UserWarning, match="batch norm takes the statistics of a part"):
        record = run(config, loaded=load(torch.device("cpu"), network=True)).content
    assert record["config"]["protocol"]["micro_batch_size"] == 4
    assert any("micro_batch_size=4" in notice for notice in record["data"]["notices"])
    with pytest.raises(UserError, match="micro_batch_size"):
        run(configure(budget="1", retrains=0), loaded=load(torch.device("cpu"), network=True))


def test_a_search_without_memory_is_a_record_and_a_sentence(configure, monkeypatch):
    import torch

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0")

    monkeypatch.setattr(Pretrainer, "step", full)
    config = configure(budget="1")
    with pytest.raises(UserError, match=r"memory does not suffice: 2\.00 GiB more were needed"):
        run(config)
    record = json.loads((config.folder / "run.json").read_text())
    assert record["status"] == "failed"
    assert "memory does not suffice" in record["error"]
