"""Interactive figures of weights: how they move, and the valid score over the simplex."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from hpo_bench.compare.charts.landscape import MIN_TRIALS, scored_weights
from hpo_bench.compare.charts.trajectories import at_steps, paths_of
from hpo_bench.compare.cohort import TaskRuns
from hpo_bench.compare.report.plots import Plot, Runs, level, mark_of
from hpo_bench.compare.report.records import digits
from hpo_bench.compare.style import metric_name, objective_colours

MOST_STEPS, MOST_TRIALS = 80, 1500  # marks of one line, of one landscape
PANEL = 190  # pixels


def trajectories(task: TaskRuns) -> Plot | None:
    """A panel per method whose weights change; None if none does."""
    moving = {label: paths for label, own in task.methods.items() if (paths := paths_of(own))}
    if not moving:
        return None
    colours = objective_colours(task.objectives)
    gap = 0.25 / len(moving)
    high = (1 - gap * (len(moving) - 1)) / len(moving)
    traces: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"shapes": [], "annotations": []}
    for panel, (label, paths) in enumerate(moving.items()):
        suffix = "" if panel == 0 else str(panel + 1)
        top = 1 - panel * (high + gap)
        axes = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
        layout[f"xaxis{suffix}"] = {"anchor": f"y{suffix}"} | (
            {"title": {"text": "pretraining step"}} if panel == len(moving) - 1 else {}
        )
        layout[f"yaxis{suffix}"] = {"domain": [max(top - high, 0), top], "rangemode": "tozero", "matches": "y"}
        layout["shapes"].append(level(1 / len(task.objectives), yref=f"y{suffix}"))
        layout["annotations"].append(
            {"text": escape(label), "xref": "paper", "yref": "paper", "x": 0, "y": top, "showarrow": False,
             "xanchor": "left", "yanchor": "bottom"}
        )  # fmt: skip
        end = max(task.steps, *(int(steps[-1]) for steps, _ in paths))
        axis = np.unique(np.concatenate([*(steps for steps, _ in paths), [end]]))
        axis = axis[np.unique(np.linspace(0, len(axis) - 1, min(len(axis), MOST_STEPS)).round().astype(int))]
        every = np.stack([at_steps(axis, *path) for path in paths])  # (R, P, K)
        for index, name in enumerate(task.objectives):
            shared = {"mode": "lines", "legendgroup": escape(name), **axes}
            line = {"color": colours[name], "shape": "hv"}
            if len(paths) > 1:
                gaps = np.pad(every[:, :, index], ((0, 0), (0, 1)), constant_values=np.nan).ravel()
                traces.append(
                    {**shared, "x": np.tile(np.append(axis, axis[-1]), len(paths)).tolist(), "y": digits(gaps, 4),
                     "line": {**line, "width": 0.8}, "opacity": 0.45, "showlegend": False, "hoverinfo": "skip"}
                )  # fmt: skip
            traces.append(
                {**shared, "x": axis.tolist(), "y": digits(every[:, :, index].mean(axis=0), 4), "name": escape(name),
                 "line": {**line, "width": 2.4}, "showlegend": panel == 0,
                 "hovertemplate": f"{escape(name)}: %{{y:.3f}}<extra></extra>"}
            )  # fmt: skip
    constant = [escape(label) for label in task.methods if label not in moving]
    said = f" Constant: {', '.join(constant)}." if constant else ""
    return Plot(
        "weights during pretraining",
        f"Thick: mean; thin: one repetition; dashed: equal weights.{said}",
        traces,
        layout,
        height=130 + PANEL * len(moving),
    )


def landscape(task: TaskRuns, reference: str, runs: Runs) -> Plot | None:
    """Valid score over the weights tried, every repetition's end point on it; None with too few trials."""
    weights, values, relative = scored_weights(task, reference)
    if len(values) < MIN_TRIALS:
        return None
    kept = np.unique(np.linspace(0, len(values) - 1, min(len(values), MOST_TRIALS)).round().astype(int))
    order = kept[np.argsort(values[kept] if task.higher_is_better else -values[kept], kind="stable")]  # best on top
    thinned = f" Every {len(values) / len(kept):.2g}th trial is drawn." if len(kept) < len(values) else ""
    metric = metric_name(task.metric)
    what = f"valid {metric}" + (f" minus {escape(reference)}'s" if relative else "")
    scale = {"colorscale": "Viridis", "reversescale": not task.higher_is_better}  # bright is good
    low, high = np.quantile(values, [0.02, 0.98])
    trials = {
        "mode": "markers", "name": "trial", "showlegend": False,
        "marker": {"color": digits(values[order]), "cmin": digits(low), "cmax": digits(high), "size": 7, **scale,
                   "colorbar": {"title": {"text": what, "side": "right"}, "thickness": 12, "len": 0.9}},
        "hovertemplate": "%{text}<extra></extra>",
        "text": [f"{value:.4g}<br>{_named(task.objectives, w)}"
                 for value, w in zip(values[order], weights[order], strict=True)],
    }  # fmt: skip
    ends, points = [], [weights[order]]
    for label, own in task.weightings.items():
        name = escape(label)
        mark = {**mark_of(label, list(task.methods)), "size": 11, "line": {"color": "--ink", "width": 1}}
        ends.append(
            {"mode": "markers", "name": name, "marker": mark, "hovertemplate": "%{text}<extra></extra>",
             "customdata": [runs[folder] for folder in own.folders],
             "text": [f"<b>{name}</b> ended here<br>{_named(task.objectives, w)}" for w in own.weights]}
        )  # fmt: skip
        points.append(own.weights)
    better = "higher" if task.higher_is_better else "lower"
    same = ", relative to the reference with the same seed" if relative else ""
    caption = f"Dot: one trial, bright is good ({better} is better{same}). Large marks: where each repetition ended."
    return _placed(task, [trials, *ends], points, values[order], what, caption + thinned)


