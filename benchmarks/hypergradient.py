"""What learning the weights costs, in plain pretraining steps.

    python benchmarks/hypergradient.py                       # all workloads that can be built here
    python benchmarks/hypergradient.py --workload gin --rounds 30 --threads 2

Each round times every variant once, in an order that rotates, on the same machine in the same minute; the table gives
the median over rounds of the ratio to that round's plain pretraining step. Ratios need a quiet machine: the quartiles
are printed beside each.
"""

from __future__ import annotations

import argparse
import platform
import time

import betty_row
import torch
from last_step_errors import last_step_errors
from timing import Row, measure
from variants import variants
from workloads import WORKLOADS, Workload

GOALS = {"`Learner` with `forward`, every step": 1.6, "`Learner` with `forward`, every 5 steps": 1.2}
MEMORY_GOAL = 1.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=list(WORKLOADS), action="append", help="default: all")
    parser.add_argument(
        "--batches",
        type=int,
        nargs=3,
        metavar=("PRETRAIN", "TRAIN", "VALID"),
        help="rows of a batch at each level (published: molecules 1536 64 64, language 32 32 32)",
    )
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--single-updates", action="store_true", help="time single updates, too: CG takes 40 steps")
    parser.add_argument("--errors", action="store_true", help="measure the last step's errors, and no time")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--clock",
        choices=["wall", "cpu"],
        default="wall",
        help="cpu: processor time of this process, for a shared machine (with --threads 1)",
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, {where(device)}, {args.threads} threads, "
        f"{args.rounds} rounds, {args.clock} time, seed 0"
    )
    for name in args.workload or WORKLOADS:
        torch.manual_seed(0)
        try:
            workload = WORKLOADS[name](device, args.batches)
        except ImportError as error:
            print(f"\n{name}: skipped, {error}")
            continue
        if args.errors:
            print(f"\n{workload.describe}; {workload.sizes}\n\n{last_step_errors(workload)}")
            continue
        timed = variants(workload, single_updates=args.single_updates)
        row, reason = betty_row.betty(workload)
        if row is None:
            print(f"\nbetty: {reason}")
        else:
            timed["Betty's engine, every step"] = row
        clock = time.perf_counter if args.clock == "wall" else time.process_time
        report(workload, measure(timed, args.rounds, device, clock))


def where(device: torch.device) -> str:
    """The accelerator's name, or the processor's."""
    from hpo_bench.core.device import describe_processor

    return torch.cuda.get_device_name() if device.type == "cuda" else describe_processor()


def report(workload: Workload, rows: list[Row]) -> None:
    """Print the table, and the goals beside what was measured."""
    print(f"\n{workload.describe}; {workload.sizes}; plain step {1e3 * rows[0].seconds:.0f} ms\n")
    print("| iteration | time / pretraining step | quartiles | peak memory |")
    print("| --- | --- | --- | --- |")
    for row in rows:
        print(f"| {row.name} | {row.median:.2f} | {row.low:.2f} to {row.high:.2f} | {row.memory:.2f} |")
    print()
    for row in rows:
        if row.name in GOALS:
            verdicts = [
                f"{what} {got:.2f}, goal {goal}: {'reached' if got <= goal else 'missed'}"
                for what, got, goal in (("time", row.median, GOALS[row.name]), ("memory", row.memory, MEMORY_GOAL))
            ]
            print(f"{row.name}: {'; '.join(verdicts)}")


if __name__ == "__main__":
    main()
