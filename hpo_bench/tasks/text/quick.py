"""BERT's layers as one compiled function: a training step on an accelerator, in far fewer passes over memory.

What a layer does between its products (bias, dropout, residual, layer norm, GELU, casts of weights) torch.compile puts
into few kernels, and its three projections of attention are one product. Hidden states stay in bf16 from layer to
layer, sums inside a norm are float32. It has a gradient and nothing more, so it serves training steps
(`base.gradient_alone`); every other pass takes the model's own way. Layers share one function, so one is compiled.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._triton import has_triton

from hpo_bench.tasks.base import only_gradient_needed

_MODELS = ("bert", "roberta", "xlm-roberta", "electra", "camembert")  # whose layers are BERT's
_WORTH = 1 << 22  # numbers in a hidden state: fewer never earn back the seconds of compiling


class Settings(NamedTuple):
    """What is the same in all layers."""

    heads: int
    attention_dropout: float
    dropout: float
    eps: float
    dtype: torch.dtype  # of products


def usable(backbone: Any, hidden: Tensor) -> bool:
    """Does a pass from embedded tokens (R, W, width) go through here?

    Not where the same bits are asked for: on an H200 two trainings through compiled layers differed, whatever the
    kernel of attention (docs/performance.md).
    """
    config = backbone.config
    return (
        only_gradient_needed()
        and not torch.are_deterministic_algorithms_enabled()
        and backbone.training
        and hidden.is_cuda
        and hidden.numel() >= _WORTH
        and config.model_type in _MODELS
        and getattr(config, "hidden_act", "") == "gelu"
        and getattr(config, "position_embedding_type", "absolute") == "absolute"
        and not getattr(config, "add_cross_attention", False)
        and hasattr(backbone, "encoder")
        and has_triton()
    )


def through_layers(backbone: Any, hidden: Tensor, mask: Tensor | None, layer: Callable[..., Tensor]) -> Tensor:
    """Hidden states (R, W, width) after all layers, from embedded tokens; mask (R, 1, W, W) bool or None."""
    config, kind = backbone.config, hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
    settings = Settings(
        config.num_attention_heads,
        config.attention_probs_dropout_prob if backbone.training else 0.0,
        config.hidden_dropout_prob if backbone.training else 0.0,
        config.layer_norm_eps,
        dtype,
    )
    with torch.autocast(kind, enabled=False):
        hidden = hidden.to(dtype)
        for one in backbone.encoder.layer:
            hidden = layer(hidden, mask, _parameters(one), settings)
    return hidden


def compiled(hidden: Tensor, mask: Tensor | None, parameters: tuple[Tensor, ...], settings: Settings) -> Tensor:
    """`layer`, compiled for the shapes at hand; where that fails it is said once, and `layer` itself runs."""
    function = _compiled()
    try:
        return function(hidden, mask, parameters, settings)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # of a compiler: anything
        if function is layer:
            raise
        told = str(error).strip().splitlines()
        warnings.warn(
            f"the layers of text encoders cannot be compiled ({type(error).__name__}: {told[0] if told else ''}); "
            "training steps take longer",
            stacklevel=2,
        )
        _found["layer"] = layer
        return layer(hidden, mask, parameters, settings)


_found: dict[str, Callable[..., Tensor]] = {}


def _compiled() -> Callable[..., Tensor]:
    """The one function that all layers of all models share."""
    if "layer" not in _found:
        _found["layer"] = torch.compile(layer, fullgraph=True, dynamic=False)
    return _found["layer"]


def _parameters(one: Any) -> tuple[Tensor, ...]:
    """Of a layer, in the order in which `layer` takes them."""
    attention, after = one.attention.self, one.attention.output
    modules = (
        *(attention.query, attention.key, attention.value),
        *(after.dense, after.LayerNorm, one.intermediate.dense, one.output.dense, one.output.LayerNorm),
    )
    return tuple(tensor for module in modules for tensor in (module.weight, module.bias))


def layer(hidden: Tensor, mask: Tensor | None, parameters: tuple[Tensor, ...], settings: Settings) -> Tensor:
    """One layer: (R, W, width) -> (R, W, width) of `settings.dtype`."""
    heads, attention_dropout, dropout, eps, dtype = settings
    q, qb, k, kb, v, vb, o, ob, g1, b1, w1, c1, w2, c2, g2, b2 = parameters
    rows, width = hidden.shape[:2]
    projected = F.linear(hidden, torch.cat([q, k, v]).to(dtype), torch.cat([qb, kb, vb]).to(dtype))
    each = projected.view(rows, width, 3, heads, -1).permute(2, 0, 3, 1, 4)
    query, key, value = each.unbind(0)
    seen = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=attention_dropout)
    seen = seen.transpose(1, 2).reshape(hidden.shape)
    attended = F.linear(seen, o.to(dtype), ob.to(dtype))
    hidden = _normed(F.dropout(attended, dropout) + hidden, g1, b1, eps)
    inner = F.gelu(F.linear(hidden, w1.to(dtype), c1.to(dtype)))
    return _normed(F.dropout(F.linear(inner, w2.to(dtype), c2.to(dtype)), dropout) + hidden, g2, b2, eps)


def _normed(rows: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Layer norm in float32 at least."""
    wide = torch.promote_types(rows.dtype, weight.dtype)
    return F.layer_norm(rows.to(wide), rows.shape[-1:], weight, bias, eps).to(rows.dtype)
