"""Targets that chemistry software gives for free: functional groups, fingerprint clusters, descriptors.

What a molecule alone decides is computed in the featurising pass (`TARGET_KINDS`). What a corpus decides (centroids,
means) is fitted once on the corpus of the base checkpoint and shipped with it in `Statistics`, so that a pretrained
head keeps its meaning on every later corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from hpo_bench.errors import UserError
from hpo_bench.tasks.molecule.descriptors import descriptor_names, descriptors

if TYPE_CHECKING:
    from rdkit.Chem import Mol

    from hpo_bench.tasks.molecule.featurise import MoleculeArrays

DESCRIPTOR_CLIP = 5.0


@cache
def _fragments() -> tuple[tuple[str, Any], ...]:
    from rdkit.Chem import Fragments

    return tuple(sorted((name, function.__defaults__[1]) for name, function in Fragments.fns))


@cache
def motif_names() -> tuple[str, ...]:
    """Names of RDKit's 85 functional groups (fr_*), the motif labels of GROVER (Rong et al. 2020, section 4.2)."""
    return tuple(name for name, _ in _fragments())


def _motifs(molecule: Mol) -> list[bool]:
    return [molecule.HasSubstructMatch(pattern) for _, pattern in _fragments()]


def _maccs(molecule: Mol) -> list[int]:
    from rdkit.Chem import rdMolDescriptors

    return [int(bit) for bit in rdMolDescriptors.GetMACCSKeysFingerprint(molecule).ToBitString()]


class Target(NamedTuple):
    """A kind of target: the numbers of a molecule, (width,)."""

    of: Callable[[Mol], Sequence[float]]
    width: Callable[[], int]
    dtype: type[np.generic] = np.uint8


TARGET_KINDS = {
    "motif": Target(_motifs, lambda: len(motif_names())),
    "maccs": Target(_maccs, lambda: 167),  # bit 0 is never set
    "descriptor": Target(descriptors, lambda: len(descriptor_names()), np.float32),
}


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
        """Nearest centroid (M,) int64 of MACCS keys (M, 167), by Euclidean distance; ties go to the lower number.

        Raises:
            UserError: there are no centroids: the base was made without objectives that read MACCS keys.
        """
        _there(self.centroids, "clusters")
        points = keys.astype(np.float32)
        distance = (self.centroids**2).sum(1) - 2 * points @ self.centroids.T
        return distance.argmin(1)

    def standardise(self, values: np.ndarray) -> np.ndarray:
        """Descriptors (M, D) as standard scores of the base corpus, clipped to ±5, float32.

        Raises:
            UserError: no mean is known: the base was made without objectives that read descriptors.
        """
        _there(self.descriptor_mean, "descriptors")
        scores = (values - self.descriptor_mean) / self.descriptor_std
        return np.clip(np.nan_to_num(scores), -DESCRIPTOR_CLIP, DESCRIPTOR_CLIP).astype(np.float32)


def _there(statistics: np.ndarray, of: str) -> None:
    if not len(statistics):
        raise UserError(
            f"the base has no statistics of {of}: it was made without an objective that reads them",
            "leave such objectives out, or make a base with them",
        )


def _kmeans(points: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(clusters, random_state=seed, batch_size=2048, n_init=3)
    return model.fit(points).cluster_centers_.astype(np.float32)
