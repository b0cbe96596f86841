"""One training step on BACE beside PyTorch Geometric's, phase by phase, and beside the processor's matmul rate.

    python benchmarks/training_step.py --threads 2

A step is load, forward, backward, Adam. All alternatives compute the losses of the same weights on batches of the same
size (their agreement is printed). Each lives in a process of its own, since a heap that others have cut up slows a step
down, and all take a turn in each round, so that a busy machine slows all of them alike. Medians are printed; ratios are
of medians. "matmuls" are the matrix products of a step as torch's profiler sees them, at which rate they run, and what
part that is of the rate of a product of two 1024 x 1024 matrices, measured in the same rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, cast

import torch
from workloads import molecule_step as work

from hpo_bench.core.device import describe_processor, prepare_process
from hpo_bench.data import load_table, parse_smiles
from hpo_bench.tasks.molecule.corpus import MoleculeCorpus
from hpo_bench.tasks.molecule.layer_rows import EncoderRows
from hpo_bench.tasks.molecule.objectives import DEFAULT_OBJECTIVES
from hpo_bench.tasks.molecule.objectives.base import MoleculeBatch
from hpo_bench.tasks.molecule.packed import Graphs
from hpo_bench.tasks.molecule.refinement import Refinement

PHASES = ("load", "forward", "backward", "Adam")
STEPS_A_TURN = 4  # the first of them warms the caches up and is not counted
GEOMETRIC, OURS, EVERY_ATOM = "PyTorch Geometric", "ours", "ours, every atom"
KINDS: dict[str, dict[str, Callable[[MoleculeCorpus, int], work.Alternative]]] = {
    "supervised": {
        GEOMETRIC: work.geometric_supervised,
        EVERY_ATOM: work.our_supervised,
        OURS: work.our_supervised,
    },
    "six objectives": {GEOMETRIC: work.geometric_six, EVERY_ATOM: work.our_six, OURS: work.our_six},
}


@dataclass
class Matmuls:
    """The matrix products of a step: FLOPs and seconds."""

    flops: float
    seconds: float


def stepper(alternative: work.Alternative, bf16: bool) -> Callable[[], list[float]]:
    """A whole step, which returns the milliseconds of its phases."""
    optimizer = torch.optim.Adam(alternative.model.parameters(), lr=1e-4)

    def step() -> list[float]:
        marks = [time.perf_counter()]
        batch = alternative.load()
        marks.append(time.perf_counter())
        with torch.autocast("cpu", torch.bfloat16) if bf16 else contextlib.nullcontext():
            loss = alternative.loss(batch)
        marks.append(time.perf_counter())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        marks.append(time.perf_counter())
        optimizer.step()
        marks.append(time.perf_counter())
        return [1e3 * (b - a) for a, b in itertools.pairwise(marks)]

    return step


def matmuls(step: Callable[[], Any]) -> Matmuls:
    """What the profiler says of the matrix products of a step."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], with_flops=True) as profile:
        step()
    events = [event for event in profile.key_averages() if event.key in ("aten::mm", "aten::addmm")]
    return Matmuls(sum(event.flops for event in events), sum(event.self_cpu_time_total for event in events) / 1e6)


def serve(pipe: Connection, threads: int, step: Callable[[], list[float]], every_atom: bool) -> None:
    """In a process of its own: whenever the pipe says so, a turn of steps, and one more for its matrix products."""
    torch.set_num_threads(threads)
    if every_atom:  # as on an accelerator
        Refinement.__call__ = lambda self, graphs: graphs  # type: ignore[method-assign]
    for _ in range(5):
        step()
    pipe.send("ready")
    while pipe.recv() == "turn":
        pipe.send(([step() for _ in range(STEPS_A_TURN)][1:], matmuls(step)))


def serve_peak(pipe: Connection, threads: int) -> None:
    """The same for products of two 1024 x 1024 matrices: GFLOP/s."""
    torch.set_num_threads(threads)
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    a @ b
    pipe.send("ready")
    while pipe.recv() == "turn":
        start = time.perf_counter()
        for _ in range(5):
            a @ b
        pipe.send(([5 * 2 * 1024**3 / (time.perf_counter() - start) / 1e9], None))


