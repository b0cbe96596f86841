"""The tree of results stays small, and what README and docs name in it is there."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIMIT = 14_500_000  # bytes


def tracked():
    """Files of analysis/ that git keeps; others are made by whoever runs `compare` there."""
    found = subprocess.run(["git", "ls-files", "-z", "analysis"], cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in found.stdout.split("\0") if name]


def test_analysis_is_small():
    sizes = {file: file.stat().st_size for file in tracked() if file.exists()}
    largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:5]
    said = ", ".join(f"{file.relative_to(ROOT)} {sizes[file] / 1e6:.1f} MB" for file in largest)
    assert sum(sizes.values()) < LIMIT, f"{sum(sizes.values()) / 1e6:.1f} MB; the largest: {said}"


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
)
def test_what_pages_name_in_analysis_is_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    named = {name.rstrip("/.") for name in re.findall(r"analysis/[\w@.\-]+(?:/[\w@.\-]+)*", text)}
    assert sorted(name for name in named if not (ROOT / name).exists()) == []
