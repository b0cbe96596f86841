"""What a workload is: a three-level problem on fixed batches."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from torch import nn

from tapweight import Finetuning, Pretraining, Probe


@dataclass
class Workload:
    """One batch of each kind is enough to time. `sizes` says how large they are; `iterations` make one timed block."""

    describe: str
    sizes: str
    pretraining: Pretraining
    finetuning: Finetuning
    pretrain_batch: Any
    train_batch: Any
    valid_batch: Any
    k: int
    probe: Probe
    iterations: int


class FineTuned(nn.Module):
    """A copy of the encoder and a linear head."""

    def __init__(self, encoder: nn.Module, width: int, outputs: int = 1) -> None:
        super().__init__()
        self.encoder, self.head = copy.deepcopy(encoder), nn.Linear(width, outputs)
