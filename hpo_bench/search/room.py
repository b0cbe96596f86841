"""What a cluster has room for: it changes while work goes on, and who waits is told for what."""

from __future__ import annotations

import time
import warnings

from hpo_bench.errors import UserError


class Room:
    """The CPUs that there are for `workers`, at `address` of a cluster (empty: this machine), looked at now and then.

    `timeout`: seconds that may pass while there is none at all.
    """

    def __init__(self, workers: int, address: str, timeout: float) -> None:
        self._workers, self._address, self._timeout = workers, address, timeout
        self._told: float | None = None  # CPUs that there were when fewer than asked for were spoken of
        self._empty: float | None = None  # since when

    def look(self) -> bool:
        """Is there any processor? Says where there are fewer than asked for.

        Raises:
            UserError: there has been none for too long.
        """
        import ray

        there, now = ray.cluster_resources().get("CPU", 0.0), time.monotonic()
        if there != self._told:
            if there < self._workers and self._address:
                warnings.warn(
                    f"{self._workers} workers were asked for, and the cluster has {there:g} CPUs now; it goes on with "
                    "those, and takes what joins",
                    stacklevel=2,
                )
            self._told = there
        if there >= 1:
            self._empty = None
            return True
        self._empty = now if self._empty is None else self._empty
        if now - self._empty > self._timeout:
            remedy = "let a machine join (ray start --address=…); the same command goes on where this one ended"
            raise UserError(f"the cluster has had no CPU for {now - self._empty:.0f} s", remedy)
        return False


def fits(asked: dict[str, float]) -> bool:
    """Is there a machine that has so much of everything, free or not? In Ray's names: CPU, GPU, memory in bytes."""
    import ray

    return any(
        node["Alive"] and all(node["Resources"].get(name, 0.0) >= amount for name, amount in asked.items())
        for node in ray.nodes()
    )
