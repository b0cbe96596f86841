"""ImageMol's published weights (`ImageMol.pth.tar`) in our encoder.

What the file holds was read in the code that writes and reads it, github.com/HongxinXiang/ImageMol: `pretrain.py` saves
a dict of `arch` ("ResNet18") and `state_dict`; `model/model.py` (class ImageMol) puts the children of torchvision's
resnet18 but its classifier into `embedding_layer`, so `embedding_layer.0` is the stem's convolution, `.1` its batch
norm, `.4` to `.7` are `layer1` to `layer4`; behind them come `bn`, `jigsaw_classifier` and `class_classifier1` to `3`.
`finetune.py` takes the first 120 tensors, which are the encoder's. Files with torchvision's own names are read as well.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hpo_bench.errors import UserError
from hpo_bench.tasks.image.checkpoint import ImageBase, sha256_of
from hpo_bench.tasks.image.encoder import RESNET18, Encoder

_REMEDY = "give the file ImageMol.pth.tar that github.com/HongxinXiang/ImageMol links to"
_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
_STEM = {"conv1": "convolution", "bn1": "normalization"}
_BLOCK = {
    "conv1": "layer.0.convolution",
    "bn1": "layer.0.normalization",
    "conv2": "layer.1.convolution",
    "bn2": "layer.1.normalization",
    "downsample.0": "shortcut.convolution",
    "downsample.1": "shortcut.normalization",
}
_LISTED = 8  # names that a message gives one by one


def load_published(path: str | Path) -> ImageBase:
    """The encoder of a published file; its `report` names the missing encoder keys (none) and the unexpected keys.

    The file is read with `weights_only`, so it can hold tensors and plain values, and runs no code.

    Raises:
        UserError: no such file, not such a file, or an encoder that lacks a key or has another shape.
    """
    path = Path(path)
    found = _tensors(path)
    expected = {name: tuple(tensor.shape) for name, tensor in Encoder(**RESNET18).state_dict().items()}
    state: dict[str, Tensor] = {}
    unexpected = []
    for key, tensor in found.items():
        name = our_name(key)
        if name in expected:
            state[name] = tensor.to(torch.int64 if name.endswith("num_batches_tracked") else torch.float32)
        else:
            unexpected.append(key)
    # Files from before torch 0.4.1 do not count batches; nothing reads the count here.
    missing = sorted(name for name in expected if name not in state and not name.endswith("num_batches_tracked"))
    misshapen = sorted(name for name, tensor in state.items() if tuple(tensor.shape) != expected[name])
    for what, names in (("lacks", missing), ("has other shapes for", misshapen)):
        if names:
            more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
            raise UserError(f"{path} {what} {', '.join(names[:_LISTED])}{more} of a ResNet-18", _REMEDY)
    for name in expected:
        state.setdefault(name, torch.tensor(0))
    report = {"file": path.name, "loaded": len(state), "missing": missing, "unexpected": sorted(unexpected)}
    return ImageBase(state, dict(RESNET18), sha256_of(path), report)


def our_name(key: str) -> str | None:
    """The name in `Encoder` of a tensor of the published file or of torchvision's resnet18; None for a head's."""
    key = key.removeprefix("module.")
    if match := re.fullmatch(r"embedding_layer\.(\d+)\.(.+)", key):
        child = _CHILDREN.get(match[1])
        key = f"{child}.{match[2]}"
    if match := re.fullmatch(r"(conv1|bn1)\.(\w+)", key):
        return f"resnet.embedder.embedder.{_STEM[match[1]]}.{match[2]}"
    if match := re.fullmatch(r"layer([1-4])\.(\d+)\.(conv[12]|bn[12]|downsample\.[01])\.(\w+)", key):
        return f"resnet.encoder.stages.{int(match[1]) - 1}.layers.{match[2]}.{_BLOCK[match[3]]}.{match[4]}"
    return None


def _tensors(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise UserError(f"there is no checkpoint at {path}", _REMEDY)
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, OSError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        first = str(error).strip().partition("\n")[0]
        raise UserError(f"{path} cannot be read as a file of weights: {first}", _REMEDY) from error
    state = content.get("state_dict", content) if isinstance(content, Mapping) else content
    if not isinstance(state, Mapping) or not state or not all(isinstance(t, Tensor) for t in state.values()):
        raise UserError(f"{path} holds no state_dict of tensors", _REMEDY)
    return state
