"""A table of numbers as coloured cells: low, middle and high, each with its words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpo_bench.compare.charts.marks import Bars, Mark, Text

LOW, MIDDLE, HIGH = (84, 39, 136), (247, 247, 247), (179, 88, 6)  # ends and middle of ColorBrewer's PuOr


def cells(
    values: np.ndarray, limit: float, words: Sequence[Sequence[str]], bold: np.ndarray | None = None
) -> list[Mark]:
    """Cells of a table (M, N), row 0 at y = 0; NaN has words and no colour.

    Args:
        values: what the colour says, from -limit to limit.
        words: the text of every cell.
        bold: (M, N) bool, which of them are set bold.
    """
    known = np.argwhere(np.isfinite(values))
    colours = [shade(values[i, j] / limit) for i, j in known]
    squares = Bars(known[:, 1], known[:, 0] - 0.49, np.full(len(known), 0.98), 0.98, colour=colours)
    texts: list[Mark] = []
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            ink = "#FFFFFF" if abs(value) > 0.6 * limit else "#222222"
            texts.append(Text(j, i, words[i][j], colour=ink, size=7.5, bold=bold is not None and bool(bold[i, j])))
        else:
            texts.append(Text(j, i, words[i][j], size=7))
    return [squares, *texts]


def shade(share: float) -> str:
    """Colour of a value between -1 (low) and 1 (high)."""
    end = HIGH if share > 0 else LOW
    mixed = [round(middle + min(1.0, abs(share)) * (own - middle)) for middle, own in zip(MIDDLE, end, strict=True)]
    return "#" + "".join(f"{part:02X}" for part in mixed)
