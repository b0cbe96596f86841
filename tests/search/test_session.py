"""Ray starts, or a cluster answers, and where not, the user is told why in a sentence."""

import os
import re
import socket
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.exceptions import RaySystemError, RayTaskError

from hpo_bench.errors import UserError
from hpo_bench.search.cluster import check_address
from hpo_bench.search.random import Random
from hpo_bench.search.session import processes_for, ray_session, readable
from hpo_bench.testing.problems import quick_problem


def test_what_a_killed_ray_left_behind_is_removed(tmp_path, monkeypatch):
    left = Path(tempfile.mkdtemp(prefix="hb-ray-"))
    (tmp_path / "ray-session").write_text(str(left))
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 1})
    with ray_session(tmp_path, 1):
        assert not left.exists()
        assert not (tmp_path / "ray-session").exists()


def test_no_more_processes_than_can_be_used(monkeypatch):
    monkeypatch.setattr("hpo_bench.search.session.cores", lambda: 4)
    assert processes_for(3, 10) == 3
    with pytest.warns(UserWarning, match="8 workers were asked for; 2 can be used.*2 pieces of work"):
        assert processes_for(8, 2) == 2
    with pytest.warns(UserWarning, match="1000 workers were asked for; 4 can be used.*4 cores"):
        assert processes_for(1000, 500) == 4
    assert processes_for(8, 100, "auto") == 8  # a cluster has cores of its own
    assert not Random(workers=10**9).supports(quick_problem("2")).ok


@pytest.fixture
def listening():
    """A port where somebody listens who is no cluster, as HOST:PORT."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("address", ["nonsense", "host:", ":6379", "host:0", "host:70000", "host:١", "ray"])
def test_an_address_that_is_none_is_told(address):
    with pytest.raises(UserError, match="cannot read the address"):
        check_address(address, 1.0)


@pytest.mark.parametrize("address", ["ray://", "ray://host:10001"])
def test_ray_client_is_refused_with_the_way_round(address):
    with pytest.raises(UserError, match=r"Ray Client.*\n.*--ray-address auto"):
        check_address(address, 1.0)


def test_a_cluster_that_does_not_answer_is_told(listening, monkeypatch):
    with pytest.raises(UserError, match="no Ray cluster answers"):
        check_address(listening, 0.2)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(UserError, match=r"no Ray cluster answers.*refused"):
            check_address(f"127.0.0.1:{closed.getsockname()[1]}", 5.0)
    with pytest.raises(UserError, match="no Ray cluster answers"):
        check_address("no-such-host.invalid:6379", 5.0)


def test_looking_up_a_name_ends_in_time(monkeypatch):
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: time.sleep(30))
    before = time.monotonic()
    with pytest.raises(UserError, match=r"nothing within 0\.2 s"):
        check_address("host:6379", 0.2)
    assert time.monotonic() - before < 20


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("ray.exceptions.AuthenticationError: Token authentication is enabled", "asks for a token.*RAY_AUTH_TOKEN"),
        ("RuntimeError: cannot find a local raylet with matching IP", "not part of it.*ray start --address=h:1"),
        ("Traceback\n  File x\nRuntimeError: Version mismatch: 2.1, 2.2", "RuntimeError: Version mismatch"),
        ("", "without a word"),
    ],
)
def test_why_a_cluster_cannot_be_joined_is_told(said, told):
    from hpo_bench.search.cluster import _why_not

    assert re.search(f"(?s){told}", str(_why_not("h:1", said)))


def test_an_address_in_the_environment_and_a_long_temporary_folder_do_not_hinder(tmp_path, monkeypatch):
    """Ray starts on this machine, in a folder whose path is short enough for its sockets."""
    import ray

    seen = {}

    def start(**options):
        seen.update(options, address=os.environ.get("RAY_ADDRESS"))

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", start)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 1})
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6399")
    (tmp_path / ("x" * 70)).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("x" * 70)))
    with ExitStack() as stack:
        with pytest.warns(UserWarning, match="RAY_ADDRESS is set and not used"):
            stack.enter_context(ray_session(tmp_path, 1))
        assert seen["address"] is None
        assert len(seen["_temp_dir"]) < 40
        assert Path(seen["_temp_dir"]).is_dir()
    assert os.environ["RAY_ADDRESS"] == "127.0.0.1:6399"
    assert not Path(seen["_temp_dir"]).exists()


@pytest.mark.parametrize(("home", "given"), [("here", False), ("not-there", True)])
def test_a_home_that_cannot_be_written_does_not_hinder(tmp_path, monkeypatch, home, given):
    """Ray writes a token for a session into the home folder, if it is given none."""
    import ray

    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / home))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "to be restored")
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: None)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with ray_session(tmp_path, 1):
        assert (len(os.environ.get("RAY_AUTH_TOKEN", "")) >= 32) == given


def test_what_went_wrong_in_a_worker_is_found_behind_what_ray_says():
    import ray

    full = OSError(28, "No space left on device")
    assert readable(ray.exceptions.RayTaskError("run", "…", full)) is full
    other = ValueError("a fault of ours")
    assert readable(other) is other
    told = readable(ray.exceptions.OutOfDiskError("Local disk is full\nThe object cannot be created"))
    assert isinstance(told, UserError)
    assert str(told).startswith("Ray failed: Local disk is full")
    wrapped = ray.exceptions.RayTaskError("run", "…", other)
    assert readable(wrapped) is wrapped


@pytest.mark.parametrize(
    "cause",
    [
        RaySystemError("No module named 'hpo_bench'", "…"),  # over an argument
        RuntimeError("The remote function failed to import on the worker. This may be because …"),
    ],
)
def test_a_machine_without_the_package_is_told(cause):
    told = readable(
        RayTaskError("attend", "At least one …\n   ^^^^\nModuleNotFoundError: No module named 'x'\n", cause)
    )
    assert isinstance(told, UserError)
    assert str(told).startswith("a worker could not begin: ModuleNotFoundError: No module named 'x'\nevery machine")


def test_ray_that_is_slow_to_start_is_started_again(tmp_path, monkeypatch):
    """Ray gives its own node 30 s, which a busy machine may exceed; another error is not for us to swallow."""
    import ray

    from hpo_bench.search import session

    tries = []

    def starts(tries_needed, error):
        def start(**options):
            tries.append(options)
            if len(tries) < tries_needed:
                raise error

        tries.clear()
        return start

    monkeypatch.setattr(ray, "shutdown", lambda: None)
    for told in ("The current node timed out during startup.", "Timed out waiting for file gcs_server_port"):
        monkeypatch.setattr(ray, "init", starts(3, Exception(told)))
        session._start_ray(tmp_path, num_cpus=1)
        assert tries == [{"num_cpus": 1, "_temp_dir": str(tmp_path)}] * 3
    monkeypatch.setattr(ray, "init", starts(99, Exception("The current node timed out during startup.")))
    with pytest.raises(UserError, match="did not start in 8 attempts"):
        session._start_ray(tmp_path)
    monkeypatch.setattr(ray, "init", starts(2, ValueError("bad port")))
    with pytest.raises(ValueError, match="bad port"):
        session._start_ray(tmp_path)
    monkeypatch.setattr(session.shutil, "disk_usage", lambda folder: SimpleNamespace(free=4096))
    monkeypatch.setattr(ray, "init", starts(2, RuntimeError("Timed out waiting for file gcs_server_port")))
    with pytest.raises(UserError, match=f"the temporary folder {tmp_path.parent} is full"):
        session._start_ray(tmp_path)
    assert len(tries) == 1, "waiting would not help"
