"""Hypergradients that look further than one step: through h steps of training, or by branching h steps.

    found = reverse_hypergradient(pretraining, optimizer, weights, batches=[...], terminal=...)   # exact, h steps
    scores = torch.tensor([[run(w) for w in vertices(K)] for run in replicates])                    # branches
    weights = weights_of(effects(vertices(K), scores))

See docs/fidelity.md for which of them predicts what weights do.
"""

from tapweight.horizon.design import (
    DESIGNS,
    Effects,
    effects,
    halves,
    leave_one_out,
    metasmoothness,
    pooled,
    vertices,
    weights_of,
)
from tapweight.horizon.estimator import ThroughTraining
from tapweight.horizon.forward import forward_hypergradient
from tapweight.horizon.reverse import named_gradient, reverse_hypergradient

__all__ = [
    "DESIGNS",
    "Effects",
    "ThroughTraining",
    "effects",
    "forward_hypergradient",
    "halves",
    "leave_one_out",
    "metasmoothness",
    "named_gradient",
    "pooled",
    "reverse_hypergradient",
    "vertices",
    "weights_of",
]
