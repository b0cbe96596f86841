"""What `list` and `show` print."""

from __future__ import annotations

import dataclasses
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hpo_bench import registry
from hpo_bench.core.cost import Cost
from hpo_bench.errors import UserError
from hpo_bench.records.schema import read_bill
from hpo_bench.records.sessions import environment_changes
from hpo_bench.records.shown import shown
from hpo_bench.run.presets import PRESETS
from hpo_bench.run.rerun import out_of, rerun

_ENCODERS = {
    "molecules": "molecule.gin:Encoder",
    "molecules as images": "image.encoder:Encoder",
    "text": "text.encoder:TextEncoder",
    "digits": "digits.task:Encoder",
}
_DOMAINS = {"molecules": "molecule", "molecules as images": "image", "text": "text", "digits": "digits"}


def listing() -> dict[str, Any]:
    """Everything that can be named on the command line."""
    import tapweight

    return {
        "methods": {name: _describe_method(name) for name in registry.names(registry.METHODS)},
        "tasks": registry.names(registry.TASKS),
        "adaptations": {name: _summary(registry.ADAPTATIONS, name) for name in registry.names(registry.ADAPTATIONS)},
        "encoders": {domain: _describe_encoder(where) for domain, where in _ENCODERS.items()},
        "presets": {name: found.summary for name, found in PRESETS.items()},
        "objectives": {domain: _describe_objectives(f"hpo_bench.tasks.{room}") for domain, room in _DOMAINS.items()},
        "solvers": {
            name: (type_.__doc__ or "").partition("\n")[0] for name, type_ in tapweight.solvers.classes().items()
        },
        "plug_ins": sorted(
            f"{point.name} ({point.value})"
            for group in (registry.METHODS, registry.TASKS, registry.ADAPTATIONS)
            for point in registry.points(group).values()
            if not point.value.startswith("hpo_bench.")
        ),
    }


def _describe_objectives(room: str) -> dict[str, Any]:
    home = import_module(f"{room}.objectives")
    return {
        name: {"on_by_default": name in home.DEFAULT_OBJECTIVES, "summary": (kind.__doc__ or "").partition("\n")[0]}
        for name, kind in home.OBJECTIVES.items()
    }


def _describe_encoder(where: str) -> str:
    room, _, name = where.partition(":")
    found = getattr(import_module(f"hpo_bench.tasks.{room}"), name)
    return (found.__doc__ or "").partition("\n")[0]


def _summary(group: str, name: str) -> str:
    try:
        return getattr(registry.load(group, name), "summary", "")
    except UserError as error:  # one plug-in that does not import takes nothing else with it
        return str(error)


def _describe_method(name: str) -> dict[str, Any]:
    from hpo_bench.search.base import ObjectiveWeightSearch  # `show` needs no search, and starts quicker without

    try:
        method = registry.load(registry.METHODS, name, ObjectiveWeightSearch)
    except UserError as error:  # one plug-in that does not import takes nothing else with it
        return {"summary": str(error), "takes": [], "options": {}}
    options = {f.name: f.default for f in dataclasses.fields(method)}
    return {"summary": getattr(method, "summary", ""), "takes": list(method.takes()), "options": options}


def show_listing(found: dict[str, Any]) -> None:
    """As tables on the terminal."""
    console = Console()
    header = ("method", "what it does", "goes by", "options (-o name=value)")
    table = Table(*header, title="methods", title_justify="left")
    table.columns[-1].overflow = "fold"  # an option's value must not end in an ellipsis
    for name, method in found["methods"].items():
        options = ", ".join(f"{k}={v}" for k, v in method["options"].items())
        table.add_row(name, method["summary"], ", ".join(method["takes"]) or "nothing", options)
    console.print(table)
    for domain, objectives in found["objectives"].items():
        title = f"objectives ({domain})"
        table = Table("objective", "default", "what it predicts", title=title, title_justify="left")
        for name, objective in objectives.items():
            table.add_row(name, "yes" if objective["on_by_default"] else "by name", objective["summary"])
        console.print(table)
    for title in ("encoders", "adaptations", "presets", "solvers"):
        table = Table(title.removesuffix("s"), "", title=title, title_justify="left")
        for name, summary in found[title].items():
            table.add_row(name, summary)
        console.print(table)
    console.print(f"[bold]tasks[/]: {', '.join(found['tasks'])}", soft_wrap=True)
    if found["plug_ins"]:
        console.print(f"[bold]plug-ins[/]: {', '.join(found['plug_ins'])}", soft_wrap=True)


