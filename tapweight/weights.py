"""Objective weights on the simplex, and how a hypergradient moves them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from tapweight.checks import number, whole
from tapweight.evidence import Evidence


def logits_gradient(weights: Tensor, dF_dlambda: Tensor) -> Tensor:
    """dF/dα = λ ⊙ (dF/dλ − ⟨λ, dF/dλ⟩) for λ = softmax(α); both arguments and the result (K,)."""
    return weights * (dF_dlambda - (weights * dF_dlambda).sum())


class ObjectiveWeights:
    """λ on the simplex Δ^{K-1}, float64 on the CPU, starting at 1/K each.

    Args:
        names: the objectives' names, or their number K.
        parametrisation: "evidence", the default: λ = softmax(−lr · evidence), which moves as far as the hypergradients'
            sum stands out of their noise, whatever their scale and number (evidence.py); "mirror": exponentiated
            gradient, λ ← λ exp(−lr · dF/dλ) / Z (Kivinen and Warmuth 1997), whose speed does not die with λ_i;
            "softmax": λ = softmax(α), α moved by `optimizer`.
        lr: logits per unit of evidence (default 1); step length per unit of dF/dα (softmax) or dF/dλ (mirror), with
            Adam and with `scaled` in units of α (default 0.05).
        trust: standard errors from zero within which a mean hypergradient moves nothing (evidence only).
        optimizer: of α, "adam" or "sgd" (softmax only).
        scaled: divide the gradient by its running root mean square, one number for all objectives (decay 0.9): steps
            no longer depend on the scale of the hypergradient, which differs between solvers by orders of magnitude,
            and unlike with Adam they keep its direction. They do not shrink towards an optimum: use `average`.
        floor: least weight of an objective, 0 ≤ floor < 1/K: λ = floor + (1 − K·floor) · simplex point.
        prior: (K,) weights towards which `prior_strength` · KL(λ ‖ prior) pulls. Default: none.
        prior_strength: in units of the validation loss.
        average_from: number of the first update whose outcome enters `average`.
    """

    def __init__(
        self,
        names: Sequence[str] | int,
        *,
        parametrisation: Literal["evidence", "mirror", "softmax"] = "evidence",
        lr: float | None = None,
        trust: float = 2.0,
        optimizer: Literal["adam", "sgd"] = "adam",
        scaled: bool = False,
        floor: float = 0.0,
        prior: Sequence[float] | None = None,
        prior_strength: float = 0.0,
        average_from: int = 1,
    ) -> None:
        if isinstance(names, str):
            raise ValueError(f"names is the text {names!r}: give a list of names, or their number")
        if isinstance(names, int):
            names = [f"objective_{i}" for i in range(whole("names", names, 1, otherwise=", or a list of names"))]
        self.names = tuple(names)
        k = len(self.names)
        if k < 1:
            raise ValueError("at least one objective is needed")
        if len(set(self.names)) < k:
            raise ValueError(f"two objectives have the same name: {', '.join(self.names)}")
        if not number("floor", floor) < 1 / k:
            raise ValueError(f"floor is {floor}, must lie in [0, 1/K) = [0, {1 / k:.3g})")
        if parametrisation not in ("evidence", "mirror", "softmax") or optimizer not in ("adam", "sgd"):
            raise ValueError(
                f"unknown parametrisation {parametrisation!r} or optimizer {optimizer!r}: evidence, mirror or softmax; "
                "adam or sgd"
            )
        lr = number("lr", (1.0 if parametrisation == "evidence" else 0.05) if lr is None else lr, positive=True)
        number("trust", trust)
        if scaled and parametrisation == "evidence":
            raise ValueError("evidence has no scale already: scaled is for mirror descent and sgd")
        if scaled and parametrisation == "softmax" and optimizer == "adam":
            raise ValueError("Adam scales the gradient itself: scaled is for mirror descent and sgd")
        if (prior is None) != (number("prior_strength", prior_strength) == 0.0):
            raise ValueError("prior and prior_strength belong together: give both or neither, the latter positive")
        self.parametrisation, self.lr, self.floor = parametrisation, lr, floor
        self.prior = None if prior is None else torch.tensor(prior, dtype=torch.float64)
        if self.prior is not None and (
            self.prior.shape != (k,) or not bool(((self.prior > 0) & self.prior.isfinite()).all())
        ):
            raise ValueError(f"prior must be {k} positive numbers, got {self.prior.tolist()}")
        if self.prior is not None:
            self.prior = self.prior / self.prior.sum()
        self.prior_strength, self.average_from = prior_strength, whole("average_from", average_from, 1)
        self.logits = torch.zeros(k, dtype=torch.float64, requires_grad=True)
        kind = torch.optim.Adam if parametrisation == "softmax" and optimizer == "adam" else torch.optim.SGD
        # Exponentiated gradient is plain descent on the logits along dF/dλ instead of dF/dα.
        self._optimizer: torch.optim.Optimizer = kind([self.logits], lr=lr)
        self.evidence = Evidence(k, lr, trust) if parametrisation == "evidence" else None
        self._moved_by = f"{parametrisation} ({optimizer})" if parametrisation == "softmax" else parametrisation
        self.scaled, self._square = scaled, 0.0
        self.updates = 0
        self._sum, self._count = torch.zeros(k, dtype=torch.float64), 0

    def __len__(self) -> int:
        return len(self.names)

    @property
    def values(self) -> Tensor:
        """λ (K,), float64, sums to 1."""
        return self.floor + (1 - len(self) * self.floor) * self.logits.detach().softmax(0)

    @property
    def average(self) -> Tensor:
        """Mean of λ (K,) after updates `average_from`, `average_from` + 1, ...; `values` before the first of them.

        Averaging the iterates beats the last one where the hypergradient is noise around a small mean
        (Polyak and Juditsky 1992).
        """
        return self._sum / self._count if self._count else self.values

    def update(self, dF_dlambda: Tensor) -> Tensor:
        """One descent step along dF/dλ (K,); returns the new λ.

        Raises:
            ValueError: wrong shape, or a number that is not finite.
        """
        gradient = dF_dlambda.detach().to("cpu", torch.float64)
        if gradient.shape != (len(self),) or not bool(torch.isfinite(gradient).all()):
            raise ValueError(f"dF/dλ must be {len(self)} finite numbers, got {gradient.tolist()}")
        values = self.values
        if self.prior is not None:
            gradient = gradient + self.prior_strength * (values / self.prior).log()  # of KL, up to a constant
        self._move(values, gradient)
        with torch.no_grad():
            self.logits -= self.logits.mean()  # softmax does not see it; keeps long runs from drifting
        self.updates += 1
        if self.updates >= self.average_from:
            self._sum, self._count = self._sum + self.values, self._count + 1
        return self.values

    @torch.no_grad()
    def _move(self, values: Tensor, gradient: Tensor) -> None:
        if self.evidence is not None:
            self.logits.copy_(self.evidence.logits(gradient))
            return
        if self.parametrisation == "softmax":
            point = self.logits.detach().softmax(0)
            gradient = (1 - len(self) * self.floor) * logits_gradient(point, gradient)
        if self.scaled:
            gradient = self._scale(values, gradient)
        self.logits.grad = gradient
        self._optimizer.step()

    def _scale(self, values: Tensor, gradient: Tensor) -> Tensor:
        """The gradient less its mean under λ, over the root of the running mean of its square under λ."""
        gradient = gradient - (values * gradient).sum()
        self._square = 0.9 * self._square + 0.1 * float((values * gradient.square()).sum())
        mean = self._square / (1 - 0.9 ** (self.updates + 1))
        return gradient / mean**0.5 if mean > 0 else torch.zeros_like(gradient)

    def state_dict(self) -> dict[str, Any]:
        """All that `load_state_dict` needs to go on exactly where this stood."""
        return {
            "names": self.names,
            "moved_by": self._moved_by,
            "logits": self.logits.detach().clone(),
            "optimizer": self._optimizer.state_dict(),
            "square": self._square,
            "evidence": self.evidence.state_dict() if self.evidence else {},
            "updates": self.updates,
            "sum": self._sum.clone(),
            "count": self._count,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            ValueError: it belongs to other objectives, or to another parametrisation or optimizer.
        """
        if tuple(state["names"]) != self.names:
            raise ValueError(f"state belongs to objectives {tuple(state['names'])}, these are {self.names}")
        if state.get("moved_by", self._moved_by) != self._moved_by:  # an older state does not say
            raise ValueError(f"state is of weights moved by {state['moved_by']}, these are moved by {self._moved_by}")
        with torch.no_grad():
            self.logits.copy_(state["logits"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._square = state["square"]
        if self.evidence is not None:
            self.evidence.load_state_dict(state["evidence"])
        self.updates, self._sum, self._count = state["updates"], state["sum"].clone(), state["count"]
