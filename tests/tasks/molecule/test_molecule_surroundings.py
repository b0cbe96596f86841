"""What is looked up by an atom's surroundings is what RDKit finds molecule by molecule, bit for bit."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import GetConnectivityInvariants

from hpo_bench.tasks.molecule.codes import ATOM_CODES
from hpo_bench.tasks.molecule.cycles import fused_rings, simple_cycle, sums_of_rings
from hpo_bench.tasks.molecule.featurise import featurise_chunk, of_molecules, parse
from hpo_bench.tasks.molecule.screen import PatternScreen
from hpo_bench.tasks.molecule.smarts import alternatives
from hpo_bench.tasks.molecule.surroundings import AROUND, Surroundings, read_surroundings
from hpo_bench.tasks.molecule.targets import TARGET_KINDS

ODD = [
    "C", "O", "[OH-].[Na+]", "C1CC1", "C1CCC1", "C12C3C4C1C5C2C3C45", "C1C2CC3CC1CC(C2)C3", "c1ccc2ccccc2c1",
    "C1CC2CCC1CC2", "C1CCC2(CC1)CCCC2", "c1cc2ccc3cccc4ccc(c1)c2c34", "C1CCCCCCCCCCC1", "O=C1C=CC(=O)c2ccccc12",
    "[O-][N+](=O)c1ccccc1", "CN=[N+]=[N-]", "O=S(=O)(O)c1ccc(N)cc1", "OP(=O)(O)OCC", "FC(F)(F)Cl", "N#Cc1ccncc1",
    "CC(=O)[O-]", "C=C=O", "O=C=O", "OO", "OS", "NO", "CC(=S)O", "C[Si](C)(C)C", "C[Se]C", "B(O)O", "[NH4+]",
    "C[N+](C)(C)C", "c1ccc[nH]1", "c1ccsc1", "C1=CCNC=C1", "CNCC(O)c1ccc(O)cc1", "OC(=O)c1ccccc1O", "CC#N",
    "CC[Sn](CC)(CC)Cl", "C[Hg]c1ccccc1", "Cl[Pt]Cl", "OC(=O)C(=O)O", "O=C(N)C(=O)NCCO", "C1=CC2CC12", "C1OC1C(F)(F)F",
    "O=C1NC(=O)C(c2ccccc2)(CC)C(=O)N1", "C1OC1", "CCCCCC", "Ic1ccccc1Br", "O=c1cc[nH]c2ccccc12", "C1CC2OC2C1",
    "C([SiH3])([SiH3])([SiH3])CCC", "FC(F)(F)CCC", "CC(C)(C)CCC", "CC[CH2+3](C)CN", "NC[CH2+6](F)(F)(CC)CO",
    "CCCCO", "CC[CH3+3]CO", "CC(=O)CC[CH3+3](C)CN", "O=C(SC)C(=O)SC", "CC(=O)[s+]1cccc1",
    "O=C([s+]1cccc1)C(=O)[s+]1cccc1", "COC(C)=s1cccc1", "O=C(S)C(=O)S", "NNC(=O)NNC(=O)NN", "N=C(N)Oc1ccc(Cl)cc1",
    "CN(C)N(C)C", "CC(=O)N(C)N(C)C", "O=CN(C)N(C)C", "C=C(C)[O-]", "CCO", "C[CH]O",
    "CC(=O)N(C)N(C)C(C)=O", "O=CN(C)N(C)C=O", "CC(=O)N(C)C(C)=O", "O=CN(C)C(C)=O", "CSC(=NC)C(=NC)SC",
    "C1CSC(=N1)C1=NCCS1", "CCC(C)NC1=NCC(C)S1", "CN=[N+]=NC", "C1c2ccccc21", "CC[CH2-]", "[CH2]C[CH2]",
    "C1CCCCCCCCCCCCC1", "c1ccccc1.Cl", "O=C1OC2C(I)C3C4CCC3C2C14", "CN1CCC23C4C(=O)CCC2(C1CC5=C3C(=C(C=C5)OC)O4)O",
]  # fmt: skip


UNUSUAL = [
    "[H][H]", "[2H]O", "N->[Cu]", "*C", "O=C(O->B(F)F)CC", "CC(=O)Nc1c#cc(O)cc1", "[13CH4]", "[NH3][Pt]([NH3])(Cl)Cl",
    "CN(C)(C)[Fe]",
]  # fmt: skip


def of(smiles: list[str]) -> Surroundings:
    surroundings, rows = read_surroundings([parse(text) for text in smiles], smiles)
    assert rows.tolist() == list(range(len(smiles)))
    return surroundings


@pytest.mark.parametrize("chunk", [1, 7, 1000])
@pytest.mark.parametrize("kind", TARGET_KINDS)
def test_every_target_is_rdkits_own(kind, chunk, bace):
    smiles = [*ODD, *bace[0], *reversed(ODD)]  # again, when most is known
    for start in range(0, len(smiles), chunk):
        texts = smiles[start : start + chunk]
        target = TARGET_KINDS[kind]
        fast = target.of_surroundings(of(texts)).astype(target.dtype)
        plain = np.array([target.of_molecule(parse(text)) for text in texts], target.dtype)
        assert fast.shape == plain.shape == (len(texts), target.width())
        bad = np.argwhere(fast != plain)
        assert not len(bad), [(texts[row], place) for row, place in bad]


def test_atoms_and_bonds_are_rdkits_own(bace):
    smiles = [
        *ODD,
        *bace[0],
        "C[C@H](N)O",
        "C[C@@H](N)O",
        "F/C=C/F",
        "F/C=C\\F",
        "C[S@](=O)c1ccccc1",
        "C/C=C/[C@H](O)C#N",
    ]
    fast, plain = featurise_chunk(smiles), of_molecules([parse(text) for text in smiles])
    for name, array in fast.as_dict().items():
        assert array.dtype == getattr(plain, name).dtype
        assert np.array_equal(array, getattr(plain, name)), name


def test_bonds_are_numbered_in_order(bace):
    molecules = featurise_chunk([*ODD, *bace[0], *UNUSUAL])
    assert (molecules.ends[:, 0] < molecules.ends[:, 1]).all()
    row = np.repeat(np.arange(len(molecules)), molecules.bond_counts)
    keys = (row * 1000 + molecules.ends[:, 0]) * 1000 + molecules.ends[:, 1]
    assert (np.diff(keys) > 0).all()


def test_unusual_molecules_are_left_to_rdkit():
    smiles = [text for pair in zip(UNUSUAL, ODD, strict=False) for text in pair]
    molecules = [parse(text) for text in smiles]
    surroundings, rows = read_surroundings(molecules, smiles)
    assert [smiles[row] for row in rows] == ODD[: len(UNUSUAL)]
    assert len(surroundings) == len(UNUSUAL)
    found = featurise_chunk(smiles, kinds=tuple(TARGET_KINDS))
    for kind, target in TARGET_KINDS.items():
        plain = np.array([target.of_molecule(parse(text)) for text in smiles], target.dtype)
        assert np.array_equal(getattr(found, kind), plain), kind


def test_nothing_is_learned_from_unusual_molecules():
    """They would teach that a single bond to a carbon is what a dative one is."""
    of(["CCO"])  # or nothing may be known yet
    known = len(AROUND)
    assert known
    read_surroundings([parse(text) for text in UNUSUAL], UNUSUAL)
    assert len(AROUND) == known
    assert {ATOM_CODES[row[0]].element for row in AROUND}.isdisjoint({0, 1})


LARGE = [".".join(["C"] * 400), "C" * 600, "C" + "C(C)(C)" * 45 + "C", "CN" * 400]


def test_large_molecules_are_left_to_rdkit():
    """It looks for no more than 1,000 matches of a pattern, so that some of their atoms have a wrong Crippen type."""
    parsed = [parse(text) for text in LARGE]
    assert not len(read_surroundings(parsed, LARGE)[1])
    smiles = [*LARGE, "C.C.C", "CCCC", "CC(C)(C)C", "CNCNC", "C" * 100, "C" + "C(C)(C)" * 15 + "C"]
    found = featurise_chunk(smiles, kinds=("descriptor",)).descriptor
    assert np.array_equal(found, of_molecules([parse(text) for text in smiles], ("descriptor",)).descriptor)


def test_no_two_kinds_of_atoms_share_an_invariant():
    """`read_surroundings` takes RDKit's invariant for element, charge, hydrogens, neighbours and being in a ring."""
    seen: dict[int, tuple[int, ...]] = {}
    kinds = product(range(1, 119), range(-4, 6), range(5), range(7), (False, True))
    for kind in kinds:
        element, charge, hydrogens, degree, in_ring = kind
        if in_ring and degree < 2:
            continue
        invariant = GetConnectivityInvariants(star(element, charge, hydrogens, degree, in_ring))[0]
        same = seen.setdefault(invariant, (element, charge, hydrogens, degree, in_ring))
        assert same == kind
    assert len(seen) == 118 * 10 * 5 * (7 + 5)


