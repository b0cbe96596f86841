"""All cycles of a molecule, out of its smallest set of rings: every cycle is a sum (symmetric difference) of rings."""

from __future__ import annotations

from hpo_bench.tasks.molecule.surroundings import Surroundings

_MOST_FUSED = 6  # rings of one fused system: 2^6 sums


def sums_of_rings(surroundings: Surroundings) -> list[int] | None:
    """Bonds (as masks) of every sum of two or more rings of a fused system, the cycles that are no ring among them.

    None where a fused system has more than six rings.
    """
    rings = surroundings.ring_bonds
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


def simple_cycle(total: int, surroundings: Surroundings) -> frozenset[int] | None:
    """The atoms of the bonds in the mask `total` if they are one cycle that meets no atom twice."""
    next_to: dict[int, list[int]] = {}
    left = total
    while left:
        lowest = left & -left
        begin, end, _ = surroundings.bonds[lowest.bit_length() - 1]
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
