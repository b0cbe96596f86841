"""Rings, and all cycles: every one is a sum (symmetric difference) of rings of the smallest set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hpo_bench.tasks.molecule.surroundings import AROMATIC, IN_RING, Surroundings

_MOST_FUSED = 6  # rings of one fused system: 2^6 sums


def over_rings(reduce: np.ufunc, values: np.ndarray, surroundings: Surroundings) -> np.ndarray:
    """`values` of each place in `ring_atoms` or `ring_bonds` reduced to one of each ring (R,)."""
    rings = surroundings.ring[:-1]
    return reduce.reduceat(values, rings) if len(rings) else values[:0]


def aromatic_rings(surroundings: Surroundings) -> np.ndarray:
    """The rings (R,) whose bonds are all aromatic."""
    return over_rings(np.logical_and, surroundings.kind[surroundings.ring_bonds] == IN_RING + AROMATIC, surroundings)


class FusedRings(NamedTuple):
    """Rings of one molecule, each a mask of bonds: bit b is bond b, whose atoms are `ends[b]`."""

    molecule: int
    rings: list[int]
    ends: list[list[int]]


def fused_rings(surroundings: Surroundings) -> Iterator[FusedRings]:
    """All rings of every molecule in which some share bonds."""
    shared = np.bincount(surroundings.ring_bonds, minlength=len(surroundings.kind)) > 1
    bonds = _spans(surroundings.count(surroundings.bond_molecule))
    rings = _spans(surroundings.count(surroundings.ring_molecule))
    starts = surroundings.ring.tolist()
    numbers = surroundings.ring_bonds.tolist()
    ends = surroundings.ends.T.tolist()
    for molecule in np.unique(surroundings.bond_molecule[shared]).tolist():
        first, last = bonds[molecule]
        masks = [
            sum(1 << bond - first for bond in numbers[starts[ring] : starts[ring + 1]])
            for ring in range(*rings[molecule])
        ]
        yield FusedRings(molecule, masks, ends[first:last])


def _spans(counts: np.ndarray) -> list[tuple[int, int]]:
    after = np.cumsum(counts)
    return list(zip((after - counts).tolist(), after.tolist(), strict=True))


def sums_of_rings(rings: list[int]) -> list[int] | None:
    """Bonds of every sum of two or more of the `rings` of a fused system, the cycles that are no ring among them.

    Bonds are masks: bit b is bond b.
    None where a fused system has more than six rings.
    """
    found: list[int] = []
    for system in _fused(rings):
        if len(system) > _MOST_FUSED:
            return None
        sums = [0]
        for ring in system:
            more = [ring ^ other for other in sums]
            found += more[1:]
            sums += more
    return found


def _fused(rings: list[int]) -> list[list[int]]:
    """Rings (as masks of bonds) in systems: those that share bonds, directly or through others, together."""
    systems: list[tuple[int, list[int]]] = []
    for ring in rings:
        joined, members = ring, [ring]
        apart = []
        for mask, others in systems:
            if mask & ring:
                joined |= mask
                members = others + members
            else:
                apart.append((mask, others))
        systems = [*apart, (joined, members)]
    return [members for _, members in systems]


def simple_cycle(total: int, ends: list[list[int]]) -> frozenset[int] | None:
    """The atoms of the bonds in the mask `total` if they are one cycle that meets no atom twice.

    `ends`: both atoms of each bond.
    """
    next_to: dict[int, list[int]] = {}
    left = total
    while left:
        lowest = left & -left
        begin, end = ends[lowest.bit_length() - 1]
        next_to.setdefault(begin, []).append(end)
        next_to.setdefault(end, []).append(begin)
        left ^= lowest
    if not next_to or len(next_to) != total.bit_count():
        return None
    start = before = next(iter(next_to))
    here, length = next_to[start][0], 1
    while here != start:
        first, second = next_to[here]
        before, here = here, second if first == before else first
        length += 1
    return frozenset(next_to) if length == len(next_to) else None
