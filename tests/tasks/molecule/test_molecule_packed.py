"""A packed batch says what featurising its molecules one by one says."""

from __future__ import annotations

import numpy as np
import torch

from hpo_bench.tasks.molecule.featurise import featurise_chunk
from hpo_bench.tasks.molecule.packed import PackedMolecules


def test_batch_equals_featurising_each_molecule(bace, molecules):
    packed = PackedMolecules(molecules)
    index = torch.tensor([17, 3, 250, 3])
    graphs = packed.batch(index)
    first = 0
    for position, row in enumerate(index.tolist()):
        own = featurise_chunk([bace[0][row]])
        atoms = graphs.molecule == position
        assert packed.atom_values[graphs.atom_code[atoms]].tolist() == own.atoms.tolist()
        expected = set()
        for (a, b), kind in zip(own.ends.tolist(), own.bonds.tolist(), strict=True):
            expected |= {(a, b, *kind), (b, a, *kind)}
        edges = graphs.molecule[graphs.source] == position
        ends = (graphs.source[edges] - first, graphs.destination[edges] - first)
        kinds = packed.bond_values[graphs.bond_code[edges]]
        found = torch.cat([torch.stack(ends, 1), kinds], dim=1).tolist()
        assert len(found) == len(expected)
        assert {tuple(edge) for edge in found} == expected
        first += len(own.atoms)
    assert first == graphs.num_atoms == int(graphs.sizes.sum())


def test_edges_are_sorted_by_destination(molecules):
    graphs = PackedMolecules(molecules).batch(torch.arange(20))
    assert (graphs.destination.diff() >= 0).all()


def test_tables_are_one_hot_per_feature(molecules):
    packed = PackedMolecules(molecules)
    assert (packed.atom_table.sum(1) == 6).all()
    assert (packed.bond_table.sum(1) == 2).all()
    assert int(packed.atom_totals.sum()) == len(molecules.atoms)
    assert int(packed.bond_totals.sum()) == len(molecules.bonds)


def test_molecules_without_bonds():
    packed = PackedMolecules(featurise_chunk(["[Na+]", "C", "CC"]))
    assert packed.batch(torch.tensor([0, 1])).source.shape == (0,)
    graphs = packed.batch(torch.tensor([1, 2, 0]))
    assert graphs.source.tolist() == [2, 1]
    assert graphs.destination.tolist() == [1, 2]
    assert PackedMolecules(featurise_chunk(["C"])).batch(torch.tensor([0])).num_atoms == 1


def test_masking_hides_what_it_is_told_and_no_more(molecules):
    packed = PackedMolecules(molecules)
    graphs = packed.batch(torch.arange(8))
    atoms, edges = torch.rand(graphs.num_atoms) < 0.3, torch.rand(len(graphs.source)) < 0.3
    masked = graphs.masked(atoms, edges)
    last = len(packed.atom_values) - 1
    assert ((masked.atom_code == last) == atoms).all()
    assert ((masked.bond_code == len(packed.bond_values) - 1) == edges).all()
    assert (masked.atom_code[~atoms] == graphs.atom_code[~atoms]).all()
    assert (graphs.atom_code < last).all()  # the original is untouched
    assert packed.atom_table[last].nonzero().squeeze(1).tolist() == (np.cumsum([120, 5, 9, 9, 7, 3]) - 1).tolist()
