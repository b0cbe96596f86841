"""Products of a Hessian with a vector.

Three ways to compute one, tried in this order until one works for the modules at hand, since many fused kernels
(embedding bags, attention) lack a forward-mode or a second derivative:

| way | passes (forward, backward) | error |
| --- | --- | --- |
| forward over reverse | 3, 3 (Pearlmutter 1994: the gradient of a dual number) | rounding |
| reverse over reverse | 3, 3 (the gradient of ⟨∇f, x⟩) | rounding |
| central difference of gradients | 2, 2 | about 1e-3 relative in float32, 1e-8 in float64 |

Passes are counted in products of matrices, what a linear layer spends: 9 forward-equivalents for the first two ways.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from tapweight.directional import difference_step
from tapweight.errors import lacks_derivative
from tapweight.evaluation import Evaluator, Layout, Passes, Values, require_finite
from tapweight.solvers.base import LinearProblem, Solution, Solver

HVP_PASSES = {"forward-over-reverse": (3, 3), "reverse-over-reverse": (3, 3), "central": (2, 2)}


@dataclass(frozen=True)
class Term:
    """One summand of a loss: share · loss(values), billed to `level`."""

    share: float
    loss: Callable[[Values], Tensor]
    level: str


def terms_of(
    evaluate: Evaluator, weights: Tensor | None = None, view: Callable[[Values], Values] = lambda values: values
) -> list[Term]:
    """One term per batch: the loss, or ⟨λ, losses⟩ where weights are given; `view` picks the module's parameters."""

    def loss(index: int) -> Callable[[Values], Tensor]:
        def function(values: Values) -> Tensor:
            out = evaluate(view(values), index)
            return out if weights is None else (out * weights.to(out)).sum()

        return function

    return [Term(share, loss(j), evaluate.level) for j, share in enumerate(evaluate.shares)]


def solve(solver: Solver, problem: LinearProblem, rhs: Tensor) -> Solution:
    """`solver.solve`, its numbers checked; what the products with the Hessian had to give up is in the report."""
    solution = solver.solve(problem, rhs)
    note = problem.curvature.note if isinstance(problem.curvature, Hessian) else None
    if note is not None:
        solution.report.warning = "; ".join(filter(None, [solution.report.warning, note]))
    require_finite(f"the solution of the {solution.report.solver} solver", solution.x)
    return solution


def value_and_gradient(terms: list[Term], layout: Layout, at: Values, passes: Passes | None) -> tuple[float, Tensor]:
    """Σ share · loss, and its gradient as a flat vector. One forward and one backward pass per term."""
    total, gradient = 0.0, None
    leaves = {name: at[name].detach().requires_grad_() for name in layout.names}
    for term in terms:
        loss = term.loss({**at, **leaves})
        gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        flat = layout.flatten(gradients)
        gradient = flat.mul_(term.share) if gradient is None else gradient.add_(flat, alpha=term.share)
        total += term.share * float(loss.detach())
        if passes is not None:
            passes.add(term.level, forward=1, backward=1)
    assert gradient is not None
    return total, gradient


class Hessian:
    """The symmetric operator x ↦ ∇²(Σ share · loss) x at a fixed point.

    `way` is the way of computing found to work, `note` why an earlier one was given up (None if the first worked).
    """

    def __init__(self, terms: list[Term], layout: Layout, at: Values, passes: Passes) -> None:
        self.terms, self.layout, self.passes = terms, layout, passes
        self.at = {name: at[name].detach() for name in layout.names}
        self.way = "forward-over-reverse"
        self.note: str | None = None
        self.products = 0

    def __call__(self, x: Tensor) -> Tensor:
        """Hx, shape (size,)."""
        while True:
            try:
                product = {
                    "forward-over-reverse": self._forward_over_reverse,
                    "reverse-over-reverse": self._reverse_over_reverse,
                    "central": self._central,
                }[self.way](x)
                break
            except (NotImplementedError, RuntimeError) as error:
                if self.way == "central" or not lacks_derivative(error):
                    raise
                self.note = f"{self.way} products unavailable: {str(error).splitlines()[0][:120]}"
                ways = list(HVP_PASSES)
                self.way = ways[ways.index(self.way) + 1]
        self.products += 1
        forward, backward = HVP_PASSES[self.way]
        for term in self.terms:
            self.passes.add(term.level, forward=forward, backward=backward)
        return product

    def _forward_over_reverse(self, x: Tensor) -> Tensor:
        product = self.layout.zeros()
        tangents = self.layout.unflatten(x)
        for term in self.terms:
            # Attention's fused kernels have no forward mode; the mathematical one has.
            with forward_ad.dual_level(), sdpa_kernel(SDPBackend.MATH):
                leaves = {name: value.detach().requires_grad_() for name, value in self.at.items()}
                duals = {name: forward_ad.make_dual(leaf, tangents[name]) for name, leaf in leaves.items()}
                gradients = torch.autograd.grad(term.loss(duals), list(leaves.values()), allow_unused=True)
                parts = [None if g is None else forward_ad.unpack_dual(g).tangent for g in gradients]
                product.add_(self.layout.flatten(parts), alpha=term.share)
        return product

    def _reverse_over_reverse(self, x: Tensor) -> Tensor:
        product = self.layout.zeros()
        tangents = self.layout.unflatten(x)
        for term in self.terms:
            with sdpa_kernel(SDPBackend.MATH):
                leaves = {name: value.detach().requires_grad_() for name, value in self.at.items()}
                wrt = list(leaves.values())
                gradients = torch.autograd.grad(term.loss(leaves), wrt, create_graph=True, allow_unused=True)
                pairs = zip(gradients, tangents.values(), strict=True)
                inner = [(g * t).sum() for g, t in pairs if g is not None and g.requires_grad]
                if inner:
                    total = torch.stack(inner).sum()
                    if self.products == 0:
                        _refuse_dead_ends(total)
                    parts = torch.autograd.grad(total, wrt, allow_unused=True)
                    product.add_(self.layout.flatten(parts), alpha=term.share)
        return product

    def _central(self, x: Tensor) -> Tensor:
        step = difference_step(self.at, x, order=2)
        if step == 0.0:
            return self.layout.zeros()
        tangents = self.layout.unflatten(x)
        ends = []
        for sign in (1, -1):
            moved = {name: value + sign * step * tangents[name] for name, value in self.at.items()}
            ends.append(value_and_gradient(self.terms, self.layout, moved, None)[1])
        return (ends[0] - ends[1]) / (2 * step)


def _refuse_dead_ends(root: Tensor) -> None:
    """Raise if the graph holds a derivative that autograd cannot differentiate again.

    Such a node (a `once_differentiable` function, an operation without second derivative) has no inputs, so
    `autograd.grad` towards given inputs never runs it: there would be no error, but a product with a part missing.
    """
    seen, stack = set(), [root.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name() in ("torch::autograd::Error", "torch::autograd::NotImplemented"):
            raise NotImplementedError("an operation of the loss is not differentiable twice")
        stack.extend(edge for edge, _ in node.next_functions)
