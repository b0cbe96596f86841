import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_bench.core.schedule import WeightSchedule, on_simplex
from hpo_bench.errors import UserError


@st.composite
def schedules(draw):
    size = draw(st.integers(1, 6))
    starts = [0, *sorted(draw(st.sets(st.integers(1, 500), max_size=5)))]
    raw = st.lists(st.floats(1e-3, 1), min_size=size, max_size=size)
    return WeightSchedule(
        tuple((start, tuple((np.array(w) / sum(w)).tolist())) for start in starts for w in [draw(raw)])
    )


@pytest.mark.parametrize(
    "weights",
    [[0.5, 0.6], [1.5, -0.5], [float("nan"), 1.0], [float("inf"), 0.0], [], [[0.5, 0.5]], 1.0, [0.0, 0.0]],
)
def test_what_is_not_on_the_simplex_is_refused(weights):
    with pytest.raises(UserError):
        on_simplex(weights)


def test_the_wrong_number_of_weights_is_refused():
    with pytest.raises(UserError, match="3 objectives"):
        on_simplex([0.5, 0.5], 3)


def test_rounded_weights_are_normalised():
    assert on_simplex([0.333333, 0.333333, 0.333334]).sum() == pytest.approx(1, abs=1e-15)
    assert on_simplex([0, 0, 1]).tolist() == [0, 0, 1]


def test_the_piece_in_force_starts_at_its_step():
    schedule = WeightSchedule(((0, (1.0, 0.0)), (10, (0.0, 1.0)), (20, (0.5, 0.5))))
    assert [schedule.at(step)[0] for step in (0, 9, 10, 19, 20, 10**6)] == [1, 1, 0, 0, 0.5, 0.5]
    assert schedule.final.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("starts", [(), (1,), (0, 5, 5), (0, 7, 3)])
def test_steps_rise_from_zero(starts):
    with pytest.raises(ValueError, match="starts at step 0"):
        WeightSchedule(tuple((start, (1.0,)) for start in starts))


@pytest.mark.parametrize("second", [(0.5, 0.4), (1.0,)])
def test_every_piece_is_on_the_same_simplex(second):
    with pytest.raises(UserError):
        WeightSchedule(((0, (0.5, 0.5)), (3, second)))


@given(schedules())
def test_json_gives_the_schedule_back_to_the_last_bit(schedule):
    assert WeightSchedule.from_json(json.loads(json.dumps(schedule.to_json()))) == schedule


@given(schedules(), st.integers(0, 600))
def test_lookup_is_the_last_piece_that_has_started(schedule, step):
    expected = [weights for start, weights in schedule.pieces if start <= step][-1]
    assert tuple(schedule.at(step)) == expected
