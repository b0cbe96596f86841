"""The molecule encoder: a graph isomorphism network whose messages carry the bond (Xu et al. 2019; Hu et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo_bench.tasks.molecule.featurise import ATOM_FEATURES, BOND_FEATURES
from hpo_bench.tasks.molecule.packed import Graphs

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

    def forward(self, nodes: Tensor, graphs: Graphs) -> Tensor:
        """(N, width) -> (N, width)."""
        bonds = (graphs.bond_table.to(self.bond_embedding.dtype) @ self.bond_embedding).to(nodes.dtype)
        # index_select, not nodes[source]: its backward is one index_add, several times faster.
        messages = F.relu(nodes.index_select(0, graphs.source) + bonds.index_select(0, graphs.bond_code))
        return self.second(F.relu(self.first(nodes.index_add(0, graphs.destination, messages))))


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
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(layers))

    def forward(self, graphs: Graphs) -> tuple[Tensor, Tensor]:
        """Embeddings of the atoms (N, width) and of the molecules (B, width), both float32 or wider."""
        nodes = (graphs.atom_table.to(self.atom_embedding.dtype) @ self.atom_embedding).index_select(
            0, graphs.atom_code
        )
        last = len(self.layers) - 1
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            nodes = norm(layer(nodes, graphs))
            if number < last:
                nodes = F.relu(nodes)
            if self.dropout:
                nodes = F.dropout(nodes, self.dropout, self.training)
        if nodes.dtype is torch.bfloat16:
            nodes = nodes.float()  # sums over many atoms lose too much in bf16
        pooled = nodes.new_zeros(len(graphs), nodes.shape[1]).index_add(0, graphs.molecule, nodes)
        return nodes, pooled / graphs.sizes.to(pooled.dtype)
