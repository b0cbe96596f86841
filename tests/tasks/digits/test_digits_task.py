"""Digits: what is in which split, what an objective means, what is planted."""

import numpy as np
import pytest
import torch

from hpo_bench import registry
from hpo_bench.core.rng import generator
from hpo_bench.errors import UserError
from hpo_bench.run.config import configure
from hpo_bench.tasks.digits.task import load
from hpo_bench.testing.problems import quick_problem

CPU = torch.device("cpu")
EVERYTHING = ("rotation", "masked", "contrast", "noise", "harmful", "oracle")


@pytest.fixture(scope="module")
def planted():
    return load(device=CPU, plant=["noise", "harmful", "oracle"])


def keys(images):
    return {image.numpy().tobytes() for image in images}


def test_every_split_holds_as_many_of_each_digit_and_no_image_of_another(planted):
    task = planted.task
    splits = [task.train, task.valid, planted.test]
    assert [split.labels.sum(0).unique().tolist() for split in splits] == [[5], [30], [60]]
    train, valid, test, corpus = (*(keys(split.inputs) for split in splits), keys(task.corpus.images))
    assert train < corpus
    assert not valid & test
    assert not corpus & (valid | test)


def test_the_registry_knows_it_and_its_presets():
    assert registry.load(registry.TASKS, "digits") is load
    config = configure("equal", "digits", out=None, preset="quick")
    assert config.protocol.mode == "probe"
    assert configure("equal", "digits", out=None, protocol={"mode": "full"}).protocol.mode == "full"


def test_losses_start_near_one(planted):
    task = planted.task
    assert task.objectives == EVERYTHING
    batch = task.draw_batch(256, generator(CPU, 0, "batch"))
    losses = task.objective_losses(task.build_model(), batch)
    assert losses[[0, 1, 2, 3, 5]].tolist() == pytest.approx([1] * 5, abs=0.15)
    assert 1 < losses[4] < 1.5  # embeddings of a fresh encoder are all alike: more alike than chance


def test_rotated_images_are_the_corpus_turned(planted):
    task = planted.task
    batch = task.draw_batch(32, generator(CPU, 0, "batch"))
    clean, turned, turns = batch.views["clean"], batch.views["rotation"], batch.targets["rotation"]["turns"]
    assert set(turns.tolist()) == {0, 1, 2, 3}
    assert all(torch.equal(b, a.rot90(int(turn), (1, 2))) for a, b, turn in zip(clean, turned, turns, strict=True))


def test_the_oracle_helps_and_the_harmful_one_harms(planted):
    problem = quick_problem(loaded=planted, task="digits", steps=60, batch_size=64, learning_rate=2e-3)
    values = {}
    for name in ("masked", "harmful", "oracle"):
        trial = problem.start_trial()
        trial.advance(np.eye(len(EVERYTHING))[EVERYTHING.index(name)], 60)
        values[name] = trial.validate().value
    assert values["oracle"] > values["masked"] + 0.03
    assert values["harmful"] < values["masked"] - 0.2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"plant": ["nose"]}, "no objective to plant named 'nose'"),
        ({"plant": ["rotation"]}, "no objective to plant named 'rotation'"),
        ({"objectives": ["rotate"]}, "no objective on digits named 'rotate'"),
        ({"objectives": ["noise"], "plant": ["noise"]}, "named twice"),
        ({"labelled": 0}, "labelled must be from 1"),
        ({"labelled": 1000}, "labelled must be from 1"),
        ({"rows": 3}, "no option rows"),
    ],
)
def test_what_does_not_fit_is_refused(options, told):
    with pytest.raises(UserError, match=told):
        load(device=CPU, **options)
