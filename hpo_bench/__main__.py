"""`python -m hpo_bench`."""

from __future__ import annotations

import os
import sys
import warnings


def main() -> None:
    """Run the command line; what a user can put right is told in a sentence, with exit code 2."""
    plain_streams()
    from hpo_bench.cli import app
    from hpo_bench.errors import UserError

    try:
        app(prog_name="hpo-bench")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which is imported only where something trains
            raise
        from hpo_bench.core.device import out_of_memory

        print(f"error: {out_of_memory(error)}", file=sys.stderr)
        sys.exit(2)


def plain_streams() -> None:
    """Letters that the terminal lacks are written as escapes; a warning is a line, not a place in the source."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"


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
