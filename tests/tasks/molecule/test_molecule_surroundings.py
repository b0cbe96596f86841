"""What is looked up by an atom's surroundings is what RDKit finds molecule by molecule, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem

from hpo_bench.tasks.molecule.cycles import simple_cycle, sums_of_rings
from hpo_bench.tasks.molecule.featurise import atom_rows, bond_rows, is_usual_text, parse
from hpo_bench.tasks.molecule.screen import PatternScreen, alternatives
from hpo_bench.tasks.molecule.surroundings import Surroundings, read_surroundings
from hpo_bench.tasks.molecule.targets import TARGET_KINDS

ODD = [
    "C", "O", "[OH-].[Na+]", "C1CC1", "C1CCC1", "C12C3C4C1C5C2C3C45", "C1C2CC3CC1CC(C2)C3", "c1ccc2ccccc2c1",
    "C1CC2CCC1CC2", "C1CCC2(CC1)CCCC2", "c1cc2ccc3cccc4ccc(c1)c2c34", "C1CCCCCCCCCCC1", "O=C1C=CC(=O)c2ccccc12",
    "[O-][N+](=O)c1ccccc1", "CN=[N+]=[N-]", "O=S(=O)(O)c1ccc(N)cc1", "OP(=O)(O)OCC", "FC(F)(F)Cl", "N#Cc1ccncc1",
    "CC(=O)[O-]", "C=C=O", "O=C=O", "OO", "OS", "NO", "CC(=S)O", "C[Si](C)(C)C", "C[Se]C", "B(O)O", "[NH4+]",
    "C[N+](C)(C)C", "c1ccc[nH]1", "c1ccsc1", "C1=CCNC=C1", "CNCC(O)c1ccc(O)cc1", "OC(=O)c1ccccc1O", "CC#N",
    "CC[Sn](CC)(CC)Cl", "C[Hg]c1ccccc1", "Cl[Pt]Cl", "OC(=O)C(=O)O", "O=C(N)C(=O)NCCO", "C1=CC2CC12", "C1OC1C(F)(F)F",
    "O=C1NC(=O)C(c2ccccc2)(CC)C(=O)N1", "C1OC1", "CCCCCC", "Ic1ccccc1Br", "O=c1cc[nH]c2ccccc12", "C1CC2OC2C1",
    "C([SiH3])([SiH3])([SiH3])CCC", "FC(F)(F)CCC", "CC(C)(C)CCC",
]  # fmt: skip


def of(smiles: str) -> tuple[Chem.Mol, Surroundings]:
    molecule = parse(smiles)
    surroundings = read_surroundings(molecule)
    assert surroundings is not None, smiles
    return molecule, surroundings


@pytest.mark.parametrize("kind", TARGET_KINDS)
def test_every_target_is_rdkits_own(kind, bace):
    usual = [text for text in ODD if read_surroundings(parse(text)) is not None]
    assert len(usual) == len(ODD)
    for smiles in [*usual, *bace[0], *reversed(usual)]:  # again, when most is known
        molecule, surroundings = of(smiles)
        fast = np.array(TARGET_KINDS[kind](molecule, surroundings), np.float64)
        plain = np.array(TARGET_KINDS[kind](parse(smiles), None), np.float64)
        assert np.array_equal(fast, plain), (smiles, np.flatnonzero(fast != plain))


def test_atoms_and_bonds_are_rdkits_own(bace):
    usual = [text for text in [*ODD, *bace[0]] if is_usual_text(text) and read_surroundings(parse(text))]
    assert len(usual) > 100
    for smiles in usual:
        molecule, surroundings = of(smiles)
        assert atom_rows(molecule, surroundings) == atom_rows(molecule), smiles
        assert bond_rows(molecule, surroundings) == bond_rows(molecule), smiles


def test_unusual_molecules_are_left_to_rdkit():
    for smiles in ("[H][H]", "[2H]O", "N->[Cu]", "*C", "O=C(O->B(F)F)CC", "CC(=O)Nc1c#cc(O)cc1"):
        assert read_surroundings(parse(smiles)) is None
        assert read_surroundings(parse(smiles), smiles) is None
    assert not is_usual_text("C[C@H](N)O")
    assert not is_usual_text("F/C=C/F")


@pytest.mark.parametrize(
    ("smiles", "sizes"),
    [
        ("c1ccc2ccccc2c1", [6, 6, 10]),  # naphthalene: two rings and their perimeter
        ("C1CCC2(CC1)CCCC2", [5, 6]),  # spiro: rings that meet in an atom have no common cycle
        ("C1CC2CCC1CC2", [6, 6, 6]),  # bicyclo[2.2.2]octane: the third ring is the sum of the others
        ("C1C2CC12", [3, 3, 4]),
    ],
)
def test_all_cycles(smiles, sizes):
    _, surroundings = of(smiles)
    sums = sums_of_rings(surroundings)
    found = {frozenset(ring) for ring in surroundings.rings}
    found |= {atoms for total in sums if (atoms := simple_cycle(total, surroundings))}
    assert sorted(map(len, found)) == sizes


def test_many_fused_rings_are_left_to_rdkit():
    _, surroundings = of("c1cc2cc3cc4cc5cc6cc7ccccc7cc6cc5cc4cc3cc2cc1")
    assert sums_of_rings(surroundings) is None


@pytest.mark.parametrize(
    ("smarts", "plain"),
    [
        ("C=O", ["C=O"]),
        ("[$(CN),$(CO)]", ["CN", "CO"]),
        ("[C&!$(C-O)]=O", ["[C]=O"]),
        ("[$(CN)&!$(CO)]", ["CN"]),
        ("[$([N&X3](=O)=O),$(Cl)][!#8]", ["[N&X3,Cl][!#8]"]),
        ("[N&$(NC);R]-C", ["[*]-C"]),
        ("[#7&X3,$([#7](~C)~C)]", ["[#7&X3,#7]"]),
    ],
)
def test_a_pattern_without_its_recursive_parts(smarts, plain):
    assert [one.plain for one in alternatives(smarts)] == plain


def test_leaves_need_a_neighbour_each():
    patterns = ["N(C)(C)C", "N(C)(C)[C,O]", "[#7](~[#6,#8])(~[#6])~*", "C(F)(F)F"]
    screen = PatternScreen([Chem.MolFromSmarts(text) for text in patterns], ["[#6]"])
    for smiles in ("CNC", "CN(C)C", "CN(C)O", "ON(O)C", "FC(F)Cl", "FC(F)F"):
        molecule, surroundings = of(smiles)
        found = [molecule.HasSubstructMatch(Chem.MolFromSmarts(text)) for text in patterns]
        assert screen.present(surroundings) == found, smiles
        assert screen.look(surroundings)[1] == [sum(atom.GetAtomicNum() == 6 for atom in molecule.GetAtoms())]
