"""Sizes of a run. `standard` is meant for two CPU cores, `paper` for a GPU."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hpo_bench.errors import unknown_name


@dataclass(frozen=True)
class Preset:
    """Changes to the protocol's defaults, and how much is searched and retrained; a task may add its own."""

    summary: str
    budget: str
    retrains: int
    protocol: dict[str, Any] = field(default_factory=dict)


PRESETS = {
    "quick": Preset(
        "seconds a trial: to see whether everything works",
        budget="8",
        retrains=1,
        protocol={"steps": 40, "epochs": 3, "patience": 3},
    ),
    "standard": Preset("under a minute a trial on two cores; the default", budget="12", retrains=3),
    "paper": Preset(
        "the protocol of Hu et al. 2020 at full length: 5 layers, width 300, 100 epochs; for a GPU",
        budget="32",
        retrains=5,
        protocol={"steps": 2000, "epochs": 100, "patience": 100, "adapt_batch_size": 32, "dropout": 0.5},
    ),
}


def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        UserError: an unknown name.
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    return PRESETS[name]
