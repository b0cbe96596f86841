"""The table: as a frame (CSV, JSON, Markdown) for machines and papers, and as a rich table for the terminal."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from hpo_bench.compare.stats.intervals import Estimate
from hpo_bench.compare.stats.summary import Row
from hpo_bench.compare.style import metric_label
from hpo_bench.records.shown import shown

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

GIB = 2**30
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def table_frame(rows: Sequence[Row], reference: str = "equal") -> pd.DataFrame:
    """All numbers, one line per task and method, one column per number; the form of table.csv.

    The columns of the paired difference are absent if no task has the reference.
    """
    return pd.DataFrame([_numbers(row, reference, any(other.versus for other in rows)) for row in rows])


def to_csv(rows: Sequence[Row], reference: str = "equal") -> str:
    """table.csv: six significant digits, so that the same records give the same bytes."""
    return harmless(table_frame(rows, reference)).to_csv(index=False, float_format="%.6g", lineterminator="\n")


def harmless(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame for a CSV file: text that a spreadsheet would run as a formula stands behind an apostrophe."""

    def plain(value: Any) -> Any:
        return f"'{value}" if isinstance(value, str) and value[:1] in _FORMULA else value

    return frame.apply(lambda column: column.map(plain) if column.dtype == object or column.dtype == "str" else column)


def to_json(rows: Sequence[Row], reference: str = "equal", **more: Any) -> str:
    """table.json: the same numbers as a list of records under "rows"; NaN becomes null. `more` stands before it."""
    records = json.loads(table_frame(rows, reference).to_json(orient="records", double_precision=10))
    return json.dumps({**more, "rows": records}, indent=1, ensure_ascii=False) + "\n"


def to_markdown(rows: Sequence[Row], reference: str = "equal", notes: Sequence[str] = ()) -> str:
    """table.md: one table per task, with the notes below."""
    lines = []
    for group in by_task(rows).values():
        lines += [f"### {_title(group[0])}", ""]
        columns = [*score_columns(group, reference), *bill_columns(group)]
        lines.append("| " + " | ".join(name.replace("\n", " ") for name, _ in columns) + " |")
        lines.append("|" + "|".join(" --- " if index < 2 else " ---: " for index in range(len(columns))) + "|")
        for index in range(len(group)):
            lines.append("| " + " | ".join(cells[index].replace("\n", " ") for _, cells in columns) + " |")
        lines.append("")
    return "\n".join([*lines, *(f"- {note}" for note in notes)]).rstrip() + "\n"


class TerminalTable:
    """The rows of one task as a rich renderable: one table where the terminal is wide enough, else scores and bill."""

    def __init__(self, rows: Sequence[Row], reference: str = "equal") -> None:
        self.rows, self.reference = list(rows), reference

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        (method, weights, valid, *scores), bill = score_columns(self.rows, self.reference), bill_columns(self.rows)
        title = _title(self.rows[0])
        whole = self._build(title, [method, weights, valid, *scores, *bill])
        unbounded = options.update(max_width=10_000)
        if console.measure(whole, options=unbounded).maximum <= options.max_width:
            yield whole
            return
        yield self._build(title, [method, *scores])
        yield self._build("weights found", [method, weights, valid])
        yield self._build("cost of the search", [method, *bill])

    def _build(self, title: str, columns: list[tuple[str, list[str]]]) -> Table:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
        table.padding, table.pad_edge = (0, 1, 0, 0), False
        for index, (name, _) in enumerate(columns):
            table.add_column(name, justify="left" if index == 0 else "right", no_wrap=True)
        for cells in zip(*(cells for _, cells in columns), strict=True):
            table.add_row(*cells)
        return table


def _title(row: Row) -> str:
    return f"{row.task}: test {metric_label(row.metric, row.higher_is_better)}, ± 95 % interval"


