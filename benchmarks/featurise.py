"""Featurising whole data sets: molecules a second, memory, and what a second start costs.

    python benchmarks/featurise.py hiv muv --data-dir FOLDER
    python benchmarks/featurise.py bace --kinds     # time by kind of target, in this process, RDKit's own beside
    python benchmarks/featurise.py hiv --check      # compare every array with what RDKit gives molecule by molecule

Every set is featurised from an empty cache with all targets, read back from the cache, packed and trained on for a few
steps. `second` is a whole second start, from the file to a task that is ready to train. Memory is of the arrays, of
this process and of the largest of its children (largest resident sizes so far; children share most of theirs with this
one). Beside the rate by the clock stands the one by processor seconds, of all processes together and times their
number: what the clock would show on a machine that does nothing else. Times by kind are processor seconds.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import torch

from hpo_bench.core.device import describe_processor, prepare_process
from hpo_bench.data import load_table, make_split, parse_smiles
from hpo_bench.tasks.molecule.cache import featurise
from hpo_bench.tasks.molecule.corpus import MoleculeCorpus
from hpo_bench.tasks.molecule.featurise import MoleculeArrays
from hpo_bench.tasks.molecule.packed import PackedMolecules

STEPS = 10
BATCH = 128
CHUNK = 250  # molecules in one call


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` gives, and its seconds."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def processor_seconds() -> float:
    """Seconds that processors have spent on this process and its finished children."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def peak_megabytes(of: int = resource.RUSAGE_SELF) -> float:
    """The largest resident size so far, of this process or of the largest of its children."""
    return resource.getrusage(of).ru_maxrss * 1024 / 1e6


def second_start(name: str, data_dir: str | None) -> float:
    """Seconds until the task of a set is ready to train, file, split, features and packing in all, the second time."""
    from hpo_bench.tasks.molecule.load import load_set

    if data_dir:
        os.environ["HPO_BENCH_DATA"] = data_dir
    load_set(name, device=torch.device("cpu"))
    return timed(lambda: load_set(name, device=torch.device("cpu")))[1]


def measure(name: str, data_dir: str | None, workers: int, most: int | None) -> None:
    """Print one line on a set."""
    table = load_table(name, data_dir)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HPO_BENCH_CACHE"] = folder
        parsed, parsing = timed(lambda: parse_smiles(table.smiles, workers=workers))
        table = table.take(parsed.kept[:most])
        smiles = table.smiles
        _, splitting = timed(lambda: make_split(table, "scaffold", workers=workers))
        before = processor_seconds()
        molecules, seconds = timed(lambda: featurise(smiles, workers=workers))
        busy = (processor_seconds() - before) / workers
        _, reading = timed(lambda: featurise(smiles, workers=workers))
        again = None if most else second_start(name, data_dir)
    shown = "-" if again is None else f"{again:.2f} s"
    arrays = sum(array.nbytes for array in molecules.as_dict().values()) / 1e6
    packed, packing = timed(lambda: PackedMolecules(molecules))
    corpus = MoleculeCorpus(smiles, molecules=molecules, packed=packed)
    _, training = timed(lambda: train(corpus))
    atoms = int(molecules.atom_counts.sum())
    print(
        f"{name:14s}{len(smiles):8,d}{atoms / len(smiles):7.1f}"
        f"{len(smiles) / seconds:10,.0f}/s{len(smiles) / busy:10,.0f}/s"
        f"{parsing:8.1f} s{splitting:8.1f} s{reading:8.2f} s{shown:>10s}{packing:8.2f} s{1e3 * training:8.0f} ms"
        f"{arrays:8.0f}{1e3 * arrays / len(smiles):7.2f}{peak_megabytes():8.0f}"
        f"{peak_megabytes(resource.RUSAGE_CHILDREN):8.0f}",
        flush=True,
    )


def train(corpus: MoleculeCorpus) -> None:
    """A few steps of pretraining."""
    model, generator = corpus.build_model(), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        corpus.objective_losses(model, corpus.draw_batch(BATCH, generator)).sum().backward()
        optimizer.step()


