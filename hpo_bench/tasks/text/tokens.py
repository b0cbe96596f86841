"""Tokenising: once, by a fast tokeniser on all cores, kept on disk under a key of its content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from hpo_bench.data.hub import MODEL_REMEDY
from hpo_bench.data.kept import kept
from hpo_bench.errors import UserError

_AT_ONCE = 10_000  # texts: the tokeniser's own objects take a hundred times the room of the ids
_LONGEST = 10**6  # tokenisers without a limit of their own say 1e30


@dataclass(frozen=True)
class Frame:
    """The special tokens around a text and between two: prefix, a, suffix; or prefix, a, middle, b, suffix."""

    prefix: tuple[int, ...]
    middle: tuple[int, ...]
    suffix: tuple[int, ...]
    pad: int
    second_type: int | None  # token type of b; None where the model knows no token types

    def room(self, limit: int, pair: bool) -> int:
        """Tokens of text that fit into `limit`."""
        return limit - len(self.prefix) - len(self.suffix) - (len(self.middle) if pair else 0)


@dataclass(frozen=True)
class TokenArrays:
    """Texts as token ids without special tokens: ids (T,) int32 end to end, counts (N,) int64."""

    ids: np.ndarray
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)


class Tokeniser:
    """A fast tokeniser of transformers, with what is needed beyond it.

    Raises:
        UserError: no tokeniser at `path`, or one without a fast implementation.
    """

    def __init__(self, path: str | Path) -> None:
        from transformers import AutoTokenizer

        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        try:
            self.hf: Any = AutoTokenizer.from_pretrained(str(path), trust_remote_code=False)
        except Exception as error:  # whatever the hub's client or a parser raises
            raise unloadable("tokeniser", path, error) from error
        if not getattr(self.hf, "is_fast", False):
            raise UserError(f"{path} has no fast tokeniser", "add a tokenizer.json, or use another model")

    @property
    def limit(self) -> int:
        """Tokens that the tokeniser says the model takes, special ones included."""
        return min(int(self.hf.model_max_length), _LONGEST)

    @property
    def mask(self) -> int:
        """The mask token's id.

        Raises:
            UserError: there is none.
        """
        if self.hf.mask_token_id is None:
            raise UserError(
                "the tokeniser has no mask token, which the objectives mlm and span need",
                "choose others with --objectives, for example contrast,sop",
            )
        return int(self.hf.mask_token_id)

    def unknown_share(self, ids: Tensor) -> float:
        """Share of token ids (T,) that stand for what the tokeniser does not know; 0 where it knows every byte."""
        unknown = self.hf.unk_token_id
        return 0.0 if unknown is None or not len(ids) else float((ids == unknown).double().mean())

    @cached_property
    def frame(self) -> Frame:
        """Read off an encoded pair, so that any model's convention comes out right."""
        encoded = self.hf("a", "b", return_token_type_ids=True)
        ids, owner, types = encoded["input_ids"], encoded.sequence_ids(0), encoded["token_type_ids"]
        first = [i for i, part in enumerate(owner) if part == 0]
        second = [i for i, part in enumerate(owner) if part == 1]
        typed = "token_type_ids" in self.hf.model_input_names
        pad = self.hf.pad_token_id
        return Frame(
            tuple(ids[: first[0]]),
            tuple(ids[first[-1] + 1 : second[0]]),
            tuple(ids[second[-1] + 1 :]),
            0 if pad is None else int(pad),
            int(types[second[0]]) if typed else None,
        )

    @cached_property
    def ordinary(self) -> np.ndarray:
        """Ids that are no special tokens (V',), from which random replacements are drawn."""
        return np.setdiff1d(np.arange(len(self.hf)), np.array(self.hf.all_special_ids))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the tokeniser's whole definition."""
        return hashlib.sha256(self.hf.backend_tokenizer.to_str().encode()).hexdigest()

    def tokenise(self, texts: Sequence[str]) -> TokenArrays:
        """All texts, from the cache if they are there.

        Raises:
            UserError: a text that gives no token at all.
        """
        texts = list(texts)
        digest = hashlib.sha256(f"{self.fingerprint}|{len(texts)}\n".encode())
        digest.update("\0".join(texts).encode())
        arrays = kept("text", f"{digest.hexdigest()}.safetensors", lambda: self._encode(texts), _dump, _load)
        if len(arrays) and not arrays.counts.all():
            bad = texts[int(np.argmin(arrays.counts))]
            raise UserError(f"the tokeniser finds nothing that it knows in the text {bad[:40]!r}", "leave it out")
        return arrays

    def _encode(self, texts: list[str]) -> TokenArrays:
        backend = self.hf.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        ids = [np.zeros(0, np.int32)]
        for first in range(0, len(texts), _AT_ONCE):
            part = backend.encode_batch_fast(texts[first : first + _AT_ONCE], add_special_tokens=False)
            ids += [np.array(one.ids, np.int32) for one in part]
        counts = np.fromiter((len(one) for one in ids[1:]), np.int64, len(texts))
        return TokenArrays(np.concatenate(ids), counts)


def unloadable(what: str, path: str | Path, error: Exception) -> UserError:
    """The error for a model or tokeniser that transformers cannot load."""
    told = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"[:300]
    return UserError(
        f"There is no {what} {str(path)!r} that can be loaded ({told}).",
        MODEL_REMEDY,
    )


def _dump(arrays: TokenArrays) -> bytes:
    from safetensors.numpy import save

    return save({"ids": arrays.ids, "counts": arrays.counts})


def _load(content: bytes) -> TokenArrays:
    from safetensors.numpy import load

    return TokenArrays(**load(content))
