"""The self-supervised objectives on molecules, by name. Adding one: write the class, name it here."""

from __future__ import annotations

from hpo_bench.errors import UserError, unknown_name
from hpo_bench.tasks.molecule.objectives.base import CorpusData, Embedded, MoleculeBatch, Objective
from hpo_bench.tasks.molecule.objectives.contrast import Contrast
from hpo_bench.tasks.molecule.objectives.labels import Clusters, Descriptors, Motifs
from hpo_bench.tasks.molecule.objectives.masking import MaskedAtoms, MaskedBonds
from hpo_bench.tasks.molecule.objectives.noise import Noise

OBJECTIVES: dict[str, type[Objective]] = {
    kind.name: kind for kind in (MaskedAtoms, MaskedBonds, Motifs, Clusters, Contrast, Descriptors, Noise)
}
DEFAULT_OBJECTIVES = ("atom", "bond", "motif", "cluster", "contrast", "descriptor")

__all__ = [
    "DEFAULT_OBJECTIVES",
    "OBJECTIVES",
    "CorpusData",
    "Embedded",
    "MoleculeBatch",
    "Objective",
    "select",
]


def select(names: tuple[str, ...] | list[str]) -> tuple[type[Objective], ...]:
    """The classes of the named objectives, in that order; a UserError for an unknown, repeated or missing name."""
    if not names:
        raise UserError("no objective was chosen", f"known: {', '.join(OBJECTIVES)}")
    for name in names:
        if name not in OBJECTIVES:
            raise unknown_name("objective", name, OBJECTIVES)
    if len(set(names)) < len(names):
        raise UserError(f"an objective is named twice: {', '.join(names)}", "name each once")
    return tuple(OBJECTIVES[name] for name in names)
