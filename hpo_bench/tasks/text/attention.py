"""Transformers' attention by the mask that it is given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from torch import Tensor

_ATTENTION = "sdpa_mask_as_given"


@contextmanager
def mask_as_given(config: Any) -> Iterator[None]:
    """Inside, transformers' scaled dot-product attention takes a mask as it is, and none where none is given.

    Otherwise it looks at the mask on the device whether any token is padding, or, while a step is captured, attends
    through a mask that hides nothing, for which torch has no quick kernel.
    """
    if getattr(config, "_attn_implementation", None) != "sdpa":
        yield
        return
    _register_attention()
    config._attn_implementation = _ATTENTION
    try:
        yield
    finally:
        config._attn_implementation = "sdpa"


@cache
def _register_attention() -> None:
    from transformers import AttentionInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import AttentionMaskInterface

    def mask(attention_mask: Tensor | None = None, q_length: int = 1, **_: Any) -> Tensor | None:
        return None if attention_mask is None else attention_mask[:, None, None].expand(-1, 1, q_length, -1)

    AttentionInterface.register(_ATTENTION, sdpa_attention_forward)
    AttentionMaskInterface.register(_ATTENTION, mask)
