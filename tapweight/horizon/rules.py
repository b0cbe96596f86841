"""The optimisers of torch as functions of their state, so that a step can be differentiated.

A step maps (θ, state, gradient) to (θ', state'). The formulas are torch's own (SGD with momentum, Adam, AdamW), and a
test holds both to the same numbers. Adam's root has no derivative at zero: there, where a parameter has seen no
gradient yet, none is passed on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Named = dict[str, Tensor]
State = dict[str, Named]  # "m" and "v" of Adam, "buffer" of SGD: name of the parameter → tensor


@dataclass(frozen=True)
class Rule(ABC):
    """One optimiser over the named parameters it holds; `settings` are each one's own hyperparameters.

    `taken` is the number of steps that each parameter has made, `rate` the rate at a step to come (None: the group's
    own). As in torch, a parameter without a gradient is left alone, weight decay included; whether it has one must not
    change from step to step.
    """

    settings: Mapping[str, Mapping[str, Any]]
    taken: Mapping[str, int]
    rate: Callable[[int], float] | None = None

    @classmethod
    @abstractmethod
    def start(cls, optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> tuple[Rule, State]:
        """The rule and its state as the optimiser has it now; `names` by id of the parameter."""

    def learning_rate(self, name: str, step: int) -> float:
        return float(self.settings[name]["lr"]) if self.rate is None else self.rate(step)

    @abstractmethod
    def step(self, values: Named, state: State, gradients: Named, number: int) -> tuple[Named, State]:
        """Step `number` = 0, 1, … after the start; differentiable in values, state and gradients."""


@dataclass(frozen=True)
class SGD(Rule):
    """v ← μ v + (1 − d) g, θ ← θ − η v; with Nesterov θ ← θ − η (g + μ v)."""

    @classmethod
    def start(cls, optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> tuple[Rule, State]:
        held = _settings(optimizer, names)
        buffers = {}
        for parameter, name in _held(optimizer, names):
            known = optimizer.state.get(parameter, {}).get("momentum_buffer")
            if known is not None:
                buffers[name] = known.detach().clone()
        return cls(held, {}), {"buffer": buffers}

    def step(self, values: Named, state: State, gradients: Named, number: int) -> tuple[Named, State]:
        moved, buffers = dict(values), dict(state["buffer"])
        for name, gradient in gradients.items():
            own = self.settings[name]
            if own["weight_decay"]:
                gradient = gradient + own["weight_decay"] * values[name]
            if own["momentum"]:
                before = state["buffer"].get(name)  # torch's first step takes the gradient whole
                new = gradient if before is None else own["momentum"] * before + (1 - own["dampening"]) * gradient
                buffers[name] = new
                gradient = gradient + own["momentum"] * new if own["nesterov"] else new
            moved[name] = values[name] - self.learning_rate(name, number) * gradient
        return moved, {"buffer": buffers}


@dataclass(frozen=True)
class Adam(Rule):
    """m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², θ ← θ − η m̂ / (√v̂ + ε); AdamW decays θ first.

    `inside` is an ε under the root: √(v̂ + inside). Torch has none; Engstrom et al. 2025 train with it to make a run
    smooth in its metaparameters.
    """

    decoupled: bool = False
    inside: float = 0.0

    @classmethod
    def start(cls, optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> tuple[Rule, State]:
        m, v, taken = {}, {}, {}
        for parameter, name in _held(optimizer, names):
            known = optimizer.state.get(parameter, {})
            m[name] = known["exp_avg"].detach().clone() if known else torch.zeros_like(parameter)
            v[name] = known["exp_avg_sq"].detach().clone() if known else torch.zeros_like(parameter)
            taken[name] = int(known["step"]) if known else 0
        held = _settings(optimizer, names)
        if any(own.get("amsgrad") for own in held.values()):
            raise ValueError("amsgrad's maximum has no derivative here: use Adam without it")
        decoupled = isinstance(optimizer, torch.optim.AdamW)
        return cls(held, taken, decoupled=decoupled), {"m": m, "v": v}

    def step(self, values: Named, state: State, gradients: Named, number: int) -> tuple[Named, State]:
        moved, m, v = dict(values), dict(state["m"]), dict(state["v"])
        for name, gradient in gradients.items():
            own, value = self.settings[name], values[name]
            rate, count = self.learning_rate(name, number), self.taken[name] + number + 1
            if own["weight_decay"] and self.decoupled:
                value = value * (1 - rate * own["weight_decay"])
            elif own["weight_decay"]:
                gradient = gradient + own["weight_decay"] * value
            one, two = own["betas"]
            m[name] = one * state["m"][name] + (1 - one) * gradient
            v[name] = two * state["v"][name] + (1 - two) * gradient.square()
            root = _root(v[name] / (1 - two**count), self.inside)
            moved[name] = value - rate * (m[name] / (1 - one**count)) / (root + own["eps"])
        return moved, {"m": m, "v": v}


def _root(square: Tensor, inside: float) -> Tensor:
    if inside:
        return (square + inside).sqrt()
    positive = square > 0
    return torch.where(positive, torch.where(positive, square, 1.0).sqrt(), 0.0)


_RULES: dict[type[torch.optim.Optimizer], type[Rule]] = {
    torch.optim.SGD: SGD,
    torch.optim.Adam: Adam,
    torch.optim.AdamW: Adam,
}


def rule_of(
    optimizer: torch.optim.Optimizer, module: nn.Module, rate: Callable[[int], float] | None = None
) -> tuple[Rule, State]:
    """The rule of a real optimiser over a module's trainable parameters, and its state now (copies).

    Args:
        rate: learning rate of step 0, 1, … from here; None: each group's own, held constant.

    Raises:
        ValueError: another kind of optimiser, one that does not hold all trainable parameters, or one with amsgrad,
            or one that maximises.
    """
    kind = _RULES.get(type(optimizer))
    if kind is None:
        known = ", ".join(one.__name__ for one in _RULES)
        raise ValueError(f"{type(optimizer).__name__} cannot be differentiated through: {known} can")
    names = {id(p): name for name, p in module.named_parameters() if p.requires_grad}
    held = {name for _, name in _held(optimizer, names)}
    if missing := set(names.values()) - held:
        raise ValueError(f"the optimiser does not hold {sorted(missing)[0]!r}, which requires a gradient")
    if any(group.get("maximize") for group in optimizer.param_groups):
        raise ValueError("the optimiser maximises: hypergradients are of a descent")
    rule, state = kind.start(optimizer, names)
    if rate is None:
        return rule, state
    return type(rule)(**{**rule.__dict__, "rate": rate}), state


def _held(optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> list[tuple[nn.Parameter, str]]:
    every = (p for group in optimizer.param_groups for p in group["params"])
    return [(p, names[id(p)]) for p in every if id(p) in names]


def _settings(optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> dict[str, dict[str, Any]]:
    return {
        names[id(p)]: {key: value for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
        for p in group["params"]
        if id(p) in names
    }
