"""How a score is printed: with the usual decimals, and with significant digits where those would show nothing."""

from __future__ import annotations

import math


def shown(value: float | None, decimals: int = 4, scale: float | None = None) -> str:
    """`0.7931`, `3.2101e-09`, `12346`: fixed decimals from 0.01 to 100, else `decimals` + 1 significant digits.

    `scale` is the size that decides, where several numbers are to be printed alike (a mean and its interval); they are
    fixed as long as one digit of it shows.
    """
    if value is None or not math.isfinite(value):
        return "–"
    if scale is None or not math.isfinite(scale):
        size, least, digits = abs(value), 0.01, decimals + 1
    else:
        size, least, digits = abs(scale), 10.0**-decimals, decimals
    return f"{value:.{decimals}f}" if size == 0 or least <= size < 100 else f"{value:.{digits}g}"
