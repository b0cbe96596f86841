"""Performance profiles: on what share of tasks a method's error is within a factor of the best (Dolan & Moré 2002)."""

from __future__ import annotations

import numpy as np

from hpo_bench.compare.charts.marks import Axis, Chart, Line, Mark, Panel, Points
from hpo_bench.compare.stats.profiles import Profile
from hpo_bench.compare.style import method_style


def performance_profile(found: Profile | None) -> Chart | None:
    """One step line per method, over the factor; None where there is no profile."""
    if found is None:
        return None
    finite = found.ratios[np.isfinite(found.ratios)]
    end = 1 + 1.05 * max(float(finite.max()) - 1, 0.01)
    styles = method_style(found.methods)
    marks: list[Mark] = []
    for label, own in zip(found.methods, found.ratios.T, strict=True):
        colour, marker = styles[label]
        x = np.unique(np.r_[1.0, own[np.isfinite(own)]])
        y = np.array([100 * np.mean(own <= factor) for factor in x])
        marks.append(Line(np.r_[x, end], np.r_[y, y[-1]], label, colour, step=True))
        said = [f"{label}: {share:.0f} % of tasks within {100 * (factor - 1):.2g} % of the best error"
                for factor, share in zip(x, y, strict=True)]  # fmt: skip
        marks.append(Points(x, y, label, colour, marker, 5.0, legend=True, hover=said))
    return Chart(
        f"performance profile over {len(found.ratios)} tasks",
        "Height: share of tasks on which the method's error is at most so many times the smallest error of any method. "
        "At the left: how often it is the best.",
        [Panel(marks, Axis("error divided by the best method's", limits=(1 - 0.02 * (end - 1), end)),
               Axis("share of tasks, %", limits=(-3.0, 103.0)))],
    )  # fmt: skip
