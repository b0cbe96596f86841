"""Atoms with equal surroundings have equal embeddings: colour refinement (Weisfeiler and Leman 1968) of a batch.

A layer of a message-passing network gives two atoms the same vector if their own vectors and those of their neighbours
are the same (Xu et al. 2019). Of 4,400 atoms in a batch of BACE the first layer sees 490 kinds and the third 2,100, so
a layer works on one atom of each class, and the classes' sizes stand for the rest. Results are those of all atoms up to
rounding: sums over atoms are taken in another order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch

from hpo_bench.tasks.molecule.layer_rows import Classes, EncoderRows, EveryAtom, Incidence, InOrder, Lookup
from hpo_bench.tasks.molecule.packed import Graphs

_ROWS = 64  # rows of a layer are padded to a multiple: oneDNN compiles a bf16 product anew for every number of rows
_ODD = np.int64(0x5851F42D4C957F2D)  # any large odd number: the top bits of a product are new ones


@dataclass
class Refinement:
    """Makes graphs ready for `depth` layers: refined on a processor while it is `on`, otherwise as they are.

    An accelerator would have to wait for the numbers of classes, and its products cost less than finding them.
    """

    depth: int
    on: bool = True

    def __call__(self, graphs: Graphs) -> Graphs:
        return refined(graphs, self.depth) if self.on and graphs.atom_code.device.type == "cpu" else graphs


def whole(graphs: Graphs, depth: int) -> EncoderRows:
    """Every layer works on every atom."""
    code, source, atoms = graphs.atom_code, graphs.source, [view.num_atoms for view in graphs.views]
    first = EveryAtom(code, code.index_select(0, source), graphs.destination, graphs.bond_code, atoms)
    return EncoderRows((first, *[first._replace(own=None, source=source)] * (depth - 1)), None)


def in_order(graphs: Graphs, depth: int) -> EncoderRows:
    """Every layer works on every atom, and takes its sums in a fixed order."""
    assert graphs.ends is not None
    assert graphs.reverse is not None
    edges = torch.arange(len(graphs.source), device=graphs.source.device, dtype=graphs.ends.dtype)
    # A source's edges are the reverse of those that end in it, which lie together.
    sources = Incidence(graphs.source, None, graphs.reverse.to(edges.dtype), graphs.ends)
    first = InOrder(
        Lookup(graphs.atom_code, graphs.atom_table.shape[0]),
        sources,
        Incidence(edges, graphs.ends, graphs.destination, None),
        Lookup(graphs.bond_code, graphs.bond_table.shape[0]),
        [view.num_atoms for view in graphs.views],
        graphs.real,
    )
    return EncoderRows((first, *[first._replace(own=None)] * (depth - 1)), None)


def refined(graphs: Graphs, depth: int) -> Graphs:
    """The graphs with `encoder_rows` by which every layer works on one atom of each class.

    Classes are told apart by the sum over an atom's neighbours of random 64-bit numbers, one for each class of the
    layer before, times one for each kind of bond; they come from a fixed seed. Two classes of a batch are taken for one
    about once in 10¹² batches.
    """
    source, bond, row = graphs.source.numpy(), graphs.bond_code.numpy(), graphs.atom_code.numpy()
    rows, kinds = graphs.atom_table.shape[0], graphs.bond_table.shape[0]
    atoms, degrees = np.arange(len(row)), np.bincount(graphs.destination.numpy(), minlength=len(row))
    ends, totals = _ends(degrees), np.zeros(len(source) + 1, np.int64)
    bond_numbers = _numbers("bond", kinds).take(bond)
    borders = np.cumsum([view.num_atoms for view in graphs.views])[:-1]
    layers = []
    for _ in range(depth):  # row: each atom's row in the output of the layer before, of `rows`
        near = row.take(source)
        np.cumsum(_numbers("neighbour", rows).take(near) * bond_numbers, out=totals[1:])
        leader = _equal(_numbers("own", rows).take(row) + np.diff(totals.take(ends)))
        leads = leader == atoms
        first, number = leads.nonzero()[0], leads.cumsum() - 1
        edges = _ranges(ends.take(first), degrees.take(first))  # that end in an atom which leads its class
        pairs, columns = _distinct(near.take(edges) * kinds + bond.take(edges), rows * kinds)
        neighbour, code = np.divmod(pairs, kinds)
        own, row, rows = row.take(first), number.take(leader), len(first) + -len(first) % _ROWS
        layers.append(
            Classes(
                own=torch.from_numpy(_padded(own, rows)),
                neighbour=torch.from_numpy(neighbour),
                bond_code=torch.from_numpy(code),
                messages=_incidence(columns, _padded(degrees.take(first), rows), len(pairs)),
                counts=torch.from_numpy(np.bincount(row, minlength=rows).astype(np.float32)),
                parts=np.diff(first.searchsorted(borders), prepend=0, append=rows).tolist(),
            )
        )
    return replace(graphs, encoder_rows=EncoderRows(tuple(layers), torch.from_numpy(row)))


def _incidence(columns: np.ndarray, counts: np.ndarray, width: int) -> Incidence:
    """The matrix (P, width) of which row i has the next counts[i] of `columns`."""
    order = columns.astype(np.min_scalar_type(width)).argsort(kind="stable")  # of 16 bits: by radix
    rows = np.repeat(np.arange(len(counts)), counts).take(order)
    row_ends = _ends(np.bincount(columns, minlength=width))
    return Incidence(*map(torch.from_numpy, (columns, _ends(counts), rows, row_ends)))


def _equal(key: np.ndarray) -> np.ndarray:
    """For each number (N,) int64 the place of one that equals it, the same for all equal ones: by hashing."""
    bits = len(key).bit_length() + 3
    slot = (key.view(np.uint64) >> np.uint64(64 - bits)).view(np.int64)
    table = np.empty(1 << bits, np.int64)  # nothing is read but what was just written
    table[slot] = np.arange(len(key))
    place = table.take(slot)
    others = (key.take(place) != key).nonzero()[0]  # those whose slot went to another number
    if len(others):
        place[others] = others.take(_equal(key.take(others) * _ODD))
    return place


def _distinct(values: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct ones of `values` (F,), which are below `limit`, ascending, and each value's place among them."""
    place = np.zeros(limit, np.int64)
    place[values] = 1
    found = place.nonzero()[0]
    place[found] = np.arange(len(found))
    return found, place.take(values)


def _padded(values: np.ndarray, rows: int) -> np.ndarray:
    """`values` (P,) and zeros."""
    padded = np.zeros(rows, values.dtype)
    padded[: len(values)] = values
    return padded


def _ends(counts: np.ndarray) -> np.ndarray:
    """Where segments of `counts` (P,) end, and before them 0: (P + 1,)."""
    ends = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=ends[1:])
    return ends


def _ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The numbers from starts[i], counts[i] of them, for all i."""
    ends = _ends(counts)
    return np.repeat(starts - ends[:-1], counts) + np.arange(ends[-1])


def _numbers(purpose: str, count: int) -> np.ndarray:
    """`count` random 64-bit numbers or some more, the same at every call."""
    return _table(purpose, 1 << count.bit_length())


@cache
def _table(purpose: str, size: int) -> np.ndarray:
    random = np.random.default_rng(list(purpose.encode()))
    return random.integers(-(2**63), 2**63 - 1, size, endpoint=True)
