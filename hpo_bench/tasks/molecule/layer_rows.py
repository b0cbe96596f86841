"""What a layer of the graph encoder computes, and from which rows: every atom, or one atom of each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


class LayerRows(Protocol):
    """P rows of a layer from the Q rows of the layer before; at first, of the table of atoms.

    counts (P,): how many atoms each row stands for, float32, 0 for padding; None where each is one atom.
    parts: how many of the rows are of each view, in order.
    """

    @property
    def parts(self) -> Sequence[int]: ...

    @property
    def counts(self) -> Tensor | None: ...

    def gathered(self, rows: Tensor, bonds: Tensor) -> Tensor:
        """h_i + sum over j -> i of relu(h_j + e_ij): (P, width) from rows (Q, width) and bonds (V, width)."""


class EveryAtom(NamedTuple):
    """Each row is one atom.

    own (P,): the atom's row, None where it is the same. source, destination, bond_code (E,): the directed edges.
    """

    own: Tensor | None
    source: Tensor
    destination: Tensor
    bond_code: Tensor
    parts: Sequence[int]
    counts: None = None

    def gathered(self, rows: Tensor, bonds: Tensor) -> Tensor:
        # index_select, not rows[source]: its backward is one index_add, several times faster.
        messages = F.relu(rows.index_select(0, self.source) + bonds.index_select(0, self.bond_code))
        own = rows if self.own is None else rows.index_select(0, self.own)
        return own.index_add(0, self.destination, messages)


class InOrder(NamedTuple):
    """Each row is one atom, and every sum is taken in a fixed order: for accelerators.

    There additions into a common place take any order, forward as in `index_add` or backward as in `index_select`, and
    the same training ends elsewhere every time.

    own: each atom's row, None where it is the same. sources: each edge's source. edges: the edges that end in each
    atom. bonds: each edge's bond. counts (P,): 1 for an atom and 0 for padding, None without padding.
    """

    own: Lookup | None
    sources: Incidence
    edges: Incidence
    bonds: Lookup
    parts: Sequence[int]
    counts: Tensor | None

    def gathered(self, rows: Tensor, bonds: Tensor) -> Tensor:
        own = rows if self.own is None else self.own.sums(rows)
        return own + self.edges.sums(F.relu(self.sources.sums(own) + self.bonds.sums(bonds)))


class Classes(NamedTuple):
    """Each row is one atom of a class; neighbours of the same class over the same kind of bond send one message.

    own (P,): the row of the atom itself. neighbour, bond_code (M,): the row and the bond that make a message.
    messages: which messages each of the P rows adds up.
    """

    own: Tensor
    neighbour: Tensor
    bond_code: Tensor
    messages: Incidence
    counts: Tensor
    parts: Sequence[int]

    def gathered(self, rows: Tensor, bonds: Tensor) -> Tensor:
        messages = F.relu(rows.index_select(0, self.neighbour) + bonds.index_select(0, self.bond_code))
        return rows.index_select(0, self.own) + self.messages.sums(messages)


class EncoderRows(NamedTuple):
    """`layers`, and each atom's row (N,) in the output of the last, None where each row is one atom."""

    layers: tuple[LayerRows, ...]
    atom: Tensor | None

    def spread(self, rows: Tensor) -> Tensor:
        """The rows of the last layer for every atom (N, width)."""
        return rows if self.atom is None else rows.index_select(0, self.atom)


class Incidence(NamedTuple):
    """A matrix (P, M) of ones and zeros by rows and by columns: row i has its ones in columns[ends[i]:ends[i + 1]].

    columns (F,), ends (P + 1,), None where every row has a single one; rows (F,), row_ends (M + 1,): the same of the
    transpose. `rows` may say less than `columns` does: what it leaves out gets no gradient (padding).
    """

    columns: Tensor
    ends: Tensor | None
    rows: Tensor
    row_ends: Tensor | None

    def sums(self, terms: Tensor) -> Tensor:
        """The product with terms (M, width): sums (P, width)."""
        return _Product.apply(terms, self)  # type: ignore[no-any-return]

    def product(self, terms: Tensor) -> Tensor:
        """The same, hidden from autograd."""
        if self.ends is None:
            return terms.index_select(0, self.columns)
        return F.embedding_bag(self.columns, terms, self.ends, mode="sum", include_last_offset=True)

    def transposed(self) -> Incidence:
        """The transpose."""
        return Incidence(self.rows, self.row_ends, self.columns, self.ends)


class Lookup(NamedTuple):
    """Rows `code` (P,) of a table of M rows, few enough that many a place reads the same one."""

    code: Tensor
    rows: int

    def sums(self, terms: Tensor) -> Tensor:
        """terms (M, width) -> (P, width)."""
        return _Product.apply(terms, self)  # type: ignore[no-any-return]

    def product(self, terms: Tensor) -> Tensor:
        """The same, hidden from autograd."""
        return terms.index_select(0, self.code)

    def transposed(self) -> Gathering:
        """The sums over the places that read each row."""
        return Gathering(self)


class Gathering(NamedTuple):
    """The transpose of a lookup, as a product of matrices: a row's sum has thousands of terms."""

    lookup: Lookup

    def sums(self, terms: Tensor) -> Tensor:
        """terms (P, width) -> (M, width)."""
        return _Product.apply(terms, self)  # type: ignore[no-any-return]

    def product(self, terms: Tensor) -> Tensor:
        """The same, hidden from autograd."""
        code, rows = self.lookup
        wide = rows + -rows % 8  # a matrix unit reads eight at a time
        places = code[:, None] == torch.arange(wide, device=code.device)
        return (places.to(terms.dtype).T @ terms)[:rows]

    def transposed(self) -> Lookup:
        """The lookup."""
        return self.lookup


class _Product(torch.autograd.Function):
    """A matrix of ones and zeros times terms, which writes no copies of the terms.

    torch's own embedding_bag has neither a second backward pass nor a forward-mode derivative; a linear map and its
    transpose are all that is needed for both. A product of torch's sparse matrices takes twice as long.
    """

    @staticmethod
    def forward(terms: Tensor, matrix: Any) -> Tensor:
        return matrix.product(terms.detach())  # type: ignore[no-any-return]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.matrix = inputs[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        transposed = ctx.matrix.transposed()
        if torch.is_grad_enabled():
            return transposed.sums(gradients[0]), None
        return transposed.product(gradients[0]), None  # nothing differentiates it: spare the bookkeeping

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        return ctx.matrix.sums(tangents[0])  # type: ignore[no-any-return]
