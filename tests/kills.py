"""Random kills: `python tests/kills.py --kills 200 --seed 0` kills real runs and checks what they leave.

Every method, alone and with two workers where it takes them, on the quadratic task. A run is killed three times at
random moments (SIGTERM, SIGKILL or SIGINT, sent to the program, its whole process group or one of its children) and
each time taken up by the same command, then left to end. Asserted against an unbroken run: no finished trial is lost,
changed or there twice; no record is unreadable at any moment; weights, scores, trials and trajectory are the same to
the last bit; the bill is no smaller; no file, folder, socket or process is left over; no traceback. Linux alone.

A run is the real command line in a forked process, so that a start costs no imports. What was found is kept and named.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from program import code_of, hpo_bench

SIGNALS = (signal.SIGTERM, signal.SIGKILL, signal.SIGINT)
TARGETS = ("program", "program", "group", "child")  # a child exists with workers; else the program is meant
PER_RUN = 3
PATIENCE = 900  # seconds for one run to end on a busy machine, Ray's start included
GRACE = 20  # seconds after its end until a process of a run counts as left over: busy machines take a moment
MARK = "HPO_BENCH_KILLS"  # in the environment of everything that a case starts
SIZES = ("--preset", "quick", "--set", "steps=40", "--budget", "8", "--retrains", "2", "--device", "cpu", "--json")
KINDS = ("finished trials lost", "trials twice", "records unreadable", "leftovers", "other end", "traceback", "other")


@dataclass
class Case:
    """One method as it is run here."""

    method: str
    options: tuple[str, ...] = ()
    whole: dict[str, Any] = field(default_factory=dict)  # what `facts` says of the unbroken run
    seconds: float = 0.0  # from the record's first line to the end, unbroken

    @property
    def name(self) -> str:
        return " ".join((self.method, *self.options))


@dataclass
class Tally:
    """Kills by signal and target, and what was found by kind."""

    kills: Counter[str] = field(default_factory=Counter)
    late: int = 0  # the run had ended before its signal came
    runs: int = 0
    found: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def fault(self, kind: str, case: Case, told: str) -> None:
        self.found[kind].append(f"{case.name}: {told}")
        print(f"FAULT {kind}: {case.name}: {told}", flush=True)

    @property
    def clean(self) -> bool:
        return not any(self.found.values())

    def __str__(self) -> str:
        kills = ", ".join(f"{count} {name}" for name, count in sorted(self.kills.items()))
        lines = [f"{sum(self.kills.values())} kills in {self.runs} runs ({kills}); {self.late} signals came too late"]
        told = [f"  {kind}: {len(faults)}" for kind, faults in self.found.items()]
        return "\n".join([*lines, *told, f"  (a process is a leftover {GRACE} s after the end of its run)"])


class Place:
    """A folder of one run, with a temporary folder of its own: what is left there afterwards is ours."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.root = Path(tempfile.mkdtemp(prefix="kl-", dir="/tmp"))  # short: Ray's sockets lie below
        self.temporary = self.root / "t"
        self.temporary.mkdir()
        self.run = self.root / "out" / "quadratic" / case.method / "seed-0"

    def start(self) -> Process:
        """The command line in a process of its own, forked from this one, which has imported everything already."""
        words = ["run", "--method", self.case.method, "--task", "quadratic", *SIZES, *self.case.options]
        sys.stdout.flush()
        if pid := os.fork():
            return Process(pid)
        code = 70
        try:
            os.setsid()
            os.chdir(self.root)
            said = os.open(self.root / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
            for stream in (1, 2):
                os.dup2(said, stream)
            os.environ |= {"TMPDIR": str(self.temporary), MARK: self.root.name}
            tempfile.tempdir = None  # read TMPDIR again
            code = code_of(hpo_bench, *words, "--out", "out")
        finally:
            os._exit(code)

    def said(self) -> str:
        return (self.root / "said").read_text(encoding="utf-8", errors="replace")

    def processes(self) -> list[int]:
        """Everything alive that was started from here."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                here = os.readlink(entry / "cwd").startswith(str(self.root))  # a process may overwrite its environment
                marked = f"{MARK}={self.root.name}".encode() in (entry / "environ").read_bytes()
                if state != "Z" and (here or marked):
                    found.append(int(entry.name))
        return found

    def sessions(self) -> int:
        try:
            return int(json.loads((self.run / "run.json").read_text(encoding="utf-8"))["sessions"])
        except FileNotFoundError:
            return 0


class Process:
    """A forked child; as much of `subprocess.Popen` as is needed."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if ended else None
        return self.returncode

    def wait(self, seconds: float) -> int | None:
        """The exit code; None if it has not ended after so many seconds."""
        end = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        return self.returncode


def cases(methods: Sequence[str] = ()) -> list[Case]:
    """All methods, each alone and, where it has the option, with two workers."""
    from hpo_bench import registry

    found = []
    for method in methods or registry.names(registry.METHODS):
        found.append(Case(method))
        if "workers" in getattr(registry.load(registry.METHODS, method), "__dataclass_fields__", {}):
            found.append(Case(method, ("--workers", "2")))
    return found


def lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file, bills and clocks taken out."""
    if not path.exists():
        return []
    whole = path.read_bytes().split(b"\n")[:-1]
    return [without_clocks(json.loads(line)) for line in whole]


def without_clocks(value: Any) -> Any:
    """What a second run must repeat: everything but seconds, memory and bills."""
    if isinstance(value, dict):
        return {key: without_clocks(inner) for key, inner in value.items() if key not in ("cost", "spent", "seconds")}
    return [without_clocks(inner) for inner in value] if isinstance(value, list) else value


def facts(place: Place) -> dict[str, Any]:
    """What is compared between a broken and an unbroken run."""
    record = json.loads((place.run / "run.json").read_text(encoding="utf-8"))
    trajectory = lines(place.run / "trajectory.jsonl")
    return {
        "status": record["status"],
        "result": without_clocks(record["result"]),
        "trials": lines(place.run / "trials.jsonl"),
        # Workers' lines come in the order in which they end.
        "trajectory": sorted(trajectory, key=lambda line: json.dumps(line, sort_keys=True)),
        "tests": lines(place.run / "tests.jsonl"),
        "files": sorted(str(path.relative_to(place.run)) for path in place.run.rglob("*") if path.is_file()),
        "bill": record["cost"]["search"]["step_equivalents"],
    }


def unbroken(case: Case) -> None:
    """Run a case to its end, and keep what it gave."""
    place = Place(case)
    process = place.start()
    while not place.sessions() and process.poll() is None:
        time.sleep(0.05)
    began = time.monotonic()
    code = process.wait(PATIENCE)
    if code != 0:
        raise RuntimeError(f"{case.name} does not even end unbroken ({code}):\n{place.said()}")
    case.seconds = time.monotonic() - began
    case.whole = facts(place)
    shutil.rmtree(place.root)


def kill_once(place: Place, chance: random.Random, tally: Tally) -> bool:
    """Start the run and kill it at a random moment; False if it had ended before that."""
    before = place.sessions()
    process = place.start()
    if chance.random() < 0.8:  # the others: while it reads its task and opens its folder
        while place.sessions() == before and process.poll() is None:
            time.sleep(0.02)
        wait = chance.uniform(0, place.case.seconds)
    else:
        wait = chance.uniform(0, 2)
    number, target = chance.choice(SIGNALS), chance.choice(TARGETS)
    if process.wait(wait) is not None:
        tally.late += 1
        if process.returncode:
            tally.fault("other", place.case, f"it ended by itself with {process.returncode}: {place.said()[-300:]}")
        return False
    children = [one for one in place.processes() if one != process.pid]
    if target == "child" and not children:
        target = "program"
    tally.kills[f"{number.name} to {target}"] += 1
    with suppress(ProcessLookupError):  # a child that has just ended
        if target == "group" and os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, number)
        else:
            os.kill(chance.choice(children) if target == "child" else process.pid, number)
    # A child may die unnoticed (Ray starts another); the run goes on then, and that is well.
    if process.wait(PATIENCE) is None:
        tally.fault("other", place.case, f"{number.name} to {target}: no end in {PATIENCE} s: {place.said()[-1500:]}")
        os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
    # An interrupt in the interpreter's own last steps is Python's to tell: the run is recorded by then.
    said = place.said()
    if "Traceback" in said.partition("Exception ignored in")[0]:
        tally.fault("traceback", place.case, f"{number.name} to {target}: {said[-2500:]}")
    return True


def check_records(place: Place, known: list[dict[str, Any]], tally: Tally) -> list[dict[str, Any]]:
    """Read what lies there after a kill; hand back the finished trials, all of `known` first."""
    from hpo_bench.errors import UserError
    from hpo_bench.records import schema

    if not (place.run / "run.json").exists():
        return known
    try:
        schema.read_run(place.run)
        for read in (schema.read_trials, schema.read_trajectory, schema.read_tests):
            read(place.run)
    except UserError as error:
        tally.fault("records unreadable", place.case, str(error))
        return known
    found = lines(place.run / "trials.jsonl")
    if found[: len(known)] != known:
        tally.fault("finished trials lost", place.case, f"{len(known)} were there, now {len(found)}, or they changed")
    return found


def check_end(place: Place, known: list[dict[str, Any]], tally: Tally) -> None:
    """The run has ended: is it what it would have been, and is nothing left?"""
    case, ended = place.case, facts(place)
    numbers = [line["number"] for line in ended["trials"]]
    if len(set(numbers)) < len(numbers):
        tally.fault("trials twice", case, str(numbers))
    if ended["trials"][: len(known)] != known:
        tally.fault("finished trials lost", case, f"{len(known)} were there before the end")
    for part in ("status", "result", "trials", "trajectory", "tests"):
        if ended[part] != case.whole[part]:
            tally.fault("other end", case, f"{part} is not that of the unbroken run: {ended[part]}"[:1500])
    if ended["bill"] < case.whole["bill"] * (1 - 1e-9):
        tally.fault("other end", case, f"the bill is {ended['bill']:g}, unbroken {case.whole['bill']:g}")
    if more := sorted(set(ended["files"]) - set(case.whole["files"])):
        tally.fault("leftovers", case, f"files in the run folder: {more}")
    end = time.monotonic() + GRACE
    while (left := place.processes()) and time.monotonic() < end:
        time.sleep(0.2)
    if left:
        told = [Path(f"/proc/{one}/cmdline").read_text().replace("\0", " ")[:200] for one in left]
        tally.fault("leftovers", case, f"processes: {told}")
    if left := sorted(str(path.relative_to(place.temporary)) for path in place.temporary.iterdir()):
        tally.fault("leftovers", case, f"in the temporary folder: {left}")


def one_run(case: Case, chance: random.Random, tally: Tally, most: int = PER_RUN) -> None:
    """Kill one run up to `most` times, let it end, and look."""
    place, known = Place(case), []
    tally.runs += 1
    before = sum(len(told) for told in tally.found.values())
    for _ in range(most):
        killed = kill_once(place, chance, tally)
        known = check_records(place, known, tally)
        if not killed:
            break
    process = place.start()
    code = process.wait(PATIENCE)
    if code != 0:
        tally.fault("other", case, f"it does not go on after kills ({code}): {place.said()[-1500:]}")
    else:
        check_end(place, known, tally)
    for one in place.processes():
        with suppress(OSError):
            os.kill(one, signal.SIGKILL)
    if sum(len(told) for told in tally.found.values()) == before:
        shutil.rmtree(place.root)
    else:
        print(f"      kept: {place.root}", flush=True)


def harness(kills: int, seed: int, methods: Sequence[str] = (), alone: bool = False) -> Tally:
    """Kill runs of all methods in a random order until there were so many kills."""
    for name in ("hpo_bench.cli.run", "hpo_bench.run.runner", "torch._dynamo", "optuna"):
        importlib.import_module(name)  # before any fork: a start then costs next to nothing
    inductor = str(Path(tempfile.gettempdir()) / "inductor")  # PyTorch's cache is nobody's leftover
    os.environ |= {"HPO_BENCH_THREADS": "1", "OMP_NUM_THREADS": "1", "TORCHINDUCTOR_CACHE_DIR": inductor}
    chance, tally = random.Random(seed), Tally()
    chosen = [case for case in cases(methods) if not (alone and case.options)]
    while sum(tally.kills.values()) < kills:
        # A run with workers takes ten times as long: every round has a third of them.
        these = [case for case in chosen if not case.options or chance.random() < 1 / 3]
        for case in chance.sample(these, len(these)):
            left = kills - sum(tally.kills.values())
            if left <= 0:
                break
            try:
                if not case.whole:
                    unbroken(case)
            except RuntimeError as error:  # Ray on a machine that is too busy, say
                tally.fault("other", case, str(error))
                chosen.remove(case)
                continue
            one_run(case, chance, tally, min(PER_RUN, left))
            print(f"{sum(tally.kills.values()):4d} kills, {case.name}", flush=True)
    return tally


def main() -> None:
    """Parse the command line, kill, print the counts; exit code 1 where a fault was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", default="", help="joined by commas; default: all")
    parser.add_argument("--alone", action="store_true", help="without workers")
    asked = parser.parse_args()
    tally = harness(asked.kills, asked.seed, [name for name in asked.methods.split(",") if name], asked.alone)
    print(tally)
    sys.exit(not tally.clean)


if __name__ == "__main__":
    del sys.path[0]  # this folder: its `tapweight` holds tests
    main()
