"""SMARTS as text: patterns with recursive parts, `$(...)`, taken apart into patterns without."""

from __future__ import annotations

from itertools import chain, product
from math import prod
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_MOST_WAYS = 16  # in which recursive parts can be there


def smarts_of(pattern: Mol) -> str:
    """The pattern as text."""
    from rdkit import Chem

    return str(Chem.MolToSmarts(pattern))


class Alternative(NamedTuple):
    """`ways`: patterns without recursive parts, of which a molecule must have all of one way; `exact` decides."""

    ways: list[tuple[str, ...]]
    exact: str


def alternatives(smarts: str) -> list[Alternative]:
    """Patterns of which a molecule has at least one if and only if it has `smarts`.

    `[$(A),$(B)]` is A or B. In `ways` a recursive condition that an atom must not meet is dropped; for one that it must
    meet stands the condition on the atom itself, and beside the pattern what is asked for around the atom.
    """
    if "$" not in smarts:
        return [Alternative([(smarts,)], smarts)]
    if smarts.startswith("[") and _closing(smarts, 0) == len(smarts) - 1:
        inside = _without_negations(smarts[1:-1])
        parts = _split(inside, ",")
        if all(part.startswith("$(") and _closing(part, 1) == len(part) - 1 for part in parts):
            found = [one for part in parts for one in alternatives(part[2:-1])]
            return found if inside == smarts[1:-1] else [Alternative(one.ways, smarts) for one in found]
    plain, place = "", 0
    around: list[list[tuple[str, ...]]] = []  # of every atom with recursive conditions
    while place < len(smarts):
        if smarts[place] == "[":
            end = _closing(smarts, place)
            inside = smarts[place + 1 : end]
            plain += f"[{_relaxed(inside)}]"
            around.append(_around(_without_negations(inside)))
            place = end + 1
        else:
            plain += smarts[place]
            place += 1
    return [Alternative([(plain, *chain.from_iterable(way)) for way in _product(around)], smarts)]


def _around(inside: str) -> list[tuple[str, ...]]:
    """The ways in which an atom's recursive conditions, which must all be met, can be there."""
    of_parts = []
    for part in _split(inside, ";"):
        options: list[tuple[str, ...]] = []
        for option in _split(part, ","):
            met = [condition[2:-1] for condition in _split(option, "&") if condition.startswith("$(")]
            ways = [[way for one in alternatives(pattern) for way in one.ways] for pattern in met]
            options += [tuple(chain.from_iterable(way)) for way in _product(ways)]
        of_parts.append(options)
    return [tuple(chain.from_iterable(way)) for way in _product(of_parts)]


def _product(options: list[list[tuple[str, ...]]]) -> list[tuple[tuple[str, ...], ...]]:
    """One of each of `options`, in every way; none of any where that is too many."""
    return list(product(*options)) if prod(map(len, options)) <= _MOST_WAYS else [()]


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
