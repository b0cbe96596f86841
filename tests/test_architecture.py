"""Arrows point one way: who may import whom, read from the source."""

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from hpo_bench import registry

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "hpo_bench"


def sources(where):
    path = ROOT / where
    files = [path] if path.suffix == ".py" else sorted(path.rglob("*.py"))
    assert files, where
    return {file.relative_to(ROOT).as_posix(): parsed(file) for file in files}


@cache
def parsed(file):
    return ast.parse(file.read_text(encoding="utf-8"))


def imports(nodes, file):
    """Every module that nodes of a file import; `from a import b` counts as a.b."""
    package = Path(file).with_suffix("").parts
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: -node.level], *filter(None, [node.module])] if node.level else [node.module]
            yield from (".".join([*base, alias.name]) for alias in node.names)


@cache
def imported(file, include_types=True):
    """Every module that a file imports, wherever it does so; all, or without those for type checkers alone."""
    return tuple(imports(nodes_of(parsed(ROOT / file), include_types), file))


def nodes_of(node, include_types):
    """As `ast.walk`."""
    for child in ast.iter_child_nodes(node):
        typing = isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"
        if include_types or not typing:
            yield child
            yield from nodes_of(child, include_types)


def outside(where, *allowed):
    """What files below `where` import that is not (inside) one of `allowed`, as `file imports module`."""
    found = []
    for file in sources(where):
        for name in imported(file):
            if not any(name == one or name.startswith(f"{one}.") for one in allowed):
                found.append(f"{file} imports {name}")
    return found


def ours(found):
    return [line for line in found if " imports hpo_bench" in line or " imports tapweight" in line]


def test_tapweight_needs_torch_and_nothing_else():
    assert outside("tapweight", "tapweight", "torch", *sys.stdlib_module_names) == []


@pytest.mark.parametrize(
    ("room", "allowed"),
    [
        ("hpo_bench/errors.py", []),
        ("hpo_bench/registry.py", ["errors"]),
        ("hpo_bench/core/cores.py", ["errors"]),
        ("hpo_bench/data", ["data", "records.files", "core.cores", "errors"]),
        ("hpo_bench/tasks", ["tasks", "data", "core.cores", "errors"]),
        ("hpo_bench/core", ["core", "registry", "tasks.base", "tasks.sending", "records.files", "errors"]),
        ("hpo_bench/records", ["records", "core", "errors"]),
        ("hpo_bench/search", ["search", "core", "records", "tasks.base", "errors", "registry"]),
        ("hpo_bench/bases", ["bases", "core", "data", "records", "tasks", "errors"]),
        (
            "hpo_bench/run",
            ["run", "core", "records", "search.base", "tasks.base", "tasks.presets", "errors", "registry"],
        ),
        ("hpo_bench/run/rerun.py", ["core.protocol", "run.presets", "run.task_options"]),
        ("hpo_bench/compare", ["compare", "records", "core.cores", "errors", "run.rerun"]),
        (
            "hpo_bench/study",
            ["study", "run", "core", "records", "search.room", "search.session", "tasks.base", "errors", "registry"],
        ),
        (
            "hpo_bench/measure",
            ["measure", "run", "compare", "core", "records", "search.grid", "tasks.base", "errors"],
        ),
    ],
)
def test_who_may_import_whom(room, allowed):
    library = {"hpo_bench/search": ["tapweight"], "hpo_bench/tasks": ["tapweight.heads"]}.get(room, [])
    found = ours(outside(room, *library, *(f"hpo_bench.{name}" for name in allowed)))
    assert found == []


LEAVES = {  # files that rooms below their own may import, too
    "hpo_bench/core/cores.py": "core.cores",
    "hpo_bench/records/files.py": "records.files",
    "hpo_bench/tasks/base.py": "tasks.base",
    "hpo_bench/tasks/sending.py": "tasks.base",
    "hpo_bench/tasks/presets.py": "tasks.base",
    "hpo_bench/run/rerun.py": "run.rerun",
    "hpo_bench/run/presets.py": "run.rerun",
    "hpo_bench/run/task_options.py": "run.rerun",
    "hpo_bench/__main__.py": "cli",
}


def room_of(file):
    parts = file.split("/")
    return LEAVES.get(file) or (parts[0] if parts[0] == "tapweight" else parts[1].removesuffix(".py"))


