"""One training step on BACE, measured beside PyTorch Geometric and beside the matmuls alone.

    python benchmarks/training_step.py --threads 2

Every alternative is timed in turn within each round (load, forward, backward, Adam), so a busy machine slows all of
them alike; medians and ratios are printed. "floor" is the time of the encoder's matrix products at the rate that this
machine reaches for products of these shapes in fp32, measured in the same rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo_bench.core.device import describe_processor, prepare_process
from hpo_bench.data import load_table, parse_smiles
from hpo_bench.tasks.molecule.corpus import MoleculeCorpus, MoleculeModel
from hpo_bench.tasks.molecule.gin import Encoder
from hpo_bench.tasks.molecule.objectives import DEFAULT_OBJECTIVES
from hpo_bench.tasks.molecule.refinement import prepared

Step = Callable[[], Any]


class Reference(nn.Module):
    """The same encoder as a user of PyTorch Geometric writes it: embeddings per feature, GINEConv, global_mean_pool."""

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        from torch_geometric.nn import GINEConv

        from hpo_bench.tasks.molecule.featurise import ATOM_FEATURES, BOND_FEATURES

        def perceptron() -> nn.Module:
            return nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

        self.atoms = nn.ModuleList(nn.Embedding(f.size, width) for f in ATOM_FEATURES)
        self.bonds = nn.ModuleList(
            nn.ModuleList(nn.Embedding(f.size, width) for f in BOND_FEATURES) for _ in range(layers)
        )
        self.convolutions = nn.ModuleList(GINEConv(perceptron()) for _ in range(layers))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(layers))
        self.head = nn.Linear(width, 1)

    def forward(self, data: Any) -> Tensor:
        """Logits (B, 1)."""
        from torch_geometric.nn import global_mean_pool

        h = sum(table(data.x[:, i]) for i, table in enumerate(self.atoms))
        for number, (convolution, norm, tables) in enumerate(
            zip(self.convolutions, self.norms, self.bonds, strict=True)
        ):
            edges = sum(bond(data.edge_attr[:, i]) for i, bond in enumerate(cast(nn.ModuleList, tables)))
            h = norm(convolution(h, data.edge_index, edges))
            h = F.relu(h) if number + 1 < len(self.norms) else h
        return self.head(global_mean_pool(h, data.batch))


class Supervised(nn.Module):
    """Our encoder under the same linear head."""

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.encoder, self.head = Encoder(layers, width), nn.Linear(width, 1)

    def forward(self, graphs: Any) -> Tensor:
        """Logits (B, 1)."""
        return self.head(self.encoder(graphs)[1])


def optimised(model: nn.Module, loss: Callable[[], Tensor]) -> Step:
    """A whole training step of `model` with Adam."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        optimizer.step()

    return step


def in_bf16(loss: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """The loss under bf16 autocast."""

    def wrapped() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return loss().float()

    return wrapped


def geometric_loader(corpus: MoleculeCorpus, batch: int) -> Iterator[Any]:
    """PyTorch Geometric's own DataLoader over the same molecules, without end."""
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
            )
        )
    loader = DataLoader(data, batch_size=batch, shuffle=True, drop_last=True)
    while True:
        yield from loader


def matmuls(atoms: int, layers: int, width: int, passes: int = 1) -> tuple[Step, float]:
    """The products of the encoder's perceptrons, forward and backward, on `atoms` rows; and their FLOPs."""
    x, hidden = torch.randn(atoms, width), torch.randn(atoms, 2 * width)
    first, second = torch.randn(2 * width, width), torch.randn(width, 2 * width)

    def run() -> None:
        for _ in range(passes * layers):
            x @ first.T, hidden @ second.T  # forward
            hidden @ first, x @ second  # gradient of the inputs
            hidden.T @ x, x.T @ hidden  # gradient of the weights

    return run, passes * layers * 6 * 2.0 * atoms * width * 2 * width


