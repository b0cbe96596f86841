"""Features and targets of molecules that can be checked by hand; the cache."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import Crippen, Fragments, rdMolDescriptors

from hpo_bench.tasks.molecule import cache
from hpo_bench.tasks.molecule.featurise import ATOM_FEATURES, BOND_FEATURES, MoleculeArrays, featurise_chunk
from hpo_bench.tasks.molecule.targets import Statistics, descriptor_names, motif_names
from hpo_bench.tasks.planted import noise_labels

# element, chirality, degree, charge + 3, hydrogens, aromatic
ETHANOL = [[6, 0, 1, 3, 3, 0], [6, 0, 2, 3, 2, 0], [8, 0, 1, 3, 1, 0]]


def test_ethanol():
    found = featurise_chunk(["CCO"])
    assert found.atoms.tolist() == ETHANOL
    assert found.ends.tolist() == [[0, 1], [1, 2]]
    assert found.bonds.tolist() == [[0, 0], [0, 0]]


def test_benzene_is_aromatic_in_atoms_and_bonds():
    found = featurise_chunk(["c1ccccc1"])
    assert found.atoms.tolist() == [[6, 0, 2, 3, 1, 1]] * 6
    assert found.bonds.tolist() == [[3, 0]] * 6


def test_mirror_images_differ_in_chirality_alone():
    left, right = featurise_chunk(["C[C@H](N)O"]).atoms, featurise_chunk(["C[C@@H](N)O"]).atoms
    assert {left[1, 1], right[1, 1]} == {1, 2}
    assert np.delete(left, 1, axis=1).tolist() == np.delete(right, 1, axis=1).tolist()


def test_double_bond_stereo():
    trans, cis, plain = (featurise_chunk([text]).bonds[1].tolist() for text in ("C/C=C/C", "C/C=C\\C", "CC=CC"))
    assert (trans, cis, plain) == ([1, 3], [1, 2], [1, 0])


@pytest.mark.parametrize(
    ("smiles", "atom"),
    [
        ("[NH4+]", [7, 0, 0, 4, 4, 0]),
        ("[O-2]", [8, 0, 0, 1, 0, 0]),
        ("[Na+]", [11, 0, 0, 4, 0, 0]),
        ("[Zr+4]", [40, 0, 0, 7, 0, 0]),
        ("*", [0, 0, 0, 3, 0, 0]),
    ],
)
def test_single_and_charged_atoms(smiles, atom):
    found = featurise_chunk([smiles], kinds=("motif", "maccs", "descriptor"))
    assert found.atoms.tolist() == [atom]
    assert found.bonds.shape == (0, 2)
    assert np.isfinite(found.descriptor).all()


def test_rare_categories_are_other_and_never_mask():
    found = featurise_chunk(["FS(F)(F)(F)(F)F", "[H][H]", "[CH3][Pt]([Cl])([Cl])([NH3])[NH3]", "N->[Fe]"])
    for table, features in ((found.atoms, ATOM_FEATURES), (found.bonds, BOND_FEATURES)):
        for column, feature in zip(table.T, features, strict=True):
            assert column.max() < feature.mask
    assert found.bonds[-1].tolist() == [4, 0]  # a dative bond is 'other', not 'single'


def test_bonds_are_numbered_by_their_atoms(bace, molecules):
    """Not by RDKit's order, in which a ring's closing bond comes last: who reads the arrays may search in them."""
    odd = ["C12C3C4C1C5C2C3C45", "C1CC2CCC1CC2", "c1ccc2ccccc2c1", "[OH-].[Na+]", "N->[Cu]", "*C", "O=C(O->B(F)F)CC"]
    for found in (featurise_chunk(odd), molecules):
        assert (found.ends[:, 0] < found.ends[:, 1]).all()
        row = np.repeat(np.arange(len(found)), found.bond_counts)
        keys = (row * 1000 + found.ends[:, 0]) * 1000 + found.ends[:, 1]
        assert (np.diff(keys) > 0).all()


def test_targets_are_rdkits_own(bace, molecules):
    for row in (0, 150, 299):
        molecule = Chem.MolFromSmiles(bace[0][row])
        maccs = [int(bit) for bit in rdMolDescriptors.GetMACCSKeysFingerprint(molecule).ToBitString()]
        assert molecules.maccs[row].tolist() == maccs
        motifs = [bool(getattr(Fragments, name)(molecule)) for name in motif_names()]
        assert molecules.motif[row].astype(bool).tolist() == motifs
        values = dict(zip(descriptor_names(), molecules.descriptor[row], strict=True))
        for name in ("TPSA", "LabuteASA", "NumBridgeheadAtoms", "Kappa1"):
            assert values[name] == np.float32(getattr(rdMolDescriptors, f"Calc{name}")(molecule))
        assert [values[f"MQNs_{number}"] for number in range(1, 43)] == rdMolDescriptors.MQNs_(molecule)
        assert values["CrippenClogP"] == np.float32(Crippen.MolLogP(molecule))


def test_a_string_that_is_no_molecule_is_named_with_its_row():
    with pytest.raises(ValueError, match=r"'C1CC'.*row 1"):
        featurise_chunk(["CCO", "C1CC"])
    with pytest.raises(ValueError, match="row 0"):
        featurise_chunk([""])


def test_motifs_and_descriptors_of_phenol():
    found = featurise_chunk(["Oc1ccccc1"], kinds=("motif", "maccs", "descriptor"))
    present = {name for name, on in zip(motif_names(), found.motif[0], strict=True) if on}
    assert len(motif_names()) == 85
    assert {"fr_phenol", "fr_benzene", "fr_Ar_OH"} <= present
    assert "fr_aldehyde" not in present
    values = dict(zip(descriptor_names(), found.descriptor[0], strict=True))
    assert values["ExactMolWt"] == pytest.approx(94.0419, abs=1e-3)
    assert values["TPSA"] == pytest.approx(20.23)
    assert values["NumAromaticRings"] == 1
    assert found.maccs[0, 0] == 0
    assert found.maccs[0, 162] == 1  # key 162: aromatic


def test_statistics_keep_their_meaning_on_other_molecules(molecules):
    fitted = Statistics.fit(molecules, clusters=10)
    own = fitted.assign(molecules.maccs)
    distances = ((molecules.maccs[:, None] - fitted.centroids[None]) ** 2).sum(-1)
    assert own.tolist() == distances.argmin(1).tolist()
    assert fitted.assign(molecules.maccs[7:9]).tolist() == own[7:9].tolist()
    scores = fitted.standardise(molecules.descriptor)
    assert np.abs(scores).max() <= 5
    assert Statistics.fit(molecules.take(np.arange(4)), clusters=10).centroids.shape == (4, 167)
    again = Statistics.fit(molecules, clusters=10)
    assert np.array_equal(again.centroids, fitted.centroids)


def test_noise_labels_depend_on_row_and_seed_alone():
    assert np.array_equal(noise_labels(50), noise_labels(50))
    assert not np.array_equal(noise_labels(50), noise_labels(50, seed=1))
    assert noise_labels(5000).max() == 99


def test_take_gives_the_molecules_asked_for(bace, molecules):
    rows = np.array([5, 0, 5, 299])
    taken, direct = molecules.take(rows), featurise_chunk([bace[0][row] for row in rows], kinds=("maccs",))
    for name in ("atoms", "bonds", "ends", "atom_counts", "bond_counts", "maccs"):
        assert np.array_equal(getattr(taken, name), getattr(direct, name)), name


def test_many_processes_give_what_one_gives(bace, molecules, monkeypatch):
    monkeypatch.setattr(cache, "_PARALLEL_FROM", 10)
    monkeypatch.setattr(cache, "_CHUNK", 7)
    assert_same(cache.featurise(bace[0][:40], workers=2, use_cache=False), molecules.take(np.arange(40)))


def test_cache_is_used_and_a_torn_file_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setenv("HPO_BENCH_CACHE", str(tmp_path))
    first = cache.featurise(["CCO", "C"])
    (file,) = (tmp_path / "molecules").glob("*.safetensors")
    with monkeypatch.context() as patch:
        patch.setattr(cache, "featurise_chunk", lambda *_, **__: pytest.fail("computed again"))
        assert_same(cache.featurise(["CCO", "C"]), first)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.warns(UserWarning, match="damaged cache"):
        assert_same(cache.featurise(["CCO", "C"]), first)
    assert_same(cache.featurise(["CCO", "C"]), first)
    assert cache.content_key(["CC", "O"]) != cache.content_key(["C", "CO"])


def assert_same(a: MoleculeArrays, b: MoleculeArrays) -> None:
    for name, array in a.as_dict().items():
        assert np.array_equal(array, b.as_dict()[name]), name
