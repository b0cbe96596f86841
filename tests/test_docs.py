"""The example notebooks run from top to bottom, each in a kernel and a folder of its own; the site has every page."""

import ast
import importlib.util
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
QUICK = ("own_loop",)


def test_they_are_there_and_hold_no_output():
    nbformat = pytest.importorskip("nbformat")
    assert [path.stem for path in NOTEBOOKS] == ["bace", "own_data", "own_loop"]
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        assert not any(cell.get("outputs") for cell in cells), f"{path.name} was committed with outputs"


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=[] if path.stem in QUICK else pytest.mark.slow) for path in NOTEBOOKS],
)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("HPO_BENCH_THREADS", "1")
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(tmp_path)}}).execute()
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    assert last.outputs


def test_every_page_is_in_the_site_and_every_linked_page_is_there():
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("nav:")[2]
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert set(re.findall(r"(\S+\.md)", nav)) == pages
    for page in pages:
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+\.md)(?:#[^)]*)?\)", text):
            assert ((ROOT / "docs" / page).parent / target).exists(), f"{page} links to {target}"
        for module in re.findall(r"^::: (\S+)$", text, re.MULTILINE):
            assert importlib.util.find_spec(module), f"{page} describes {module}"


FOREIGN = {
    *("gin-5x300.safetensors", "study.yaml", "cluster.yaml"),  # the reader's own
    *("pretrain.py", "model.py", "finetune.py", "setup.py"),  # of other projects
}


def test_no_page_or_docstring_names_a_file_that_is_not_here():
    found = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("not a checkout")
    paths = [Path(name) for name in found.stdout.split("\0") if name]
    names = {path.name for path in paths} | FOREIGN
    texts = {
        path: (ROOT / path).read_text("utf-8") for path in paths if path.parts[0] == "docs" and path.suffix == ".md"
    }
    texts[Path("README.md")] = (ROOT / "README.md").read_text("utf-8")
    for path in paths:
        if path.parts[0] in ("hpo_bench", "tapweight", "benchmarks", "examples") and path.suffix == ".py":
            nodes = ast.walk(ast.parse((ROOT / path).read_text("utf-8")))
            kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
            texts[path] = "\n".join(ast.get_docstring(node) or "" for node in nodes if isinstance(node, kinds))
    for path, text in texts.items():
        cited = re.findall(r"(?<![\w/.<-])(?:[\w.-]+/)*([\w-]+\.(?:md|py|sh|yaml|toml|safetensors|ipynb))\b", text)
        assert not set(cited) - names, path
