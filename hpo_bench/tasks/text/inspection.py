"""What a person should know about labelled texts before anything is trained on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpo_bench.data.notices import Notices
from hpo_bench.data.repeats import find_repeats
from hpo_bench.data.text_table import TextSplits, TextTable
from hpo_bench.errors import UserError

UNKNOWN_SAID, UNKNOWN_STOPS = 0.05, 0.5  # shares of tokens that the tokeniser does not know
_PIECES, _SHORT = 2.0, 2.5  # tokens a word, bytes a token: beyond both a tokeniser spells words out
_DOMINANT = 0.9  # share of the largest class from which accuracy says little


def inspect_splits(notices: Notices, splits: TextSplits, metric: str) -> None:
    """Rows left out, texts in two splits at once, classes with hardly a row.

    Raises:
        UserError: a split in which `metric` can never be told, or more is left out or leaks than `Notices` lets pass.
    """
    parts = {"train": splits.train, "valid": splits.valid, "test": splits.test}
    check_defined(parts, metric)
    source = splits.train.source
    notices.say(*dict.fromkeys((*splits.train.notices, *splits.test.notices)))
    for what, told in (("label", "no label"), ("text", "an empty text")):
        if count := source.get(f"rows_without_{what}", 0):
            first = source.get(f"first_without_{what}")
            notices.count(count, source["rows"], f"rows have {told} and are left out; first: line {first}")
    what = "texts" if splits.train.second is None else "pairs (in either order)"
    whole = [row for part in parts.values() for row in _keys(part)]
    repeats = find_repeats(whole, np.concatenate([part.labels for part in parts.values()])[:, None])
    if repeats.rows:
        told = f", {repeats.conflicting:,} of them with conflicting labels" if repeats.conflicting else ""
        notices.say(f"{repeats.rows:,} of {len(whole):,} rows repeat an earlier one of {repeats.groups:,} {what}{told}")
    notices.leakage(what, {name: _keys(part) for name, part in parts.items()})
    if splits.train.kind == "regression":
        notices.small({name: len(part) for name, part in parts.items()})
        notices.far("the label", np.concatenate([part.labels for part in parts.values()]).astype(float))
    else:
        counts = {name: _counts(part) for name, part in parts.items()}
        notices.scarce("the label", counts)
        largest, rows = max(counts["test"].items(), key=lambda item: item[1])
        if rows > _DOMINANT * len(splits.test):
            notices.say(
                f"{rows:,} of {len(splits.test):,} test rows are of class {largest!r}: answering it always gives an "
                f"accuracy of {rows / len(splits.test):.3f}"
            )


def check_defined(parts: dict[str, TextTable], metric: str) -> None:
    """Raise UserError for a split in which every answer is right or no correlation exists."""
    for name, part in parts.items():
        if part.kind == "regression" and len(part) == 2:
            raise UserError(
                f"the {name} split has two rows: a correlation of two is 1 or -1, whatever the model says",
                "use more rows",
            )
        if len(part) and np.ptp(part.labels) > 0:
            continue
        if part.kind == "regression":
            told = (
                f"all {len(part)} labels of the {name} split are the same: {metric.replace('_', ' and ')} are undefined"
            )
        else:
            only = part.classes[int(part.labels[0])] if len(part) else "none"
            told = f"all {len(part)} rows of the {name} split are of class {only!r}: {metric} tells nothing there"
        raise UserError(told, "use more rows, or a label that varies more")


def inspect_corpus(notices: Notices, splits: TextSplits, texts: Sequence[str]) -> None:
    """Texts of valid and test in a corpus of the user's own: the encoder would adapt to what it is judged on.

    Raises:
        UserError: more leaks than `Notices` lets pass.
    """
    known = set(map(_seen, texts))
    for name, part in (("valid", splits.valid), ("test", splits.test)):
        own = [_seen(text) for text in part.sentences()]
        notices.count(sum(text in known for text in own), max(len(own), 1), f"texts of {name} are in the corpus too")


def inspect_tokens(
    notices: Notices, unknown: dict[str, float], cut: dict[str, int], sizes: dict[str, int], limit: int
) -> None:
    """Tokens that the tokeniser does not know, and texts that are cut, by split and corpus.

    Raises:
        UserError: most tokens are unknown, unless that was allowed.
    """
    for name, share in unknown.items():
        if share > UNKNOWN_STOPS and not notices.allowed:
            raise UserError(
                f"{share:.0%} of the tokens of {name} are unknown to the tokeniser ([UNK]): it sees hardly any text.",
                "Take a model of the texts' language with --model, or go on with --task-option allow_suspicious=yes.",
            )
        if share > UNKNOWN_SAID:
            notices.say(f"{share:.0%} of the tokens of {name} are unknown to the tokeniser ([UNK])")
    told = [f"{count:,} of {sizes[name]:,} in {name}" for name, count in cut.items() if count]
    if told:
        notices.say(f"texts longer than {limit} tokens are cut: {', '.join(told)}")


def inspect_pieces(notices: Notices, train: TextTable, tokens: int) -> None:
    """Words that fall into many small pieces: no token is unknown, yet the tokeniser was not made for the language.

    Args:
        tokens: of the train split's texts, whole and without special ones. A token's bytes are asked too, since in
            writing without blanks a "word" is a sentence.
    """
    words = [word for text in (*train.first, *(train.second or ())) for word in text.split()]
    size = sum(len(word.encode()) for word in words)
    if tokens > _PIECES * len(words) and size < _SHORT * tokens:
        notices.say(
            f"a word of train falls into {tokens / len(words):.1f} tokens on average: the tokeniser hardly knows such "
            "words; a model of the texts' language may do better (--model)"
        )


def _keys(part: TextTable) -> list[str]:
    """One key a row, without blanks and case: rows that look alike to a reader have the same key.

    So have pairs in either order: of texts that are embedded apart a swapped pair is the same input.
    """
    if part.second is None:
        return [_seen(text) for text in part.first]
    return ["\0".join(sorted(map(_seen, pair))) for pair in zip(part.first, part.second, strict=True)]


def _seen(text: str) -> str:
    return " ".join(text.casefold().split())


def _counts(part: TextTable) -> dict[str, int]:
    return {word: int((part.labels == code).sum()) for code, word in enumerate(part.classes)}
