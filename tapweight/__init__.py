"""tapweight: weights of pretraining objectives, learned by implicit differentiation. Needs torch and nothing else.

    pretraining = Pretraining(module, losses)             # losses(module, batch) -> (K,)
    finetuning = Finetuning(tuned, loss, gamma=0.1)       # loss(tuned, batch) -> scalar
    weights = ObjectiveWeights(["mask", "contrast"])
    learner = WeightLearner(pretraining, finetuning, weights, every=5)
    if learner.due(step):
        learner.update([batch], [train], [valid])         # dF/dλ, and a step of the weights

Source: Zhang, Somayajula, Xie, "TapWeight", arXiv 2410.10006. See docs/hypergradients.md.
"""

from tapweight import solvers
from tapweight.directional import last_step_cost
from tapweight.errors import HypergradientFailure, SolverFailure
from tapweight.estimator import Cost, Estimator, Implicit
from tapweight.hypergradient import Hypergradient, hypergradient
from tapweight.learner import Learner, Step
from tapweight.levels import EncoderGradient, Finetuning, Pretraining, TaskLevel
from tapweight.noise import SignalToNoise, cross_fit, signal_to_noise
from tapweight.probe import Probe
from tapweight.released import released_hypergradient
from tapweight.unroll import unrolled_hypergradient
from tapweight.version import __version__
from tapweight.weight_learner import Attempt, WeightLearner
from tapweight.weights import ObjectiveWeights, logits_gradient

__all__ = [
    "Attempt",
    "Cost",
    "EncoderGradient",
    "Estimator",
    "Finetuning",
    "Hypergradient",
    "HypergradientFailure",
    "Implicit",
    "Learner",
    "ObjectiveWeights",
    "Pretraining",
    "Probe",
    "SignalToNoise",
    "SolverFailure",
    "Step",
    "TaskLevel",
    "WeightLearner",
    "__version__",
    "cross_fit",
    "hypergradient",
    "last_step_cost",
    "logits_gradient",
    "released_hypergradient",
    "signal_to_noise",
    "solvers",
    "unrolled_hypergradient",
]
