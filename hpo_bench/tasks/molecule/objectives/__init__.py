"""The self-supervised objectives on molecules, by name. Adding one: write the class, name it here."""

from __future__ import annotations

from hpo_bench.tasks.molecule.objectives.base import CorpusData, Embedded, MoleculeBatch, Objective
from hpo_bench.tasks.molecule.objectives.contrast import Contrast
from hpo_bench.tasks.molecule.objectives.labels import Clusters, Descriptors, Motifs
from hpo_bench.tasks.molecule.objectives.masking import MaskedAtoms, MaskedBonds
from hpo_bench.tasks.planted import planted_on

OBJECTIVES: dict[str, type[Objective]] = {
    kind.name: kind
    for kind in (MaskedAtoms, MaskedBonds, Motifs, Clusters, Contrast, Descriptors, *planted_on(Objective))
}
DEFAULT_OBJECTIVES = ("atom", "bond", "motif", "cluster", "contrast", "descriptor")

__all__ = [
    "DEFAULT_OBJECTIVES",
    "OBJECTIVES",
    "CorpusData",
    "Embedded",
    "MoleculeBatch",
    "Objective",
]