def _placed(
    task: TaskRuns,
    traces: list[dict[str, Any]],
    points: list[np.ndarray],
    values: np.ndarray,
    what: str,
    caption: str,
) -> Plot:
    names = [escape(name) for name in task.objectives]
    title = f"valid {metric_name(task.metric)} over the weights tried"
    weight = {"range": [-0.04, 1.04], "dtick": 0.25}
    if len(names) == 2:
        marker = traces[0]["marker"]
        traces[0] |= {"x": digits(points[0][:, 0], 4), "y": digits(values)}
        marker.pop("colorbar")
        for trace, own in zip(traces[1:], points[1:], strict=True):
            trace |= {"x": digits(own[:, 0], 4), "y": [digits(values.max())] * len(own)}
        caption += " End points are drawn at the top: they have no score of their own."
        axes = {"xaxis": {"title": {"text": f"weight of {names[0]}"}, **weight}, "yaxis": {"title": {"text": what}}}
        return Plot(title, caption, traces, axes)
    if len(names) == 3:
        for trace, own in zip(traces, points, strict=True):
            a, b, c = digits(own.T, 4)
            trace |= {"type": "scatterternary", "a": a, "b": b, "c": c}
        axes = {f"{axis}axis": {"title": {"text": name}} for axis, name in zip("abc", names, strict=True)}
        return Plot(title, caption, traces, {"ternary": {"sum": 1, **axes}}, height=440)
    spread = np.concatenate(points).std(axis=0)
    first, second = sorted(np.argsort(-spread, kind="stable")[:2].tolist())
    pairs = {"names": list(task.objectives), "first": first, "second": second, "points": [digits(p, 4) for p in points]}
    square = {"xaxis": {**weight, "title": {"text": ""}}, "yaxis": {**weight, "title": {"text": ""}}}
    line = {"color": "--line", "width": 1}
    square["shapes"] = [{"type": "line", "x0": 0, "y0": 1, "x1": 1, "y1": 0, "line": line}]  # type: ignore[assignment]
    return Plot(title, caption + " Pick the two weights to see.", traces, square, height=440, pairs=pairs)


def _named(objectives: Sequence[str], weights: np.ndarray) -> str:
    shares = [f"{escape(name)} {100 * weight:.0f} %" for name, weight in zip(objectives, weights, strict=True)]
    return "<br>".join(", ".join(shares[i : i + 3]) for i in range(0, len(shares), 3))
