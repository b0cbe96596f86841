import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_bench.core.budget import Budget
from hpo_bench.core.cost import Cost
from hpo_bench.errors import UserError


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("16", (16, None, None)),
        ("16t", (16, None, None)),
        ("5000se", (None, 5000, None)),
        ("600s", (None, None, 600)),
        ("1e3se", (None, 1000, None)),
        ("16, 5000se, 600s", (16, 5000, 600)),
        ("600s,16t", (16, None, 600)),
    ],
)
def test_parse(text, limits):
    budget = Budget.parse(text)
    assert (budget.trials, budget.step_equivalents, budget.seconds) == limits


@pytest.mark.parametrize("text", ["", "s", "se", "many", "16x", "16,", "0", "-3", "16,-1s", "nan", "inf", "8,16t"])
def test_what_is_no_budget_is_refused(text):
    with pytest.raises(UserError) as caught:
        Budget.parse(text)
    assert caught.value.remedy


def test_a_budget_has_a_limit():
    with pytest.raises(UserError, match="at least one limit"):
        Budget()


def test_fraction_is_that_of_the_nearest_limit():
    budget = Budget(trials=10, step_equivalents=1000, seconds=60)
    cost = Cost(step_equivalents=300, seconds_pretraining=6, seconds_evaluation=3, seconds_orchestration=3)
    assert budget.fraction(1, cost) == pytest.approx(0.3)
    assert budget.fraction(4, cost) == pytest.approx(0.4)
    assert budget.fraction(0, Cost(seconds_orchestration=90)) == pytest.approx(1.5)
    assert Budget(trials=2).fraction(0, cost) == 0


def test_affordable_trials():
    assert Budget(trials=7.9).affordable_trials(100) == 7
    assert Budget(step_equivalents=399).affordable_trials(100) == 3
    assert Budget(trials=2, step_equivalents=399).affordable_trials(100) == 2
    assert Budget(step_equivalents=99).affordable_trials(100) == 0


@given(st.integers(1, 500), st.floats(1, 1e6))
def test_the_cost_of_n_trials_pays_for_n_trials(trials, cost):
    assert Budget(step_equivalents=trials * cost).affordable_trials(cost) == trials


def test_json():
    budget = Budget.parse("16,600s")
    assert Budget(**json.loads(json.dumps(budget.to_json()))) == budget
