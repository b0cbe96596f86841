"""The page itself: what goes into the template, and writing it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_bench.compare.charts import draw
from hpo_bench.compare.charts.draw import Drawing
from hpo_bench.compare.report.on_page import Plot, Runs, plot
from hpo_bench.compare.report.records import plain, run_entries
from hpo_bench.compare.report.tables import Table, matrix_table, runs_table, task_table
from hpo_bench.compare.tables.table import by_task
from hpo_bench.records.files import write_changed

if TYPE_CHECKING:
    from hpo_bench.compare.comparison import Comparison

SCRIPTS = ("theme.js", "tables.js", "dialog.js", "plots.js")
UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def write_report(comparison: Comparison, path: Path) -> list[Path]:
    """Write the comparison as one HTML file that loads nothing from anywhere; the same comparison, the same bytes."""
    return [write_changed(path, render(comparison).encode())]


def render(comparison: Comparison) -> str:
    """The report as text. What comes from records is escaped: by the template, by `in_script`, for plotly's texts."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("hpo_bench.compare.report"),
        autoescape=select_autoescape(("html", "j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    entries, pool = run_entries(comparison.runs, comparison.tasks)
    figures: list[dict[str, Any]] = []
    sections = list(_sections(comparison, figures))
    over_tasks = _add(figures, draw.of_all(comparison).values(), _places(comparison))
    data = {"runs": entries, "pool": pool, "figures": figures}
    statuses = comparison.runs["status"].value_counts()
    texts = {name: _text(name) for name in ("report.css", *SCRIPTS)}
    return environment.get_template("report.html.j2").render(
        title=_title(comparison),
        period=_period(comparison),
        finished=int(statuses.get("done", 0)),
        others=", ".join(f"{count} {status}" for status, count in sorted(statuses.items()) if status != "done"),
        sections=sections,
        overall_figures=over_tasks,
        matrices=[(matrix_table(f"matrix-{i}", one), one.sentence) for i, one in enumerate(comparison.matrices())],
        runs=runs_table(comparison.runs, entries),
        notes=comparison.notes,
        reference=comparison.reference,
        commits=sorted({str(commit) for commit in comparison.runs["git_commit"].dropna()}),
        css=texts["report.css"],
        scripts=[texts[name] for name in SCRIPTS],
        plotly=_text("plotly-basic.min.js"),
        data=in_script(data),
    )


def in_script(value: Any) -> str:
    """Compact JSON that cannot end the script element it stands in."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, harmless in UNSAFE.items():
        text = text.replace(character, harmless)
    return text


def _sections(comparison: Comparison, figures: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    rows = by_task(comparison.rows)
    runs = _places(comparison)
    said = {entry.task: entry for entry in comparison.verdicts}
    for number, task in enumerate(comparison.tasks):
        own = rows[task.label]
        table: Table = task_table(number, own, comparison.reference)
        yield {
            "id": f"t{number}",
            "label": task.label,
            "pretraining_pays": said[task.label].pretraining_pays,
            "weights_matter": said[task.label].weights_matter,
            "verdict": said[task.label].verdict,
            "power": said[task.label].power,
            "table": table,
            "figures": _add(figures, draw.of_task(task, own, comparison.reference).values(), runs),
        }


def _places(comparison: Comparison) -> Runs:
    return {folder: place for place, folder in enumerate(comparison.runs["folder"])}


def _add(figures: list[dict[str, Any]], drawings: Iterable[Drawing], runs: Runs) -> list[tuple[int, Plot]]:
    """Append what there is to draw to the embedded figures; returns (place, figure)."""
    places = []
    for drawing in drawings:
        if (chart := drawing()) is not None:
            drawn = plot(chart, runs)
            figures.append(plain({key: getattr(drawn, key) for key in ("traces", "layout", "pairs", "title")}))
            places.append((len(figures) - 1, drawn))
    return places


def _title(comparison: Comparison) -> str:
    methods = len({row.method for row in comparison.rows})
    tasks = len(comparison.tasks)
    where = comparison.tasks[0].label if tasks == 1 else f"{tasks} tasks"
    return f"{methods} method{'' if methods == 1 else 's'} on {where}"


def _period(comparison: Comparison) -> str:
    days = sorted({str(moment)[:10] for name in ("started", "ended") for moment in comparison.runs[name].dropna()})
    return "" if not days else days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


def _text(name: str) -> str:
    return resources.files(__package__).joinpath("templates", name).read_text(encoding="utf-8")
