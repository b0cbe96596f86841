"""`python -m hpo_bench`."""

from __future__ import annotations

import os
import sys
import warnings
from itertools import pairwise


def main() -> None:
    """Run the command line. An error that the user can mend is printed as a sentence, with exit code 2."""
    _speak()
    from hpo_bench.cli import app
    from hpo_bench.cli.stops import end_in_order, end_with_a_word, ignore_late_signals, status
    from hpo_bench.errors import UserError

    end_in_order()
    try:
        _nothing_empty(sys.argv)
        app(prog_name="hpo-bench")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        end_with_a_word(end)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(status())
    except MemoryError as error:
        print(f"error: the memory is not enough: {error}\ngive smaller sizes, or a smaller batch", file=sys.stderr)
        sys.exit(2)
    except RuntimeError as error:
        if "torch" not in sys.modules:  # it is imported only where something trains
            raise
        from hpo_bench.core.memory import lacks_memory, out_of_memory

        if not lacks_memory(error):
            raise
        print(f"error: {out_of_memory(error)}", file=sys.stderr)
        sys.exit(2)
    finally:
        ignore_late_signals()


def _speak() -> None:
    """Text that the terminal's encoding lacks is written with escapes, and warnings are sentences."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    warnings.formatwarning = _sentence


_PLAIN = warnings.formatwarning


def _sentence(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    return (
        f"warning: {message}\n"
        if issubclass(category, UserWarning)
        else _PLAIN(message, category, filename, lineno, line)
    )


def _nothing_empty(words: list[str]) -> None:
    from hpo_bench.errors import UserError

    for before, word in pairwise(words):
        if word == "" or (word.startswith("--") and word.endswith("=")):
            flag = word.removesuffix("=") or before
            raise UserError(f"the value of {flag} is empty", f"give {flag} a value, or leave it out")


def forget_working_folder() -> None:
    """Import nothing from where `python -m` was typed: a user's random.py there would stand for Python's own.

    A checkout of this program is left alone. Children are told too.
    """
    here = sys.path[0] if sys.path else ""
    if here in ("", os.getcwd()) and not os.path.isdir(os.path.join(here or ".", "hpo_bench")):
        del sys.path[0]
        os.environ.setdefault("PYTHONSAFEPATH", "1")


if __name__ == "__main__":
    forget_working_folder()
    main()