def star(element: int, charge: int, hydrogens: int, degree: int, in_ring: bool) -> Chem.Mol:
    molecule = Chem.RWMol()
    for number in (element, *[6] * degree):
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        molecule.AddAtom(atom)
    centre = molecule.GetAtomWithIdx(0)
    centre.SetFormalCharge(charge)
    centre.SetNumExplicitHs(hydrogens)
    for other in range(degree):
        molecule.AddBond(0, other + 1, Chem.BondType.SINGLE)
    if in_ring:
        molecule.AddBond(1, 2, Chem.BondType.SINGLE)
    molecule.UpdatePropertyCache(False)
    Chem.FastFindRings(molecule)
    return molecule


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
    surroundings = of(["CC1CC1", smiles, "C1CCC1"])
    molecule = parse(smiles)
    found = {frozenset(ring) for ring in molecule.GetRingInfo().AtomRings()}
    for fused in fused_rings(surroundings):
        assert fused.molecule == 1
        cycles = [simple_cycle(total, fused.ends) for total in [*fused.rings, *sums_of_rings(fused.rings)]]
        found |= {frozenset(atom - 4 for atom in atoms) for atoms in cycles if atoms}
    assert sorted(map(len, found)) == sizes


def test_many_fused_rings_are_left_to_rdkit():
    (fused,) = fused_rings(of(["c1cc2cc3cc4cc5cc6cc7ccccc7cc6cc5cc4cc3cc2cc1"]))
    assert sums_of_rings(fused.rings) is None


