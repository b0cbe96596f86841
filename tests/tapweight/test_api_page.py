"""The page of signatures is that of the code."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from api_page import page

import tapweight
from tapweight import horizon, solvers

DOCS = Path(__file__).parents[2] / "docs" / "api-tapweight.md"


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="annotations print differently in each Python")
def test_page_is_current():
    assert DOCS.read_text(encoding="utf-8") == page(), "run: python tests/tapweight/api_page.py > docs/api-tapweight.md"


def test_every_public_name_has_a_docstring():
    for module in (tapweight, horizon, solvers):
        for name in set(module.__all__) - {"__version__", "DESIGNS"}:
            told = getattr(module, name).__doc__ or f"{name}("
            assert not told.startswith(f"{name}("), name
