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
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo_bench.tasks.molecule.lookup import ByNeighbourhood
from hpo_bench.tasks.molecule.smarts import alternatives, smarts_of
from hpo_bench.tasks.molecule.surroundings import Surroundings, leaf

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_WORD = 63  # bits in one number


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
        # a lone star is the pattern itself; a larger one needs all stars of one of several ways to be there
        lone: list[tuple[int, int]] = []
        larger: list[tuple[int, Mol, list[int]]] = []
        for number, pattern in enumerate(patterns):
            for ways, exact in alternatives(smarts_of(pattern)):
                compiled = [[self._compile(plain) for plain in way] for way in ways]
                stars = [reduce(or_, [mask for mask, _ in way]) for way in compiled]
                if ways == [(exact,)] and compiled[0][0][1]:
                    lone.append((number, stars[0]))
                else:
                    larger.append((number, self._query(exact), stars))
        self._counted = [self._star(self._query(text).GetAtomWithIdx(0)) for text in counted or []]
        self._lone = [(number, self._words([mask])[0]) for number, mask in lone]
        self._larger = [(number, query, self._words(masks)) for number, query, masks in larger]
        self._centre_of_star = np.array([star.centre for star in self._stars], dtype=np.int64)
        needs = [[(0, 0), *star.needs] for star in self._stars]  # none of no leaves, so that each has one
        self._first_need = np.cumsum([0, *map(len, needs)])[:-1]
        distinct = {mask: place for place, mask in enumerate(dict.fromkeys(mask for one in needs for mask, _ in one))}
        self._need_masks = _in_words(list(distinct), len(self._leaf_queries))
        self._needs = np.array([(distinct[mask], least) for one in needs for mask, least in one]).reshape(-1, 2)
        self._centres_met: dict[int, np.ndarray] = {}  # by code of an atom
        self._leaves_met: dict[int, np.ndarray] = {}  # by number of a leaf
        self._stars_met = ByNeighbourhood(self._words([0]).shape[1], self._look)

    def look(self, surroundings: Surroundings) -> tuple[np.ndarray, np.ndarray]:
        """The stars that each molecule has, bits of words (M, W), and the numbers (M, C) of the counted atoms."""
        words, starts = self._stars_met(surroundings), surroundings.start[:-1]
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
        for number, need in self._lone:
            there[:, number] |= (stars & need).any(1)
        maybe = []
        for number, query, ways in self._larger:
            met = ((stars[:, None] & ways) == ways).all(2).any(1) & ~there[:, number] & ~decided[:, number]
            maybe += [(row, number, query) for row in np.flatnonzero(met).tolist()]
        return there, maybe

    def present(self, surroundings: Surroundings) -> np.ndarray:
        """Which patterns each molecule has (M, P)."""
        stars, _ = self.look(surroundings)
        answers, maybe = self.candidates(stars, np.zeros((len(stars), len(self.patterns)), bool))
        for row, number, query in maybe:
            if not answers[row, number]:
                answers[row, number] = surroundings.molecules[row].HasSubstructMatch(query)
        return answers

    def _words(self, masks: list[int]) -> np.ndarray:
        return _in_words(masks, len(self._stars))

    def _look(self, surroundings: Surroundings, atoms: np.ndarray) -> np.ndarray:
        """Stars around some atoms (n,), worked out from the queries, in words (n, W)."""
        centres = np.array([self._centre(surroundings, atom) for atom in atoms.tolist()])[:, self._centre_of_star]
        place, origin = surroundings.step(atoms)
        leaves = leaf(surroundings.kind[surroundings.bond[place]], surroundings.codes[surroundings.end[place]])
        for number, edge in zip(*(array.tolist() for array in np.unique(leaves, return_index=True)), strict=True):
            if number not in self._leaves_met:
                self._leaves_met[number] = self._leaf(surroundings, int(place[edge]))
        bits = np.array([self._leaves_met[number] for number in leaves.tolist()], dtype=np.int64)
        bits = bits.reshape(len(leaves), self._need_masks.shape[1])
        counts = np.zeros((len(atoms), len(self._need_masks)), np.int64)  # neighbours that are one of a set of leaves
        bonded, first = np.unique(origin, return_index=True)
        if len(first):
            met = (bits[:, None] & self._need_masks).any(2)
            counts[bonded] = np.add.reduceat(met, first, dtype=np.int64)
        enough = counts[:, self._needs[:, 0]] >= self._needs[:, 1]
        stars = np.logical_and.reduceat(enough, self._first_need, axis=1) & centres
        groups = [stars[:, start : start + _WORD] for start in range(0, stars.shape[1], _WORD)]
        return np.stack([group @ (1 << np.arange(group.shape[1])) for group in groups], axis=1)

    def _centre(self, surroundings: Surroundings, atom: int) -> np.ndarray:
        """The centre queries that an atom satisfies."""
        code = int(surroundings.codes[atom])
        if code not in self._centres_met:
            found = surroundings.atom(atom)
            self._centres_met[code] = np.array([query.Match(found) for query in self._centre_queries])
        return self._centres_met[code]

    def _leaf(self, surroundings: Surroundings, edge: int) -> np.ndarray:
        """The leaf queries that a neighbour satisfies, in words."""
        here, atom = surroundings.atom(surroundings.begin[edge]), surroundings.atom(surroundings.end[edge])
        bond = here.GetOwningMol().GetBondBetweenAtoms(here.GetIdx(), atom.GetIdx())
        met = sum(
            1 << bit
            for bit, (bond_query, query, ring) in enumerate(self._leaf_queries)
            if bond.IsInRing() >= ring and bond_query.Match(bond) and query.Match(atom)
        )
        return _in_words([met], len(self._leaf_queries))[0]

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


def _in_words(masks: list[int], bits: int) -> np.ndarray:
    """Masks (n,) of that many bits as numbers that an array can hold (n, W)."""
    places = range(0, max(bits, 1), _WORD)
    return np.array([[mask >> place & (1 << _WORD) - 1 for place in places] for mask in masks], dtype=np.int64)
