"""`python -m hpo_bench`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; what a user can put right is told in a sentence, with exit code 2."""
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


if __name__ == "__main__":
    main()
