"""The GIN of the molecule task on BACE, with the task's own objectives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tapweight import Finetuning, Pretraining, Probe
from workloads.base import FineTuned, Workload


def gin(device: torch.device, rows: Sequence[int] | None) -> Workload:
    """Six objectives in two passes of the encoder (whole and masked molecules)."""
    from hpo_bench.core.device import prepare_process
    from hpo_bench.tasks.molecule.load import load_set

    threads = torch.get_num_threads()
    prepare_process()  # glibc keeps freed memory, as it does in the product
    torch.set_num_threads(threads)
    rows = rows or (128, 32, 32)
    task: Any = load_set("bace", device=device).task
    model = task.build_model()

    def embed(module: Any, batch: tuple[Any, Tensor]) -> Tensor:
        return module.encoder(batch[0])[1]  # type: ignore[no-any-return]

    def loss(module: Any, batch: tuple[Any, Tensor]) -> Tensor:
        return task.task_loss(module.head(embed(module, batch)), batch[1])  # type: ignore[no-any-return]

    def some(split: Any, n: int) -> tuple[Any, Tensor]:
        index = torch.randperm(len(split), device=device)[:n]
        return task.corpus.refinement(split.inputs.batch(index)), split.labels[index]

    batch = task.draw_batch(rows[0], torch.Generator(device=task.draws_on).manual_seed(0))
    train, valid = some(task.train, rows[1]), some(task.valid, rows[2])
    return Workload(
        f"GIN {task.corpus.encoder_config['layers']} × {task.embedding_width} of `hpo_bench` on BACE, "
        f"{len(task.objectives)} objectives",
        f"{len(batch)} / {len(train[1])} / {len(valid[1])} molecules",
        Pretraining(model, task.objective_losses),
        Finetuning(FineTuned(model.encoder, task.embedding_width, task.outputs).to(device), loss, gamma=0.1),
        batch,
        train,
        valid,
        len(task.objectives),
        Probe(embed, lambda b: b[1], head="logistic"),
        iterations=5 if len(batch) <= 256 else 1,
    )
