"""State on disk: safetensors files that appear whole and are checked when they are read back."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from hpo_bench.errors import UserError
from hpo_bench.records.files import write_whole


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a nested dict of tensors and JSON values; the file is replaced whole or not at all."""
    write_whole(path, pack_state(state))


def pack_state(state: dict[str, Any]) -> bytes:
    """A nested dict of tensors and JSON values as the content of a file of `save_state`."""
    tensors: dict[str, Tensor] = {}
    skeleton = _take_tensors(state, "", tensors)
    header = {"state": json.dumps(skeleton), "sha256": _digest(tensors, json.dumps(skeleton))}
    return save(tensors, metadata=header)


def load_state(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what `save_state` wrote.

    Raises:
        UserError: the file is missing, cut short, or its contents do not match their SHA-256.
    """
    remedy = f"delete {path} and run the same command again"
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise UserError(f"cannot read the checkpoint {path}: {error}", remedy) from error
    return _checked(tensors, header, f"the checkpoint {path}", remedy, device)


def unpack_state(content: bytes, device: torch.device | str = "cpu") -> dict[str, Any]:
    """What `pack_state` packed.

    Raises:
        UserError: it is cut short, or does not match its SHA-256.
    """
    remedy = "run the same command again"
    try:
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]).get("__metadata__", {})
    except (SafetensorError, ValueError) as error:
        raise UserError(f"cannot read a checkpoint that was sent: {error}", remedy) from error
    return _checked(tensors, header, "a checkpoint that was sent", remedy, device)


def _checked(
    tensors: dict[str, Tensor], header: dict[str, str], what: str, remedy: str, device: torch.device | str
) -> dict[str, Any]:
    if _digest(tensors, header.get("state", "")) != header.get("sha256"):
        raise UserError(f"{what} is corrupt: its contents do not match their SHA-256", remedy)
    return _put_tensors(json.loads(header["state"]), {key: tensor.to(device) for key, tensor in tensors.items()})


def _take_tensors(value: Any, key: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        while key in tensors:  # {"a": {"b": …}, "a/b": …}
            key += "'"
        tensors[key] = value.detach().cpu().contiguous().clone()
        return {"tensor": key}
    if isinstance(value, dict):
        # Optimisers use integer keys: JSON would turn them into strings, so a dict is kept as pairs.
        return {"dict": [[k, _take_tensors(v, f"{key}/{k}", tensors)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_take_tensors(v, f"{key}/{i}", tensors) for i, v in enumerate(value)]}
    return {"value": value}


def _put_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "dict" in value:
        return {k: _put_tensors(v, tensors) for k, v in value["dict"]}
    if "list" in value:
        return [_put_tensors(v, tensors) for v in value["list"]]
    return value["value"]


def _digest(tensors: dict[str, Tensor], skeleton: str) -> str:
    digest = hashlib.sha256(skeleton.encode())
    for key in sorted(tensors):
        digest.update(f"{key} {tensors[key].dtype} {list(tensors[key].shape)}".encode())
        digest.update(tensors[key].contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
