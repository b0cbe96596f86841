"""ImageMol's objectives on drawings of molecules, by name. Adding one: write the class, name it here."""

from __future__ import annotations

from hpo_bench.errors import UserError, unknown_name
from hpo_bench.tasks.image.objectives.base import CorpusData, ImageBatch, Objective
from hpo_bench.tasks.image.objectives.clusters import Clusters100, Clusters1000, Clusters10000
from hpo_bench.tasks.image.objectives.jigsaw import Jigsaw
from hpo_bench.tasks.image.objectives.mask_contrast import MaskContrast
from hpo_bench.tasks.image.objectives.rationality import Rationality

OBJECTIVES: dict[str, type[Objective]] = {
    kind.name: kind for kind in (Clusters100, Clusters1000, Clusters10000, Jigsaw, MaskContrast, Rationality)
}
DEFAULT_OBJECTIVES = ("cluster_100", "cluster_1000", "cluster_10000", "jigsaw", "mask_contrast")  # TapWeight's five

__all__ = ["DEFAULT_OBJECTIVES", "OBJECTIVES", "CorpusData", "ImageBatch", "Objective", "select"]


def select(names: tuple[str, ...] | list[str]) -> tuple[type[Objective], ...]:
    """The classes of the named objectives, in that order; a UserError for an unknown, repeated or missing name."""
    if not names:
        raise UserError("no objective was chosen", f"known: {', '.join(OBJECTIVES)}")
    for name in names:
        if name not in OBJECTIVES:
            raise unknown_name("objective on images", name, OBJECTIVES)
    if len(set(names)) < len(names):
        raise UserError(f"an objective is named twice: {', '.join(names)}", "name each once")
    return tuple(OBJECTIVES[name] for name in names)
