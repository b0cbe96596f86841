"""Units of work of a population, as they stand in files: one interval of one lineage.

A unit's name is the hash of the weights that led to it, and the name of the files that belong to it. A name that comes
out of a file is therefore held against the weights beside it before a file of that name is touched.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from hpo_bench.errors import UserError
from hpo_bench.records.files import MOVE_AWAY, read_object
from hpo_bench.records.journal import Journal
from hpo_bench.records.schema import Bill, Part, Piece, check

CHECKPOINT = r"[0-9a-f]{20}\.safetensors"  # the names of units' checkpoints


class Unit(Part):
    """A finished unit; `pieces` [first step, weights] are those of its lineage, `value` None if it diverged."""

    unit: str
    pieces: Annotated[list[Piece], Field(min_length=1)]
    value: float | None
    cost: Bill

    @model_validator(mode="after")
    def _has_its_own_name(self) -> Unit:
        if self.unit != unit_key([[start, weights] for start, weights in self.pieces]):
            raise ValueError("the unit has not the name that its pieces give it")
        return self


class UnitLine(Unit):
    """A unit in the trajectory: of which member, and which of its intervals."""

    trial: Annotated[int, Field(ge=0)]
    interval: Annotated[int, Field(ge=0)]


def unit_key(pieces: list[list[Any]]) -> str:
    """The name of the unit that ends with the last of these pieces [first step, weights]."""
    return hashlib.sha256(json.dumps(pieces).encode()).hexdigest()[:20]


def read_unit(units: Path, key: str) -> dict[str, Any] | None:
    """The result of a finished unit in the folder `units`; None if there is none.

    Raises:
        UserError: it is damaged, or another unit's.
    """
    path = units / f"{key}.json"
    try:
        unit = read_object(path)
    except FileNotFoundError:
        return None
    check(Unit, unit, str(path))
    if unit["unit"] != key:
        raise UserError(f"{path} is damaged: it is the result of unit {unit['unit']}", MOVE_AWAY)
    return unit


def recorded_units(journal: Journal) -> list[dict[str, Any]]:
    """The units in the journal's trajectory.

    Raises:
        UserError: a line is damaged.
    """
    lines = journal.trajectory
    for number, line in enumerate(lines, start=1):
        check(UnitLine, line, f"{journal.folder / 'trajectory.jsonl'}, line {number}")
    return lines
