"""What one trial is: the same numbers for every method."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from hpo_bench import registry
from hpo_bench.core.settings import read_settings
from hpo_bench.errors import UserError, unknown_name

Precision = Literal["fp32", "tf32", "bf16"]
Decay = Literal["constant", "cosine", "linear"]


@dataclass(frozen=True)
class Protocol:
    """Sizes and rates of continued pretraining and of the adaptation to the task."""

    steps: int = 200  # T, steps of continued pretraining
    batch_size: int = 128
    micro_batch_size: int | None = None  # rows that pass through training at a time (gradient accumulation); None: all
    learning_rate: float = 1e-3  # of continued pretraining, at its peak
    warmup: float = 0.0  # share of the steps over which the rate rises to it
    decay: Decay = "constant"  # what it does after that: cosine and linear end at zero
    weight_decay: float = 0.0
    mode: str = "full"  # an adaptation's name (`hpo-bench list`)
    epochs: int = 20  # E, at most: early stopping on valid
    patience: int = 6  # epochs without a better valid score
    adapt_batch_size: int = 64
    adapt_learning_rate: float = 1e-3
    dropout: float = 0.1  # before the task head
    precision: Precision = "fp32"

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "epochs", "patience", "adapt_batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}", f"give a larger {name}")
        for name in ("adapt_batch_size", "micro_batch_size"):
            if (value := getattr(self, name)) is not None and value < 2:
                raise UserError(
                    f"{name} must be at least 2, not {value}: batch norm has no statistics of a single sample",
                    f"give a larger {name}",
                )
        for name in ("learning_rate", "adapt_learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"{name} must be positive, not {getattr(self, name)}", "1e-3 is the default")
        if not 0 <= self.warmup < 1:
            raise UserError(f"warmup must lie in [0, 1), not {self.warmup}", "it is a share of the steps, say 0.1")
        if not 0 <= self.weight_decay < math.inf:
            raise UserError(f"weight_decay must not be negative, not {self.weight_decay}", "0 is the default")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout must lie in [0, 1), not {self.dropout}", "0.1 is the default")

    @property
    def in_parts(self) -> bool:
        """Does a batch of continued pretraining pass through in parts?"""
        return self.micro_batch_size is not None and self.micro_batch_size < self.batch_size

    @property
    def scheduled(self) -> bool:
        """Does the rate change from step to step?"""
        return self.warmup > 0 or self.decay != "constant"

    def rate(self, step: int) -> float:
        """Learning rate of step 0, 1, … of continued pretraining. It depends on T alone, so that a trial can pause."""
        rising = self.warmup * self.steps
        if step + 1 < rising:
            return self.learning_rate * (step + 1) / rising
        left = 1 - (step + 1 - rising) / (self.steps + 1 - rising)  # never quite zero: no step is made in vain
        factor = {"constant": 1.0, "linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2}[self.decay]
        return self.learning_rate * factor

    def trial_cost(self, train_size: int, valid_size: int) -> float:
        """Step-equivalents of one whole trial, when early stopping does not shorten it."""
        return 3 * self.steps + self.adaptation_cost(train_size, valid_size)

    def adaptation_cost(self, train_size: int, valid_size: int) -> float:
        """Step-equivalents of one adaptation with its valid scores, at most."""
        return registry.load(registry.ADAPTATIONS, self.mode)().cost(self, train_size, valid_size)

    def to_json(self) -> dict[str, Any]:
        """All settings; without micro_batch_size where there is none: runs of before it are the same runs."""
        settings = asdict(self)
        if self.micro_batch_size is None:
            del settings["micro_batch_size"]
        return settings

    @classmethod
    def parsed(cls, settings: dict[str, Any]) -> Protocol:
        """From names and values; values may be text, as on a command line.

        Raises:
            UserError: a name that the protocol does not have, or a value that it cannot take.
        """
        protocol = read_settings(cls, settings, "protocol setting")
        modes = registry.names(registry.ADAPTATIONS)
        if protocol.mode not in modes:
            raise unknown_name("adaptation mode", protocol.mode, modes)
        return protocol
