"""A way of adapting of one's own, in one file: LoRA through peft (`pip install peft`).

In your package's pyproject.toml, and then `pip install` your package:

    [project.entry-points."hpo_bench.adaptations"]
    lora = "my_package.lora:Lora"

From then on: `hpo-bench run --method tapweight --task digits --mode lora`.
"""

from __future__ import annotations

from typing import ClassVar

from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from hpo_bench.core.adaptation import Adapted, AdaptedModel
from hpo_bench.core.finetuning import FullFineTuning
from hpo_bench.core.meter import CostMeter
from hpo_bench.core.protocol import Protocol
from hpo_bench.core.rng import seeded
from hpo_bench.errors import UserError
from hpo_bench.tasks.base import Task

RANK = 4


class Lora(FullFineTuning):
    """The encoder is frozen; factors of low rank beside its linear and convolutional layers, and a head, are trained.

    Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, arXiv 2106.09685. For a method that
    learns weights along it is a fine-tuned copy near the encoder (`level_two` stays "tuned"); `-o level_two=probe`
    takes the limit in which the factors stay at zero.
    """

    name: ClassVar[str] = "lora"
    summary: ClassVar[str] = "low-rank factors beside a frozen encoder's layers and a head are trained (peft)"

    def blank(self, task: Task, encoder: nn.Module, protocol: Protocol, seed: int) -> AdaptedModel:
        model = super().blank(task, encoder, protocol, seed)
        layers = [name for name, part in model.encoder.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)]
        if not layers:
            raise UserError("this encoder has no linear or convolutional layer for LoRA", "take another --mode")
        with seeded(seed, "lora"):
            inject_adapter_in_model(LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=layers), model.encoder)
        return model

    def adapt(self, task: Task, encoder: nn.Module, protocol: Protocol, seed: int, meter: CostMeter) -> Adapted:
        adapted = super().adapt(task, encoder, protocol, seed, meter)
        if all(part.grad is None for name, part in adapted.model.named_parameters() if "lora_B" in name):
            # An encoder that multiplies by a layer's weight itself goes past what peft put around the layer.
            raise UserError("this encoder does not call its layers, so LoRA changes nothing", "take another --mode")
        return adapted
