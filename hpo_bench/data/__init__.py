"""Where data comes from, checked by SHA-256, and how it is split.

The order is: `--data-dir` or `HPO_BENCH_DATA`, the cache (`HPO_BENCH_CACHE`), the package index, MoleculeNet's server.
Names are imported when they are first used, so that `import hpo_bench.data` costs the command line nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpo_bench.data.catalogue import DATASETS, Dataset, SourceFile, canonical_name, get_dataset
    from hpo_bench.data.corpus import load_moses, sample_smiles
    from hpo_bench.data.manage import fetch, list_sources, verify
    from hpo_bench.data.providers import Located, locate
    from hpo_bench.data.smiles import ParsedSmiles, parse_smiles, scaffolds
    from hpo_bench.data.splits import SPLIT_KINDS, Split, check_split, make_split
    from hpo_bench.data.table import MoleculeTable, load_table, read_table

_HOMES = {
    "catalogue": ("DATASETS", "Dataset", "SourceFile", "canonical_name", "get_dataset"),
    "corpus": ("load_moses", "sample_smiles"),
    "manage": ("fetch", "list_sources", "verify"),
    "providers": ("Located", "locate"),
    "smiles": ("ParsedSmiles", "parse_smiles", "scaffolds"),
    "splits": ("SPLIT_KINDS", "Split", "check_split", "make_split"),
    "table": ("MoleculeTable", "load_table", "read_table"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "DATASETS", "SPLIT_KINDS", "Dataset", "Located", "MoleculeTable", "ParsedSmiles", "SourceFile", "Split",
    "canonical_name", "check_split", "fetch", "get_dataset", "list_sources", "load_moses", "load_table", "locate",
    "make_split", "parse_smiles", "read_table", "sample_smiles", "scaffolds", "verify",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