def arrows(include_types=False):
    """(file, file that it imports), everywhere in both packages; without those that are for type checkers alone."""
    trees = {**sources("hpo_bench"), **sources("tapweight")}
    files = {file.removesuffix(".py").removesuffix("/__init__").replace("/", "."): file for file in trees}
    for file in trees:
        for name in imported(file, include_types):
            module = name if name in files else name.rpartition(".")[0]
            if module in files and files[module] != file:
                yield file, files[module]


def test_no_module_is_reached_from_itself():
    """Imports inside functions count."""
    graph = {}
    for file, other in arrows():
        graph.setdefault(file, set()).add(other)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_the_structure_is_drawn():
    """docs/architecture.md has every room, and just the arrows that no longer way implies."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = set(re.findall(r"^  (\S+) --> (\S+)$", page, re.MULTILINE))
    there = {(room_of(one), room_of(other)) for one, other in arrows(include_types=True)}
    there = {(one, other) for one, other in there if one != other}

    def reached(one, other, without):
        steps = [b for a, b in there if a == one and (a, b) != without]
        return any(step == other or reached(step, other, without) for step in steps)

    assert drawn == {(one, other) for one, other in there if not reached(one, other, (one, other))}
    rooms = {room for arrow in there for room in arrow}
    assert {room for room in rooms if f"`{room}`" not in page} == set()
    measured = set(re.findall(r"^\| `(\w+)` \| \d", page.partition("## Size")[2], re.MULTILINE))
    folders = {file.split("/")[1] for file in sources("hpo_bench") if file.count("/") > 1}
    assert measured == folders | {"tapweight", "tests", "benchmarks", "examples"}


def test_only_tapweight_uses_the_library_tapweight():
    found = ours(outside("hpo_bench/search", "hpo_bench"))
    files = {f"hpo_bench/search/{name}.py" for name in ("implicit", "implicit_levels", "branches")}
    assert {line.partition(" ")[0] for line in found} == files


def test_records_are_compared_without_torch():
    assert not [line for line in outside("hpo_bench/compare") if " imports torch" in line]
    code = """
import importlib, pkgutil, sys
import hpo_bench.compare, hpo_bench.records.load
for module in pkgutil.walk_packages(hpo_bench.compare.__path__, "hpo_bench.compare."):
    importlib.import_module(module.name)
print([name for name in ("torch", "ray", "optuna", "rdkit", "hpo_bench.search") if name in sys.modules])
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "[]\n"


@pytest.mark.parametrize(
    "room",
    ["bases", "cli/display.py", "cli/listing.py", "core", "records", "run", "data", "errors.py", "study"],
)
def test_no_method_is_named_where_methods_are_not_known(room):
    methods = set(registry.names(registry.METHODS)) - {"random", "none"}  # also a kind of split, and the plain word
    named = [
        f"{file}:{node.lineno} {node.value}"
        for file, tree in sources(f"hpo_bench/{room}").items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in methods
    ]
    assert named == []


def test_nothing_decides_by_the_name_of_a_method():
    methods, deciding = set(registry.names(registry.METHODS)) - {"none"}, []  # "none" is no base, no layout
    for file, tree in sources("hpo_bench").items():
        if file.startswith(("hpo_bench/data", "hpo_bench/tasks")):
            continue  # "random" is a split there
        if file == "hpo_bench/compare/style.py":
            continue  # colours
        for node in ast.walk(tree):
            if isinstance(node, ast.Dict):
                parts = [key for key in node.keys if key is not None]
            else:
                parts = [*ast.walk(node)] if isinstance(node, ast.Compare | ast.MatchValue) else []
            deciding += [
                f"{file}:{part.lineno} {part.value}"
                for part in parts
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value in methods
            ]
    assert deciding == []


@pytest.mark.parametrize(
    "package",
    [
        "ray",
        "optuna",
        "rdkit",
        "torch_geometric",
        "transformers",
        "matplotlib",
        "pandas",
        "jinja2",
        "torchjd",
        "cvxpy",
    ],
)
def test_heavy_packages_are_imported_where_they_are_used(package):
    """At the top of a file, only in a room that cannot do without."""
    at_home = {
        "matplotlib": ["compare"],
        "pandas": ["compare", "records/load.py", "data"],
        "rdkit": ["data", "tasks"],
        "ray": ["search/pbt_population.py"],  # themselves imported where they are used
    }
    rooms = tuple(f"hpo_bench/{room}" for room in at_home.get(package, []))
    found = [
        file
        for file, tree in sources("hpo_bench").items()
        if not (rooms and file.startswith(rooms))
        for name in imports(tree.body, file)
        if name.partition(".")[0] == package
    ]
    assert found == []
