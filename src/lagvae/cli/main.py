"""``lagvae``: one line of error, and an exit status that scripts can trust.

0 done; 1 a run diverged or was stopped; 2 wrong usage or bad input.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Sequence

from lagvae import __version__
from lagvae.cli.parsing import parse
from lagvae.errors import LagvaeError, SolveError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [word for word in given if word != "--debug"]
    if given == ["--version"]:
        print(f"lagvae {__version__}")
        return 0
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows no ± is no reason to fail
            stream.reconfigure(errors="replace")
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f"lagvae: warning: {message}", file=sys.stderr)
        try:
            return parse(given or ["--help"]).run()
        except BrokenPipeError:  # the reader of a pipe has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except (LagvaeError, OSError) as error:
            if debug:
                raise
            print(f"lagvae: {' '.join(str(error).split())}", file=sys.stderr)
            return 1 if isinstance(error, SolveError) else 2
        except KeyboardInterrupt:
            print("lagvae: interrupted", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
