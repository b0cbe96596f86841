"""Who finds the planted objectives? A table from what `compare` wrote: `python benchmarks/planted_table.py TABLE.csv`.

Final weights on the planted objectives, the test score after retraining and the price of the search in trials, the
best score first.
"""

from __future__ import annotations

import sys

import pandas as pd

PLANTED = ("noise", "harmful", "oracle")


def table(path: str) -> str:
    """Markdown, one line a method."""
    frame = pd.read_csv(path).sort_values("test", ascending=False)
    planted = [name for name in PLANTED if f"weight_{name}" in frame]
    lines = ["| method | " + " | ".join(f"weight of {name}" for name in planted) + " | test | trials | n |"]
    lines.append("| --- |" + " ---: |" * (len(planted) + 3))
    for row in frame.to_dict("records"):
        spread = (row["test_high"] - row["test_low"]) / 2
        score = f"{row['test']:.3f}" + (f" ± {spread:.3f}" if spread == spread else "")
        weights = [f"{row[f'weight_{name}']:.2f}" for name in planted]
        lines.append(
            f"| {row['method']} | " + " | ".join([*weights, score, f"{row['trials_worth']:.2g}"]) + f" | {row['n']} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(sys.argv[1]), end="")
