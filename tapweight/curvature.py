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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from tapweight.checks import FirstUse, mean_over_ranks, no_gradient
from tapweight.directional import difference_step
from tapweight.errors import HypergradientFailure, lacks_derivative
from tapweight.evaluation import Evaluator, Layout, Passes, Values, sent
from tapweight.finite import read_now, require_finite
from tapweight.solvers.base import LinearProblem, Solution, Solver

HVP_PASSES = {"forward-over-reverse": (3, 3), "reverse-over-reverse": (3, 3), "central": (2, 2)}


@dataclass(frozen=True)
class Term:
    """One summand of a loss: share · loss(values), billed to `level`."""

    share: float
    loss: Callable[[Values], Tensor]
    level: str
    group: Any = None  # over whose processes it is averaged
    recorded: Callable[..., Any] | None = None

    def run(self, kind: str, function: Callable[..., Any], *given: Any) -> Any:
        """`function(loss, *given)`, recorded where the level records its passes: see `Evaluator.run`."""
        return function(self.loss, *given) if self.recorded is None else self.recorded(kind, function, *given)


def terms_of(
    evaluate: Evaluator, weights: Tensor | None = None, view: Callable[[Values], Values] = lambda values: values
) -> list[Term]:
    """One term per batch: the loss, or ⟨λ, losses⟩ where weights are given; `view` picks the module's parameters."""

    def loss(index: int) -> Callable[[Values], Tensor]:
        def function(values: Values) -> Tensor:
            out = evaluate(view(values), index)
            return out if weights is None else (out * weights.to(out)).sum()

        return function

    recording = evaluate.recorder.capture is not None
    at_hand = sent(weights, evaluate.device) if recording and weights is not None else None

    def recorded(index: int) -> Callable[..., Any]:
        def run(kind: str, function: Callable[..., Any], *given: Any) -> Any:
            def whole(loss: Callable[[Values], Tensor], mix: Tensor | None, *rest: Any) -> Any:
                def term(values: Values) -> Tensor:
                    out = loss(view(values))
                    return out if mix is None else (out * mix.to(out)).sum()

                return function(term, *rest)

            return evaluate.run(kind, whole, index, at_hand, *given)

        return run

    return [
        Term(share, loss(j), evaluate.level, evaluate.group, recorded(j) if recording else None)
        for j, share in enumerate(evaluate.shares)
    ]


def solve(solver: Solver, problem: LinearProblem, rhs: Tensor) -> Solution:
    """`solver.solve`, its numbers checked; what the products with the Hessian had to give up is in the report."""
    solution = solver.solve(problem, rhs)
    note = problem.curvature.note if isinstance(problem.curvature, Hessian) else None
    if note is not None:
        solution.report.warning = "; ".join(filter(None, [solution.report.warning, note]))
    if solution.x is not rhs:  # which is looked at where it comes from
        require_finite(f"the solution of the {solution.report.solver} solver", solution.x)
    return solution


def value_and_gradient(
    terms: list[Term],
    layout: Layout,
    at: Values,
    passes: Passes | None,
    must_reach: Sequence[str] = (),
    *,
    own: bool = False,
) -> tuple[Tensor, Tensor]:
    """Σ share · loss, a scalar, and its gradient as a flat vector. One forward and one backward pass per term.

    Args:
        own: `at` are the module's own parameters, so the passes may be recorded.

    Raises:
        HypergradientFailure: no parameter named in `must_reach` has a gradient: it is not zero, it is missing.
    """
    total: Tensor | None = None
    gradient: Tensor | None = None
    reached = not must_reach

    def one(loss_at: Callable[[Values], Tensor]) -> tuple[Tensor, Tensor, bool] | None:
        leaves = {name: at[name].detach().requires_grad_() for name in layout.names}
        loss = loss_at({**at, **leaves})
        if not loss.requires_grad:
            return None
        gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        here = any(g is not None for n, g in zip(leaves, gradients, strict=True) if n in must_reach)
        return loss.detach(), layout.flatten(gradients), here

    for term in terms:
        found = term.run(f"gradient, {layout.size}", one) if own else one(term.loss)
        if found is None:
            raise HypergradientFailure(no_gradient(f"the {term.level} loss", "any parameter"))
        loss, flat, here = found
        reached = reached or here
        if gradient is None:
            gradient = flat if term.share == 1 else flat.mul_(term.share)
        else:
            gradient.add_(flat, alpha=term.share)
        loss = term.share * loss.reshape(())
        total = loss if total is None else total + loss
        if passes is not None:
            passes.add(term.level, forward=1, backward=1)
    assert gradient is not None
    assert total is not None
    if not reached:
        raise HypergradientFailure(no_gradient(f"the {terms[0].level} loss", "the encoder"))
    group = terms[0].group
    return mean_over_ranks(total, group), mean_over_ranks(gradient, group)


