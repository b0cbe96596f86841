"""Does a Ray cluster answer at an address? Asked before Ray is, which would wait for minutes and end the process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from hpo_bench.errors import UserError

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # and an empty SETTINGS frame
_SETTINGS = 4  # the type of the frame that every HTTP/2 server sends first
_JOIN = (  # in a process of its own, since Ray ends the one that it cannot connect
    "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='ERROR'); ray.shutdown()"
)
_TOKEN = "set RAY_AUTH_MODE=token and the cluster's RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH), and try again"


def check_address(address: str, timeout: float) -> None:
    """Return if this process can join the cluster at `address` (HOST:PORT, or `auto`) within `timeout` seconds.

    Raises:
        UserError: not an address, nobody listens, somebody who is no cluster, a token is missing, or no node of the
            cluster runs on this machine.
    """
    end = time.monotonic() + timeout
    if address.startswith("ray://"):
        raise UserError(
            f"{address!r} is an address of Ray Client, which cannot hand on what workers report meanwhile",
            "start this on a machine of the cluster, with --ray-address auto (docs/cluster.md)",
        )
    if address != "auto":
        host, _, port = address.rpartition(":")
        if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
            raise UserError(f"cannot read the address {address!r} of a Ray cluster", "give auto, or HOST:PORT")
        if os.environ.get("RAY_USE_TLS", "0") in ("", "0"):
            _within(lambda: _speaks(address, host.strip("[]"), int(port), timeout), address, timeout)
    _join(address, max(1.0, end - time.monotonic()), timeout)


def no_cluster(address: str, reason: object, remedy: str = "leave --ray-address out, or correct it") -> UserError:
    """What to tell somebody whose cluster does not answer."""
    return UserError(f"no Ray cluster answers at {address!r}: {reason}", remedy)


def _within(ask: Callable[[], None], address: str, timeout: float) -> None:
    """Ask in a thread: looking up a host's name knows no timeout."""
    failed: list[Exception] = []

    def run() -> None:
        try:
            ask()
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        raise no_cluster(address, f"nothing within {timeout:g} s")
    if failed:
        raise failed[0]


def _speaks(address: str, host: str, port: int, timeout: float) -> None:
    """Does something there speak gRPC, as a cluster does?"""
    try:
        with socket.create_connection((host, port), timeout=timeout) as connection:
            connection.sendall(_PREFACE)
            answer = connection.recv(9)
    except (OSError, UnicodeError) as error:  # a host's name that cannot be one
        raise no_cluster(address, error) from error
    if len(answer) < 4 or answer[3] != _SETTINGS:
        raise no_cluster(address, "something else listens there")


def _join(address: str, left: float, timeout: float) -> None:
    command = [sys.executable, "-c", _JOIN, address]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=left, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        remedy = "see `ray status` there, or give it longer with --ray-timeout"
        raise no_cluster(address, f"it could not be joined within {timeout:g} s", remedy) from error
    if told.returncode:
        raise _why_not(address, told.stderr)


def _why_not(address: str, said: str) -> UserError:
    """Ray's own words as a sentence."""
    if "authentication" in said.lower() or "AuthenticationError" in said:
        return no_cluster(address, "it asks for a token, and this process has not the right one", _TOKEN)
    if "node info" in said or "raylet" in said.lower():
        remedy = f"a node of the cluster must run on this machine: ray start --address={address}"
        return no_cluster(address, "this machine is not part of it", remedy)
    lines = [line for line in said.strip().splitlines() if line and not line.startswith((" ", "*", "["))]
    return no_cluster(address, lines[-1] if lines else "Ray ended without a word")
