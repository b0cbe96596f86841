"""Pretraining steps on molecules on a device: the same twice, how many launches, how busy, and how fast."""

from __future__ import annotations

import collections
import hashlib
import importlib.util
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from workloads import molecule_step as work

from hpo_bench.core.device import resolve_device
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.pretraining import Pretrainer
from hpo_bench.core.protocol import Precision, Protocol
from hpo_bench.data import load_table, parse_smiles
from hpo_bench.tasks.base import Pretrainable
from hpo_bench.tasks.molecule.cache import featurise
from hpo_bench.tasks.molecule.corpus import MoleculeCorpus
from hpo_bench.tasks.sending import replaced

Row = tuple[str, str, str, bool | None]


@dataclass(frozen=True)
class Size:
    """Where, and whether small."""

    device: torch.device
    small: bool

    @property
    def cuda(self) -> bool:
        return resolve_device(str(self.device)).type == "cuda"


def synchronise(size: Size) -> None:
    if size.cuda:
        torch.cuda.synchronize()


def milliseconds(size: Size, call: Callable[[], Any], count: int, warm: int = 3) -> float:
    """Of one call, the mean of `count`."""
    for _ in range(warm):
        call()
    synchronise(size)
    start = time.perf_counter()
    for _ in range(count):
        call()
    synchronise(size)
    return 1e3 * (time.perf_counter() - start) / count


@dataclass(frozen=True)
class Profile:
    """Of one step: kernels, calls from Python that launch something, and the device's busy share of the time."""

    kernels: float
    launches: float
    busy: float


def profiled(size: Size, call: Callable[[], Any], count: int) -> Profile:
    """The busy share is over the wall clock without a profiler: the profiler itself slows the host."""
    wall = milliseconds(size, call, count)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        for _ in range(count):
            call()
        synchronise(size)
    events = seen.events() or []
    kernels = [event for event in events if str(event.device_type).endswith("CUDA")]
    names = collections.Counter(event.name for event in events)
    launches = sum(n for name, n in names.items() if name.startswith(("cudaLaunch", "cuLaunch", "cudaGraphLaunch")))
    launches += sum(n for name, n in names.items() if name.startswith(("cudaMemcpy", "cudaMemset")))
    busy = sum(event.time_range.elapsed_us() for event in kernels) / 1e3 / count / wall
    return Profile(len(kernels) / count, launches / count, busy)


def smiles(size: Size) -> list[str]:
    """BACE."""
    table = load_table("bace")
    kept = [table.smiles[row] for row in parse_smiles(table.smiles).kept]
    return kept[:150] if size.small else kept


def trainer(corpus: Pretrainable, batch: int, precision: Precision = "fp32", captured: bool = True) -> Pretrainer:
    """A fresh trainer; `captured` False: every step eager."""
    made = Pretrainer(corpus, Protocol(batch_size=batch, precision=precision), 0, CostMeter(batch, corpus.device))
    if not captured:
        made._captured = None
    return made


def stepper(made: Pretrainer, held: bool = False) -> Callable[[], torch.Tensor]:
    """A whole step: draw, send, train; `held`: train alone, on one batch that is there."""
    k = made.task.num_objectives
    weights = torch.full((k,), 1 / k, device=made.task.device)
    if held:
        batch = made.draw_batch(0)
        return lambda: made.step(weights, batch)
    return lambda: made.step(weights, made.draw_batch(made.step_number))


