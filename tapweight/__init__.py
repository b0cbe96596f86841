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
from tapweight.directional import last_step_cost
from tapweight.errors import HypergradientFailure, SolverFailure
from tapweight.hypergradient import Hypergradient, hypergradient
from tapweight.learner import Learner, Step
from tapweight.levels import Finetuning, Pretraining
from tapweight.noise import SignalToNoise, cross_fit, signal_to_noise
from tapweight.probe import Probe, probe_hypergradient
from tapweight.released import released_hypergradient
from tapweight.unroll import unrolled_hypergradient
from tapweight.weights import ObjectiveWeights, logits_gradient

__all__ = [
    "Finetuning",
    "Hypergradient",
    "HypergradientFailure",
    "Learner",
    "ObjectiveWeights",
    "Pretraining",
    "Probe",
    "SignalToNoise",
    "SolverFailure",
    "Step",
    "cross_fit",
    "hypergradient",
    "last_step_cost",
    "logits_gradient",
    "probe_hypergradient",
    "released_hypergradient",
    "signal_to_noise",
    "solvers",
    "unrolled_hypergradient",
]
