"""The rule of each online method against numbers worked out by hand, or its paper's closed form."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hpo_bench import registry
from hpo_bench.search.doge import Doge, alignment
from hpo_bench.search.grad_norm import slope
from hpo_bench.search.gramian import CaGrad, Mgda, NashMtl, PcGrad, UpGrad
from hpo_bench.search.grap import GraP, best_aligned
from hpo_bench.search.regmix import predicted_best
from hpo_bench.search.scalarized import Dwa, Famo, ImtlL, Uncertainty
from hpo_bench.search.tartan import Tartan
from hpo_bench.search.windows import merge

RUN = SimpleNamespace(problem=SimpleNamespace(num_objectives=2))


def look(losses=(1.0, 1.0), gradients=None, valid=None, after=None, number=0, rate=0.1):
    gradients = None if gradients is None else torch.tensor(gradients)
    protocol = SimpleNamespace(rate=lambda step: rate)
    return SimpleNamespace(
        losses=torch.tensor(losses),
        gradients=gradients,
        gramian=None if gradients is None else gradients @ gradients.T,
        valid_gradient=lambda: torch.tensor(valid),
        after=lambda: torch.tensor(after),
        number=number,
        problem=SimpleNamespace(seed=0, protocol=protocol),
    )


def shares(weights):
    return (weights / weights.sum()).tolist()


def test_uncertainty_halves_what_has_twice_the_loss():
    """At its optimum e^{s_i} = ℓ_i, so that the weights are 1 / (2 ℓ_i)."""
    method = Uncertainty(lr=0.05)
    state = method.begin(RUN)
    for _ in range(2000):
        weights = method.weigh(state, look((0.5, 2.0)))
    assert weights.tolist() == pytest.approx([1.0, 0.25], rel=1e-3)


def test_imtl_l_scales_all_losses_to_one():
    method = ImtlL(lr=0.05)
    state = method.begin(RUN)
    for _ in range(2000):
        weights = method.weigh(state, look((0.5, 2.0)))
    assert weights.tolist() == pytest.approx([2.0, 0.5], rel=1e-3)


def test_dwa_compares_the_last_two_epochs():
    """Epochs of two steps with mean losses (2, 4) and (1, 4): K softmax((1/2, 4/4) / 2)."""
    method = Dwa(epoch=2)
    state = method.begin(RUN)
    for losses in ((1.0, 3.0), (3.0, 5.0), (1.0, 4.0), (1.0, 4.0)):
        assert method.weigh(state, look(losses)).tolist() == [1.0, 1.0]
    expected = 2 * torch.tensor([0.25, 0.5]).softmax(0)
    assert method.weigh(state, look()).tolist() == pytest.approx(expected.tolist())


def test_famo_weighs_by_the_inverse_loss_and_moves_towards_what_fell_less():
    """z_i/ℓ_i over their sum; ∇ξ = Jᵀ(log ℓ − log ℓ_after), whose first Adam step is ± the rate."""
    method = Famo(decay=0.0)
    state = method.begin(RUN)
    first = method.weigh(state, look((0.5, 2.0)))
    assert first.tolist() == pytest.approx([0.8, 0.2], rel=1e-5)
    method.observe(state, look(after=(0.25, 2.0)))
    z = torch.tensor([-0.025, 0.025]).softmax(0)  # the first fell more
    expected = z / torch.tensor([0.5, 2.0])
    assert shares(method.weigh(state, look((0.5, 2.0)))) == pytest.approx(shares(expected), rel=1e-4)


def test_scalarizations_go_on_from_what_they_saw():
    for method in (Uncertainty(), Dwa(epoch=2), Famo()):
        state, other = method.begin(RUN), method.begin(RUN)
        for number in range(7):
            method.weigh(state, look((1.0 + number, 2.0)))
            if "after" in method.needs:
                method.observe(state, look(after=(1.0, 1.5)))
        other["scalarization"].load_state_dict(state["scalarization"].state_dict())
        now = look((3.0, 1.0))
        assert torch.equal(method.weigh(state, now), method.weigh(other, now)), method.name


CONFLICT = [[1.0, 0.0], [-0.5, 1.0]]  # ⟨g_1, g_2⟩ = −1/2, ‖g_1‖² = 1, ‖g_2‖² = 5/4


def weigh(method, gradients):
    state = method.begin(RUN)
    return method.weigh(state, look(gradients=gradients))


def test_mgda_is_the_shortest_convex_combination():
    """For two gradients the weight of the first is ⟨g_2, g_2 − g_1⟩ / ‖g_1 − g_2‖²."""
    assert weigh(Mgda(), CONFLICT).tolist() == pytest.approx([1.75 / 3.25, 1.5 / 3.25], abs=1e-3)


def test_pcgrad_takes_the_conflicting_parts_away():
    """g_1 + (1/2)/(5/4) g_2 and g_2 + (1/2)/1 g_1."""
    assert weigh(PcGrad(), CONFLICT).tolist() == pytest.approx([1.5, 1.4])


def test_cagrad_with_no_radius_is_the_mean_and_otherwise_helps_the_worst():
    assert weigh(CaGrad(radius=0.0), CONFLICT).tolist() == pytest.approx([0.5, 0.5])
    g = torch.tensor(CONFLICT, dtype=torch.float64)
    found = weigh(CaGrad(radius=0.5), CONFLICT) @ g
    mean = g.mean(0)
    assert float((found - mean).norm()) == pytest.approx(float(0.5 * mean.norm()), rel=1e-3), "on the edge of its ball"
    angles = torch.linspace(0, 2 * torch.pi, 2000, dtype=torch.float64)
    ball = mean + 0.5 * mean.norm() * torch.stack([angles.cos(), angles.sin()], dim=1)
    assert float((g @ found).min()) == pytest.approx(float((ball @ g.T).min(1).values.max()), rel=1e-3)


def test_upgrad_is_the_mean_of_projections_that_harm_nobody():
    """The projection of g_1 onto the cone {x: ⟨x, g_i⟩ ≥ 0} is g_1 + (1/2)/(5/4) g_2, that of g_2 is g_2 + g_1/2."""
    assert weigh(UpGrad(), CONFLICT).tolist() == pytest.approx([0.75, 0.7], rel=1e-2)


def test_nash_mtl_solves_the_bargain():
    """G w = 1/w up to a scale, element by element."""
    weights = weigh(NashMtl(), CONFLICT)
    g = torch.tensor(CONFLICT, dtype=torch.float64)
    utilities = (g @ g.T @ weights) * weights
    assert float(utilities[0]) == pytest.approx(float(utilities[1]), rel=1e-2)
    assert (weights > 0).all()


def test_gradnorm_moves_towards_its_target():
    """w n = (2, 1), Ḡ = 3/2; rates (1, 1): targets 3/2 and 3/2, so the first falls and the second rises."""
    w, n = torch.tensor([1.0, 1.0]), torch.tensor([2.0, 1.0])
    assert slope(w, n, torch.tensor([0.5, 0.5]), 1.5).tolist() == [2.0, -1.0]
    # the first has fallen to 1/16 of the second: r = (2/17, 32/17), targets (0.06, 3.9)
    assert slope(w, n, torch.tensor([0.1, 1.6]), 1.5).tolist() == [2.0, -1.0]
    assert slope(w, n, torch.tensor([1.6, 0.1]), 1.5).tolist() == [-2.0, 1.0]


def test_tartan_moves_logits_by_cosines():
    method = Tartan(lr=0.1)
    state = method.begin(RUN)
    assert method.weigh(state, look(gradients=[[3.0, 0.0], [-1.0, 1.0]], valid=[2.0, 0.0])).tolist() == [0.5, 0.5]
    assert state["logits"].tolist() == pytest.approx([0.1, -0.1 / 2**0.5])


def test_doge_is_a_mirror_step_by_clipped_alignment():
    """⟨∇ℓ_i, v⟩ = (3, −2), mean norm (1 + 3)/2: W = 0.1 · (3/2, 0); then softmax(W/μ)."""
    found = alignment(torch.tensor([3.0, -2.0]), torch.tensor([1.0, 3.0]), 0.1)
    assert found.tolist() == pytest.approx([0.15, 0.0])
    assert alignment(torch.tensor([1e6, 0.0]), torch.ones(2), 0.1).tolist() == pytest.approx([0.5, 0.0])
    method = Doge(mu=0.15)
    weights = method.weigh(method.begin(RUN), look(gradients=[[1.0, 0.0], [0.0, 3.0]], valid=[3.0, -2 / 3], rate=0.1))
    assert weights.tolist() == pytest.approx(torch.tensor([1.0, 0.0]).softmax(0).tolist())


def test_grap_is_the_best_aligned_combination():
    identity = np.eye(3)
    p = np.array([0.6, -0.5, 0.3])
    assert best_aligned(p, identity) == pytest.approx(np.array([2, 0, 1]) / 5**0.5, abs=1e-5)
    cosines = np.array([[1.0, 0.3], [0.3, 1.0]])
    inside = np.array([0.5, 0.4])  # then the sign constraint does not bind: C⁻¹p / √(pᵀC⁻¹p)
    solved = np.linalg.solve(cosines, inside)
    assert best_aligned(inside, cosines) == pytest.approx(solved / (inside @ solved) ** 0.5, rel=1e-5)
    assert not best_aligned(np.array([-0.1, 0.0]), cosines).any()


def test_grap_divides_by_the_gradients_lengths_and_gives_up_to_equal_weights():
    method = GraP()
    state = method.begin(RUN)
    now = look(gradients=[[4.0, 0.0], [0.0, 1.0]], valid=[1.0, 1.0])
    assert shares(method.weigh(state, now)) == pytest.approx([0.2, 0.8], rel=1e-5)
    state = method.begin(RUN)
    against = look(gradients=[[4.0, 0.0], [0.0, 1.0]], valid=[-1.0, -1.0])
    sums = [float(method.weigh(state, against).sum()) for _ in range(5)]
    assert sums == [0, 0, 0, 0, 2], "the weights stay, then they are equal"


def test_merging_is_linear_through_the_whole_state():
    a = {"model": {"x": torch.tensor([0.0, 1.0])}, "optimizer": {"state": {0: [torch.tensor(2.0), 3]}}, "step": 7}
    b = {"model": {"x": torch.tensor([4.0, 3.0])}, "optimizer": {"state": {0: [torch.tensor(6.0), 3]}}, "step": 7}
    merged = merge(a, b, 0.25)
    assert merged["model"]["x"].tolist() == [1.0, 1.5]
    assert merged["optimizer"]["state"][0] == [torch.tensor(3.0), 3]
    assert merged["step"] == 7


def test_regmix_finds_the_peak_of_a_smooth_score():
    rng = np.random.default_rng(0)
    peak = np.array([0.6, 0.3, 0.1])
    weights = rng.dirichlet(np.ones(3), 25)
    values = -((weights - peak) ** 2).sum(1) + 0.002 * rng.standard_normal(25)
    assert predicted_best(weights, values, rng) == pytest.approx(peak, abs=0.06)


@pytest.mark.parametrize("name", ["tartan", "grap", "doge", "auto_lambda", "forkmerge"])
def test_with_a_validation_signal_the_harmful_objective_loses(name, tmp_path):
    """θ*(λ) = Σ λ_i c_i is best at (0.7, 0.3, 0)."""
    from hpo_bench.records.journal import Journal
    from hpo_bench.testing.problems import quick_problem

    problem = quick_problem("60", steps=200, learning_rate=0.01)
    found = registry.load(registry.METHODS, name)().search(problem, Journal.open(tmp_path, problem.meter))
    weights = dict(zip(problem.objectives, found.weights, strict=True))
    assert weights["harmful"] < 0.2 < 1 / 3 < weights["signal"]