def by_task(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by task, order kept."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.task, []).append(row)
    return groups


def score_columns(rows: Sequence[Row], reference: str) -> list[tuple[str, list[str]]]:
    """Header and cells of the columns on weights and scores of one task; columns without content are absent.

    "better" is the probability of improvement over the reference, in per cent.
    """
    columns = [
        ("method", [row.method for row in rows]),
        ("weights, %\n" + " ".join(short_names(rows[0].objectives)), [_weights(row) for row in rows]),
        ("valid", [score(row.valid.value) for row in rows]),
        ("test", [plus_minus(row.test) for row in rows]),
    ]
    if any(row.as_searched.n for row in rows):
        cells = [plus_minus(row.as_searched) if row.as_searched.n else "–" for row in rows]
        columns.append(("test as\nsearched", cells))
    if any(row.versus for row in rows):
        columns += [
            (f"minus\n{reference}", [signed(row.versus.difference) if row.versus else "" for row in rows]),
            ("p\n(Holm)", [p_value(row.p_holm) if row.versus else "" for row in rows]),
            ("better,\n%", [percent(row.versus.improvement) if row.versus else "" for row in rows]),
        ]
    columns.append(("n", [f"{row.n}×{row.retrainings / row.n:.3g}" for row in rows]))
    return columns


def bill_columns(rows: Sequence[Row]) -> list[tuple[str, list[str]]]:
    """Header and cells of the columns on the search's cost, means over repetitions."""
    columns = [
        ("cost,\nstep-eq.", [f"{row.cost:,.0f}" for row in rows]),
        ("in\ntrials", [number(row.trials_worth) for row in rows]),
        ("train,\ns", [number(row.seconds_training) for row in rows]),
    ]
    if any(row.bill["seconds_hypergradient"] > 0 for row in rows):
        columns.append(("hyper,\ns", [number(row.bill["seconds_hypergradient"]) for row in rows]))
    return [
        *columns,
        ("eval,\ns", [number(row.bill["seconds_evaluation"]) for row in rows]),
        ("orch.,\ns", [number(row.bill["seconds_orchestration"]) for row in rows]),
        ("peak,\nGiB", [number(row.bill["peak_memory_bytes"] / GIB) for row in rows]),
    ]


def short_names(objectives: Sequence[str], width: int = 4) -> list[str]:
    """The first letters of every objective, told apart by their last letter where they would be the same."""
    names = [name[:width] for name in objectives]
    return [
        short if names.count(short) == 1 else name[: width - 1] + name[-1]
        for short, name in zip(names, objectives, strict=True)
    ]


def score(value: float) -> str:
    """A score with three decimals, or four digits if it is large or tiny."""
    return shown(value, 3)


def plus_minus(estimate: Estimate) -> str:
    """Mean ± half an interval, or the mean alone."""
    if not estimate.has_interval:
        return score(estimate.value)
    value, half = alike(estimate)
    return f"{value} ± {half}"


def alike(estimate: Estimate) -> tuple[str, str]:
    """A value and half its interval, printed by the same rule: that of the larger one.

    Three decimals, or as many as show the interval's first digit: a MAE of 0.027 ± 0.000 says nothing. An interval that
    is rounding alone (runs that share every random number) needs none.
    """
    half, scale = abs(estimate.half_width), max(abs(estimate.value), abs(estimate.half_width))
    decimals = 3 if scale < 1e-3 or half <= 1e-6 * scale else max(3, -math.floor(math.log10(half)))
    return shown(estimate.value, decimals, scale), shown(estimate.half_width, decimals, scale)


def signed(estimate: Estimate) -> str:
    """A signed difference ± half its interval."""
    sign = "+" if estimate.value >= 0 else ""  # a minus comes by itself
    if not estimate.has_interval:
        return sign + score(estimate.value)
    value, half = alike(estimate)
    return f"{sign}{value} ± {half}"


def percent(estimate: Estimate) -> str:
    """A share in per cent; its interval is long and stands in the CSV."""
    return "–" if not math.isfinite(estimate.value) else f"{100 * estimate.value:.0f}"


def p_equals(p: float) -> str:
    """`p = 0.03` or `p < 0.001`."""
    return f"p {p_value(p)}" if p < 0.001 else f"p = {p_value(p)}"


def p_value(p: float) -> str:
    """A p-value with two digits."""
    return "–" if not math.isfinite(p) else "< 0.001" if p < 0.001 else f"{p:.2g}"


def number(value: float) -> str:
    """Three significant digits without an exponent."""
    return "–" if not math.isfinite(value) else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _weights(row: Row) -> str:
    names = short_names(row.objectives)
    return " ".join(f"{100 * w:.0f}".rjust(len(name)) for name, w in zip(names, row.weights, strict=True))


def _numbers(row: Row, reference: str, with_reference: bool) -> dict[str, Any]:
    record: dict[str, Any] = {"task": row.task, "method": row.method, "metric": row.metric, "n": row.n}
    record["retrainings"] = row.retrainings
    record |= dict(_interval("valid", row.valid)) | dict(_interval("test", row.test))
    record |= {"search_value": row.search_value.value, "as_searched_test": row.as_searched.value}
    if with_reference:
        nothing = Estimate(math.nan)
        record |= dict(_interval(f"minus_{reference}", row.versus.difference if row.versus else nothing))
        record |= dict(_interval("probability_better", row.versus.improvement if row.versus else nothing))
        record["p_sign_flip"] = row.versus.p_sign_flip if row.versus else math.nan
        record["p_wilcoxon"] = row.versus.p_wilcoxon if row.versus else math.nan
        record["p_holm"] = row.p_holm
    record |= {"trials_worth": row.trials_worth, "on_pareto_front": row.on_front}
    record |= {"cost_to_near_best": row.near_best_cost, "runs_near_best": row.near_best_runs}
    record |= {f"search_{field}": value for field, value in row.bill.items()}
    record |= {f"retraining_{field}": value for field, value in row.retraining_bill.items()}
    record |= {f"weight_{name}": weight for name, weight in zip(row.objectives, row.weights, strict=True)}
    record |= {f"weight_sd_{name}": sd for name, sd in zip(row.objectives, row.weights_sd, strict=False)}
    return record


def _interval(name: str, estimate: Estimate) -> Iterator[tuple[str, float]]:
    yield name, estimate.value
    yield f"{name}_low", estimate.low
    yield f"{name}_high", estimate.high
