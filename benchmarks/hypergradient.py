"""What learning the weights costs, in plain pretraining steps.

    python benchmarks/hypergradient.py                       # all workloads that can be built here
    python benchmarks/hypergradient.py --workload gin --rounds 30 --threads 2

Each round times every variant once, in an order that rotates, on the same machine in the same minute; the table gives
the median over rounds of the ratio to that round's plain pretraining step. Every variant's time is that of whole
iterations: a pretraining step, a fine-tuning step, a weight update where one is due. Ratios need a quiet machine: the
spread between quartiles is printed beside each.
"""

from __future__ import annotations

import argparse
import copy
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapweight import (
    Finetuning,
    Learner,
    ObjectiveWeights,
    Pretraining,
    Probe,
    hypergradient,
    probe_hypergradient,
    released_hypergradient,
    solvers,
)

GOALS = {"1": 1.6, "5": 1.2}


@dataclass
class Workload:
    """A problem on fixed batches: one of each kind is enough to time."""

    name: str
    describe: str
    pretraining: Pretraining
    finetuning: Finetuning
    pretrain_batch: Any
    train_batch: Any
    valid_batch: Any
    k: int
    probe: Probe | None = None


class FineTuned(nn.Module):
    """A copy of the encoder and a linear head."""

    def __init__(self, encoder: nn.Module, width: int, outputs: int = 1) -> None:
        super().__init__()
        self.encoder, self.head = copy.deepcopy(encoder), nn.Linear(width, outputs)


# ---- a 3-layer message-passing net, self-contained -------------------------------------------------------------------


class MessagePassing(nn.Module):
    """3 × 64: sum over neighbours, two-layer update, batch norm."""

    def __init__(self, width: int = 64, layers: int = 3) -> None:
        super().__init__()
        self.embed = nn.Embedding(40, width)
        self.updates = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width), nn.BatchNorm1d(width))
            for _ in range(layers)
        )

    def forward(self, atoms: Tensor, source: Tensor, target: Tensor) -> Tensor:
        h = self.embed(atoms)
        for update in self.updates:
            h = F.relu(update(h + torch.zeros_like(h).index_add(0, target, h.index_select(0, source))))
        return h


