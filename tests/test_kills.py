"""A few random kills on every run of the tests; more of them by `python tests/kills.py --kills 200`."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = Path(__file__).with_name("kills.py")


@pytest.mark.skipif(sys.platform != "linux", reason="what is left over is read from /proc")
@pytest.mark.parametrize(
    "options",
    [
        ("--kills", "3", "--methods", "random", "--alone"),
        pytest.param(("--kills", "150", "--seed", "1", "--alone"), marks=pytest.mark.slow),
        pytest.param(("--kills", "60", "--seed", "2", "--methods", "pbt,random,tpe"), marks=pytest.mark.slow),
    ],
)
def test_random_kills_lose_nothing_and_leave_nothing(options, tmp_path):
    done = subprocess.run([sys.executable, KILLS, *options], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    found = re.findall(r"^  ([a-z ]+): (\d+)$", done.stdout, re.MULTILINE)
    assert {count for _, count in found} == {"0"}
    assert "trials twice" in dict(found)