def by_kind(name: str, data_dir: str | None, most: int) -> None:
    """Print microseconds a molecule by kind of target, of many molecules together and by RDKit alone."""
    from hpo_bench.data.smiles import silent_rdkit
    from hpo_bench.tasks.molecule.featurise import featurise_chunk, parse
    from hpo_bench.tasks.molecule.surroundings import read_surroundings
    from hpo_bench.tasks.molecule.targets import TARGET_KINDS

    table = load_table(name, data_dir)
    smiles = table.take(parse_smiles(table.smiles).kept[: 2 * most]).smiles
    chunks = [smiles[start : start + CHUNK] for start in range(0, len(smiles), CHUNK)]
    warm, chunks = chunks[: len(chunks) // 2], chunks[len(chunks) // 2 :]
    count = sum(map(len, chunks))

    def per_molecule(work: Callable[[Any], Any], parts: list[Any]) -> tuple[list[Any], float]:
        start = time.process_time()
        result = [work(part) for part in parts]
        return result, 1e6 * (time.process_time() - start) / count

    with silent_rdkit():
        kinds = tuple(TARGET_KINDS)
        _, first = per_molecule(lambda chunk: featurise_chunk(chunk, kinds=kinds), warm)
        _, fresh = per_molecule(lambda chunk: featurise_chunk(chunk, kinds=kinds), chunks)
        _, again = per_molecule(lambda chunk: featurise_chunk(chunk, kinds=kinds), chunks)
        print(f"{name}: {count} molecules after {len(smiles) - count} others; microseconds a molecule, one process")
        print(f"  the others {first * count / (len(smiles) - count):.0f}, these {fresh:.0f}, these again {again:.0f}")
        molecules, parsing = per_molecule(lambda chunk: [parse(text) for text in chunk], chunks)
        around, reading = per_molecule(
            lambda pair: read_surroundings(*pair)[0], list(zip(molecules, chunks, strict=True))
        )
        print(f"  parse {parsing:.0f}, read surroundings {reading:.0f}")
        for kind, target in TARGET_KINDS.items():
            _, fast = per_molecule(target.of_surroundings, around)
            fresh_ones = [parse(text) for text in smiles[-count:]]  # RDKit keeps what it has computed in the molecule
            _, plain = per_molecule(target.of_molecule, fresh_ones)
            print(f"  {kind:12s}{fast:7.0f}  by RDKit alone {plain:7.0f}")


def check(name: str, data_dir: str | None, workers: int, most: int | None) -> None:
    """Print how many numbers of each array are not those that RDKit gives molecule by molecule."""
    table = load_table(name, data_dir)
    smiles = table.take(parse_smiles(table.smiles, workers=workers).kept[:most]).smiles
    chunks = [smiles[start : start + CHUNK] for start in range(0, len(smiles), CHUNK)]
    with ProcessPoolExecutor(workers) as pool:
        plain = MoleculeArrays.concatenate(list(pool.map(by_rdkit, chunks)))
    found = featurise(smiles, workers=workers, use_cache=False).as_dict()
    wrong = {key: np.count_nonzero(found[key] != array) for key, array in plain.as_dict().items()}
    print(f"{name:14s}{len(smiles):8,d} molecules, wrong:", ", ".join(f"{key} {count}" for key, count in wrong.items()))


def by_rdkit(smiles: list[str]) -> MoleculeArrays:
    """The arrays of some molecules, by RDKit alone."""
    from hpo_bench.data.smiles import silent_rdkit
    from hpo_bench.tasks.molecule.featurise import of_molecules, parse
    from hpo_bench.tasks.molecule.targets import TARGET_KINDS

    with silent_rdkit():
        return of_molecules([parse(text) for text in smiles], tuple(TARGET_KINDS))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("sets", nargs="+", help="data sets of the catalogue")
    parser.add_argument("--data-dir")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--most", type=int, help="take only the first molecules")
    parser.add_argument("--kinds", action="store_true", help="time by kind of target instead")
    parser.add_argument("--check", action="store_true", help="compare with RDKit's own instead")
    given = parser.parse_args()
    prepare_process()
    print(f"{describe_processor()}, {given.workers} processes")
    if not given.kinds and not given.check:
        print(
            "set               rows atoms/mol featurise  processor  parse   split    cache   second    pack"
            "   10 steps  arrays MB kB/mol peak MB  a child"
        )
    for name in given.sets:
        if given.kinds:
            by_kind(name, given.data_dir, given.most or 700)
        elif given.check:
            check(name, given.data_dir, given.workers, given.most)
        else:
            measure(name, given.data_dir, given.workers, given.most)


if __name__ == "__main__":
    main()
