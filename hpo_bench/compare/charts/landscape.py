"""The valid score over the simplex of weights, from all trials, and where each method ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hpo_bench.compare.charts.marks import INK, Axis, Chart, Line, Mark, Panel, Points, Scale, Text
from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.style import in_lines, method_style, metric_name

MIN_TRIALS, MOST_TRIALS = 4, 1500
HEIGHT = np.sqrt(3) / 2  # of the triangle of side 1
Place = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def landscape(task: TaskRuns, reference: str) -> Chart | None:
    """A line for two objectives, a triangle for three, pairs of weights for more; None with too few trials.

    Colour is the valid score minus the reference's with the same seed, which takes the luck of the repetition out;
    where a repetition lacks the reference, every score is shown as it is.
    """
    weights, values, relative = scored_weights(task, reference)
    if len(values) < MIN_TRIALS or len(task.objectives) < 2:
        return None
    kept = np.unique(np.linspace(0, len(values) - 1, min(len(values), MOST_TRIALS)).round().astype(int))
    order = kept[np.argsort(values[kept] if task.higher_is_better else -values[kept], kind="stable")]  # best on top
    thinned = f" Every {len(values) / len(kept):.2g}th trial is drawn." if len(kept) < len(values) else ""
    metric, better = metric_name(task.metric), "higher" if task.higher_is_better else "lower"
    what = in_lines(f"valid {metric}" + (f" minus {reference}'s, same seed" if relative else ""))
    low, high = np.quantile(values, [0.02, 0.98])
    shown = values[order]
    # Where every trial scored alike there is nothing to tell by colour.
    scale = Scale(shown, float(low), float(high), task.higher_is_better, what) if high > low else None
    title = f"valid {metric} over the weights tried ({better} is better)"
    bright = ", bright is good" if scale else ""
    caption = f"Dot: one trial{bright}.{thinned} Large marks: mean end points; small ones: one repetition."
    names, tried = task.objectives, weights[order]
    said = [f"{value:.4g}\n{_named(names, own)}" for value, own in zip(shown, tried, strict=True)]
    if len(names) == 2:
        end = float(shown.min() if task.higher_is_better else shown.max())
        trials = Points(tried[:, 0], shown, "trial", "#777777", size=4.0, alpha=0.6, hover=said)
        marks: list[Mark] = [trials, *_ends(task, lambda own: (own[:, 0], np.full(len(own), end)))]
        x = Axis(f"weight of {names[0]} (the rest goes to {names[1]})", limits=(-0.04, 1.04))
        caption = f"Dot: one trial.{thinned} Marks at the edge: mean end points; small ones: one repetition; no score."
        return Chart(title, caption, [Panel(marks, x, Axis(what))], task.label)
    if len(names) == 3:
        trials = Points(*_on_triangle(tried), "trial", hover=said, scale=scale)
        marks = [*_triangle(names), trials, *_ends(task, _on_triangle)]
        return Chart(title, caption, [Panel(marks, bare=True)], task.label, (6.2, 4.8))
    nowhere = np.zeros(0)
    trials = Points(nowhere, nowhere, "trial", size=3.5, hover=said, scale=scale, weights=tried)
    marks = [trials, *_ends(task, lambda _: (nowhere, nowhere), choose=True)]
    most = max(float(weights.max()), *(float(runs.weights.max()) for runs in task.weightings.values()))
    axis = Axis(limits=(-0.03, min(1.0, most) + 0.05))
    side = 1.25 * (len(names) - 1)
    size = (1.4 + 1.04 * side, 1.2 + side)
    return Chart(title, caption, [Panel(marks, axis, axis)], task.label, size, choose=names)


def scored_weights(task: TaskRuns, reference: str) -> tuple[np.ndarray, np.ndarray, bool]:
    """All trials with constant weights: weights (N, K), values (N,), and whether they are relative to the reference."""
    base = task.methods.get(reference)
    origin = dict(zip(base.seeds, base.search_value.tolist(), strict=True)) if base is not None else {}
    weights, values, seeds = [], [], []
    for runs in task.methods.values():
        for repetition, seed in enumerate(runs.seeds):
            for trial in runs.constant_trials(repetition):
                weights.append(trial["weights"])
                values.append(trial["value"])
                seeds.append(seed)
    relative = bool(values) and all(np.isfinite(origin.get(seed, np.nan)) for seed in seeds)
    shift = [origin[seed] for seed in seeds] if relative else [0.0] * len(seeds)
    return np.array(weights).reshape(-1, len(task.objectives)), np.array(values) - np.array(shift), relative


def _ends(task: TaskRuns, place: Place, choose: bool = False) -> list[Points]:
    """Every repetition's end as a small mark, and their mean as a large one on top; `choose` leaves the weights."""
    styles = method_style(task.methods)
    small: list[Points] = []
    large: list[Points] = []
    for label, own in task.weightings.items():
        colour, marker = styles[label]
        mean = own.weights.mean(axis=0, keepdims=True)
        for marks, weights, what, size in ((small, own.weights, "one end", 3.3), (large, mean, "mean end", 6.0)):
            said = [f"{label}, {what}\n{_named(task.objectives, w)}" for w in weights]
            folders = own.folders if marks is small else ()
            marks.append(
                Points(*place(weights), label, colour, marker, size, 0.85 if folders else 1.0, INK, folders=folders,
                       legend=marks is large, hover=said, weights=weights if choose else None)
            )  # fmt: skip
    return [*small, *large]


def _on_triangle(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (N, 3) as x, y: corners at (0, 0), (1, 0) and (1/2, √3/2)."""
    return weights[:, 1] + weights[:, 2] / 2, weights[:, 2] * HEIGHT


def _triangle(names: Sequence[str]) -> list[Mark]:
    marks: list[Mark] = []
    for share in (0.25, 0.5, 0.75):
        for turn in range(3):
            ends = np.roll(np.array([[share, 1 - share, 0], [share, 0, 1 - share]]), turn, axis=1)
            marks.append(Line(*_on_triangle(ends), colour="#BBBBBB", width=0.5))
    marks.append(Line(*_on_triangle(np.eye(3)[[0, 1, 2, 0]]), colour=INK, width=1.0))
    x, y = _on_triangle(np.eye(3))
    for name, across, up, shift in zip(names, x, y, (-9.0, -9.0, 9.0), strict=True):
        marks.append(Text(across, up, name, size=9, shift=(0.0, shift)))
    return marks


def _named(objectives: Sequence[str], weights: np.ndarray) -> str:
    shares = [f"{name} {100 * weight:.0f} %" for name, weight in zip(objectives, weights, strict=True)]
    return "\n".join(", ".join(shares[i : i + 3]) for i in range(0, len(shares), 3))
