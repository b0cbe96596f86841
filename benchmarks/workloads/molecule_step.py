"""A training step on molecules: ours, and the same losses of the same weights as PyTorch Geometric's users write it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo_bench.tasks.corpus import Model
from hpo_bench.tasks.molecule.corpus import MoleculeCorpus
from hpo_bench.tasks.molecule.featurise import ATOM_FEATURES, BOND_FEATURES
from hpo_bench.tasks.molecule.gin import Encoder
from hpo_bench.tasks.molecule.objectives.base import MASKED, Embedded
from hpo_bench.tasks.objective import CLEAN


@dataclass
class Alternative:
    """One way to make a step: `load()` gives a batch, `loss(batch)` its loss; `model` is what Adam updates."""

    model: nn.Module
    load: Callable[[], Any]
    loss: Callable[[Any], Tensor]


class GeometricEncoder(nn.Module):
    """The encoder of PyTorch Geometric's examples: an embedding per feature, GINEConv, batch norm, global_mean_pool."""

    def __init__(self, like: Encoder) -> None:
        """With the weights of `like`."""
        super().__init__()
        from torch_geometric.nn import GINEConv

        self.atoms = embeddings(like.atom_embedding, [feature.size for feature in ATOM_FEATURES])
        self.bonds, self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        width, hidden = like.width, cast(Any, like.layers[0]).first.out_features
        for layer in like.layers:
            self.bonds.append(embeddings(cast(Tensor, layer.bond_embedding), [f.size for f in BOND_FEATURES]))
            perceptron = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width))
            self.convolutions.append(GINEConv(perceptron))  # which draws the weights anew
            perceptron[0].load_state_dict(cast(nn.Module, layer.first).state_dict())
            perceptron[2].load_state_dict(cast(nn.Module, layer.second).state_dict())
            self.norms.append(nn.BatchNorm1d(width))

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, batch: Tensor) -> Embedded:
        from torch_geometric.nn import global_mean_pool

        h = sum(table(x[:, i]) for i, table in enumerate(self.atoms))
        for number, (convolution, norm, tables) in enumerate(
            zip(self.convolutions, self.norms, self.bonds, strict=True)
        ):
            edges = sum(table(edge_attr[:, i]) for i, table in enumerate(cast(nn.ModuleList, tables)))
            h = norm(convolution(h, edge_index, edges))
            h = F.relu(h) if number + 1 < len(self.norms) else h
        return Embedded(cast(Tensor, h), global_mean_pool(h, batch))


def embeddings(table: Tensor, sizes: list[int]) -> nn.ModuleList:
    """The rows of `table`, an embedding per feature."""
    return nn.ModuleList(nn.Embedding.from_pretrained(p.clone(), freeze=False) for p in table.detach().split(sizes))


class Headed(nn.Module):
    """An encoder and a head of one output, or the heads of objectives."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head


def geometric_loader(corpus: MoleculeCorpus, batch: int) -> Iterator[Any]:
    """PyTorch Geometric's own DataLoader over the molecules of a corpus, without end; `row` is a molecule's number."""
    from torch_geometric.data import Data
    from torch_geometric.loader import DataLoader

    packed, data = corpus.packed, []
    for row in range(len(corpus)):
        graph = packed.batch(torch.tensor([row]))
        data.append(
            Data(
                x=packed.atom_values[graph.atom_code],
                edge_index=torch.stack([graph.source, graph.destination]),
                edge_attr=packed.bond_values[graph.bond_code],
                y=torch.tensor([[float(row % 2)]]),
                row=torch.tensor([row]),
            )
        )
    loader = DataLoader(data, batch_size=batch, shuffle=True, drop_last=True)
    while True:
        yield from loader


def seeded_model(corpus: MoleculeCorpus) -> tuple[Model, nn.Linear]:
    """The corpus's model, and a head of one output: the same numbers at every call."""
    torch.manual_seed(0)
    return corpus.build_model(), nn.Linear(corpus.embedding_width, 1)


def geometric_supervised(corpus: MoleculeCorpus, batch: int) -> Alternative:
    """One binary label, PyTorch Geometric throughout."""
    base, head = seeded_model(corpus)
    model, loader = Headed(GeometricEncoder(base.encoder), head), geometric_loader(corpus, batch)

    def loss(data: Any) -> Tensor:
        graphs = model.encoder(data.x, data.edge_index, data.edge_attr, data.batch).graphs
        return F.binary_cross_entropy_with_logits(model.head(graphs), data.y)

    return Alternative(model, lambda: next(loader), loss)


def geometric_six(corpus: MoleculeCorpus, batch: int) -> Alternative:
    """All objectives: PyTorch Geometric's loader and encoder; masks, targets and heads are ours, and cost little."""
    base, _ = seeded_model(corpus)
    model, loader = Headed(GeometricEncoder(base.encoder), base.heads), geometric_loader(corpus, batch)
    generator, packed = torch.Generator().manual_seed(0), corpus.packed

    def load() -> Any:
        data = next(loader)
        drawn = corpus.batch_of(data.row, generator)
        hidden = drawn.views[MASKED]
        return data, drawn, packed.atom_values[hidden.atom_code], packed.bond_values[hidden.bond_code]

    def loss(given: Any) -> Tensor:
        data, drawn, x, edge_attr = given
        embedded = {
            MASKED: model.encoder(x, data.edge_index, edge_attr, data.batch),
            CLEAN: model.encoder(data.x, data.edge_index, data.edge_attr, data.batch),
        }
        return corpus.losses_of(cast(nn.ModuleDict, model.head), embedded, drawn).sum()

    return Alternative(model, load, loss)


def our_supervised(corpus: MoleculeCorpus, batch: int) -> Alternative:
    """One binary label, as fine-tuning does it."""
    base, head = seeded_model(corpus)
    model, generator = Headed(base.encoder, head), torch.Generator().manual_seed(0)

    def load() -> Any:
        index = torch.randperm(len(corpus), generator=generator)[:batch]
        return corpus.refinement(corpus.packed.batch(index)), (index % 2).float()[:, None]

    def loss(given: Any) -> Tensor:
        return F.binary_cross_entropy_with_logits(model.head(model.encoder(given[0])[1]).float(), given[1])

    return Alternative(model, load, loss)


def our_six(corpus: MoleculeCorpus, batch: int) -> Alternative:
    """All objectives, as continued pretraining does it."""
    model, generator = seeded_model(corpus)[0], torch.Generator().manual_seed(0)
    return Alternative(
        model,
        lambda: corpus.draw_batch(batch, generator),
        lambda given: corpus.objective_losses(model, given).sum(),
    )


def agreement(corpus: MoleculeCorpus, batch: int) -> float:
    """Largest relative difference between our losses and PyTorch Geometric's: same molecules, masks and weights."""
    theirs, ours = geometric_six(corpus, batch), our_six(corpus, batch)
    given = theirs.load()
    alone, own = geometric_supervised(corpus, batch), our_supervised(corpus, batch)
    data = alone.load()
    labels = corpus.refinement(corpus.packed.batch(data.row)), data.y
    pairs = [(theirs.loss(given), ours.loss(corpus.ready(given[1]))), (alone.loss(data), own.loss(labels))]
    return max(float(((a - b) / a).detach().abs()) for a, b in pairs)