def show_run(content: dict[str, Any], folder: Path) -> None:
    """One run on the terminal; everything that comes from the record is printed as it stands."""
    console = Console(highlight=False, markup=False)
    title = f"{content['method']} on {content['task']}, seed {content['seed']}: {content['status']}"
    console.print(Text(title, style="bold").append(f"  ({folder})", style="not bold"))
    if content.get("error"):
        console.print(f"error: {content['error']}", style="red")
    for notice in (content.get("data") or {}).get("notices") or []:
        console.print(f"note: {notice}", style="yellow", soft_wrap=True)
    result = content.get("result")
    if result:
        metric = content["metric"]["name"]
        table = Table("objective", "weight")
        for name, weight in zip(content["objectives"], result["weights"], strict=True):
            table.add_row(Text(name), f"{weight:.3f}")
        console.print(table)
        console.print(f"valid {metric}: {shown(result['value'])}")
        for line in result.get("retrained") or []:
            scores = ", ".join(f"{part} {_score(line.get(part))}" for part in ("valid", "test"))
            console.print(f"retrained with seed {line['seed']}: {scores}")
        if result.get("as_searched"):
            console.print(f"as searched: test {_score(result['as_searched'].get('test'))}")
    run_folder = folder if folder.is_dir() else folder.parent
    try:
        _show_bill(console, content.get("cost") or _running_bill(run_folder))
    except UserError as error:
        console.print(error.message, style="red")
    environments = content["environments"] or [{}]
    dirty = " (with uncommitted changes)" if environments[0].get("git_dirty") else ""
    console.print(
        f"commit {environments[0].get('git_commit')}{dirty}, {environments[0].get('processor')}, torch "
        f"{(environments[0].get('versions') or {}).get('torch')}, started {content.get('started')}, "
        f"ended {content.get('ended')}"
    )
    for session in environments:
        for kind in session.get("nodes") or []:
            told = f"{kind.get('count')} × {kind.get('processor')}, {kind.get('accelerator') or 'no accelerator'}"
            console.print(f"workers of session {session.get('session')}: {told}", highlight=False)
    for change in environment_changes(environments):
        console.print(f"another environment: {change}", style="yellow")
    console.print(f"again: {rerun(content, out_of(run_folder))}", soft_wrap=True)


def _score(value: float | None) -> str:
    return "none" if value is None else shown(value)


def _running_bill(folder: Path) -> dict[str, Any]:
    try:
        return {"search": read_bill(folder / "bill.json").to_json()}
    except FileNotFoundError:  # nothing spent yet
        return {}


def _show_bill(console: Console, cost: dict[str, Any]) -> None:
    if not cost:
        return
    table = Table("bill", "step-equivalents", "GFLOP", "training s", "evaluation s", "orchestration s", "peak MiB")
    for part, numbers in cost.items():
        bill = Cost.from_json(numbers)
        table.add_row(
            part,
            f"{bill.step_equivalents:.0f}",
            f"{bill.flops / 1e9:.0f}",
            f"{bill.seconds_training:.1f}",
            f"{bill.seconds_evaluation:.1f}",
            f"{bill.seconds_orchestration:.1f}",
            f"{bill.peak_memory_bytes / 2**20:.0f}",
        )
    console.print(table)
