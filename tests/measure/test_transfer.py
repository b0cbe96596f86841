"""`transfer`: effects on valid against effects on test, by hand and by the real entry point on the closed-form task."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from hpo_bench.compare.stats.transfer import transfer
from hpo_bench.compare.tables.transfer import transfer_table
from hpo_bench.errors import UserError
from hpo_bench.records.files import locked, own_folder

POINTS = np.array([[1 / 2, 1 / 2], [1, 0], [0, 1]])


@pytest.fixture
def call(invoke):
    return lambda *words: invoke("transfer", *words)


def found(valid, test):
    return transfer("task", "roc_auc", ("a", "b"), (0, 1), POINTS, np.array(valid), np.array(test))


def test_what_is_reversed_on_test_is_called_reversed():
    valid = [[0.5, 0.5], [0.7, 0.6], [0.3, 0.4]]
    test = [[0.5, 0.5], [0.4, 0.4], [0.6, 0.7]]
    told = found(valid, test)
    assert told.valid_to_valid.value == pytest.approx(1)
    assert told.valid_to_test.value == pytest.approx(-1)
    assert told.chosen.value == pytest.approx(-0.1)  # `a` on the other seed, less the centre there
    assert told.possible.value == pytest.approx((0.2 + 0.1) / 2)  # `b` there
    assert "is reversed on test" in told.sentence


def test_effects_are_those_of_each_split():
    told = found([[0.5, 0.5], [0.7, 0.7], [0.3, 0.3]], [[0.5, 0.5], [0.6, 0.6], [0.4, 0.4]])
    # centred scores 0, d, -d, weighted by shares 1/2, 1, 0 of a column that sums to 3/2
    assert told.valid_effects == pytest.approx((0.2 / 1.5, -0.2 / 1.5))
    assert told.test_effects == pytest.approx((0.1 / 1.5, -0.1 / 1.5))
    assert "holds on test" in told.sentence


def test_a_weighting_without_a_score_is_left_out_and_one_seed_says_nothing():
    told = found([[0.5, 0.5], [math.nan, 0.7], [0.3, 0.3]], [[0.5, 0.5], [math.nan, 0.6], [0.4, 0.4]])
    assert math.isfinite(told.valid_to_test.value)
    assert told.chosen.value == told.possible.value == 0.0, "of what has scores the centre is the best"
    assert told.sentence.endswith("1 weightings are not counted, where a trial diverged.")
    alone = transfer("task", "rmse", ("a", "b"), (0,), POINTS, np.ones((3, 1)), np.ones((3, 1)))
    assert alone.sentence.startswith("With 1 seed nothing can be said")


@pytest.mark.parametrize(
    ("lost", "told"), [([0], "under equal weights"), ([0, 1, 2], "equal"), ([1, 2], "all weights")]
)
def test_where_what_is_compared_diverged_a_sentence_says_so(lost, told):
    """Before, a traceback, or NaN for what a choice gains."""
    scores = np.array([[0.5, 0.5], [0.7, 0.7], [0.3, 0.3]])
    scores[lost, 1] = math.nan
    with pytest.raises(UserError, match=rf"{told}.* a training diverged.*\n.*learning_rate"):
        found(scores, scores)


def test_a_gain_without_an_interval_is_a_dash():
    table = transfer_table(transfer("task", "rmse", ("a", "b"), (0,), POINTS, np.ones((3, 1)), np.ones((3, 1))))
    assert [list(column.cells)[-1] for column in table.columns] == ["best on test, minus equal", "", "–"]


def test_it_trains_every_point_once_and_reads_both_splits(call):
    code, _, err = call("--seeds", 2)
    assert code == 0, err
    path = Path("transfer/quadratic/transfer.jsonl")
    head, *lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert head["environment"]["versions"]
    assert len(lines) == 2 * 7
    assert all(math.isfinite(line["valid"]) and math.isfinite(line["test"]) for line in lines)
    before = path.read_bytes()
    code, told, _ = call("--seeds", 2, "--json")
    assert code == 0
    assert path.read_bytes() == before
    assert json.loads(told)["seeds"] == [0, 1]


def test_it_goes_on_where_a_kill_cut_it_off(call):
    assert call("--seeds", 2)[0] == 0
    path = Path("transfer/quadratic/transfer.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert call("--seeds", 2)[0] == 0
    assert path.read_bytes() == whole


def test_another_configuration_is_refused(call):
    assert call("--seeds", 1)[0] == 0
    code, _, err = call("--seeds", 1, "--set", "steps=9")
    assert code == 2
    assert "another configuration" in err


def test_workers_are_not_taken_without_a_word(call):
    code, _, err = call("--workers", 2)
    assert code == 2
    assert "No such option" in err
    assert "workers" not in call("--help")[1]


@pytest.mark.parametrize("line", ["garbage", '{"seed": 0}', '{"seed": 0, "point": 1, "valid": "good", "test": 1.0}'])
def test_a_damaged_line_is_named(call, line):
    assert call("--seeds", 1)[0] == 0
    path = Path("transfer/quadratic/transfer.jsonl")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, *lines[3:], ""]))
    before = path.read_bytes()
    code, _, err = call("--seeds", 1)
    assert code == 2
    assert "transfer.jsonl, line 3," in err
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_and_one_in_use_are_sentences(call):
    Path("file").touch()
    code, _, err = call("--out", "file")
    assert code == 2
    assert "cannot write file" in err
    with locked(own_folder(Path("transfer/quadratic")) / ".lock"):
        code, _, err = call("--seeds", 1)
    assert code == 2
    assert "another process is running in" in err
