"""A figure on disk: PNG to look at, SVG to print; the same figure twice gives the same bytes."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.figure import Figure


def new_figure(width: float = 6.4, height: float = 4.2) -> Figure:
    """An empty figure in inches; not registered anywhere, so nothing stays in memory."""
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, path: Path) -> list[Path]:
    """Write `path`.png and `path`.svg, folders made as needed; returns both paths."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = []
    for kind, options in (("png", {"dpi": 150}), ("svg", {"metadata": {"Date": None}})):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, **options)  # type: ignore[arg-type]
        target = path.with_name(f"{path.name}.{kind}")
        target.write_bytes(buffer.getvalue())
        written.append(target)
    return written
