"""Three-level problems with answers that are known without the library: in closed form, or by re-solving."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from tapweight import Finetuning, Pretraining


class Vector(nn.Module):
    """Encoder coordinates and head coordinates, nothing else."""

    def __init__(self, encoder: int, head: int) -> None:
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.weight = nn.Parameter(torch.zeros(encoder, dtype=torch.float64))
        self.head = nn.Parameter(torch.zeros(head, dtype=torch.float64))

    def flat(self) -> Tensor:
        return torch.cat([self.encoder.weight, self.head])

    def set(self, vector: np.ndarray) -> None:
        n = self.encoder.weight.numel()
        with torch.no_grad():
            self.encoder.weight.copy_(torch.from_numpy(vector[:n]))
            self.head.copy_(torch.from_numpy(vector[n:]))


def positive_definite(rng: np.random.Generator, size: int, conditioning: float) -> np.ndarray:
    """Random orientation, eigenvalues log-uniform in [1, conditioning] with both ends present."""
    basis = np.linalg.qr(rng.standard_normal((size, size)))[0]
    values = np.exp(rng.uniform(0, np.log(conditioning), size))
    values[0], values[-1] = 1.0, conditioning
    return (basis * values) @ basis.T


@dataclass
class Quadratic:
    """ℓ_i = ½(θ−a_i)ᵀA_i(θ−a_i), ℓ_train = ½(φ−b)ᵀB(φ−b), ℓ_valid = ½(φ−c)ᵀC(φ−c): θ*, φ*, F and dF in closed form."""

    seed: int = 0
    k: int = 3
    encoder: int = 4
    theta_head: int = 2
    phi_head: int = 3
    gamma: float = 0.7
    conditioning: float = 10.0

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.p, self.q = self.encoder + self.theta_head, self.encoder + self.phi_head
        self.A = [positive_definite(rng, self.p, self.conditioning) for _ in range(self.k)]
        self.a = [rng.standard_normal(self.p) for _ in range(self.k)]
        self.B, self.C = (positive_definite(rng, self.q, self.conditioning) for _ in range(2))
        self.b, self.c = rng.standard_normal(self.q), rng.standard_normal(self.q)
        self.E = np.diag(np.r_[np.ones(self.encoder), np.zeros(self.phi_head)])
        self.embed = np.zeros((self.q, self.p))  # θ_e placed in φ's coordinates
        self.embed[: self.encoder, : self.encoder] = np.eye(self.encoder)
        self.alpha = rng.standard_normal(self.k)

    def weights(self, alpha: np.ndarray | None = None) -> np.ndarray:
        e = np.exp((self.alpha if alpha is None else alpha) - self.alpha.max())
        return e / e.sum()

    def theta(self, weights: np.ndarray) -> np.ndarray:
        H = sum(w * A for w, A in zip(weights, self.A, strict=True))
        return np.linalg.solve(H, sum(w * A @ a for w, A, a in zip(weights, self.A, self.a, strict=True)))

    def phi(self, theta: np.ndarray) -> np.ndarray:
        return np.linalg.solve(self.B + 2 * self.gamma * self.E, self.B @ self.b + 2 * self.gamma * self.embed @ theta)

    def F(self, weights: np.ndarray) -> float:
        d = self.phi(self.theta(weights)) - self.c
        return float(d @ self.C @ d / 2)

    def dF_dlambda(self, weights: np.ndarray) -> np.ndarray:
        """By the chain rule forwards (sensitivities of θ* and φ*), where the library goes backwards."""
        theta = self.theta(weights)
        H = sum(w * A for w, A in zip(weights, self.A, strict=True))
        dtheta = -np.linalg.solve(H, np.stack([A @ (theta - a) for A, a in zip(self.A, self.a, strict=True)], axis=1))
        dphi = np.linalg.solve(self.B + 2 * self.gamma * self.E, 2 * self.gamma * self.embed @ dtheta)
        return dphi.T @ self.C @ (self.phi(theta) - self.c)

    def dF_dalpha(self, alpha: np.ndarray) -> np.ndarray:
        weights = self.weights(alpha)
        g = self.dF_dlambda(weights)
        return weights * (g - weights @ g)

    def levels(self) -> tuple[Pretraining, Finetuning]:
        """Modules at the converged θ*(λ), φ*(θ*) of `weights()`."""
        A, a = torch.from_numpy(np.stack(self.A)), torch.from_numpy(np.stack(self.a))
        mats = {
            "train": (torch.from_numpy(self.B), torch.from_numpy(self.b)),
            "valid": (torch.from_numpy(self.C), torch.from_numpy(self.c)),
        }

        def losses(module: nn.Module, batch: object) -> Tensor:
            d = module.flat() - a
            return torch.einsum("ki,kij,kj->k", d, A, d) / 2

        def loss(module: nn.Module, batch: str) -> Tensor:
            matrix, centre = mats[batch]
            d = module.flat() - centre
            return d @ matrix @ d / 2

        pretrain, finetune = Vector(self.encoder, self.theta_head), Vector(self.encoder, self.phi_head)
        theta = self.theta(self.weights())
        pretrain.set(theta)
        finetune.set(self.phi(theta))
        return Pretraining(pretrain, losses), Finetuning(finetune, loss, gamma=self.gamma)

    @property
    def lam(self) -> Tensor:
        return torch.from_numpy(self.weights())

    @property
    def batches(self) -> dict[str, list]:
        return {"pretrain_batches": [None], "train_batches": ["train"], "valid_batches": ["valid"]}


class Mlp(nn.Module):
    """Two layers in float64: an encoder and a head."""

    def __init__(
        self, outputs: int, dropout: float = 0.0, norm: bool = False, width: int = 4, dtype: torch.dtype = torch.float64
    ) -> None:
        super().__init__()
        layers = [nn.Linear(3, width), nn.Tanh()]
        if norm:
            layers.insert(1, nn.BatchNorm1d(width))
        if dropout:
            layers.append(nn.Dropout(dropout))
        self.encoder = nn.Sequential(*layers)
        self.head = nn.Linear(width, outputs)
        self.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x))


def squared_norm(module: nn.Module) -> Tensor:
    return torch.stack([p.square().sum() for p in module.parameters()]).sum()


@dataclass
class Networks:
    """Two MLPs, K = 3 regression objectives. With `decay` both levels have strict minima that can be solved for."""

    seed: int = 0
    gamma: float = 0.3
    decay: float = 0.1
    dropout: float = 0.0
    norm: bool = False
    dtype: torch.dtype = torch.float64

    def __post_init__(self) -> None:
        g = torch.Generator().manual_seed(self.seed)
        torch.manual_seed(self.seed)

        def batch(rows: int) -> tuple[Tensor, Tensor]:
            x = torch.randn(rows, 3, generator=g, dtype=self.dtype)
            y = torch.stack([x[:, 0].sin(), x[:, 1] * x[:, 2], torch.randn(rows, generator=g, dtype=self.dtype)], 1)
            return x, y

        self.batches = {
            "pretrain_batches": [batch(24), batch(24)],
            "train_batches": [batch(16)],
            "valid_batches": [batch(16), batch(16)],
        }
        self.pretraining = Pretraining(Mlp(3, self.dropout, self.norm, dtype=self.dtype), self.losses)
        self.finetuning = Finetuning(Mlp(1, self.dropout, self.norm, dtype=self.dtype), self.loss, gamma=self.gamma)

    @property
    def lam(self) -> Tensor:
        return torch.tensor([0.5, 0.3, 0.2], dtype=self.dtype)

    def losses(self, module: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        return (module(x) - y).square().mean(0) + self.decay * squared_norm(module)

    def loss(self, module: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch
        # The decay belongs to training; in validation it only shifts F, and the check covers it alike.
        return (module(x)[:, 0] - y[:, 0] - 0.5 * y[:, 1]).square().mean() + self.decay * squared_norm(module)

    def solve_pretraining(self, lam: Tensor) -> None:
        def objective() -> Tensor:
            each = [self.losses(self.pretraining.module, b) for b in self.batches["pretrain_batches"]]
            return (lam * torch.stack(each).mean(0)).sum()

        to_minimum(self.pretraining.module, objective)

    def solve_finetuning(self) -> None:
        def objective() -> Tensor:
            each = [self.loss(self.finetuning.module, b) for b in self.batches["train_batches"]]
            return torch.stack(each).mean() + self.finetuning.proximal(self.pretraining)

        to_minimum(self.finetuning.module, objective)

    @torch.no_grad()
    def valid_loss(self) -> float:
        return float(torch.stack([self.loss(self.finetuning.module, b) for b in self.batches["valid_batches"]]).mean())

    def F(self, lam: Tensor) -> float:
        """ℓ_valid after solving both levels anew, from where the modules stand."""
        self.solve_pretraining(lam)
        self.solve_finetuning()
        return self.valid_loss()

    def central_differences(self, lam: Tensor, step: float = 1e-4) -> np.ndarray:
        """dF/dλ by re-solving at λ ± step in each coordinate (off the simplex, where F is defined all the same)."""
        out = []
        for i in range(len(lam)):
            shift = torch.zeros_like(lam)
            shift[i] = step
            out.append((self.F(lam + shift) - self.F(lam - shift)) / (2 * step))
        self.F(lam)
        return np.array(out)


def to_minimum(module: nn.Module, objective) -> None:
    """BFGS and then Newton until the gradient vanishes to rounding; nothing of tapweight in it."""
    parameters = list(module.parameters())

    def write(vector: np.ndarray) -> None:
        with torch.no_grad():
            torch.nn.utils.vector_to_parameters(torch.from_numpy(vector.copy()), parameters)

    def value(vector: np.ndarray) -> tuple[float, np.ndarray]:
        write(vector)
        loss = objective()
        g = torch.autograd.grad(loss, parameters)
        return float(loss.detach()), torch.cat([x.reshape(-1) for x in g]).numpy()

    x = torch.nn.utils.parameters_to_vector(parameters).detach().numpy().copy()
    if np.abs(value(x)[1]).max() > 1e-3:
        x = minimize(value, x, jac=True, method="BFGS", options={"gtol": 1e-6, "maxiter": 2000}).x
    for _ in range(8):
        write(x)
        g = torch.cat([t.reshape(-1) for t in torch.autograd.grad(objective(), parameters, create_graph=True)])
        if float(g.detach().abs().max()) < 1e-13:
            break
        rows = [torch.autograd.grad(gi, parameters, retain_graph=True) for gi in g]
        H = torch.stack([torch.cat([t.reshape(-1) for t in row]) for row in rows]).numpy()
        x = x - np.linalg.solve(H, g.detach().numpy())
    write(x)
    assert np.abs(value(x)[1]).max() < 1e-10, "the test problem was not solved to convergence"
