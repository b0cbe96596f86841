"""The molecule encoder: a graph isomorphism network whose messages carry the bond (Xu et al. 2019; Hu et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo_bench.tasks.molecule import fused
from hpo_bench.tasks.molecule.featurise import ATOM_FEATURES, BOND_FEATURES
from hpo_bench.tasks.molecule.layer_rows import Incidence, LayerRows
from hpo_bench.tasks.molecule.packed import Graphs
from hpo_bench.tasks.molecule.refinement import in_order, whole

ATOM_CATEGORIES = sum(feature.size for feature in ATOM_FEATURES)
BOND_CATEGORIES = sum(feature.size for feature in BOND_FEATURES)


class GINLayer(nn.Module):
    """h_i <- MLP(h_i + sum over j -> i of relu(h_j + e_ij)), PyTorch Geometric's GINEConv with eps = 0.

    e_ij is the sum of one learned vector per bond feature; the MLP is width -> expansion x width -> width.
    """

    def __init__(self, width: int, expansion: int = 2) -> None:
        super().__init__()
        self.bond_embedding = nn.Parameter(torch.empty(BOND_CATEGORIES, width))
        nn.init.xavier_uniform_(self.bond_embedding)
        self.first = nn.Linear(width, expansion * width)
        self.second = nn.Linear(expansion * width, width)

    def forward(self, rows: Tensor, own: LayerRows, bond_table: Tensor) -> Tensor:
        """Rows of the layer before (Q, width) -> (P, width)."""
        bonds = (bond_table.to(self.bond_embedding.dtype) @ self.bond_embedding).to(rows.dtype)
        return self.second(F.relu(self.first(own.gathered(rows, bonds))))


class CountedNorm(nn.BatchNorm1d):
    """Batch norm of rows that stand for several samples each."""

    def forward(self, rows: Tensor, counts: Tensor | None = None, total: int | Tensor = 0) -> Tensor:
        """(P, width) -> (P, width); counts (P,), of sum `total`, are the rows' samples, None = one each."""
        if counts is None or not self.training:
            return super().forward(rows)
        wide = rows.float() if rows.dtype is torch.bfloat16 else rows
        times = counts.to(wide.dtype)[:, None]
        mean = (wide * times).sum(0) / total
        centred = wide - mean
        variance = (centred.square() * times).sum(0) / total
        others = (total - 1).clamp(min=1) if isinstance(total, Tensor) else max(total - 1, 1)
        unbiased = variance.detach() * (total / others)
        self.remember(running_mean=mean.detach(), running_var=unbiased)
        scale = self.weight * (variance + self.eps).rsqrt()
        return torch.addcmul(self.bias, centred, scale).to(rows.dtype)

    def each(self, rows: Tensor, parts: Sequence[int], counts: Tensor | None, totals: Sequence[int | Tensor]) -> Tensor:
        """The same for consecutive parts of the rows, each with statistics of its own."""
        if len(parts) == 1:
            return self(rows, counts, totals[0])
        pieces = [None] * len(parts) if counts is None else counts.split(parts)
        return torch.cat([self(*part) for part in zip(rows.split(parts), pieces, totals, strict=True)])

    @torch.no_grad()
    def remember(self, **statistics: Tensor) -> None:
        """Update the running statistics, by name, hidden from autograd as torch's own batch norm does."""
        buffers: dict[str, Any] = self._buffers
        for name, new in statistics.items():
            buffers[name].data.lerp_(new.to(buffers[name].dtype), self.momentum)
        buffers["num_batches_tracked"].add_(1)


class Encoder(nn.Module):
    """Atom embedding, `layers` GIN layers each with batch norm, and the mean over the atoms of a molecule.

    The layout of Hu et al. 2020 (5 layers x 300): relu after every layer but the last, dropout after every layer.
    Every operation supports forward-mode differentiation, a second backward pass and bf16 autocast.
    """

    def __init__(self, layers: int = 4, width: int = 96, dropout: float = 0.0, expansion: int = 2) -> None:
        super().__init__()
        self.width = width
        self.dropout = dropout
        self.atom_embedding = nn.Parameter(torch.empty(ATOM_CATEGORIES, width))
        nn.init.xavier_uniform_(self.atom_embedding)
        self.layers = nn.ModuleList(GINLayer(width, expansion) for _ in range(layers))
        self.norms = nn.ModuleList(CountedNorm(width) for _ in range(layers))

    def forward(self, graphs: Graphs) -> tuple[Tensor, Tensor]:
        """Embeddings of the atoms (N, width) and of the molecules (B, width) of one view, both float32 or wider."""
        (embedded,) = self.each(graphs)
        return embedded

    def each(self, graphs: Graphs) -> list[tuple[Tensor, Tensor]]:
        """The same for every view: they share products of matrices, and batch norm keeps them apart."""
        rows_of, views = graphs.encoder_rows, graphs.views
        if self.training and fused.usable(graphs):
            return [self._pooled(rows, view) for rows, view in zip(fused.each(self, graphs), views, strict=True)]
        if graphs.ends is not None:
            rows_of = in_order(graphs, len(self.layers))
        # Dropout tells equal atoms apart. FLOPs are counted in evaluation: those of the model, on every atom.
        elif rows_of is None or self.dropout or not self.training:
            rows_of = whole(graphs, len(self.layers))
        atoms = [view.num_atoms for view in views]
        totals = [view.num_atoms if view.total is None else view.total for view in views]
        rows = graphs.atom_table.to(self.atom_embedding.dtype) @ self.atom_embedding
        for layer, norm, own in list(zip(self.layers, self.norms, rows_of.layers, strict=True))[:-1]:
            rows = layer(rows, own, graphs.bond_table)
            rows = cast(CountedNorm, norm).each(rows, own.parts, own.counts, totals)
            rows = self._drop(F.relu(rows))
        rows = self.layers[-1](rows, rows_of.layers[-1], graphs.bond_table)
        # Torch's norm of every atom costs less than one with counts: rows are spread before the last one.
        parts = rows_of.spread(rows).split(atoms)
        normed = [self.norms[-1](*given) for given in zip(parts, [view.real for view in views], totals, strict=True)]
        return [self._pooled(self._drop(part), view) for part, view in zip(normed, views, strict=True)]

    def _drop(self, rows: Tensor) -> Tensor:
        return F.dropout(rows, self.dropout, self.training) if self.dropout else rows

    def _pooled(self, nodes: Tensor, view: Graphs) -> tuple[Tensor, Tensor]:
        """The nodes, and their means over molecules; sums over many atoms lose too much in bf16."""
        nodes = nodes.float() if nodes.dtype is torch.bfloat16 else nodes
        if view.molecule_ends is None:
            pooled = nodes.new_zeros(len(view), nodes.shape[1]).index_add(0, view.molecule, nodes)
        else:  # in a fixed order; the last molecule is that of padding, and empty
            atoms = torch.arange(view.num_atoms, device=nodes.device, dtype=view.molecule_ends.dtype)
            pooled = Incidence(atoms, view.molecule_ends, view.molecule, None).sums(nodes)[: len(view)]
        return nodes, pooled / view.sizes.to(pooled.dtype)