@contextlib.contextmanager
def served(target: Callable[..., None], *arguments: Any) -> Iterator[Connection]:
    """The pipe to a child process; forked, so that molecules are read once."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=target, args=(theirs, *arguments), daemon=True)
    process.start()
    assert ours.recv() == "ready"
    yield ours
    process.join()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--task", default="bace", help="data set of the catalogue")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--shape", default="3x64", help="layers x width")
    given = parser.parse_args()
    prepare_process()  # as the product does, for all alternatives alike
    torch.set_num_threads(1)  # a process with OpenMP threads cannot be forked
    table = load_table(given.task)
    smiles = [table.smiles[row] for row in parse_smiles(table.smiles).kept]
    layers, width = (int(part) for part in given.shape.split("x"))
    corpus = MoleculeCorpus(smiles, DEFAULT_OBJECTIVES, encoder={"layers": layers, "width": width})
    print(f"torch {torch.__version__}, {given.threads} threads, {describe_processor()}")
    print(f"{given.task}, {given.shape}, batch {given.batch}; {describe(corpus, given.batch)}")
    print(f"losses differ from PyTorch Geometric's by {work.agreement(corpus, given.batch):.1e} at most")
    with contextlib.ExitStack() as stack:
        pipes: dict[tuple[str, str], Connection] = {}
        for kind, alternatives in KINDS.items():
            for name, build in alternatives.items():
                for bf16 in (False, True) if name == OURS else (False,):
                    step = stepper(build(corpus, given.batch), bf16)
                    key = (kind, f"{name}, bf16" if bf16 else name)
                    pipes[key] = stack.enter_context(served(serve, given.threads, step, name != OURS))
        pipes["peak", ""] = stack.enter_context(served(serve_peak, given.threads))
        turns: dict[tuple[str, str], list[Any]] = {key: [] for key in pipes}
        products: dict[tuple[str, str], list[Any]] = {key: [] for key in pipes}
        for _ in range(given.rounds):
            for key, pipe in pipes.items():
                pipe.send("turn")
                steps, product = pipe.recv()
                turns[key] += steps
                products[key].append(product)
        for pipe in pipes.values():
            pipe.send("end")
    report(turns, products)


def describe(corpus: MoleculeCorpus, batch: int) -> str:
    """Rows of each layer in one batch."""
    drawn = cast(MoleculeBatch, corpus.draw_batch(batch, torch.Generator().manual_seed(0)))
    graphs = cast(Graphs, drawn.joint)
    each = [
        level.counts.split(level.parts)
        for level in cast(EncoderRows, graphs.encoder_rows).layers
        if level.counts is not None
    ]
    rows = [[int((counts > 0).sum()) for counts in view] for view in zip(*each, strict=True)]
    return f"{graphs.num_atoms} atoms in {len(rows)} views, classes at each layer {rows}"


def report(turns: dict[tuple[str, str], list[Any]], products: dict[tuple[str, str], list[Any]]) -> None:
    """Print phases, ratios and matmul rates."""
    peak = statistics.median(turns.pop(("peak", "")))
    print(f"fp32 product of 1024 x 1024: {peak:.0f} GFLOP/s\n")
    head = "".join(f"{phase:>10s}" for phase in (*PHASES, "step, ms"))
    print(f"{'':36s}{head}{'matmuls, ms':>13s}{'GFLOP':>8s}{'GFLOP/s':>9s}{'of peak':>9s}")
    totals = {}
    for (kind, name), steps in turns.items():
        phases = [statistics.median(phase) for phase in zip(*steps, strict=True)]
        totals[kind, name] = statistics.median(sum(step) for step in steps)
        seconds = statistics.median(product.seconds for product in products[kind, name])
        flops = statistics.median(product.flops for product in products[kind, name])
        rate = flops / seconds / 1e9
        print(
            f"{kind + ': ' + name:36s}{''.join(f'{ms:10.2f}' for ms in (*phases, totals[kind, name]))}"
            f"{1e3 * seconds:13.2f}{flops / 1e9:8.2f}{rate:9.0f}{rate / peak:9.0%}"
        )
    print()
    for kind in KINDS:
        theirs, own = totals[kind, GEOMETRIC], totals[kind, OURS]
        classes = totals[kind, EVERY_ATOM] / own
        bf16 = own / totals[kind, f"{OURS}, bf16"]
        print(
            f"{kind}: {theirs / own:.2f} times PyTorch Geometric's throughput, "
            f"{classes:.2f} times that on every atom; bf16 {bf16:.2f} times fp32"
        )


if __name__ == "__main__":
    main()
