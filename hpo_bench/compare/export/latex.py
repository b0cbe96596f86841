"""The table for a paper: LaTeX with booktabs."""

from __future__ import annotations

from collections.abc import Sequence

from hpo_bench.compare.stats.intervals import Estimate
from hpo_bench.compare.stats.summary import Row
from hpo_bench.compare.style import metric_name
from hpo_bench.compare.tables.table import alike, by_task, number, p_value, score

_ESCAPED = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "²": "$^2$",
    "ρ": r"$\rho$",
    "–": "--",
    "<": "$<$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def to_latex(rows: Sequence[Row], reference: str = "equal") -> str:
    r"""One `tabular` of all tasks and methods; needs `\usepackage{booktabs}` and nothing else.

    Bold: the best mean test score of a task. Intervals are 95 % ones.
    """
    head = ["method", "test", f"minus {reference}", "$p$ (Holm)", "cost, step-eq."]
    lines = ["% needs \\usepackage{booktabs}", "\\begin{tabular}{lrrrr}", "\\toprule"]
    lines.append(" & ".join([escape(name) if "$" not in name else name for name in head]) + r" \\")
    for task, group in by_task(rows).items():
        title = escape(f"{task}, test {metric_name(group[0].metric)}, {_repetitions(group)}")
        lines += ["\\midrule", rf"\multicolumn{{5}}{{l}}{{\emph{{{title}}}}} \\"]
        scored = [row.test.value for row in group if row.test.n]
        best = (max if group[0].higher_is_better else min)(scored) if scored else None
        for row in group:
            test = _interval(row.test)
            test = rf"$\mathbf{{{test.strip('$')}}}$" if row.test.value == best and len(group) > 1 else test
            versus = _interval(row.versus.difference, signed=True) if row.versus else ""
            p = escape(p_value(row.p_holm)) if row.versus else ""
            lines.append(" & ".join([escape(row.method), test, versus, p, number(row.cost)]) + r" \\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def escape(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    return "".join(_ESCAPED.get(character, character) for character in text)


def _interval(estimate: Estimate, signed: bool = False) -> str:
    if not estimate.n:
        return "--"
    sign = "+" if signed and estimate.value >= 0 else ""
    value, half = alike(estimate) if estimate.has_interval else (score(estimate.value), "")
    return f"${sign}{value} \\pm {half}$" if half else f"${sign}{value}$"


def _repetitions(group: Sequence[Row]) -> str:
    counts = sorted({row.n for row in group})
    several = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    return f"{several} repetition{'s' if counts[-1] > 1 else ''}"
