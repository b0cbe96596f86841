"""What each objective is worth alone, valid scores at the simplex's vertices and centre, and what each method found.

    python examples/vertices.py RECORDS > table.md

Reads finished runs below RECORDS (`hpo-bench landscape` makes vertices, edges and centre); seeds are paired, since all
trials of a seed share their random numbers. ± is half of Student's 95 % interval over seeds.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from itertools import combinations

import numpy as np
import pandas as pd

from hpo_bench.compare.stats.intervals import mean_interval
from hpo_bench.records.load import finished, load_runs, load_trials


def name_of(weights: list[float], objectives: list[str]) -> str | None:
    """The point's name, if it is a vertex or the centre."""
    found = np.asarray(weights)
    if np.allclose(found, 1 / len(objectives), atol=1e-6):
        return "centre (equal)"
    return f"{objectives[int(found.argmax())]} alone" if np.isclose(found.max(), 1) else None


def main(path: str) -> None:
    """Print three tables in Markdown."""
    runs = finished(load_runs(path), path)
    objectives = list(runs["objectives"].iloc[0])
    trials = load_trials(path)
    trials = trials[trials["folder"].isin(runs["folder"]) & (trials["state"] == "done") & trials["schedule"].isna()]
    scores: dict[str, dict[int, float]] = defaultdict(dict)
    for trial in trials.to_dict("records"):
        point = name_of(trial["weights"], objectives)
        if point is not None:
            scores[point][int(trial["seed"])] = float(trial["value"])
    centre = scores["centre (equal)"]
    print(f"| weights | seeds | valid {runs['metric'].iloc[0]} | minus centre, paired |\n| --- | ---: | ---: | ---: |")
    for point in ["centre (equal)", *(f"{name} alone" for name in objectives)]:
        values = np.array(list(scores[point].values()))
        difference = np.array([value - centre[seed] for seed, value in scores[point].items() if seed in centre])
        print(f"| {point} | {len(values)} | {spread(values)} | {spread(difference, sign=True)} |")
    print("\n| difference, paired | mean | clear of 0 |\n| --- | ---: | --- |")
    for one, other in combinations(objectives, 2):
        first, second = scores[f"{one} alone"], scores[f"{other} alone"]
        difference = np.array([first[seed] - second[seed] for seed in first if seed in second])
        clear = "yes" if mean_interval(difference).excludes(0.0) else "no"
        print(f"| {one} alone minus {other} alone | {spread(difference, sign=True)} | {clear} |")
    print(by_method(runs, objectives))


def by_method(runs: pd.DataFrame, objectives: list[str]) -> str:
    """The weights that each method ends with and its score on test after retraining, the best first."""
    equal = runs[runs["method"] == "equal"].set_index("seed")["retrained_test"].map(_mean)
    sign = 1 if runs["higher_is_better"].iloc[0] else -1
    lines = []
    for method, own in runs[runs["retrained_test"].map(len) > 0].groupby("method"):
        weights = np.array(own["weights"].tolist())
        told = [
            f"{mean:.2f} ({low:.2f}–{high:.2f})"
            for mean, low, high in zip(weights.mean(0), weights.min(0), weights.max(0), strict=True)
        ]
        test = own.set_index("seed")["retrained_test"].map(_mean)
        paired = (test - equal).dropna()
        difference = "" if method == "equal" else spread(paired.to_numpy(), sign=True)
        trials = (own["search_step_equivalents"] / own["trial_cost"]).mean()
        cells = [str(method), str(len(own)), *told, spread(test.to_numpy()), difference, f"{trials:.1f}"]
        lines.append((-sign * test.mean(), "| " + " | ".join(cells) + " |"))
    head = ["method", "seeds", *objectives, f"test {runs['metric'].iloc[0]}", "minus equal, paired", "search, trials"]
    rule = "| --- |" + " ---: |" * (len(head) - 1)
    return "\n".join(["", "| " + " | ".join(head) + " |", rule, *(line for _, line in sorted(lines))])


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def spread(values: np.ndarray, sign: bool = False) -> str:
    """Mean ± half of the interval."""
    if len(values) == 0:
        return "none"
    found = mean_interval(values)
    return f"{found.value:{'+' if sign else ''}.4f}" + (f" ± {found.half_width:.4f}" if found.has_interval else "")


if __name__ == "__main__":
    main(sys.argv[1])