class Hessian:
    """The symmetric operator x ↦ ∇²(Σ share · loss) x at a fixed point.

    `way` is the way of computing found to work, `note` why an earlier one was given up (None if the first worked).
    The first product ever is checked: for symmetry, ⟨x, H y⟩ = ‖y‖² for y = Hx, and, where the loss has a custom
    autograd function, against differences of gradients, since a backward pass that leaves a part of its own derivative
    out gives no error. `first_use` keeps what was found; the checks are not counted.
    """

    def __init__(
        self, terms: list[Term], layout: Layout, at: Values, passes: Passes, first_use: FirstUse | None = None
    ) -> None:
        self.terms, self.layout, self.passes = terms, layout, passes
        self.at = {name: at[name].detach() for name in layout.names}
        self.first_use = first_use or FirstUse()
        self.way = self.first_use.product or "forward-over-reverse"
        self.note: str | None = self.first_use.note
        self.products = 0
        self.custom = False  # has the loss an autograd function written by hand?

    def __call__(self, x: Tensor) -> Tensor:
        """Hx, shape (size,)."""
        while True:
            try:
                product = self._product(x)
                reason = self._fault(x, product)
                if reason is None:
                    break
            except (NotImplementedError, RuntimeError) as error:
                if self.way == "central" or isinstance(error, HypergradientFailure) or not lacks_derivative(error):
                    raise
                reason = f"unavailable: {str(error).splitlines()[0][:120]}"
            if self.way == "central":
                raise HypergradientFailure(
                    "products with the Hessian are not symmetric in any way of computing them: a loss stops gradients "
                    "at what depends on the parameters, or has a kink at every point. Use solvers.Identity"
                )
            self.note = f"{self.way} products {reason}"
            ways = list(HVP_PASSES)
            self.way = ways[ways.index(self.way) + 1]
        if bool(x.any()):
            self.first_use.product, self.first_use.note = self.way, self.note
        self.products += 1
        forward, backward = HVP_PASSES[self.way]
        for term in self.terms:
            self.passes.add(term.level, forward=forward, backward=backward)
        return product

    def _product(self, x: Tensor) -> Tensor:
        ways = {
            "forward-over-reverse": self._forward_over_reverse,
            "reverse-over-reverse": self._reverse_over_reverse,
            "central": self._central,
        }
        product = mean_over_ranks(ways[self.way](x), self.terms[0].group)
        require_finite(f"a product with the Hessian of the {self.terms[0].level} loss (an objective is NaN?)", product)
        read_now()  # solvers decide by their products
        return product

    def _fault(self, x: Tensor, product: Tensor) -> str | None:
        """What is wrong with a first product, None if nothing."""
        length = float(product.norm())
        if self.first_use.product is not None or length == 0.0:
            return None
        if not self._symmetric(x, product, length):
            return "not symmetric, so a derivative in it is wrong"
        if self.custom and self.way != "central":
            ends = [mean_over_ranks(self._central(x, share), self.terms[0].group) for share in (1.0, 0.25)]
            doubt = max(5 * float((ends[0] - ends[1]).norm()), 100 * torch.finfo(x.dtype).eps ** (2 / 3) * length)
            if float((product - ends[1]).norm()) > doubt:
                return "not what differences of gradients are: a custom function's backward pass has no derivative"
        return None

    def _symmetric(self, x: Tensor, product: Tensor, length: float) -> bool:
        back = self._product(product / length)
        error = abs(float(x.double() @ back.double()) - length)
        unit = torch.finfo(x.dtype).eps
        # A difference of gradients is itself no better than u^(2/3), and worse at kinks.
        relative, floor = (0.1, 1e-2) if self.way == "central" else (10 * unit**0.5, 1e3 * unit)
        return error <= relative * length + floor * float(x.norm()) * float(back.norm())

    def _forward_over_reverse(self, x: Tensor) -> Tensor:
        def one(loss: Callable[[Values], Tensor], along: Tensor) -> Tensor:
            tangents = self.layout.unflatten(along)
            # Attention's fused kernels have no forward mode; the mathematical one has.
            with forward_ad.dual_level(), sdpa_kernel(SDPBackend.MATH):
                leaves = {name: value.detach().requires_grad_() for name, value in self.at.items()}
                duals = {name: forward_ad.make_dual(leaf, tangents[name]) for name, leaf in leaves.items()}  # type: ignore[no-untyped-call]
                gradients = torch.autograd.grad(loss(duals), list(leaves.values()), allow_unused=True)
                parts = [None if g is None else forward_ad.unpack_dual(g).tangent for g in gradients]  # type: ignore[no-untyped-call]
                return self.layout.flatten(parts)

        return self._over_terms("forward-over-reverse", one, x)

    def _reverse_over_reverse(self, x: Tensor) -> Tensor:
        def one(loss: Callable[[Values], Tensor], along: Tensor) -> Tensor:
            tangents = self.layout.unflatten(along)
            with sdpa_kernel(SDPBackend.MATH):
                leaves = {name: value.detach().requires_grad_() for name, value in self.at.items()}
                wrt = list(leaves.values())
                gradients = torch.autograd.grad(loss(leaves), wrt, create_graph=True, allow_unused=True)
                pairs = zip(gradients, tangents.values(), strict=True)
                inner = [(g * t).sum() for g, t in pairs if g is not None and g.requires_grad]
                if not inner:
                    return self.layout.zeros()
                total = torch.stack(inner).sum()
                if self.products == 0:
                    self.custom |= _walk(total)
                return self.layout.flatten(torch.autograd.grad(total, wrt, allow_unused=True))

        return self._over_terms("reverse-over-reverse", one, x)

    def _over_terms(self, way: str, one: Callable[..., Tensor], x: Tensor) -> Tensor:
        product = self.layout.zeros()
        for term in self.terms:
            product.add_(term.run(f"{way}, {self.layout.size}", one, x), alpha=term.share)
        return product

    def _central(self, x: Tensor, share: float = 1.0) -> Tensor:
        step = share * difference_step(self.at, x, order=2)
        if step == 0.0:
            return self.layout.zeros()
        tangents = self.layout.unflatten(x)
        ends = []
        for sign in (1, -1):
            moved = {name: value + sign * step * tangents[name] for name, value in self.at.items()}
            ends.append(value_and_gradient(self.terms, self.layout, moved, None)[1])
        return (ends[0] - ends[1]) / (2 * step)


def _walk(root: Tensor) -> bool:
    """Raise if the graph holds a derivative that autograd cannot differentiate again; has it a custom function?

    Such a node (a `once_differentiable` function, an operation without second derivative) has no inputs, so
    `autograd.grad` towards given inputs never runs it: there would be no error, but a product with a part missing.
    """
    seen, stack, custom = set(), [root.grad_fn], False
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name() in ("torch::autograd::Error", "torch::autograd::NotImplemented"):
            raise NotImplementedError("an operation of the loss is not differentiable twice")
        custom |= isinstance(node, torch.autograd.function.BackwardCFunction)
        stack.extend(edge for edge, _ in node.next_functions)
    return custom
