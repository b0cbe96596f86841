"""The same iteration by Betty's own engine (betty-ml; pip 24.0 or older installs it), where it is importable."""

from __future__ import annotations

import logging
from typing import Any

import torch
from timing import Variant
from torch import nn
from workloads import Workload


def betty(w: Workload) -> tuple[Variant | None, str]:
    """One iteration of all three levels with the `darts` rule, Adam throughout; or None and the reason."""
    try:
        from betty.configs import Config, EngineConfig
        from betty.engine import Engine
        from betty.problems import ImplicitProblem
    except ImportError as error:
        return None, f"skipped: betty is not importable ({error})"
    logging.disable(logging.INFO)  # its engine announces every step

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.logits = nn.Parameter(torch.zeros(w.k))

    class Pretrain(ImplicitProblem):
        def training_step(self, batch: Any) -> Any:
            return (self.weights.module.logits.softmax(0) * w.pretraining.losses(self.module, batch)).sum()

    class Finetune(ImplicitProblem):
        def training_step(self, batch: Any) -> Any:
            theta = dict(self.pretrain.module.named_parameters())
            pull = [(p - theta[f"encoder.{n}"]).square().sum() for n, p in self.module.encoder.named_parameters()]
            # Its difference asks for a gradient in every parameter of θ, so the heads appear with factor 0.
            unused = torch.stack([p.sum() for n, p in theta.items() if not n.startswith("encoder.")]).sum()
            pulled = w.finetuning.gamma * torch.stack(pull).sum() + 0 * unused
            return w.finetuning.loss(self.module, batch) + pulled

    class Weights(ImplicitProblem):
        def training_step(self, batch: Any) -> Any:
            return w.finetuning.loss(self.finetune.module, batch)

    device = next(w.pretraining.module.parameters()).device

    def problem(kind: Any, name: str, module: nn.Module, batch: Any) -> Any:
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-5)
        own = kind(
            name=name,
            config=Config(type="darts", unroll_steps=1, allow_unused=True),
            module=module,
            optimizer=optimizer,
            train_data_loader=[batch],
            device=str(device),
        )
        own.get_batch = lambda: batch  # its own moving to the device knows lists of tensors alone
        return own

    pretrain = problem(Pretrain, "pretrain", w.pretraining.module, w.pretrain_batch)
    finetune = problem(Finetune, "finetune", w.finetuning.module, w.train_batch)
    weights = problem(Weights, "weights", Logits().to(device), w.valid_batch)
    engine = Engine(
        config=EngineConfig(train_iters=1, valid_step=10**9),
        problems=[weights, pretrain, finetune],
        dependencies={"u2l": {weights: [pretrain]}, "l2u": {pretrain: [finetune], finetune: [weights]}},
    )
    return Variant(1, engine.run), ""
