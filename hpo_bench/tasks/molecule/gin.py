"""The molecule encoder: a graph isomorphism network whose messages carry the bond (Xu et al. 2019; Hu et al. 2020)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo_bench.tasks.molecule.featurise import ATOM_FEATURES, BOND_FEATURES
from hpo_bench.tasks.molecule.levels import Level
from hpo_bench.tasks.molecule.packed import Graphs
from hpo_bench.tasks.molecule.refinement import whole

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

    def forward(self, rows: Tensor, level: Level, bond_table: Tensor) -> Tensor:
        """Rows of the layer before (Q, width) -> (P, width)."""
        bonds = (bond_table.to(self.bond_embedding.dtype) @ self.bond_embedding).to(rows.dtype)
        return self.second(F.relu(self.first(level.gathered(rows, bonds))))


class CountedNorm(nn.BatchNorm1d):
    """Batch norm of rows that stand for several samples each."""

    def forward(self, rows: Tensor, counts: Tensor | None = None, total: int = 0) -> Tensor:
        """(P, width) -> (P, width); counts (P,), of sum `total`, are the rows' samples, None = one each."""
        if counts is None or not self.training:
            return super().forward(rows)
        wide = rows.float() if rows.dtype is torch.bfloat16 else rows
        times = counts.to(wide.dtype)[:, None]
        mean = (wide * times).sum(0) / total
        centred = wide - mean
        variance = (centred.square() * times).sum(0) / total
        unbiased = variance.detach() * (total / max(total - 1, 1))
        self._remember(running_mean=mean.detach(), running_var=unbiased)
        scale = self.weight * (variance + self.eps).rsqrt()
        return torch.addcmul(self.bias, centred, scale).to(rows.dtype)

    @torch.no_grad()
    def _remember(self, **statistics: Tensor) -> None:
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
        """Embeddings of the atoms (N, width) and of the molecules (B, width), both float32 or wider."""
        levels = graphs.levels
        # Dropout tells equal atoms apart. FLOPs are counted in evaluation: those of the model, on every atom.
        if levels is None or self.dropout or not self.training:
            levels = whole(graphs, len(self.layers))
        nodes = graphs.atom_table.to(self.atom_embedding.dtype) @ self.atom_embedding
        last = len(self.layers) - 1
        for number, (layer, norm, level) in enumerate(zip(self.layers, self.norms, levels.layers, strict=True)):
            nodes = layer(nodes, level, graphs.bond_table)
            # Torch's norm of every atom costs less than one with counts: the last one's rows are spread before it.
            if number == last:
                nodes = norm(levels.spread(nodes))
            else:
                nodes = F.relu(norm(nodes, level.counts, graphs.num_atoms))
            if self.dropout:
                nodes = F.dropout(nodes, self.dropout, self.training)
        if nodes.dtype is torch.bfloat16:
            nodes = nodes.float()  # sums over many atoms lose too much in bf16
        pooled = nodes.new_zeros(len(graphs), nodes.shape[1]).index_add(0, graphs.molecule, nodes)
        return nodes, pooled / graphs.sizes.to(pooled.dtype)
