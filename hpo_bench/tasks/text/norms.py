"""Layer norms that leave hidden states in autocast's precision."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class StreamNorm(nn.LayerNorm):
    """A layer norm whose output is in autocast's dtype; without autocast it is `nn.LayerNorm`.

    Autocast lets layer norms give float32, so what runs from layer to layer, and its gradient, would take twice the
    memory traffic, and every linear layer that reads it would cast it anew. Sums inside are float32 all the same.
    """

    def forward(self, x: Tensor) -> Tensor:
        kind = x.device.type
        if not torch.is_autocast_enabled(kind):
            return super().forward(x)
        dtype = torch.get_autocast_dtype(kind)
        weight, bias = (None if p is None else p.to(dtype) for p in (self.weight, self.bias))
        with torch.autocast(kind, enabled=False):
            return F.layer_norm(x.to(dtype), self.normalized_shape, weight, bias, self.eps)


def keep_precision(module: nn.Module) -> None:
    """Let every layer norm inside be a `StreamNorm`; parameters and names stay as they are."""
    for part in module.modules():
        if type(part) is nn.LayerNorm:
            part.__class__ = StreamNorm
