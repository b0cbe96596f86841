"""A real Ray cluster on this machine: a head without CPUs, and nodes that share no file with the driver.

Every node has processes, a /tmp, a home, a working folder and caches of its own, where the system allows namespaces
(root on Linux); elsewhere folders of its own. Killing one kills all its processes at once, as a machine dies.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RAY = [sys.executable, "-c", "from ray.scripts.scripts import main; main()"]
SMALL = ["--object-store-memory=80000000", "--disable-usage-stats"]
APART = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
STARTED_IN, STARTS = 900, 20  # seconds and attempts, on a busy machine


def namespaces():
    """May this process give others a file system and processes of their own?"""
    try:
        return subprocess.run([*APART, "mount", "-t", "tmpfs", "none", "/tmp"], capture_output=True).returncode == 0
    except OSError:
        return False


class Nodes:
    """`address` of the head; `add()` a node, `kill(node)`, and `end()`."""

    def __init__(self, token=None):
        self.folder = Path(tempfile.mkdtemp(prefix="hb-nodes-", dir="/tmp"))
        self.apart = namespaces()
        self.nodes, self.started = [], 0
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "HPO_BENCH_THREADS": "1", "RAY_AUTH_MODE": "disabled"}
        self.environment["RAY_worker_niceness"] = "0"  # 15 by default: workers would starve on a busy machine
        self.environment.pop("RAY_ADDRESS", None)
        if token:
            self.environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{one.getsockname()[1]}"
        port = self.address.rpartition(":")[2]
        words = ["--head", f"--port={port}", "--node-ip-address=127.0.0.1", "--include-dashboard=false"]
        self.head = self._start("head", [*words, "--num-cpus=0", f"--temp-dir={self.folder / 'head'}"], [])

    def add(self):
        """A node with one CPU; returns when Ray says that it has joined."""
        self.started += 1
        number = self.started + 1
        own = self.folder / f"node-{number}"
        (own / "tmp").mkdir(parents=True)
        hidden = []
        if self.apart:  # the node's /tmp is empty, and so are the driver's folders, which lie in /tmp too
            hidden = ["mount", "-t", "tmpfs", "none", "/tmp"]
        words = [f"--address={self.address}", f"--node-ip-address=127.0.0.{number}", "--num-cpus=1"]
        node = self._start(f"node-{number}", words, hidden)
        self.nodes.append(node)
        return node

    def _start(self, name, words, hidden):
        """A node; tried again, since Ray gives it 30 s to start, which a busy machine may exceed."""
        for left in reversed(range(STARTS)):
            try:
                return self._try(name, words, hidden)
            except RuntimeError:
                if not left:
                    self.end()
                    raise

    def _try(self, name, words, hidden):
        own = self.folder / name
        own.mkdir(exist_ok=True)
        log = self.folder / f"{name}.log"
        home = own if not hidden else Path("/tmp")
        environment = {
            **self.environment,
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
            "HPO_BENCH_DATA": str(home / "data"),
            "TMPDIR": str(home / "tmp") if not hidden else "/tmp",
        }
        command = [*RAY, "start", "--block", *words, *SMALL]
        if hidden:
            told = " ".join(f"'{word}'" for word in command)
            command = [*APART, "sh", "-c", f"{' '.join(hidden)} && cd /tmp && exec {told}"]
        elif name != "head":
            command.append(f"--temp-dir={own / 'tmp'}")
        with open(log, "w") as told:
            process = subprocess.Popen(
                command, stdout=told, stderr=told, env=environment, cwd=own, start_new_session=True
            )
        end = time.monotonic() + STARTED_IN
        while "Ray runtime started" not in log.read_text():
            if process.poll() is not None or time.monotonic() > end:
                self._kill(process)
                raise RuntimeError(f"a node did not start: {log.read_text()}")
            time.sleep(0.2)
        return process

    def kill(self, node):
        """SIGKILL for all that runs on a node."""
        self.nodes.remove(node)
        self._kill(node)

    def _kill(self, node):
        children = _below(node.pid)
        for process in (node.pid, *children):
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        node.wait()

    def end(self):
        """Kill everything, remove everything."""
        for node in [*self.nodes, getattr(self, "head", None)]:
            if node is not None:
                self._kill(node)
        shutil.rmtree(self.folder, ignore_errors=True)

    def leftovers(self):
        """Processes of this cluster that still run, what listens at its address, and sockets in its folder."""
        port, found = int(self.address.rpartition(":")[2]), processes_of(str(self.folder)) + processes_of(self.address)
        told = Path("/proc/net/tcp").read_text() + Path("/proc/net/unix").read_text()
        mine = (f":{port:04X} 00000000:0000", str(self.folder))  # the first: at this port, nobody connected
        return found + [line for line in told.splitlines() if any(one in line for one in mine)]

    def kept(self):
        """What runs left in the temporary folders of the nodes that live."""
        places = []
        for node in self.nodes:
            places.append(Path(f"/proc/{_below(node.pid)[0]}/root/tmp") if self.apart else self.folder)
        return [str(path) for place in places for path in place.rglob("hb-run-*")]


def processes_of(text):
    """Processes with `text` in what was typed, in their environment or in the name of their working folder: a process
    may overwrite the first two, as Ray's do."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            told = (entry / "environ").read_bytes().decode(errors="replace")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            if state != "Z" and text in words + told + os.readlink(entry / "cwd") and int(entry.name) != os.getpid():
                found.append(f"process {entry.name}: {words[:200]}")
        except OSError:  # gone meanwhile
            continue
    return found


def _below(process):
    """All descendants of a process."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = [tuple(map(int, line.split())) for line in listed.splitlines()]
    found, front = [], [process]
    while front:
        front = [child for child, parent in parents if parent in front]
        found += front
    return found
