"""The self-supervised objectives on text, by name. Adding one: write the class, name it here."""

from __future__ import annotations

from hpo_bench.tasks.text.objectives.base import CorpusData, Encoded, Objective
from hpo_bench.tasks.text.objectives.contrast import Contrast
from hpo_bench.tasks.text.objectives.masking import MaskedSpans, MaskedTokens
from hpo_bench.tasks.text.objectives.order import HalfOrder
from hpo_bench.tasks.text.objectives.planted import Harm, Noise, Oracle
from hpo_bench.tasks.text.objectives.replaced import ReplacedTokens

OBJECTIVES: dict[str, type[Objective]] = {
    kind.name: kind for kind in (MaskedTokens, Contrast, HalfOrder, ReplacedTokens, MaskedSpans, Noise, Harm, Oracle)
}
DEFAULT_OBJECTIVES = ("mlm", "contrast", "sop")

__all__ = ["DEFAULT_OBJECTIVES", "OBJECTIVES", "CorpusData", "Encoded", "Objective"]
