"""`python -m hpo_bench`."""

from __future__ import annotations

import sys
import warnings
from itertools import pairwise
from typing import Any


def main() -> None:
    """Run the command line; what a user can put right is told in a sentence, with exit code 2."""
    _speak()
    from hpo_bench.cli import app
    from hpo_bench.errors import UserError

    try:
        _nothing_empty(sys.argv)
        app(prog_name="hpo-bench")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except MemoryError as error:
        print(f"error: the memory is not enough: {error}\ngive smaller sizes, or a smaller batch", file=sys.stderr)
        sys.exit(2)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which is imported only where something trains
            raise
        from hpo_bench.core.device import out_of_memory

        print(f"error: {out_of_memory(error)}", file=sys.stderr)
        sys.exit(2)


def _speak() -> None:
    """Text that the terminal's encoding lacks is written with escapes, and warnings are sentences."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    warnings.formatwarning = _sentence


_PLAIN = warnings.formatwarning


def _sentence(message: Any, category: type[Warning], *place: Any, **more: Any) -> str:
    return f"warning: {message}\n" if category is UserWarning else _PLAIN(message, category, *place, **more)


def _nothing_empty(words: list[str]) -> None:
    from hpo_bench.errors import UserError

    for before, word in pairwise(words):
        if word == "" or (word.startswith("--") and word.endswith("=")):
            flag = word.removesuffix("=") or before
            raise UserError(f"the value of {flag} is empty", f"give {flag} a value, or leave it out")


if __name__ == "__main__":
    main()
