"""ImageMol's objectives on drawings of molecules, by name. Adding one: write the class, name it here."""

from __future__ import annotations

from hpo_bench.tasks.image.objectives.base import CorpusData, ImageBatch, Objective
from hpo_bench.tasks.image.objectives.clusters import Clusters100, Clusters1000, Clusters10000
from hpo_bench.tasks.image.objectives.jigsaw import Jigsaw
from hpo_bench.tasks.image.objectives.mask_contrast import MaskContrast
from hpo_bench.tasks.image.objectives.rationality import Rationality
from hpo_bench.tasks.planted import planted_on

OBJECTIVES: dict[str, type[Objective]] = {
    kind.name: kind
    for kind in (
        *(Clusters100, Clusters1000, Clusters10000, Jigsaw, MaskContrast, Rationality),
        *planted_on(Objective),
    )
}
DEFAULT_OBJECTIVES = ("cluster_100", "cluster_1000", "cluster_10000", "jigsaw", "mask_contrast")  # TapWeight's five

__all__ = ["DEFAULT_OBJECTIVES", "OBJECTIVES", "CorpusData", "ImageBatch", "Objective"]
