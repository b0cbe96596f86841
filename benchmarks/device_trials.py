"""Several trials side by side on one device: steps a second of all together, over those of one alone.

Every trial is a process of its own, as workers of a search are, with captured steps on batches that are drawn. A trial
makes its steps once all are ready, so no start is timed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import device_steps
import torch
from device_steps import Row, Size

from hpo_bench.core.meter import peak_memory
from hpo_bench.tasks.molecule.corpus import MoleculeCorpus


def trials(size: Size) -> Iterator[Row]:
    """One, two and four at once. All are started once, together: a start takes many times longer than the steps."""
    counts, alone = (1, 2) if size.small else (1, 2, 4), 0.0
    command = [sys.executable, __file__, str(size.device), "small" if size.small else "full"]
    pipe = subprocess.PIPE
    started = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(counts[-1])]
    try:
        for one in started:
            if _line(one) != "ready":
                raise RuntimeError("a trial ended before its first step")
        for count in counts:
            begun = time.perf_counter()
            for one in started[:count]:
                assert one.stdin is not None
                one.stdin.write("go\n")
                one.stdin.flush()
            answers = [[int(word) for word in _line(one).split()] for one in started[:count]]
            rate = sum(steps for steps, _ in answers) / (time.perf_counter() - begun)
            alone, memory = alone or rate, max(peak for _, peak in answers)
            found = (
                f"{rate:.0f} steps/s, {rate / alone:.2f} times those of one; {memory / 2**20:.0f} MiB at most in each"
            )
            yield f"{count} trials at once, 3 × 64, {8 if size.small else 128} molecules", found, "–", None
    finally:
        for one in started:
            one.kill()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def main() -> None:
    """One trial: say that it is ready; for each line that comes make the steps, print how many and the memory."""
    torch.set_num_threads(1)
    size = Size(torch.device(sys.argv[1]), sys.argv[2] == "small")
    batch, count = (8, 4) if size.small else (128, 400)
    corpus = MoleculeCorpus(device_steps.smiles(size), encoder={"layers": 3, "width": 64}, device=size.device)
    step = device_steps.stepper(device_steps.trainer(corpus, batch, "bf16"))
    for _ in range(5):
        step()
    device_steps.synchronise(size)
    print("ready", flush=True)
    for _ in sys.stdin:
        for _ in range(count):
            step()
        device_steps.synchronise(size)
        print(count, peak_memory(size.device), flush=True)


if __name__ == "__main__":
    main()
