"""What would make a hypergradient wrong without a word: refused, or found out on first use."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from numbers import Integral, Real
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tapweight.parts import parameters_of


@dataclass
class FirstUse:
    """What the first hypergradient of a level found out about its losses, so that later ones need not look again.

    Attributes:
        product: the way of computing products with the Hessian that works and is symmetric; None before the first.
        note: why an earlier way was given up.
        forward_mode: does `jvp` give what a backward pass gives? None before the first.
    """

    product: str | None = None
    note: str | None = None
    forward_mode: bool | None = None


def inner(module: nn.Module) -> nn.Module:
    """The module within DistributedDataParallel: functional passes need none of its hooks."""
    return module.module if isinstance(module, DistributedDataParallel) else module


def group_of(module: nn.Module) -> Any:
    """The process group over which a hypergradient is averaged: that of DistributedDataParallel, else None."""
    return module.process_group if isinstance(module, DistributedDataParallel) else None


def mean_over_ranks(tensor: Tensor, group: Any) -> Tensor:
    """The mean over the group's processes, the same bits on each; `tensor` itself without a group."""
    if group is None:
        return tensor
    tensor = tensor.contiguous().clone()
    dist.all_reduce(tensor, group=group)
    return tensor / dist.get_world_size(group)


def plain_name(name: str) -> str:
    """A parameter's name without what `torch.compile` (`_orig_mod`) and data parallelism (`module`) put in it."""
    return ".".join(part for part in name.split(".") if part not in ("_orig_mod", "module"))


def refuse_unsupported(module: nn.Module) -> None:
    """Raise ValueError for modules on which functional passes would be wrong."""
    for name, parameter in parameters_of(module).items():
        if hasattr(parameter, "device_mesh"):
            raise ValueError(
                f"parameter {name!r} is sharded (FSDP, tensor parallelism), which is not supported: use "
                "DistributedDataParallel, or learn the weights on a smaller model"
            )
    for name, part in module.named_modules():
        if type(part).__name__ == "FullyShardedDataParallel":
            raise ValueError("FullyShardedDataParallel is not supported: use DistributedDataParallel")
        if getattr(part, "max_norm", None) is not None and isinstance(part, nn.Embedding | nn.EmbeddingBag):
            raise ValueError(
                f"{name or 'the module'} is an embedding with max_norm, whose forward pass changes its weights in "
                "place: leave max_norm out and clip the weights after the optimiser's step"
            )


def refuse_off_simplex(weights: Tensor) -> None:
    """Raise ValueError unless the weights (K,) are non-negative and sum to 1."""
    if not isinstance(weights, Tensor):
        raise ValueError(f"weights is a {type(weights).__name__}, must be a tensor of K numbers that sum to 1")
    if weights.ndim != 1 or not bool((weights >= 0).all()) or abs(float(weights.sum()) - 1) > 1e-3:
        raise ValueError(
            f"weights must be K numbers of at least 0 that sum to 1, got {weights.tolist()}: "
            "ObjectiveWeights.values, or softmax of your logits"
        )


def no_gradient(what: str, where: str) -> str:
    """The message for a loss from which no gradient reaches the parameters."""
    return (
        f"no gradient of {what} reaches {where}: is it detached, computed under no_grad, or behind re-entrant "
        "checkpointing (use_reentrant=False has one)?"
    )


def whole(name: str, value: int, least: int, *, otherwise: str = "") -> int:
    """`value`, or ValueError: numpy's whole numbers are taken; True, 2.0 and NaN are none.

    `otherwise` tells what else may be given, such as None.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} is {value!r}, must be a whole number of at least {least}{otherwise}")
    return int(value)


def number(name: str, value: float, *, positive: bool = False, below: float = inf, otherwise: str = "") -> float:
    """`value`, or ValueError where it is negative (or 0, if `positive`), infinite, `below` or more, or no number."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value < below or (positive and value == 0):
        least = "positive" if positive else "at least 0"
        most = "finite" if below == inf else f"below {below:g}"
        raise ValueError(f"{name} is {value!r}, must be {least} and {most}{otherwise}")
    return float(value)


def agree(a: float, b: float, scale: float, dtype: torch.dtype) -> bool:
    """Are two numbers that were computed in different ways equal up to rounding?

    `scale`: the size of the terms that were summed to get them, which sets the rounding error.
    """
    unit = torch.finfo(dtype).eps
    return abs(a - b) <= 10 * float(unit**0.5) * max(abs(a), abs(b)) + 100 * unit * scale
