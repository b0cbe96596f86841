"""tapweight: weights of pretraining objectives, learned by implicit differentiation. Needs torch and nothing else.

    pretraining = Pretraining(module, losses)             # losses(module, batch) -> (K,)
    finetuning = Finetuning(module, loss, gamma=0.1)      # loss(module, batch) -> scalar
    weights = ObjectiveWeights(["mask", "contrast"])
    h = hypergradient(pretraining, finetuning, weights.values, pretrain_batches=[...], train_batches=[...],
                      valid_batches=[...])
    weights.update(h.weights)

Source: Zhang, Somayajula, Xie, "TapWeight", arXiv 2410.10006. See docs/hypergradients.md.
"""

from tapweight import solvers
from tapweight.errors import HypergradientFailure, SolverFailure
from tapweight.hypergradient import Hypergradient, hypergradient
from tapweight.levels import Finetuning, Pretraining
from tapweight.weights import ObjectiveWeights, logits_gradient

__all__ = ["Finetuning", "Hypergradient", "HypergradientFailure", "ObjectiveWeights", "Pretraining", "SolverFailure",
           "hypergradient", "logits_gradient", "solvers"]
