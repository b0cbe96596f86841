"""Encoder weights to start from: our own file (safetensors), and what every kind of file is read into."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hpo_bench.errors import UserError

_FORMAT = "hpo_bench image base 1"
_REMEDY = "make one with `hpo-bench pretrain-base --encoder imagemol`, or give ImageMol's own file to --checkpoint"


@dataclass(frozen=True)
class ImageBase:
    """A loaded encoder: its weights, arguments of `encoder.Encoder`, the file's SHA-256, and notes for the record.

    Heads are not kept: a corpus has clusters of its own, so a head of another corpus would mean nothing here.
    """

    state: dict[str, Tensor]
    encoder_config: dict[str, Any]
    sha256: str
    report: dict[str, Any] = field(default_factory=dict)


def save_base(path: str | Path, encoder: nn.Module, metadata: dict[str, Any]) -> str:
    """Write an encoder (aside, then renamed) and return the file's SHA-256.

    `metadata` must hold `encoder`, the arguments of `encoder.Encoder`; what else JSON can carry is kept as it is.
    """
    from safetensors.torch import save

    if "encoder" not in metadata:
        raise KeyError("metadata of a base checkpoint lacks 'encoder'")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    tensors = {name: value.detach().cpu().contiguous() for name, value in encoder.state_dict().items()}
    try:
        header = {"format": _FORMAT, "metadata": json.dumps(metadata, sort_keys=True)}
        aside.write_bytes(save(tensors, metadata=header))  # `save_file` lets nobody else read what it writes
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    return sha256_of(path)


def load_base(path: str | Path) -> ImageBase:
    """Read what `save_base` wrote.

    Raises:
        UserError: there is no such file, or it is something else.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no base checkpoint at {path}", _REMEDY)
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"{path} is not a safetensors file: {error}", _REMEDY) from error
    if header.get("format") != _FORMAT:
        raise UserError(f"{path} is no base checkpoint for images", _REMEDY)
    return ImageBase(state, json.loads(header["metadata"])["encoder"], sha256_of(path))


def sha256_of(path: Path) -> str:
    """SHA-256 in hex of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
