"""Named seeds: every random draw of a run comes from the run's seed and the names of what it is for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed from the run's seed and names; the same on every machine, unrelated for different names."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(device: torch.device, seed: int, *names: str | int) -> torch.Generator:
    """A fresh generator on `device`, seeded by name."""
    return torch.Generator(device=device).manual_seed(derive_seed(seed, *names))


def seed_generators(seed: int) -> None:
    """Seed torch's global generators: the processor's, and CUDA's where it is in use.

    As `torch.manual_seed`, which keeps the call stack for each kind of accelerator that is not in use: that takes
    longer than a small step.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


@contextmanager
def seeded(seed: int, *names: str | int) -> Iterator[None]:
    """Seed torch's global generators (dropout draws from them) inside the block; restore them afterwards."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        seed_generators(derive_seed(seed, *names))
        yield
