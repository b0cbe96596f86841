"""The self-supervised objectives on text, by name. Adding one: write the class, name it here."""

from __future__ import annotations

from hpo_bench.errors import UserError, unknown_name
from hpo_bench.tasks.text.objectives.base import CorpusData, Encoded, Objective, TextBatch
from hpo_bench.tasks.text.objectives.contrast import Contrast
from hpo_bench.tasks.text.objectives.masking import MaskedSpans, MaskedTokens
from hpo_bench.tasks.text.objectives.noise import Noise
from hpo_bench.tasks.text.objectives.order import HalfOrder
from hpo_bench.tasks.text.objectives.replaced import ReplacedTokens

OBJECTIVES: dict[str, type[Objective]] = {
    kind.name: kind for kind in (MaskedTokens, Contrast, HalfOrder, ReplacedTokens, MaskedSpans, Noise)
}
DEFAULT_OBJECTIVES = ("mlm", "contrast", "sop")

__all__ = ["DEFAULT_OBJECTIVES", "OBJECTIVES", "CorpusData", "Encoded", "Objective", "TextBatch", "select"]


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
