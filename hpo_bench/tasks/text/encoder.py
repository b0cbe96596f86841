"""Any encoder of transformers' Auto classes, and its base weights."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo_bench.errors import UserError
from hpo_bench.tasks.text.attention import mask_as_given
from hpo_bench.tasks.text.norms import keep_precision
from hpo_bench.tasks.text.packed import Tokens
from hpo_bench.tasks.text.tokens import unloadable

Pooling = Literal["mean", "first"]
_ROWS_A_BUCKET = 12  # on a processor; fewer make its products too thin
_MOST_BUCKETS = 8


class TextEncoder(nn.Module):
    """An encoder and how a text's embedding is read off it: the mean of its tokens, or the first token.

    Several views go through in one pass: their word embeddings are looked up once (a lookup's backward pass fills the
    whole vocabulary's gradient), their rows are sorted by length, and rows of like length share a bucket, so that
    little is spent on padding.
    """

    def __init__(self, backbone: nn.Module, pooling: Pooling = "mean") -> None:
        super().__init__()
        self.backbone, self.pooling = backbone, pooling
        keep_precision(backbone)

    @property
    def word_embeddings(self) -> Tensor:
        """(V, width): also the decoder of masked language modelling."""
        return self.backbone.get_input_embeddings().weight  # type: ignore[operator]

    def forward(self, views: Sequence[Tokens]) -> list[Tensor]:
        """Hidden states (B, W, width) of every view."""
        width = max(view.ids.shape[1] for view in views)
        ids = torch.cat([F.pad(view.ids, (0, width - view.ids.shape[1])) for view in views])
        types = None
        if views[0].types is not None:
            types = torch.cat([F.pad(v.types, (0, width - v.types.shape[1])) for v in views if v.types is not None])
        sizes = torch.cat([view.sizes for view in views])
        if views[0].full is not None:
            full = all(view.full for view in views)
            hidden = self._fixed(ids, types, sizes, (width,) if full else views[0].widths, full)
            return list(hidden.split([len(view) for view in views]))
        order = sizes.argsort()
        sizes = sizes.index_select(0, order)
        words = F.embedding(ids.index_select(0, order), self.word_embeddings)
        rows = -(-len(order) // _buckets(len(order), ids.device))
        sorted_types = () if types is None else types.index_select(0, order).split(rows)
        parts = []
        for number, (part, lengths) in enumerate(zip(words.split(rows), sizes.split(rows), strict=True)):
            longest = int(lengths[-1])
            given: dict[str, Any] = {} if types is None else {"token_type_ids": sorted_types[number][:, :longest]}
            mask = torch.arange(longest, device=ids.device) < lengths[:, None]
            hidden = self.backbone(inputs_embeds=part[:, :longest], attention_mask=mask.long(), **given)
            parts.append(F.pad(hidden.last_hidden_state, (0, 0, 0, width - longest)))
        hidden = torch.cat(parts)
        _strict_between(words, hidden)
        hidden = hidden.index_select(0, order.argsort())
        split = hidden.split([len(view) for view in views])
        return [part[:, : view.ids.shape[1]] for part, view in zip(split, views, strict=True)]

    def _fixed(self, ids: Tensor, types: Tensor | None, sizes: Tensor, widths: tuple[int, ...], full: bool) -> Tensor:
        """Hidden states (R, W, width) of rows in buckets of known widths; nothing is read from the device."""
        if len(widths) == 1:
            words = F.embedding(ids, self.word_embeddings)
            hidden = self._in_one(words, types, sizes, full)
            _strict_between(words, hidden)
            return hidden
        order = sizes.argsort(stable=True)
        ids, sizes = ids.index_select(0, order), sizes.index_select(0, order)
        types = None if types is None else types.index_select(0, order)
        words, parts, start = F.embedding(ids, self.word_embeddings), [], 0
        rows = -(-len(order) // len(widths))
        for width in widths:
            own = slice(start, start + rows)
            some = None if types is None else types[own, :width]
            hidden = self._in_one(words[own, :width], some, sizes[own], full=False)
            parts.append(F.pad(hidden, (0, 0, 0, ids.shape[1] - width)))
            start += rows
        hidden = torch.cat(parts)
        _strict_between(words, hidden)
        return Reordered.apply(hidden, order.argsort(), order)  # type: ignore[no-any-return]

    def _in_one(self, words: Tensor, types: Tensor | None, sizes: Tensor, full: bool) -> Tensor:
        """Hidden states (R, W, width) of embedded words in one pass that reads nothing back from the device."""
        given: dict[str, Any] = {} if types is None else {"token_type_ids": types}
        width = words.shape[1]
        known = None if full else torch.arange(width, device=words.device) < sizes[:, None]
        if known is not None:
            given["attention_mask"] = known.long()
        with mask_as_given(self.backbone.config):
            hidden: Tensor = self.backbone(inputs_embeds=words, **given).last_hidden_state
        return hidden

    def pool(self, hidden: Tensor, tokens: Tokens) -> Tensor:
        """Embeddings (B, width), float32 at least, from hidden states (B, W, width)."""
        full = torch.promote_types(hidden.dtype, torch.float32)  # bf16 cannot count beyond 256
        if self.pooling == "first":
            return hidden[:, 0].to(full)
        mask = tokens.mask.to(hidden.dtype)
        return torch.einsum("bw,bwd->bd", mask, hidden) / tokens.sizes[:, None].to(full)


class Reordered(torch.autograd.Function):
    """Rows (R, ...) in the order `order` (R,), with its inverse beside it.

    The backward pass is the other order; that of `index_select` would add up, on an accelerator in any order.
    """

    @staticmethod
    def forward(rows: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        return rows.index_select(0, order)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.orders = inputs[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        order, inverse = ctx.orders
        return Reordered.apply(gradients[0], inverse, order), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        return Reordered.apply(tangents[0], *ctx.orders)  # type: ignore[no-any-return]


def _strict_between(words: Tensor, hidden: Tensor) -> None:
    """Backward from hidden states to words, attention on an accelerator adds up in one order.

    It does so only where torch is told to refuse every operation that cannot; elsewhere it is told to warn alone.
    """
    if not (hidden.is_cuda and hidden.requires_grad and torch.is_deterministic_algorithms_warn_only_enabled()):
        return
    hidden.register_hook(lambda _: torch.use_deterministic_algorithms(True))
    if words.requires_grad:
        words.register_hook(lambda _: torch.use_deterministic_algorithms(True, warn_only=True))


def _buckets(rows: int, device: torch.device) -> int:
    """A processor gains from many short passes, an accelerator from few large ones."""
    per_bucket = _ROWS_A_BUCKET if device.type == "cpu" else 32 * _ROWS_A_BUCKET
    return max(1, min(_MOST_BUCKETS, rows // per_bucket))


@dataclass(frozen=True)
class BaseModel:
    """A loaded base: the encoder, the masked-language-modelling head where the checkpoint has one, and what it is.

    `mlm_head` holds dense.weight, dense.bias, norm.weight, norm.bias and bias, or nothing.
    """

    encoder: TextEncoder
    mlm_head: dict[str, Tensor]
    width: int
    vocabulary: int
    limit: int  # positions
    layers: int
    sha256: str  # of the weights in use

    @property
    def base_id(self) -> str:
        """For records."""
        return self.sha256


def load_base(path: str | Path, layers: int | None = None, pooling: Pooling = "mean") -> BaseModel:
    """The encoder at `path` (folder or name on the hub), its first `layers` layers alone if that is given.

    Raises:
        UserError: it cannot be loaded, is no bidirectional encoder, or has fewer layers.
    """
    from transformers import AutoConfig, AutoModel

    options: dict[str, Any] = {"trust_remote_code": False}  # a folder's own code is never run
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # whatever the checkpoint lacks
        try:
            config = AutoConfig.from_pretrained(str(path), trust_remote_code=False)
            if getattr(config, "is_decoder", False) or getattr(config, "is_encoder_decoder", False):
                raise UserError(f"{path} is a {config.model_type}, no encoder", "use a BERT, RoBERTa or DeBERTa")
            if layers is not None:
                if not 1 <= layers <= config.num_hidden_layers:
                    raise UserError(
                        f"{path} has {config.num_hidden_layers} layers, not {layers}", "give fewer with layers=N"
                    )
                options["num_hidden_layers"] = layers
            backbone = AutoModel.from_pretrained(str(path), **options)
            head = _mlm_head(path, config, options)
        except UserError:
            raise
        except Exception as error:  # whatever the hub's client or a parser raises
            raise unloadable("model", path, error) from error
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None  # the embedding is read off the hidden states
    backbone = backbone.float()
    encoder = TextEncoder(backbone, pooling)
    offset = int(config.pad_token_id or 0) + 1 if "roberta" in config.model_type else 0  # its positions start there
    return BaseModel(
        encoder,
        head,
        int(config.hidden_size),
        len(encoder.word_embeddings),
        int(config.max_position_embeddings) - offset,
        int(backbone.config.num_hidden_layers),
        _sha256(encoder.state_dict() | head),
    )


def _mlm_head(path: str | Path, config: Any, options: dict[str, Any]) -> dict[str, Tensor]:
    """The head of a checkpoint that was saved with one: the transform and the decoder's bias.

    BERT, RoBERTa and DeBERTa name the parts differently, but have the same ones: a dense layer, a layer norm, a bias
    over the vocabulary.
    """
    from transformers import AutoModelForMaskedLM

    if not any("MaskedLM" in name or "PreTraining" in name for name in config.architectures or ()):
        return {}
    model, report = AutoModelForMaskedLM.from_pretrained(str(path), output_loading_info=True, **options)
    prefix = f"{model.base_model_prefix}."
    head = {name: value for name, value in model.state_dict().items() if not name.startswith(prefix)}
    if any(not name.startswith(prefix) and not name.endswith("decoder.weight") for name in report["missing_keys"]):
        return {}
    found = {}
    for name, value in head.items():
        owner, kind = name.rsplit(".", 1)
        if owner.endswith("dense"):
            found[f"dense.{kind}"] = value
        elif owner.lower().endswith(("layernorm", "layer_norm")):
            found[f"norm.{kind}"] = value
        elif kind == "bias" and value.shape == (config.vocab_size,):
            found["bias"] = value
    complete = set(found) == {"dense.weight", "dense.bias", "norm.weight", "norm.bias", "bias"}
    return {name: value.detach().float().clone() for name, value in found.items()} if complete else {}


def _sha256(state: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' progress bars and its reports on weights that are left out on purpose."""
    from transformers.utils import logging as hf_logging

    bars, level = hf_logging.is_progress_bar_enabled(), hf_logging.get_verbosity()
    hf_logging.disable_progress_bar()
    hf_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()
