"""The encoder against PyTorch Geometric's GINEConv, and its invariances."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.func import functional_call, jvp
from torch.nn import functional as F

from hpo_bench.tasks.molecule.featurise import featurise_chunk
from hpo_bench.tasks.molecule.gin import Encoder
from hpo_bench.tasks.molecule.packed import PackedMolecules


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    built = Encoder(layers=3, width=16)
    for norm in built.norms:  # statistics that are not the trivial ones
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return built.double().eval()


@pytest.fixture
def packed(molecules):
    return PackedMolecules(molecules)


@pytest.mark.parametrize("training", [False, True])
def test_equals_torch_geometric_with_the_same_weights(encoder, packed, training):
    from torch_geometric.nn import GINEConv, global_mean_pool

    encoder.train(training)
    graphs = packed.batch(torch.arange(40))
    h = (graphs.atom_table.double() @ encoder.atom_embedding)[graphs.atom_code]
    for number, (layer, norm) in enumerate(zip(encoder.layers, encoder.norms, strict=True)):
        convolution = GINEConv(torch.nn.Sequential(layer.first, torch.nn.ReLU(), layer.second))
        edges = (graphs.bond_table.double() @ layer.bond_embedding)[graphs.bond_code]
        h = convolution(h, torch.stack([graphs.source, graphs.destination]), edges)
        h = F.batch_norm(h, norm.running_mean.clone(), norm.running_var.clone(), norm.weight, norm.bias, training)
        h = F.relu(h) if number < 2 else h
    nodes, pooled = encoder(graphs)
    torch.testing.assert_close(nodes, h)
    torch.testing.assert_close(pooled, global_mean_pool(h, graphs.molecule))


def test_a_molecule_does_not_see_its_neighbours_in_the_batch(encoder, packed):
    _, together = encoder(packed.batch(torch.tensor([4, 8, 15, 16])))
    _, alone = encoder(packed.batch(torch.tensor([15])))
    torch.testing.assert_close(together[2:3], alone)


def test_numbering_of_atoms_does_not_matter(encoder):
    packed = PackedMolecules(featurise_chunk(["OCC(=O)c1ccccc1", "c1ccccc1C(=O)CO"]))
    _, pooled = encoder(packed.batch(torch.tensor([0, 1])))
    torch.testing.assert_close(pooled[0], pooled[1])


def test_order_of_edges_does_not_matter(encoder, packed):
    graphs = packed.batch(torch.arange(5))
    order = torch.randperm(len(graphs.source))
    shuffled = replace(
        graphs,
        source=graphs.source[order],
        destination=graphs.destination[order],
        bond_code=graphs.bond_code[order],
    )
    torch.testing.assert_close(encoder(graphs)[1], encoder(shuffled)[1])


def test_forward_mode_and_double_backward_agree(encoder, packed):
    """For f(p) = |pooled|²: ⟨∇f, v⟩ by a jvp, and Hv by a second backward pass, against central differences."""
    encoder.train()
    graphs = packed.batch(torch.arange(6))
    parameters = dict(encoder.named_parameters())
    buffers = {name: value.clone() for name, value in encoder.named_buffers()}
    direction = {name: torch.randn_like(value) for name, value in parameters.items()}

    def value(p):
        copies = {name: b.clone() for name, b in buffers.items()}
        return functional_call(encoder, {**p, **copies}, (graphs,))[1].pow(2).sum()

    def gradient(p):
        return torch.autograd.grad(value(p), list(p.values()), create_graph=True)

    first = gradient(parameters)
    slope = sum((g * v).sum() for g, v in zip(first, direction.values(), strict=True))
    _, tangent = jvp(value, ({k: p.detach() for k, p in parameters.items()},), (direction,))
    torch.testing.assert_close(tangent, slope.detach())

    product = torch.autograd.grad(slope, list(parameters.values()))
    step = 1e-6
    plus, minus = (
        gradient({k: (p + sign * step * direction[k]).detach().requires_grad_() for k, p in parameters.items()})
        for sign in (1, -1)
    )
    for exact, up, down in zip(product, plus, minus, strict=True):
        torch.testing.assert_close(exact, ((up - down) / (2 * step)).detach(), rtol=1e-4, atol=1e-3)


def test_bf16_autocast_is_close_and_returns_float32(packed):
    torch.manual_seed(0)
    encoder = Encoder(layers=3, width=32).train()
    graphs = packed.batch(torch.arange(40))
    exact = encoder(graphs)[1]
    with torch.autocast("cpu", torch.bfloat16):
        nodes, pooled = encoder(graphs)
    assert nodes.dtype is pooled.dtype is torch.float32
    assert (pooled - exact).abs().max() < 0.05 * exact.abs().max()
    pooled.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in encoder.parameters())
