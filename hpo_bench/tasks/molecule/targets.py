"""Targets that chemistry software gives for free: functional groups, fingerprint clusters, descriptors, and noise.

What a molecule alone decides is computed in the featurising pass (`TARGET_KINDS`). What a corpus decides (centroids,
means) is fitted once on the corpus of the base checkpoint and shipped with it in `Statistics`, so that a pretrained
head keeps its meaning on every later corpus.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from hpo_bench.tasks.molecule.crippen import crippen_descriptors
from hpo_bench.tasks.molecule.keys import maccs_bits
from hpo_bench.tasks.molecule.mqn import quantum_numbers
from hpo_bench.tasks.molecule.screen import PatternScreen
from hpo_bench.tasks.molecule.surroundings import Surroundings

if TYPE_CHECKING:
    from rdkit.Chem import Mol

    from hpo_bench.tasks.molecule.featurise import MoleculeArrays

DESCRIPTOR_CLIP = 5.0
NOISE_CLASSES = 100


@cache
def _fragments() -> tuple[tuple[str, Any], ...]:
    from rdkit.Chem import Fragments

    return tuple(sorted((name, function.__defaults__[1]) for name, function in Fragments.fns))


@cache
def motif_names() -> tuple[str, ...]:
    """Names of RDKit's 85 functional groups (fr_*), the motif labels of GROVER (Rong et al. 2020, section 4.2)."""
    return tuple(name for name, _ in _fragments())


@cache
def _motif_screen() -> PatternScreen:
    return PatternScreen([pattern for _, pattern in _fragments()])


def motif(molecule: Mol, surroundings: Surroundings | None = None) -> list[bool]:
    """Which functional groups a molecule has, in the order of `motif_names`."""
    if surroundings is not None:
        return _motif_screen().present(surroundings)
    return [molecule.HasSubstructMatch(pattern) for _, pattern in _fragments()]


def maccs(molecule: Mol, surroundings: Surroundings | None = None) -> np.ndarray | bytearray:
    """MACCS keys (167,) uint8; bit 0 is never set."""
    from rdkit.Chem import rdMolDescriptors

    if surroundings is not None:
        return maccs_bits(surroundings)
    bits = rdMolDescriptors.GetMACCSKeysFingerprint(molecule).ToBitString()
    return np.frombuffer(bits.encode(), np.uint8) - 48


# fmt: off
_SCALARS = (
    "ExactMolWt", "TPSA", "LabuteASA", "FractionCSP3", "HallKierAlpha", "Kappa1", "Chi0n", "Chi1n", "Chi0v", "Chi1v",
    "NumHBD", "NumLipinskiHBA", "NumLipinskiHBD", "NumAmideBonds", "NumAromaticRings", "NumAliphaticRings",
    "NumSaturatedRings", "NumHeterocycles", "NumAromaticHeterocycles", "NumAliphaticHeterocycles",
    "NumSaturatedHeterocycles", "NumSpiroAtoms", "NumBridgeheadAtoms",
)
# fmt: on
_VECTORS = {"SlogP_VSA_": 12, "SMR_VSA_": 10, "PEOE_VSA_": 14, "MQNs_": 42}


@cache
def _descriptor_functions() -> tuple[tuple[Callable[..., Any], ...], tuple[Callable[..., Any], ...]]:
    from rdkit.Chem import rdMolDescriptors

    scalars = tuple(getattr(rdMolDescriptors, f"Calc{name}") for name in _SCALARS)
    return scalars, tuple(getattr(rdMolDescriptors, name) for name in _VECTORS)


@cache
def descriptor_names() -> tuple[str, ...]:
    """Names of the 103 two-dimensional RDKit descriptors of the regression objective: the cheap and finite ones."""
    names = [*_SCALARS, "CrippenClogP", "CrippenMR"]
    for prefix, count in _VECTORS.items():
        names += [f"{prefix}{number}" for number in range(1, count + 1)]
    return tuple(names)


def descriptor(molecule: Mol, surroundings: Surroundings | None = None) -> list[float]:
    """The descriptors in their own units, in the order of `descriptor_names`."""
    from rdkit.Chem import rdMolDescriptors

    scalars, vectors = _descriptor_functions()
    values = [function(molecule) for function in scalars]
    if surroundings is not None:
        values += crippen_descriptors(surroundings)
        values += rdMolDescriptors.PEOE_VSA_(molecule)
        return values + quantum_numbers(surroundings)
    values += rdMolDescriptors.CalcCrippenDescriptors(molecule)
    for function in vectors:
        values += function(molecule)
    return values


TARGET_KINDS: dict[str, Callable[[Any, Any], Any]] = {"motif": motif, "maccs": maccs, "descriptor": descriptor}
"""Each takes the molecule and its surroundings; without those RDKit is asked for everything, and answers the same."""


def target_width(kind: str) -> int:
    """Number of columns of a kind of target."""
    return {"motif": lambda: len(motif_names()), "maccs": lambda: 167, "descriptor": lambda: len(descriptor_names())}[
        kind
    ]()


@dataclass(frozen=True)
class Statistics:
    """What the corpus of the base checkpoint decides: centroids (k, 167), descriptor mean and std (D,), all float32."""

    centroids: np.ndarray
    descriptor_mean: np.ndarray
    descriptor_std: np.ndarray

    @classmethod
    def fit(cls, molecules: MoleculeArrays, clusters: int = 100, seed: int = 0) -> Statistics:
        """k-means centroids of the MACCS keys (ImageMol's MG3C, Zeng et al. 2022) and descriptor mean and std.

        `clusters` is capped by the number of molecules. A kind that was not computed gets an empty entry; a descriptor
        that never varies gets std 1.
        """
        centroids = np.zeros((0, 167), np.float32)
        if molecules.maccs.shape[1]:
            centroids = _kmeans(molecules.maccs.astype(np.float32), min(clusters, len(molecules)), seed)
        values = molecules.descriptor.astype(np.float64)
        mean, std = values.mean(0), values.std(0)
        std[std < 1e-6] = 1.0
        return cls(centroids, mean.astype(np.float32), std.astype(np.float32))

    def assign(self, keys: np.ndarray) -> np.ndarray:
        """Nearest centroid (M,) int64 of MACCS keys (M, 167), by Euclidean distance; ties go to the lower number."""
        points = keys.astype(np.float32)
        distance = (self.centroids**2).sum(1) - 2 * points @ self.centroids.T
        return distance.argmin(1)

    def standardise(self, values: np.ndarray) -> np.ndarray:
        """Descriptors (M, D) as standard scores of the base corpus, clipped to ±5, float32."""
        scores = (values - self.descriptor_mean) / self.descriptor_std
        return np.clip(np.nan_to_num(scores), -DESCRIPTOR_CLIP, DESCRIPTOR_CLIP).astype(np.float32)


def _kmeans(points: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(clusters, random_state=seed, batch_size=2048, n_init=3)
    return model.fit(points).cluster_centers_.astype(np.float32)


def noise_labels(count: int, classes: int = NOISE_CLASSES, seed: int = 0) -> np.ndarray:
    """Labels (count,) int64 that depend on the row number and the seed alone: an objective that cannot help."""
    return np.random.default_rng([seed, 0x6E6F6973]).integers(classes, size=count)
