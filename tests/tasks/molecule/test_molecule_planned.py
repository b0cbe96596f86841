"""A task that is only planned answers what a plan asks, and makes no features of its molecules."""

from __future__ import annotations

import pytest

from hpo_bench import registry
from hpo_bench.errors import UserError
from hpo_bench.run.config import configure
from hpo_bench.run.runner import load_task, make_problem
from hpo_bench.tasks.base import planning
from hpo_bench.tasks.molecule import cache
from hpo_bench.tasks.molecule import task as of_molecules

OPTIONS = [{}, {"plant": ["noise", "oracle"]}, {"labelled": 100}, {"base": "none"}, {"split": "random"}]


@pytest.fixture
def table(tmp_path):
    """400 molecules, every third one active."""
    rows = [f"{'C' * (2 + row % 40)}{'ONSP'[row // 100]}{'C' * (row // 40)},{int(row % 3 == 0)}" for row in range(400)]
    path = tmp_path / "own.csv"
    path.write_text("\n".join(["smiles,active", *rows, "nonsense,1", ""]))
    return {"path": str(path), "label": ["active"], "kind": "classification", "split": "random"}


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: " ".join(options) or "plain")
def test_it_answers_as_the_whole_task_does(table, options, monkeypatch):
    whole = load_task("csv", {**table, **options}, "cpu")
    asked = []
    monkeypatch.setattr(cache, "_compute", lambda smiles, *rest: asked.append(len(smiles)) or compute(smiles, *rest))
    with planning():
        planned = load_task("csv", {**table, **options}, "cpu")
    assert sum(asked) <= of_molecules.FEW
    assert planned.content == whole.content
    assert planned.notices == whole.notices
    one, other = planned.task, whole.task
    for name in ("name", "objectives", "base_id", "embedding_width", "outputs", "batch_norm", "compares_rows"):
        assert getattr(one, name) == getattr(other, name), name
    assert one.narrowed(one.objectives[:1]).passes == other.narrowed(one.objectives[:1]).passes
    shapes = [{name: t.shape for name, t in task.build_model().state_dict().items()} for task in (one, other)]
    assert shapes[0] == shapes[1]
    for budget in ("1", "2", "12"):
        for method in registry.names(registry.METHODS):
            config = configure(
                method, "csv", out=None, budget=budget, preset="quick", task_options={**table, **options}
            )
            found = [config.searcher.supports(make_problem(config, task)) for task in (one, other)]
            assert found[0] == found[1], method


compute = cache._compute


def test_a_base_that_is_not_there_is_told_before_the_molecules_are_looked_at(table, monkeypatch):
    monkeypatch.setattr("hpo_bench.tasks.molecule.load.parse_smiles", lambda *_, **__: pytest.fail("it takes minutes"))
    for encoder in ("gin", "imagemol"):
        with pytest.raises(UserError, match=r"no base checkpoint at nowhere\.safetensors"):
            load_task("csv", {**table, "base": "nowhere.safetensors", "encoder": encoder}, "cpu")


def test_images_are_not_drawn(table, monkeypatch):
    drawn = []
    from hpo_bench.tasks.image import render

    own = render._render
    monkeypatch.setattr(render, "_render", lambda smiles, *rest: drawn.append(len(smiles)) or own(smiles, *rest))
    options = {**table, "encoder": "imagemol", "image_size": 32}
    with planning():
        planned = load_task("csv", options, "cpu")
    assert sum(drawn) <= of_molecules.FEW
    assert len(planned.task.train) == 320
    assert planned.content == load_task("csv", options, "cpu").content
