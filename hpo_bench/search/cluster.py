"""Does a Ray cluster answer at an address? Ray itself would wait two minutes, and end the process."""

from __future__ import annotations

import os
import socket

from hpo_bench.errors import UserError

_PATIENCE = 10.0  # seconds for each of: a connection, an answer
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # and an empty SETTINGS frame
_SETTINGS = 4  # the type of the frame that every HTTP/2 server sends first


def check_address(address: str) -> None:
    """Return if something at `address` speaks gRPC, as a cluster does; `auto` is Ray's own business.

    Raises:
        UserError: not an address, nobody listens, or somebody who is no cluster.
    """
    if address == "auto" or os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise UserError(f"cannot read the address {address!r} of a Ray cluster", "give auto, or HOST:PORT")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE) as connection:
            connection.sendall(_PREFACE)
            answer = connection.recv(9)
    except (OSError, UnicodeError) as error:  # a host's name that cannot be one
        raise no_cluster(address, error) from error
    if len(answer) < 4 or answer[3] != _SETTINGS:
        raise no_cluster(address, "something else listens there")


def no_cluster(address: str, reason: object) -> UserError:
    """What to tell somebody whose cluster does not answer."""
    return UserError(f"no Ray cluster answers at {address!r}: {reason}", "leave --ray-address out, or correct it")
