"""A folder that a note names is removed only if this program made it; nothing is removed through a link."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from hpo_bench.core.meter import CostMeter
from hpo_bench.errors import UserError
from hpo_bench.records import scratch
from hpo_bench.records.files import append_line, locked, remove_files, sweep, write_whole
from hpo_bench.records.journal import Journal
from hpo_bench.search.pbt_units import CHECKPOINT
from tests.search.nodes import processes_of


@pytest.fixture
def workspace(tmp_path):
    (tmp_path / "workspace").mkdir()
    return tmp_path / "workspace"


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A temporary folder of the system's own, so that names in it are ours to choose."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def victim(folder):
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("years of work")
    return folder


def test_what_a_killed_process_left_is_removed(workspace, temporary):
    left = victim(temporary / "hb-ray-abcdefgh")
    (workspace / "ray-session").write_text(str(left))
    scratch.clear(workspace)
    assert not left.exists()
    assert not list(workspace.iterdir())


@pytest.mark.parametrize(
    "place",
    [
        "home/user",
        "tmp/other-abcdefgh",
        "tmp/hb-ray-",
        "tmp/hb-ray-too-long-a-name",
        "tmp/deeper/hb-ray-abcdefgh",
        "elsewhere/hb-ray-abcdefgh",
    ],
)
def test_any_other_folder_stays(workspace, temporary, tmp_path, place):
    folder = victim(tmp_path / place)
    (workspace / "ray-session").write_text(str(folder))
    scratch.clear(workspace)
    assert (folder / "thesis.tex").exists()
    assert not (workspace / "ray-session").exists()


@pytest.mark.parametrize("way", ["tmp/../home", "tmp/hb-ray-abcdefgh/../../home", "tmp/hb-ray-abcdefgh/.", ""])
def test_a_roundabout_path_is_not_followed(workspace, temporary, tmp_path, way):
    home = victim(tmp_path / "home")
    ours = victim(temporary / "hb-ray-abcdefgh")
    (workspace / "ray-session").write_text(f"{tmp_path}/{way}")
    scratch.clear(workspace)
    assert (home / "thesis.tex").exists()
    assert (ours / "thesis.tex").exists()


def test_a_link_is_not_followed(workspace, temporary, tmp_path):
    home = victim(tmp_path / "home")
    (temporary / "hb-ray-abcdefgh").symlink_to(home)
    (workspace / "ray-session").write_text(str(temporary / "hb-ray-abcdefgh"))
    scratch.clear(workspace)
    inside = victim(temporary / "hb-ray-12345678")
    (inside / "link").symlink_to(home)
    (workspace / "ray-session").write_text(str(inside))
    scratch.clear(workspace)
    assert not inside.exists()
    assert (home / "thesis.tex").exists()


def test_a_folder_of_another_user_stays(workspace, temporary, monkeypatch):
    left = victim(temporary / "hb-ray-abcdefgh")
    (workspace / "ray-session").write_text(str(left))
    monkeypatch.setattr(os, "getuid", lambda: 4711)
    scratch.clear(workspace)
    assert left.exists()


def test_the_note_may_be_anything(workspace, temporary):
    note = workspace / "ray-session"
    note.mkdir()
    scratch.clear(workspace)
    note.rmdir()
    os.mkfifo(note)
    scratch.clear(workspace)
    assert not os.path.lexists(note)
    note.write_bytes(b"\xff\x00/tmp")
    scratch.clear(workspace)
    assert not os.path.lexists(note)


def test_a_folder_in_use_stays_and_goes_with_its_process(workspace, tmp_path):
    """A copy of a run folder brings the note along while the run goes on."""
    code = """
