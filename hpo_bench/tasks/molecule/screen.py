"""Which of many SMARTS patterns a molecule has, without trying each of them on each molecule.

A pattern of one atom and its neighbours (a star) is decided by an atom's surroundings alone; the answer is kept for
every kind of surroundings. A larger pattern needs all the stars it is made of, so RDKit is asked only where they are
there. The answers are RDKit's own, bit for bit: a star's atoms and bonds are matched by RDKit's query objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import combinations
from operator import or_
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hpo_bench.tasks.molecule.lookup import ByNeighbourhood
from hpo_bench.tasks.molecule.surroundings import IN_RING, Surroundings

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_WORD = 63  # stars in one number


@dataclass(frozen=True)
class Star:
    """A centre query and its leaves, each a query for a bond and the atom behind it; as numbers.

    `needs`: the leaves find a neighbour each, all different, if and only if for every set of leaves at least as many
    neighbours satisfy one of them (Hall's theorem); here as (mask of leaves, number), the strictest for each mask.
    """

    centre: int
    leaves: tuple[int, ...]

    @cached_property
    def needs(self) -> tuple[tuple[int, int], ...]:
        strictest: dict[int, int] = {}
        for size in range(1, len(self.leaves) + 1):
            for chosen in combinations(self.leaves, size):
                strictest[reduce(or_, (1 << leaf for leaf in chosen))] = size
        return tuple(strictest.items())


class PatternScreen:
    """P patterns, compiled once in a process.

    `present(surroundings)` gives for each pattern whether RDKit's `HasSubstructMatch` would find it. Patterns may hold
    recursive parts; those are left out of the stars, and RDKit decides. `counted` (C) are SMARTS of single atoms whose
    number is wanted beside.
    """

    def __init__(self, patterns: list[Mol], counted: list[str] | None = None) -> None:
        self.patterns = patterns
        self._centres: dict[str, int] = {}
        self._leaves: dict[tuple[str, str, bool], int] = {}
        self._centre_queries: list[Any] = []
        self._leaf_queries: list[tuple[Any, Any, bool]] = []
        self._stars: dict[Star, int] = {}
        self._kept: list[Mol] = []  # owners of the queries, which RDKit does not keep alive
        # (pattern, stars): a lone star is the pattern itself; a larger one needs all of its stars in one alternative
        lone: list[tuple[int, int]] = []
        larger: list[tuple[int, int]] = []
        self._larger_queries: list[Mol] = []
        for number, pattern in enumerate(patterns):
            for plain, exact in alternatives(smarts_of(pattern)):
                stars, alone = self._compile(plain)
                if alone and plain == exact:
                    lone.append((number, stars))
                else:
                    larger.append((number, stars))
                    self._larger_queries.append(self._query(exact))
        self._counted = [self._star(self._query(text).GetAtomWithIdx(0)) for text in counted or []]
        self._lone, self._lone_stars = self._needs(lone)
        self._larger, self._larger_stars = self._needs(larger)
        self._words = ByNeighbourhood(self._lone_stars.shape[1], self._look)
        # of each code of an atom: the stars that it can be the centre of, as (bit, needs)
        self._centre_bits: dict[int, list[tuple[int, tuple[tuple[int, int], ...]]]] = {}
        self._leaf_bits: dict[tuple[int, int], int] = {}

    def look(self, surroundings: Surroundings) -> tuple[np.ndarray, np.ndarray]:
        """The stars that each molecule has, bits of words (M, W), and the numbers (M, C) of the counted atoms."""
        words, starts = self._words(surroundings), surroundings.start[:-1]
        stars = np.bitwise_or.reduceat(words, starts) if len(starts) else words
        counts = np.zeros((len(starts), len(self._counted)), np.int64)
        for place, star in enumerate(self._counted):
            met = words[:, star // _WORD] >> star % _WORD & 1
            counts[:, place] = surroundings.count(surroundings.molecule[met > 0])
        return stars, counts

    def candidates(self, stars: np.ndarray, decided: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int, Mol]]]:
        """Which patterns are there (M, P), and (molecule, pattern, query): there if the molecule matches the query.

        The latter only where a pattern is not `decided` (M, P) yet.
        """
        there = np.zeros((len(stars), len(self.patterns)), bool)
        for number, need in zip(self._lone, self._lone_stars, strict=True):
            there[:, number] |= (stars & need).any(1)
        maybe = []
        for place, (number, need) in enumerate(zip(self._larger, self._larger_stars, strict=True)):
            met = ((stars & need) == need).all(1) & ~there[:, number] & ~decided[:, number]
            maybe += [(row, number, self._larger_queries[place]) for row in np.flatnonzero(met).tolist()]
        return there, maybe

    def present(self, surroundings: Surroundings) -> np.ndarray:
        """Which patterns each molecule has (M, P)."""
        stars, _ = self.look(surroundings)
        answers, maybe = self.candidates(stars, np.zeros((len(stars), len(self.patterns)), bool))
        for row, number, query in maybe:
            if not answers[row, number]:
                answers[row, number] = surroundings.molecules[row].HasSubstructMatch(query)
        return answers

    def _needs(self, needs: list[tuple[int, int]]) -> tuple[list[int], np.ndarray]:
        """Patterns, and their stars in words (n, W)."""
        stars = [_in_words(mask, len(self._stars)) for _, mask in needs]
        width = len(_in_words(0, len(self._stars)))
        return [number for number, _ in needs], np.array(stars, dtype=np.int64).reshape(len(needs), width)

    def _look(self, surroundings: Surroundings, number: int) -> list[int]:
        """Stars around one atom, worked out from the queries."""
        code = int(surroundings.codes[number])
        centre = self._centre_bits.get(code)
        if centre is None:
            atom = surroundings.atom(number)
            met = [query.Match(atom) for query in self._centre_queries]
            centre = [(1 << bit, star.needs) for star, bit in self._stars.items() if met[star.centre]]
            self._centre_bits[code] = centre
        near = [self._leaf(surroundings, number, kind, other) for kind, other in surroundings.edges(number)]
        counts: dict[int, int] = {}  # how many neighbours satisfy one of the leaf queries in a mask
        found = 0
        for bit, needs in centre:
            for mask, least in needs:
                if mask not in counts:
                    counts[mask] = sum(1 for bits in near if bits & mask)
                if counts[mask] < least:
                    break
            else:
                found |= bit
        return _in_words(found, len(self._stars))

    def _leaf(self, surroundings: Surroundings, number: int, kind: int, other: int) -> int:
        """Leaf queries that a neighbour satisfies."""
        key = (kind, int(surroundings.codes[other]))
        bits = self._leaf_bits.get(key)
        if bits is None:
            here, atom = surroundings.atom(number), surroundings.atom(other)
            bond = here.GetOwningMol().GetBondBetweenAtoms(here.GetIdx(), atom.GetIdx())
            bits = sum(
                1 << bit
                for bit, (bond_query, query, ring) in enumerate(self._leaf_queries)
                if kind >= ring * IN_RING and bond_query.Match(bond) and query.Match(atom)
            )
            self._leaf_bits[key] = bits
        return bits

    def _compile(self, smarts: str) -> tuple[int, bool]:
        """Stars (as a mask) of a pattern without recursive parts, and whether it is a lone star."""
        pattern = self._query(smarts)
        atoms = list(pattern.GetAtoms())
        widest = max(atoms, key=lambda atom: atom.GetDegree())
        lone = pattern.GetNumBonds() == len(atoms) - 1 == widest.GetDegree()
        mask = 0
        for centre in [widest] if lone else atoms:
            mask |= 1 << self._star(centre)
        return mask, lone

    def _query(self, smarts: str) -> Mol:
        from rdkit import Chem

        pattern = Chem.MolFromSmarts(smarts)
        Chem.FastFindRings(pattern)
        self._kept.append(pattern)
        return pattern

    def _star(self, centre: Any) -> int:
        leaves = []
        for bond in centre.GetBonds():
            other = bond.GetOtherAtom(centre)
            ring = bond.IsInRing()  # of the pattern: whatever it matches is in a ring of the molecule
            leaf = self._leaves.setdefault((bond.GetSmarts(), other.GetSmarts(), ring), len(self._leaf_queries))
            if leaf == len(self._leaf_queries):
                self._leaf_queries.append((bond, other, ring))
            leaves.append(leaf)
        place = self._centres.setdefault(centre.GetSmarts(), len(self._centre_queries))
        if place == len(self._centre_queries):
            self._centre_queries.append(centre)
        return self._stars.setdefault(Star(place, tuple(sorted(leaves))), len(self._stars))


def _in_words(mask: int, stars: int) -> list[int]:
    """A mask of that many stars as numbers that an array can hold."""
    return [mask >> place & (1 << _WORD) - 1 for place in range(0, stars, _WORD)] or [0]


def smarts_of(pattern: Mol) -> str:
    """The pattern as text."""
    from rdkit import Chem

    return str(Chem.MolToSmarts(pattern))


class Alternative(NamedTuple):
    """`plain`: a pattern without recursive parts that a molecule must have; `exact`: the pattern that decides."""

    plain: str
    exact: str


def alternatives(smarts: str) -> list[Alternative]:
    """Patterns of which a molecule has at least one if and only if it has `smarts`.

    `[$(A),$(B)]` is A or B. In `plain` a recursive condition that an atom must not meet is dropped, and for one that it
    must meet stands the condition on the atom itself.
    """
    if "$" not in smarts:
        return [Alternative(smarts, smarts)]
    if smarts.startswith("[") and _closing(smarts, 0) == len(smarts) - 1:
        inside = _without_negations(smarts[1:-1])
        parts = _split(inside, ",")
        if all(part.startswith("$(") and _closing(part, 1) == len(part) - 1 for part in parts):
            found = [one for part in parts for one in alternatives(part[2:-1])]
            return found if inside == smarts[1:-1] else [Alternative(one.plain, smarts) for one in found]
    plain, place = "", 0
    while place < len(smarts):
        if smarts[place] == "[":
            end = _closing(smarts, place)
            plain += f"[{_relaxed(smarts[place + 1 : end])}]"
            place = end + 1
        else:
            plain += smarts[place]
            place += 1
    return [Alternative(plain, smarts)]


def _relaxed(inside: str) -> str:
    """An atom's conditions without recursive parts; every atom that meets `inside` meets them."""
    inside = _without_negations(inside)
    if "$" not in inside:
        return inside
    if len(_split(inside, ";")) > 1:
        return "*"
    return ",".join(_relaxed_conjunction(part) for part in _split(inside, ","))


def _relaxed_conjunction(part: str) -> str:
    conditions = _split(part, "&")
    plain = [condition for condition in conditions if "$" not in condition]
    if plain:
        return "&".join(plain)
    first = conditions[0][2:-1]  # of $(...)
    if first.startswith("["):
        return _relaxed(first[1 : _closing(first, 0)])
    return first[:2] if first[:2] in ("Cl", "Br") else first[0]


def _without_negations(inside: str) -> str:
    """An atom's conditions without those of the form `!$(...)`, which stand in a conjunction."""
    while (place := inside.find("!$(")) >= 0:
        end = _closing(inside, place + 2)
        inside = inside[: place - 1] + inside[end + 1 :] if place else inside[end + 2 :]
    return inside


def _closing(text: str, opening: int) -> int:
    """Where the bracket at `opening` closes."""
    pair = {"(": ")", "[": "]"}[text[opening]]
    depth = 0
    for place in range(opening, len(text)):
        depth += (text[place] == text[opening]) - (text[place] == pair)
        if depth == 0:
            return place
    raise ValueError(f"unbalanced: {text}")


def _split(text: str, mark: str) -> list[str]:
    """Parts between marks that stand in no bracket."""
    parts, depth, start = [], 0, 0
    for place, sign in enumerate(text):
        depth += (sign in "([") - (sign in ")]")
        if sign == mark and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]]
