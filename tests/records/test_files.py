"""Files that are written whole: what an error says of them."""

import errno
import os

import pytest

from hpo_bench.records.files import write_changed, write_whole
from tests.permissions import read_only


def test_a_file_that_cannot_be_written_has_the_name_that_was_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    with read_only(tmp_path), pytest.raises(PermissionError) as caught:
        write_whole(path, b"new")
    assert str(caught.value) == f"[Errno {errno.EACCES}] Permission denied: '{path}'"
    (path / "mine").mkdir(parents=True)
    with pytest.raises(IsADirectoryError) as caught:
        write_whole(path, b"new")
    assert str(caught.value) == f"[Errno {errno.EISDIR}] Is a directory: '{path}'"
    assert [one.name for one in tmp_path.iterdir()] == ["table.csv"]

    def full(*_):
        raise OSError("no number, its own words")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no number, its own words"):
        write_whole(tmp_path / "other.csv", b"new")


def test_a_file_that_holds_the_content_is_left_and_any_other_replaced(tmp_path):
    path = tmp_path / "table.csv"
    for there, asked in ((None, b"a"), (b"a", b"a"), (b"a", b"b"), (b"ab", b"a")):
        path.unlink(missing_ok=True)
        if there is not None:
            path.write_bytes(there)
        before = path.stat().st_ino if there else None
        assert write_changed(path, asked).read_bytes() == asked
        assert (path.stat().st_ino == before) == (there == asked)
