"""What the core does on a device: tests, determinism, steps beside the alternatives, hypergradients, one run a method.

    benchmarks/device.sh [--device cpu --small] [--only steps,bert] [--out FILE]

Every section runs in a process of its own under a time limit, so one that fails leaves the others. A row is a figure,
what it should reach, and whether it does; a section that did not run says so with its reason.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from sections import SECTIONS, Size

from hpo_bench.core.device import describe_processor

HERE = Path(__file__).parent
SECONDS = {
    "tests": 110,
    "determinism": 60,
    "steps": 75,
    "bert": 60,
    "hypergradient": 60,
    "images": 45,
    "trials": 60,
    "runs": 90,
}


def main() -> None:
    """Run the sections and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="a few molecules and narrow models")
    parser.add_argument("--only", help="sections, joined by commas")
    parser.add_argument("--out", type=Path, help="write the table there, too")
    parser.add_argument("--seconds", type=float, help="for all sections together (470, or 3500 if small)")
    parser.add_argument("--section", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.section:
        for row in SECTIONS[given.section](Size(torch.device(given.device), given.small)):
            print("ROW " + json.dumps(row), flush=True)
        return
    names = given.only.split(",") if given.only else list(SECTIONS)
    lines = [heading(given.device), "", "| section | figure | found | goal | |", "| --- | --- | ---: | ---: | --- |"]
    print("\n".join(lines), flush=True)
    failed, start = False, time.monotonic()
    total = given.seconds or (3500 if given.small else 470)
    for name in names:
        left = total - (time.monotonic() - start)
        limit = SECONDS[name] * (10 if given.small else 1)  # CI may be busy
        rows, problem = section(name, given.device, given.small, min(left, limit))
        for figure, found, goal, reached in rows:
            verdict = "" if reached is None else "reached" if reached else "**missed**"
            lines.append(f"| {name} | {figure} | {found} | {goal} | {verdict} |")
            print(lines[-1], flush=True)
        if given.out:  # whatever comes after: what there is, is kept
            given.out.write_text("\n".join(lines) + "\n")
        if problem:
            failed = True
            lines.append(f"| {name} | | **{problem}** | | |")
            print(lines[-1], flush=True)
    if given.out:
        given.out.write_text("\n".join(lines) + "\n")
    sys.exit(failed)


def heading(device: str) -> str:
    """Card, processor and versions."""
    card = torch.cuda.get_device_name() if device.startswith("cuda") and torch.cuda.is_available() else "no accelerator"
    return f"{card}, {describe_processor()}, torch {torch.__version__}, Python {platform.python_version()}"


def section(name: str, device: str, small: bool, limit: float) -> tuple[list[list[object]], str]:
    """The rows of a section, which gets `limit` seconds, and what went wrong, or ""."""
    if limit < 5:
        return [], "not run: no time was left"
    command = [sys.executable, __file__, "--section", name, "--device", device, *(["--small"] if small else [])]
    start = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        output, problem = process.communicate(timeout=limit)[0], ""
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with what it started
        output, problem = process.communicate()[0], f"stopped after {limit:.0f} s"
    lines = output.splitlines()
    rows = [json.loads(line.removeprefix("ROW ")) for line in lines if line.startswith("ROW ")]
    if not problem and process.returncode:
        problem = f"ended with status {process.returncode}: {lines[-1][:200] if lines else 'no word'}"
    if problem:
        print("\n".join(lines[-25:]), file=sys.stderr)
    print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    return rows, problem


if __name__ == "__main__":
    main()
