"""The base checkpoint: one safetensors file with weights, statistics of its corpus, and metadata in the header."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hpo_bench.errors import UserError
from hpo_bench.tasks.molecule.featurise import FEATURISER_VERSION
from hpo_bench.tasks.molecule.targets import Statistics, descriptor_names, motif_names

_MODEL, _STATISTICS = "model.", "statistics."
_FORMAT = "hpo_bench molecule base 1"


@dataclass(frozen=True)
class Base:
    """A loaded base checkpoint: weights of `encoder` and `heads`, statistics, metadata, and the file's SHA-256."""

    state: dict[str, Tensor]
    statistics: Statistics
    metadata: dict[str, Any]
    sha256: str

    @property
    def encoder_config(self) -> dict[str, Any]:
        """Arguments of `gin.Encoder`."""
        return dict(self.metadata["encoder"])

    @property
    def objectives(self) -> tuple[str, ...]:
        """The objectives that the base was trained on."""
        return tuple(self.metadata["objectives"])


def save_base(path: str | Path, model: nn.Module, statistics: Statistics, metadata: dict[str, Any]) -> str:
    """Write a base checkpoint (aside, then renamed) and return its SHA-256.

    `metadata` must hold `encoder` (arguments of `gin.Encoder`) and `objectives`, which `MoleculeCorpus.metadata` gives;
    anything else that JSON can carry (data hash, seed, losses, steps) is kept as it is.
    """
    from safetensors.torch import save

    path = Path(path)
    for required in ("encoder", "objectives"):
        if required not in metadata:
            raise KeyError(f"metadata of a base checkpoint lacks {required!r}")
    tensors = {_MODEL + name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    for name in ("centroids", "descriptor_mean", "descriptor_std"):
        tensors[_STATISTICS + name] = torch.from_numpy(np.ascontiguousarray(getattr(statistics, name)))
    names = {
        "featuriser_version": FEATURISER_VERSION,
        "motifs": list(motif_names()),
        "descriptors": list(descriptor_names()),
    }
    header = {"format": _FORMAT, "metadata": json.dumps({**metadata, **names}, sort_keys=True)}
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        aside.write_bytes(save(tensors, metadata=header))  # `save_file` lets nobody else read what it writes
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_base(path: str | Path) -> Base:
    """Read a base checkpoint.

    Raises:
        UserError: it is not one or was made by another featuriser.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise no_base(path)
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"{path} is not a safetensors file: {error}", "copy it again, or make a new base") from error
    if header.get("format") != _FORMAT:
        raise UserError(f"{path} is no base checkpoint of this version", "make one with `hpo_bench pretrain-base`")
    metadata = json.loads(header["metadata"])
    _check_names(path, metadata)
    statistics = Statistics(
        *(tensors[_STATISTICS + name].numpy() for name in ("centroids", "descriptor_mean", "descriptor_std"))
    )
    state = {name.removeprefix(_MODEL): value for name, value in tensors.items() if name.startswith(_MODEL)}
    return Base(state, statistics, metadata, hashlib.sha256(path.read_bytes()).hexdigest())


def no_base(path: str | Path) -> UserError:
    """What to tell whoever names a base that is not there."""
    return UserError(f"there is no base checkpoint at {path}", "make one with `hpo_bench pretrain-base`")


def _check_names(path: Path, metadata: dict[str, Any]) -> None:
    """The meaning of a head's outputs must be the one that this version computes."""
    here = {
        "featuriser_version": FEATURISER_VERSION,
        "motifs": list(motif_names()),
        "descriptors": list(descriptor_names()),
    }
    differing = [name for name, value in here.items() if metadata.get(name) != value]
    if differing:
        raise UserError(
            f"{path} was made with other {' and '.join(differing)} than this installation computes",
            "make the base again with `hpo_bench pretrain-base`, or install the RDKit version that it names",
        )