def digest(module: nn.Module) -> str:
    """Of all parameters and buffers."""
    sha = hashlib.sha256()
    for value in module.state_dict().values():
        sha.update(value.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


def end_of(corpus: Pretrainable, batch: int, precision: Precision, captured: bool, steps: int) -> str:
    """What a short training ends with."""
    made = trainer(corpus, batch, precision, captured)
    step = stepper(made)
    for _ in range(steps):
        step()
    return digest(made.model)


def determinism(size: Size) -> Iterator[Row]:
    """The same training twice, and captured steps beside eager ones."""
    corpus = MoleculeCorpus(smiles(size), encoder={"layers": 3, "width": 64}, device=size.device)
    batch, steps = (16, 4) if size.small else (128, 20)
    for precision in _precisions(size):
        ends = [end_of(corpus, batch, precision, captured, steps) for captured in (True, True, False)]
        twice = ends[0] == ends[1]
        yield f"{steps} steps twice, {precision}", "identical" if twice else "different", "identical", twice
        same = ends[0] == ends[2]
        yield f"captured and eager steps, {precision}", "identical" if same else "different", "identical", same


def _precisions(size: Size) -> tuple[Precision, ...]:
    return ("fp32", "tf32", "bf16") if size.cuda else ("fp32", "bf16")


def steps(size: Size) -> Iterator[Row]:
    """Six objectives, beside PyTorch Geometric with a batch that stays on the device."""
    molecules = smiles(size)
    arrays = featurise(molecules)
    shapes = ((2, 16, 16, 0.0, 0.0, 1),) if size.small else ((3, 64, 128, 0.7, 5.0, 20), (5, 300, 1536, 0.9, 2.0, 6))
    for layers, width, batch, busy, ratio, count in shapes:
        what = f"{layers} × {width}, {batch} molecules"
        encoder = {"layers": layers, "width": width}
        corpus = MoleculeCorpus(molecules, encoder=encoder, device=size.device, molecules=arrays)
        took: dict[str, float] = {}
        for precision in _precisions(size):
            made = trainer(corpus, batch, precision)
            took[precision] = milliseconds(size, stepper(made), count)
            yield f"{what}, {precision}", f"{took[precision]:.2f} ms", "–", None
            if size.cuda and precision == "bf16":
                eager = milliseconds(size, stepper(trainer(corpus, batch, precision, captured=False)), count)
                yield f"{what}, {precision}, eager", f"{eager:.2f} ms", "–", None
                for how, call in (("drawing included", stepper(made)), ("batch at hand", stepper(made, held=True))):
                    seen = profiled(size, call, count)
                    launched = f"{seen.launches:.0f}, which run {seen.kernels:.0f} kernels"
                    yield f"{what}, {how}: launches from Python", launched, "≤ 20", seen.launches <= 20
                    yield f"{what}, {how}: busy share", f"{seen.busy:.2f}", f"≥ {busy}", seen.busy >= busy
                resident = milliseconds(size, stepper(made, held=True), count)
                yield f"{what}, {precision}, batch at hand", f"{resident:.2f} ms", "–", None
                yield f"{what}: captured", made._captured.reason or "yes" if made._captured else "no", "yes", None
        if importlib.util.find_spec("torch_geometric") is None:
            yield f"{what}, × PyTorch Geometric", "not run: torch-geometric is not installed", "–", None
            continue
        theirs = _geometric(size, corpus, molecules, arrays, batch, max(count // 2, 1))
        for kind, base in theirs.items():
            yield f"{what}, {kind}, PyTorch Geometric", f"{base:.2f} ms", "–", None
        times = theirs["bf16"] / took["bf16"]
        goal = f"≥ {ratio:g}" if size.cuda else "–"
        yield f"{what}, bf16, × PyTorch Geometric", f"{times:.2f}", goal, times >= ratio if size.cuda else None


def _geometric(
    size: Size, corpus: MoleculeCorpus, molecules: list[str], arrays: Any, batch: int, count: int
) -> dict[str, float]:
    """PyTorch Geometric's encoder as its examples write it, with the same losses, on a batch that is there already."""
    host = MoleculeCorpus(molecules, encoder=corpus.encoder_config, molecules=arrays)
    index = torch.randperm(len(host), generator=torch.Generator().manual_seed(0))[:batch]
    raw = host.batch_of(index, torch.Generator().manual_seed(1))
    drawn = replaced(raw, lambda tensor: tensor.to(size.device))
    packed, views = host.packed, {}
    for name, graph in raw.views.items():
        edges = torch.stack([graph.source, graph.destination])
        given = packed.atom_values[graph.atom_code], edges, packed.bond_values[graph.bond_code], graph.molecule
        views[name] = [tensor.to(size.device) for tensor in given]
    base, _ = work.seeded_model(corpus)
    model = work.Headed(work.GeometricEncoder(base.encoder), base.heads).to(size.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    took = {}
    for kind in ("fp32", "bf16"):

        def step(bf16: bool = kind == "bf16") -> None:
            with torch.autocast(size.device.type, torch.bfloat16, enabled=bf16):
                embedded = {name: model.encoder(*view) for name, view in views.items()}
                loss = corpus.losses_of(model.head, embedded, drawn).sum()  # type: ignore[arg-type]
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

        torch.use_deterministic_algorithms(False)  # as its users run it
        took[kind] = milliseconds(size, step, count)
    return took
