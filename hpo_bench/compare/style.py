"""One look for every figure: a method has the same colour everywhere, an objective has its own.

Colours are told apart by readers with any of the common colour vision deficiencies (Okabe & Ito 2008, Tol 2021);
markers tell methods apart once more.
"""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Iterable

OWN_METHODS = {
    "none": ("#B0B0B0", "H"),
    "equal": ("#767676", "o"),
    "random": ("#E69F00", "^"),
    "grid": ("#56B4E9", "s"),
    "tpe": ("#0072B2", "D"),
    "pbt": ("#009E73", "v"),
    "tapweight": ("#D55E00", "*"),
}
OTHER_COLOURS = ("#CC79A7", "#7E6BC4", "#999933", "#B03A6B", "#44AA99", "#A0662A", "#2E8B57", "#B8A000")
OTHER_MARKERS = ("P", "X", "<", ">", "p", "h", "d", "8")
OWN_OBJECTIVES = {
    "atom": "#4477AA",
    "bond": "#66CCEE",
    "motif": "#228833",
    "cluster": "#CCBB44",
    "contrast": "#EE6677",
    "descriptor": "#AA3377",
    "noise": "#8A8A8A",
}
OBJECTIVE_COLOURS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#EE8866", "#44BB99", "#8A8A8A")
METRIC_NAMES = {
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
    "matthews": "Matthews correlation",
    "accuracy_f1": "mean of accuracy and F1",
    "pearson_spearman": "mean of Pearson and Spearman",
    "f1": "F1",
    "accuracy": "accuracy",
    "pearson": "Pearson r",
    "spearman": "Spearman ρ",
}


def base_name(label: str) -> str:
    """The method behind a label: `tapweight [solver=cg]` is `tapweight`."""
    return label.partition(" [")[0]


def method_order(labels: Iterable[str]) -> list[str]:
    """Our own methods in the order of `OWN_METHODS`, then strangers by name; the order of all tables and figures."""
    own = list(OWN_METHODS)
    return sorted(labels, key=lambda label: (own.index(base_name(label)) if base_name(label) in own else 99, label))


def method_style(labels: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of every label.

    Our own methods have fixed ones. A stranger's come from a hash of its name, so they are the same in every figure of
    every comparison; only where two strangers in one comparison fall on the same place does the later name move on.
    Once all colours are taken they come round again with the next marker, so 64 strangers are told apart.
    """
    styles = {label: OWN_METHODS[label] for label in labels if label in OWN_METHODS}
    taken: set[tuple[int, int]] = set()
    count = len(OTHER_COLOURS)
    for number, label in enumerate(sorted(set(labels) - set(styles))):
        place, lap = int(hashlib.sha256(label.encode()).hexdigest(), 16) % count, number // count % count
        while (place, lap) in taken and number < count * count:
            place = (place + 1) % count
        taken.add((place, lap))
        styles[label] = OTHER_COLOURS[place], OTHER_MARKERS[(place + lap) % count]
    return styles


def objective_colours(objectives: Iterable[str]) -> dict[str, str]:
    """Colour of every objective: fixed for our molecule objectives, by place for others."""
    free = [colour for colour in OBJECTIVE_COLOURS if colour not in {OWN_OBJECTIVES.get(name) for name in objectives}]
    colours = {}
    for name in objectives:
        if name not in OWN_OBJECTIVES:
            free = free or list(OBJECTIVE_COLOURS)
        colours[name] = OWN_OBJECTIVES[name] if name in OWN_OBJECTIVES else free.pop(0)
    return colours


def metric_label(metric: str, higher_is_better: bool) -> str:
    """The metric's usual name and which way is better."""
    return f"{metric_name(metric)} ({'higher' if higher_is_better else 'lower'} is better)"


def in_lines(label: str, width: int = 40) -> str:
    """A label broken into lines of so many characters: an upright axis and a column of a table hold no more."""
    return textwrap.fill(label, width)


def metric_name(metric: str) -> str:
    """The metric's usual name."""
    return METRIC_NAMES.get(metric, metric)