def steps_for(corpus: MoleculeCorpus, layers: int, width: int, batch: int) -> dict[str, Step]:
    """The alternatives by name."""
    generator = torch.Generator().manual_seed(0)
    labels = (torch.arange(len(corpus)) % 2).float()[:, None]
    loader = geometric_loader(corpus, batch)
    theirs, ours, ours16 = Reference(layers, width), Supervised(layers, width), Supervised(layers, width)

    def reference_loss() -> Tensor:
        data = next(loader)
        return F.binary_cross_entropy_with_logits(theirs(data), data.y)

    def supervised_loss(model: nn.Module) -> Tensor:
        index = torch.randperm(len(corpus), generator=generator)[:batch]
        return F.binary_cross_entropy_with_logits(model(prepared(corpus.packed.batch(index), layers)), labels[index])

    def pretraining_loss(model: MoleculeModel) -> Tensor:
        return corpus.objective_losses(model, corpus.draw_batch(batch, generator)).sum()

    six, six16 = corpus.build_model(), corpus.build_model()
    atoms = corpus.packed.batch(torch.arange(len(corpus))).num_atoms * batch // len(corpus)
    return {
        "PyTorch Geometric, supervised": optimised(theirs, reference_loss),
        "ours, supervised": optimised(ours, lambda: supervised_loss(ours)),
        "ours, supervised, bf16": optimised(ours16, in_bf16(lambda: supervised_loss(ours16))),
        "floor, one view": matmuls(atoms, layers, width)[0],
        "ours, six objectives": optimised(six, lambda: pretraining_loss(six)),
        "ours, six objectives, bf16": optimised(six16, in_bf16(lambda: pretraining_loss(six16))),
        "floor, two views": matmuls(atoms, layers, width, passes=2)[0],
        "loading: PyTorch Geometric": lambda: next(loader),
        "loading: ours": lambda: corpus.packed.batch(torch.randperm(len(corpus), generator=generator)[:batch]),
        "loading: ours, with masks": lambda: corpus.draw_batch(batch, generator),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--task", default="bace", help="data set of the catalogue")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--shape", action="append", help="layers x width, for example 3x64; may be repeated")
    given = parser.parse_args()
    prepare_process()  # as the product does, for all alternatives alike
    torch.set_num_threads(given.threads)
    table = load_table(given.task)
    smiles = [table.smiles[row] for row in parse_smiles(table.smiles).kept]
    print(f"torch {torch.__version__}, {given.threads} threads, {describe_processor()}")
    for shape in given.shape or ["3x64", "4x64", "4x96"]:
        layers, width = (int(part) for part in shape.split("x"))
        corpus = MoleculeCorpus(smiles, DEFAULT_OBJECTIVES, encoder={"layers": layers, "width": width})
        steps = steps_for(corpus, layers, width, given.batch)
        times: dict[str, list[float]] = {name: [] for name in steps}
        for number in range(given.rounds + 3):
            for name, step in steps.items():
                start = time.perf_counter()
                step()
                if number >= 3:
                    times[name].append(1e3 * (time.perf_counter() - start))
        report(shape, given.batch, corpus, {name: statistics.median(values) for name, values in times.items()})


def report(shape: str, batch: int, corpus: MoleculeCorpus, medians: dict[str, float]) -> None:
    """Print the medians of one shape and the ratios that matter."""
    layers, width = (int(part) for part in shape.split("x"))
    atoms = corpus.packed.batch(torch.arange(len(corpus))).num_atoms * batch // len(corpus)
    flops = matmuls(atoms, layers, width)[1]
    floors = {"supervised": medians["floor, one view"], "six": medians["floor, two views"]}
    print(f"\n{shape}, batch {batch} ({atoms} atoms), fp32 matmuls {flops / floors['supervised'] / 1e6:.0f} GFLOP/s")
    for name, median in medians.items():
        over = next((f"{median / floor:6.2f} x floor" for key, floor in floors.items() if f", {key}" in name), "")
        print(f"  {name:32s}{median:8.2f} ms  {over}")
    speedup = medians["PyTorch Geometric, supervised"] / medians["ours, supervised"]
    loading = medians["loading: PyTorch Geometric"] / medians["loading: ours"]
    print(f"  like for like against PyTorch Geometric: {speedup:.2f} times as fast; loading {loading:.1f} times")


if __name__ == "__main__":
    main()