def message_passing(device: torch.device, rows: list[int]) -> Workload:
    """Random molecules of 24 atoms, three objectives in one pass."""
    width = 64

    def graph(molecules: int) -> dict[str, Tensor]:
        n = molecules * 24
        base = torch.arange(n).repeat_interleave(2) // 24 * 24
        source, target = torch.arange(n).repeat_interleave(2), base + torch.randint(24, (2 * n,))
        out = {
            "atoms": torch.randint(40, (n,)),
            "source": torch.cat([source, target]),
            "target": torch.cat([target, source]),
            "molecule": torch.arange(n) // 24,
            "label": torch.randn(molecules, 1),
        }
        return {key: value.to(device) for key, value in out.items()}

    class Pretrained(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = MessagePassing(width)
            self.atom, self.mean, self.project = nn.Linear(width, 40), nn.Linear(width, 16), nn.Linear(width, width)

    def pool(h: Tensor, b: dict[str, Tensor]) -> Tensor:
        return torch.zeros(len(b["label"]), width, device=h.device).index_add(0, b["molecule"], h) / 24

    def losses(module: Any, b: dict[str, Tensor]) -> Tensor:
        mask = torch.rand(b["atoms"].shape, device=device) < 0.15
        h = module.encoder(b["atoms"].masked_fill(mask, 39), b["source"], b["target"])
        g = pool(h, b)
        z = F.normalize(module.project(F.dropout(g, 0.1)), dim=1)
        y = F.normalize(module.project(F.dropout(g, 0.1)), dim=1)
        contrast = F.cross_entropy(z @ y.T / 0.1, torch.arange(len(z), device=device))
        return torch.stack([F.cross_entropy(module.atom(h), b["atoms"]), module.mean(g).square().mean(), contrast])

    def embed(encoder: Any, b: dict[str, Tensor]) -> Tensor:
        return pool(encoder(b["atoms"], b["source"], b["target"]), b)

    pretrained = Pretrained().to(device)
    return Workload(
        "stand-in",
        "message passing 3 × 64",
        Pretraining(pretrained, losses),
        Finetuning(
            FineTuned(pretrained.encoder, width).to(device),
            lambda m, b: (cast(Any, m).head(embed(m.encoder, b)) - b["label"]).square().mean(),
            gamma=0.1,
        ),
        graph(rows[0]),
        graph(rows[1]),
        graph(rows[2]),
        3,
        Probe(lambda m, b: embed(m.encoder, b), lambda b: b["label"]),
    )


# ---- the GIN of hpo_bench, with its own objectives -------------------------------------------------------------------


def gin(device: torch.device, rows: list[int]) -> Workload:
    """BACE with the task's own objectives."""
    from hpo_bench.tasks.molecule.load import load_set

    task: Any = load_set("bace", device=device).task
    model = task.build_model()

    def loss(module: Any, batch: tuple[Any, Tensor]) -> Tensor:
        split, index = batch
        return task.task_loss(module.head(task.embed(module.encoder, split.inputs, index)), split.labels[index])

    generator = torch.Generator(device=device).manual_seed(0)
    return Workload(
        "gin",
        f"hpo_bench GIN on BACE, {len(task.objectives)} objectives",
        Pretraining(model, task.objective_losses),
        Finetuning(FineTuned(model.encoder, task.embedding_width, task.outputs).to(device), loss, gamma=0.1),
        task.draw_batch(rows[0], generator),
        (task.train, torch.randperm(len(task.train), device=device)[: rows[1]]),
        (task.valid, torch.randperm(len(task.valid), device=device)[: rows[2]]),
        len(task.objectives),
        Probe(lambda m, b: task.embed(m.encoder, b[0].inputs, b[1]), lambda b: b[0].labels[b[1]], head="logistic"),
    )


# ---- a 6-layer BERT, MiniLM's size -----------------------------------------------------------------------------------


def bert(device: torch.device, rows: list[int]) -> Workload:
    """MLM and SOP in one pass, SimCSE in two more; random tokens of length 64."""
    from transformers import BertConfig, BertModel

    config = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)

    class Pretrained(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = BertModel(config, add_pooling_layer=False)
            self.transform, self.order = nn.Linear(384, 384), nn.Linear(384, 2)

    def losses(module: Any, b: dict[str, Tensor]) -> Tensor:
        ids = b["ids"]
        mask = torch.rand(ids.shape, device=device) < 0.15
        h = module.encoder(ids.masked_fill(mask, 103)).last_hidden_state
        decoder = module.encoder.embeddings.word_embeddings.weight  # tied, as in BERT
        mlm = F.cross_entropy(F.gelu(module.transform(h[mask])) @ decoder.T, ids[mask])
        sop = F.cross_entropy(module.order(h[:, 0]), b["order"])
        z, y = (F.normalize(v, dim=1) for v in module.encoder(ids.repeat(2, 1)).last_hidden_state[:, 0].chunk(2))
        return torch.stack([mlm, F.cross_entropy(z @ y.T / 0.05, torch.arange(len(z), device=device)), sop])

    def batch(rows: int) -> dict[str, Tensor]:
        out = {
            "ids": torch.randint(1000, 30000, (rows, 64)),
            "order": torch.randint(2, (rows,)),
            "label": torch.rand(rows, 1),
        }
        return {key: value.to(device) for key, value in out.items()}

    pretrained = Pretrained().to(device)
    return Workload(
        "bert",
        "BERT 6 × 384, 64 tokens, MLM + SimCSE + SOP",
        Pretraining(pretrained, losses),
        Finetuning(
            FineTuned(pretrained.encoder, 384).to(device),
            lambda m, b: F.binary_cross_entropy_with_logits(
                cast(Any, m).head(cast(Any, m).encoder(b["ids"]).last_hidden_state[:, 0]), b["label"]
            ),
            gamma=0.1,
        ),
        batch(rows[0]),
        batch(rows[1]),
        batch(rows[2]),
        3,
        Probe(lambda m, b: cast(Any, m).encoder(b["ids"]).last_hidden_state[:, 0], lambda b: b["label"]),
    )


WORKLOADS: dict[str, Callable[[torch.device, list[int]], Workload]] = {
    "stand-in": message_passing,
    "gin": gin,
    "bert": bert,
}


# ---- variants --------------------------------------------------------------------------------------------------------


def variants(w: Workload) -> dict[str, tuple[int, Callable[[], Any]]]:
    """Name → (iterations that a call makes, the call)."""
    # Plain Adam: what a weight update costs does not depend on the optimiser, and every variant has the same.
    theta_optimizer = torch.optim.Adam(w.pretraining.module.parameters(), lr=1e-5)
    phi_optimizer = torch.optim.Adam(w.finetuning.module.parameters(), lr=1e-5)
    weights = ObjectiveWeights(w.k, lr=1e-3)

    def learner(every: int, **options: Any) -> Learner:
        return Learner(w.pretraining, w.finetuning, weights, theta_optimizer, phi_optimizer, every=every, **options)

    def run(a: Learner, steps: int) -> Callable[[], None]:
        def call() -> None:
            for _ in range(steps):
                a.step(w.pretrain_batch, w.train_batch, w.valid_batch)

        return call

    def pretrain_step() -> None:
        theta_optimizer.zero_grad(set_to_none=True)
        (
            w.pretraining.losses(w.pretraining.module, w.pretrain_batch)
            * weights.values.to(next(w.pretraining.module.parameters()))
        ).sum().backward()
        theta_optimizer.step()

    batches: dict[str, Any] = {
        "pretrain_batches": [w.pretrain_batch],
        "train_batches": [w.train_batch],
        "valid_batches": [w.valid_batch],
    }

    def update(function: Callable[..., Any], level: Any, **options: Any) -> Callable[[], Any]:
        return lambda: weights.update(function(w.pretraining, level, weights.values, **batches, **options).weights)

    no_update = run(learner(10**9), 1)

    def darts() -> None:
        weights.update(
            released_hypergradient(
                w.pretraining,
                w.finetuning,
                weights.values,
                pretrain_batch=w.pretrain_batch,
                train_batch=w.train_batch,
                valid_batch=w.valid_batch,
                autocast=None,
                common_random_numbers=True,
            ).weights
        )

    def with_darts(every: int) -> Callable[[], None]:
        def call() -> None:
            for _ in range(every):
                no_update()
            darts()

        return call

    out: dict[str, tuple[int, Callable[[], Any]]] = {
        "pretraining step": (1, pretrain_step),
        "+ fine-tuning step, weights fixed": (1, no_update),
        "forward, every step": (1, run(learner(1, last_step="forward"), 1)),
        "central, every step": (1, run(learner(1), 1)),
        "jvp, every step": (1, run(learner(1, last_step="jvp"), 1)),
        "adam_diagonal + central, every step": (
            1,
            run(
                learner(
                    1,
                    finetune_solver=solvers.AdamDiagonal(phi_optimizer),
                    pretrain_solver=solvers.AdamDiagonal(theta_optimizer),
                ),
                1,
            ),
        ),
        "darts, every step": (1, with_darts(1)),
        "forward, every 5 steps": (5, run(learner(5, last_step="forward"), 5)),
        "central, every 5 steps": (5, run(learner(5), 5)),
        "darts, every 5 steps": (5, with_darts(5)),
        "one update: central": (1, update(hypergradient, w.finetuning)),
        "one update: 5 CG iterations at both levels": (
            1,
            update(
                hypergradient,
                w.finetuning,
                finetune_solver=solvers.ConjugateGradient(5, damping=100.0),
                pretrain_solver=solvers.ConjugateGradient(5, damping=100.0),
            ),
        ),
    }
    try:
        out["jvp, every step"][1]()
    except NotImplementedError:  # an operation without forward mode
        del out["jvp, every step"]
    if w.probe is not None:
        out["one update: probe limit"] = (1, update(probe_hypergradient, w.probe))
    return out


def seconds(call: Callable[[], Any], device: torch.device, clock: Callable[[], float]) -> float:
    start = clock()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def peak_bytes(call: Callable[[], Any], device: torch.device) -> int:
    """Most bytes allocated during the call above what was there before it."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        call()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]  # type: ignore[union-attr]
    live = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


def measure(
    w: Workload, rounds: int, device: torch.device, clock: Callable[[], float], quick: bool
) -> list[tuple[str, float, float, float, float]]:
    """Rows (variant, median ratio, lower and upper quartile, memory ratio)."""
    calls = variants(w)
    if quick:
        calls = {name: call for name, call in calls.items() if "CG" not in name}
    for _, call in calls.values():
        call()  # warm-up
    names, ratios = list(calls), {name: [] for name in calls}  # type: ignore[var-annotated]
    for r in range(rounds):
        took = {}
        for name in names[r % len(names) :] + names[: r % len(names)]:
            iterations, call = calls[name]
            took[name] = seconds(call, device, clock) / iterations
        for name in names:
            ratios[name].append(took[name] / took["pretraining step"])
    memory = {name: peak_bytes(call, device) for name, (_, call) in calls.items()}
    rows = []
    for name in names:
        low, _, high = statistics.quantiles(ratios[name], n=4) if rounds > 1 else [ratios[name][0]] * 3
        rows.append((name, statistics.median(ratios[name]), low, high, memory[name] / memory["pretraining step"]))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=list(WORKLOADS), action="append", help="default: all")
    parser.add_argument(
        "--batches",
        type=int,
        nargs=3,
        default=[128, 32, 32],
        metavar=("PRETRAIN", "TRAIN", "VALID"),
        help="rows of a batch at each level (published: molecules 1536 64 64, language 32 32 32)",
    )
    parser.add_argument("--quick", action="store_true", help="leave out the second-order row, 40 steps long")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
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
    where = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, {where}, {args.threads} threads, "
        f"{args.rounds} rounds, {args.clock} time, seed 0"
    )
    for name in args.workload or WORKLOADS:
        torch.manual_seed(0)
        try:
            workload = WORKLOADS[name](device, args.batches)
        except ImportError as error:
            print(f"\n{name}: skipped, {error}")
            continue
        rows = measure(
            workload, args.rounds, device, time.perf_counter if args.clock == "wall" else time.process_time, args.quick
        )
        print(f"\n### {workload.name}: {workload.describe}, batches {' / '.join(map(str, args.batches))}\n")
        print("| iteration | time / pretraining step | quartiles | peak memory |")
        print("| --- | --- | --- | --- |")
        for row in rows:
            print(f"| {row[0]} | {row[1]:.2f} | {row[2]:.2f} to {row[3]:.2f} | {row[4]:.2f} |")
        for every, goal in GOALS.items():
            reached = min(
                r[1]
                for r in rows
                if r[0].endswith("every step" if every == "1" else f"every {every} steps")
                and not r[0].startswith("darts")
            )
            verdict = "reached" if reached <= goal else "missed"
            print(f"\ngoal, an update every {every} steps: {goal}; best {reached:.2f}, {verdict}", end="")
        print()


if __name__ == "__main__":
    main()
