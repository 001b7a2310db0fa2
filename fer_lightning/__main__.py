"""`python -m fer_lightning <verb> key=value …`, and the console script `fer`."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence

from fer_lightning import __version__
from fer_lightning.cli.usage import verbs
from fer_lightning.core.errors import UserError
from fer_lightning.core.file_names import shown
from fer_lightning.core.suggestions import did_you_mean


def main(argv: Sequence[str] | None = None) -> None:
    """Run a verb as `python -m fer_lightning.<verb>` would.

    Raises:
        SystemExit: 2 for an unknown verb, else as the verb ends.
    """
    verb, *arguments = [*(sys.argv[1:] if argv is None else argv)] or ["--help"]
    try:
        known = verbs()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    listing = "\n".join(f"  {name:10} {description}" for name, description in known.items())
    if verb in ("-h", "--help"):
        print(f"fer <verb> key=value …          fer <verb> --help\n\n{listing}")
    elif verb == "--version":
        print(__version__)
    elif verb in known:
        sys.argv = [sys.argv[0], *arguments]
        # as the main module, so that other ranks are started with `-m fer_lightning.<verb>` too
        runpy.run_module(f"fer_lightning.{verb}", run_name="__main__", alter_sys=True)
    else:
        print(shown(f"error: there is no verb '{verb}'{did_you_mean(verb, known)}\n{listing}"), file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