def test_a_ring_that_is_one_of_many():
    """Cyclodextrin: each of its sugar rings can be passed on two sides, and RDKit counts every such large ring."""
    units = "".join(f"OC{ring}C(CO)OC(" for ring in (4, 5, 6, 7))
    ends = "".join(f")C(O)C{ring}O" for ring in (7, 6, 5, 4))
    sugar = f"OCC1OC2OC3C(CO)OC({units}OC1C(O)C2O{ends})C(O)C3O"
    molecule = parse(sugar)
    assert sum(len(ring) > 20 for ring in molecule.GetRingInfo().AtomRings()) > 31
    found = featurise_chunk([sugar], kinds=("descriptor",)).descriptor
    assert np.array_equal(found, of_molecules([molecule], ("descriptor",)).descriptor)


@pytest.mark.parametrize(
    ("smarts", "ways"),
    [
        ("C=O", [[("C=O",)]]),
        ("[$(CN),$(CO)]", [[("CN",)], [("CO",)]]),
        ("[C&!$(C-O)]=O", [[("[C]=O",)]]),
        ("[$(CN)&!$(CO)]", [[("CN",)]]),
        ("[$([N&X3](=O)=O),$(Cl)][!#8]", [[("[N&X3,Cl][!#8]", "[N&X3](=O)=O"), ("[N&X3,Cl][!#8]", "Cl")]]),
        ("[N&$(NC);R]-C", [[("[*]-C", "NC")]]),
        ("[#7&X3,$([#7](~C)~C)]", [[("[#7&X3,#7]",), ("[#7&X3,#7]", "[#7](~C)~C")]]),
        ("O-[C&$(C=[$(CN),$(CO)])]", [[("O-[C]", "C=[C,C]", "CN"), ("O-[C]", "C=[C,C]", "CO")]]),
    ],
)
def test_a_pattern_without_its_recursive_parts(smarts, ways):
    assert [one.ways for one in alternatives(smarts)] == ways


def test_too_many_ways_are_not_told_apart():
    atom = "[$(CN),$(CO),$(CS)]"
    (found,) = alternatives(f"{atom}{atom}{atom}")
    assert found.ways == [("[C,C,C][C,C,C][C,C,C]",)]


def test_leaves_need_a_neighbour_each():
    patterns = ["N(C)(C)C", "N(C)(C)[C,O]", "[#7](~[#6,#8])(~[#6])~*", "C(F)(F)F"]
    screen = PatternScreen([Chem.MolFromSmarts(text) for text in patterns], ["[#6]"])
    smiles = ["CNC", "CN(C)C", "CN(C)O", "ON(O)C", "FC(F)Cl", "FC(F)F"]
    surroundings = of(smiles)
    found = [[one.HasSubstructMatch(Chem.MolFromSmarts(text)) for text in patterns] for one in surroundings.molecules]
    assert screen.present(surroundings).tolist() == found
    carbons = [[sum(atom.GetAtomicNum() == 6 for atom in one.GetAtoms())] for one in surroundings.molecules]
    assert screen.look(surroundings)[1].tolist() == carbons


def test_more_stars_than_a_number_has_bits():
    elements = [f"[#{number}]{bond}[#{other}]" for number in (6, 7, 8, 16) for other in (6, 7, 8, 9) for bond in "-=#~"]
    patterns = [Chem.MolFromSmarts(f"{text}-*") for text in elements]
    screen = PatternScreen(patterns, ["[#6;D3]"])
    surroundings = of(ODD)
    found = [[one.HasSubstructMatch(pattern) for pattern in patterns] for one in surroundings.molecules]
    assert len(patterns) > 63
    assert screen.present(surroundings).tolist() == found
