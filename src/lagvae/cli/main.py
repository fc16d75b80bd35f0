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
        warnings.showwarning = lambda message, *_, **__: _say(f"warning: {message}")
        try:
            return parse(given or ["--help"]).run()
        except BrokenPipeError:  # the reader of a pipe has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except (LagvaeError, OSError) as error:
            if debug:
                raise
            _say(str(error))
            return 1 if isinstance(error, SolveError) else 2
        except KeyboardInterrupt:
            _say("interrupted")
            return 1


def _say(text: str) -> None:
    """Prints one line; what would steer a terminal, which a file may hold, is written out."""
    line = " ".join(text.split())
    shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)
    print(f"lagvae: {shown}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
