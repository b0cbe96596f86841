"""Any table that a person may name: CSV, TSV, JSON lines, a JSON array; plain or packed."""

from __future__ import annotations

from pathlib import Path

from hpo_bench.data.tables.delimited import Quoting, read_delimited
from hpo_bench.data.tables.objects import is_json, read_objects
from hpo_bench.data.tables.opening import read_text
from hpo_bench.data.tables.rows import TableFile
from hpo_bench.errors import unknown_name


def read_table_file(path: str | Path, quoting: Quoting | str = "standard") -> TableFile:
    """The cells of a file; its name tells the format, or its first character where the name does not.

    Raises:
        UserError: whatever is wrong with the file, with its line (see `opening`, `delimited`, `objects`).
    """
    if quoting not in ("standard", "none"):
        raise unknown_name("quoting", str(quoting), ("standard", "none"))
    opened = read_text(path)
    if is_json(opened):
        return read_objects(opened)
    return read_delimited(opened, "none" if quoting == "none" else "standard")
