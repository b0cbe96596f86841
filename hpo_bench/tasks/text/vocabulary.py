"""An uncased WordPiece vocabulary of a corpus, the same at every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_CHARACTERS = 1000  # at most; rarer ones are unknown
_AT_ONCE = 10_000  # texts


def train_wordpiece(texts: Sequence[str], size: int) -> Any:
    """A tokeniser of `tokenizers` with at most `size` word pieces, without a post-processor.

    Its trainer numbers the characters inside words in the order of a hash map, which changes from run to run and
    decides ties between merges. They are therefore given to it beforehand, in their order, as if they were special
    tokens; the tokeniser that is handed back is built anew from the vocabulary.
    """
    from tokenizers import Tokenizer, models, trainers

    characters = _characters(texts)
    trained = _empty(models.WordPiece(unk_token="[UNK]"))  # type: ignore[call-arg]
    inside = [f"##{character}" for character in characters if _joins_words(trained, character)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=[*SPECIALS, *inside],
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        show_progress=False,
    )
    trained.train_from_iterator(
        (list(texts[first : first + _AT_ONCE]) for first in range(0, len(texts), _AT_ONCE)), trainer
    )
    backend: Tokenizer = _empty(models.WordPiece(trained.get_vocab(), unk_token="[UNK]"))  # type: ignore[call-arg]
    return backend


def _empty(model: Any) -> Any:
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers

    backend = Tokenizer(model)
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return backend


def _characters(texts: Sequence[str]) -> list[str]:
    """The most frequent characters of the normalised texts, in the order of their code points."""
    from tokenizers import normalizers

    counts = np.zeros(0x110000, np.int64)
    for first in range(0, len(texts), _AT_ONCE):
        points = np.frombuffer("".join(texts[first : first + _AT_ONCE]).encode("utf-32-le", "ignore"), np.uint32)
        counts += np.bincount(points, minlength=len(counts))
    normaliser, found = normalizers.BertNormalizer(lowercase=True), Counter[str]()
    for point in counts.nonzero()[0]:
        for character in normaliser.normalize_str(chr(point)):
            found[character] += int(counts[point])
    del found[" "]
    ranked = sorted(found, key=lambda character: (-found[character], character))
    return sorted(ranked[:_CHARACTERS])


def _joins_words(backend: Any, character: str) -> bool:
    """Can it stand inside a word? BERT parts words at punctuation and round Chinese characters, not at ° or €."""
    words = backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(f"a{character}a"))
    return len(words) == 1