import sys
from pathlib import Path
from hpo_bench.records import scratch
print(scratch.make(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", code, str(workspace)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        folder = Path(process.stdout.readline().strip())
        copy = tmp_path / "copy"
        copy.mkdir()
        (copy / "ray-session").write_text(str(folder))
        scratch.clear(copy)
        assert folder.exists()
        process.kill()
    scratch.clear(workspace)
    assert not folder.exists()


SLEEP = "import time; print('up', flush=True); time.sleep(600)"
OPENS = f"import sys; held = open(sys.argv[1], 'a'); {SLEEP}"


def started(words, **options):
    process = subprocess.Popen([*map(str, words)], stdout=subprocess.PIPE, text=True, **options)
    assert process.stdout.readline() == "up\n"
    return process


def titled(title, code, *words):
    """A process whose command line is its title, as those of Ray's agents and workers are."""
    return started([title, "-c", code, *words], executable=sys.executable)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are found by Linux's /proc")
def test_what_still_runs_in_the_folder_is_ended(workspace, temporary):
    """Ray's daemons by their arguments, its agents and workers by their open logs; nobody else, and no other Ray."""
    left, other = (victim(temporary / name) for name in ("hb-ray-abcdefgh", "hb-ray-abcdefg_"))
    daemon = started([sys.executable, "-c", SLEEP, "/lib/ray/agent.py", f"--temp-dir={left}"])
    agent = titled("ray::DashboardAgent", OPENS, left / "agent.log")
    stay = [
        started([sys.executable, "-c", SLEEP, "somebody", f"--temp-dir={left}"]),
        started([sys.executable, "-c", SLEEP, "/lib/ray/agent.py", f"--temp-dir={other}"]),
        titled("ray::DashboardAgent", OPENS, other / "agent.log"),
        titled("less", OPENS, left / "agent.log"),
    ]
    try:
        (workspace / "ray-session").write_text(str(left))
        scratch.clear(workspace)
        assert [process.poll() for process in (daemon, agent)] == [-9, -9], "they have ended by then"
        assert [process.poll() for process in stay] == [None] * len(stay)
        assert not left.exists()
    finally:
        for process in (daemon, agent, *stay):
            process.kill()
            process.wait()
            process.stdout.close()


SESSION = f"""
import sys
from pathlib import Path
import ray
from hpo_bench.search.session import ray_session
with ray_session(Path(sys.argv[1]), 1):
    ray.get(ray.remote(lambda: None).remote())
    {SLEEP}
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are found by Linux's /proc")
def test_what_a_killed_program_left_of_ray_is_ended(workspace, tmp_path):
    """The real Ray: its agents live on for a minute, trying to tell a server that is gone of their node's death."""
    (tmp_path / "here").mkdir()  # a working folder tells which processes are of this session
    program = started([sys.executable, "-c", SESSION, workspace], cwd=tmp_path / "here")
    folder = Path((workspace / "ray-session").read_text())
    program.kill()
    program.wait()
    program.stdout.close()
    assert processes_of(str(tmp_path / "here")), "Ray ends at once: nothing is tested here"
    scratch.clear(workspace)
    assert not processes_of(str(tmp_path / "here"))
    assert not folder.exists()


def test_a_long_temporary_folder_gives_way_to_a_short_one(workspace, tmp_path, monkeypatch):
    long = tmp_path / ("x" * 70)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    folder = scratch.make(workspace)
    assert len(str(folder)) <= scratch.LONGEST
    assert (workspace / "ray-session").read_text() == str(folder)
    scratch.remove(workspace, folder)
    assert not folder.exists()
    assert not list(workspace.iterdir())


@pytest.mark.parametrize("linked", ["workspace", "workspace/units", "workspace/bills"])
def test_a_workspace_behind_a_link_is_refused(tmp_path, linked):
    elsewhere = victim(tmp_path / "home")
    link = tmp_path / "run" / linked
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    with pytest.raises(UserError, match="is a link"):
        Journal.open(tmp_path / "run", CostMeter(10, torch.device("cpu")))
    assert (elsewhere / "thesis.tex").exists()


def test_only_files_of_our_names_are_removed(tmp_path):
    units, home = tmp_path / "units", victim(tmp_path / "home")
    units.mkdir()
    ours, theirs = units / f"{'0' * 20}.safetensors", units / "my-model.safetensors"
    for path in (ours, theirs, home / f"{'1' * 20}.safetensors"):
        path.write_text("x")
    (units / f"{'2' * 20}.safetensors").symlink_to(home / "thesis.tex")
    remove_files(units, CHECKPOINT)
    assert [path.name for path in units.iterdir()] == [theirs.name]
    assert (home / "thesis.tex").exists()
    (tmp_path / "linked").symlink_to(home)
    remove_files(tmp_path / "linked", CHECKPOINT)
    assert (home / f"{'1' * 20}.safetensors").exists()


def test_a_sweep_takes_half_written_files_alone(tmp_path):
    for name in (".bill.json.4711.tmp", ".mine.tmp", "x.4711.tmp"):
        (tmp_path / name).write_text("{")
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine.tmp", "x.4711.tmp"]


def test_nothing_is_written_through_a_link(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("as it was")
    link = tmp_path / "link"
    link.symlink_to(precious)
    with pytest.raises(UserError, match="not a regular file"):
        append_line(link, {})
    with pytest.raises(UserError, match="is a link"), locked(link):
        pass
    write_whole(link, b"new")
    assert not link.is_symlink()
    assert precious.read_text() == "as it was"
