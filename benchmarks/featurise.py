"""Featurising whole data sets: molecules a second, memory, and what a second start costs.

    python benchmarks/featurise.py hiv muv --data-dir FOLDER
    python benchmarks/featurise.py bace --kinds     # time by kind of target, in this process

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
from collections.abc import Callable, Sequence
from typing import Any

import torch

from hpo_bench.core.device import describe_processor, prepare_process
from hpo_bench.data import load_table, make_split, parse_smiles
from hpo_bench.tasks.molecule.cache import featurise
from hpo_bench.tasks.molecule.corpus import MoleculeCorpus
from hpo_bench.tasks.molecule.packed import PackedMolecules

STEPS = 10
BATCH = 128


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
    """Print microseconds a molecule by kind of target."""
    from hpo_bench.data.smiles import silent_rdkit
    from hpo_bench.tasks.molecule.featurise import featurise_chunk, parse
    from hpo_bench.tasks.molecule.targets import TARGET_KINDS

    table = load_table(name, data_dir)
    smiles = table.take(parse_smiles(table.smiles).kept[:most]).smiles

    def per_molecule(work: Callable[[Any], Any], parts: Sequence[Any]) -> float:
        start = time.process_time()
        for part in parts:
            work(part)
        return 1e6 * (time.process_time() - start) / len(smiles)

    with silent_rdkit():
        print(f"{name}: {len(smiles)} molecules; microseconds a molecule, one process")
        print(
            f"  parse {per_molecule(parse, smiles):.0f}, parse and graphs {per_molecule(featurise_chunk, [smiles]):.0f}"
        )
        for kind, target in TARGET_KINDS.items():
            fresh = [parse(text) for text in smiles]  # RDKit keeps what it has computed in the molecule
            print(f"  {kind:12s}{per_molecule(target.of, fresh):7.0f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("sets", nargs="+", help="data sets of the catalogue")
    parser.add_argument("--data-dir")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--most", type=int, help="take only the first molecules")
    parser.add_argument("--kinds", action="store_true", help="time by kind of target instead")
    given = parser.parse_args()
    prepare_process()
    print(f"{describe_processor()}, {given.workers} processes")
    if not given.kinds:
        print(
            "set               rows atoms/mol featurise  processor  parse   split    cache   second    pack"
            "   10 steps  arrays MB kB/mol peak MB  a child"
        )
    for name in given.sets:
        if given.kinds:
            by_kind(name, given.data_dir, given.most or 700)
        else:
            measure(name, given.data_dir, given.workers, given.most)


if __name__ == "__main__":
    main()
