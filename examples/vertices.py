"""What each objective is worth alone: valid scores at the simplex's vertices and its centre, and the weights found.

    python examples/vertices.py RECORDS > table.md

Reads finished runs below RECORDS (`hpo-bench landscape` makes vertices, edges and centre); seeds are paired, since all
trials of a seed share their random numbers. ± is half of Student's 95 % interval over seeds.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from itertools import combinations

import numpy as np

from hpo_bench.compare.stats.intervals import mean_interval
from hpo_bench.records.load import finished, load_runs, load_trials


def name_of(weights: list[float], objectives: list[str]) -> str | None:
    """The point's name, if it is a vertex or the centre."""
    found = np.asarray(weights)
    if np.allclose(found, 1 / len(objectives), atol=1e-6):
        return "centre (equal)"
    return f"{objectives[int(found.argmax())]} alone" if np.isclose(found.max(), 1) else None


def main(path: str) -> None:
    """Print two tables in Markdown."""
    runs = finished(load_runs(path), path)
    objectives = list(runs["objectives"].iloc[0])
    trials = load_trials(path)
    trials = trials[trials["folder"].isin(runs["folder"]) & (trials["state"] == "done")]
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
    print(f"\n| method | seed | {' | '.join(objectives)} | valid |\n| --- | ---: |{' ---: |' * (len(objectives) + 1)}")
    for run in runs.to_dict("records"):
        weights = " | ".join(f"{weight:.2f}" for weight in run["weights"])
        print(f"| {run['method']} | {run['seed']} | {weights} | {run['value']:.4f} |")


def spread(values: np.ndarray, sign: bool = False) -> str:
    """Mean ± half of the interval."""
    if len(values) == 0:
        return "none"
    found = mean_interval(values)
    return f"{found.value:{'+' if sign else ''}.4f}" + (f" ± {found.half_width:.4f}" if found.has_interval else "")


if __name__ == "__main__":
    main(sys.argv[1])
