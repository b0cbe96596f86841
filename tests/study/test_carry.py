"""A run's folder as a value: what changed is taken along, and nothing but records."""

import os
import threading
import time

import pytest

from hpo_bench.errors import UserError
from hpo_bench.study.carry import Packer, Parcel, unpack


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_followed_change_by_change(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "workspace").mkdir(parents=True)
    there.mkdir()
    packer = Packer(here)
    steps = [
        {"trials.jsonl": b"1\n", "workspace/checkpoint": b"a" * 1000},
        {"trials.jsonl": b"1\n2\n", "workspace/checkpoint": None},
        {"run.json": b"{}", "workspace/deeper/one": b""},
    ]
    for step in steps:
        for name, content in step.items():
            path = here / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content) if content is not None else path.unlink()
        parcel = packer.pack()
        assert set(parcel.changed) == {name for name, content in step.items() if content is not None}
        unpack(there, parcel)
        assert files(there) == files(here)
    assert packer.pack() is None


def test_locks_and_half_written_files_stay_where_they_are(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        (folder / "workspace").mkdir(parents=True)
        (folder / ".lock").write_text(folder.name)
        (folder / "workspace" / "ray-session").write_text(folder.name)
    (here / ".run.json.12.tmp").write_text("half")
    (here / "run.json").write_text("{}")
    (here / "link").symlink_to(here / "run.json")
    parcel = Packer(here).pack()
    assert parcel == Parcel({"run.json": b"{}"}, frozenset({"run.json"}))
    unpack(there, parcel)
    assert (there / ".lock").read_text() == (there / "workspace" / "ray-session").read_text() == "there"


def test_lines_come_before_checkpoints_and_the_verdict_last(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr("hpo_bench.study.carry.write_whole", lambda path, content: written.append(path.name))
    names = ["run.json", "bill.json", "workspace/checkpoint", "trajectory.jsonl", "trials.jsonl"]
    unpack(tmp_path, Parcel(dict.fromkeys(names, b""), frozenset(names)))
    assert written == ["trajectory.jsonl", "trials.jsonl", "bill.json", "checkpoint", "run.json"]


def test_nothing_is_written_through_a_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "workspace").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is a link"):
        unpack(tmp_path / "run", Parcel({"workspace/one": b"1"}, frozenset({"workspace/one"})))
    assert not list((tmp_path / "elsewhere").iterdir())


def test_what_is_taken_is_a_state_that_the_folder_was_in(tmp_path):
    """Two files that are always written one after the other are never taken with the second ahead of the first."""
    first, second = tmp_path / "first", tmp_path / "second"
    stop = threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            for path in (first, second):
                aside = path.with_name(f".{path.name}.1.tmp")
                aside.write_text(str(number))
                os.replace(aside, path)
            time.sleep(0.002)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        packer, seen, taken = Packer(tmp_path), {}, 0
        end = time.monotonic() + 20
        while taken < 50 and time.monotonic() < end:
            parcel = packer.pack()
            if parcel is None:
                continue
            seen |= {name: int(content) for name, content in parcel.changed.items()}
            taken += 1
            assert seen["first"] - seen.get("second", 0) in (0, 1)
        assert taken
    finally:
        stop.set()
        thread.join()
