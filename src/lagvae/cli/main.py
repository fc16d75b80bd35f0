"""``lagvae``: one line of error, and an exit status that scripts can trust.

0 done; 1 a run diverged or was stopped; 2 wrong usage or bad input.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from lagvae import __version__
from lagvae.cli.commands import DataCommand, Evaluate, Report, Sample, Train
from lagvae.errors import LagvaeError, SettingError, SolveError, expected, nearest
from lagvae.settings import Settings, preset, setting_names

Command = Train | Evaluate | Sample | Report | DataCommand


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


def parse(words: list[str]) -> Command:
    """Reads a command.

    Raises:
        SettingError: The words are no command; the nearest one is named.
        SystemExit: Help was asked for and printed.
    """
    train = Train(settings=_base_settings(words))
    commands = (
        Annotated[Train, tyro.conf.subcommand("train", default=train)]
        | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
        | Annotated[Sample, tyro.conf.subcommand("sample")]
        | Annotated[Report, tyro.conf.subcommand("report")]
        | Annotated[DataCommand, tyro.conf.subcommand("data")]
    )
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                commands,
                args=words,
                prog="lagvae",
                description="Latent-variable models as constrained problems: state the bounds, not the weights.",
            )
    except SystemExit as end:
        if end.code in (0, None):
            raise
        raise SettingError(_one_line(complaint.getvalue(), words)) from None


def _base_settings(words: list[str]) -> Settings:
    """Returns what flags override: a run's own settings, a file's, or a preset's."""
    from lagvae.errors import CheckpointError

    if words[:1] != ["train"] or "--help" in words or "-h" in words:
        return Settings()
    resumed, config = _value_of("--resume", words), _value_of("--config", words)
    chosen = _value_of("--preset", words)
    if chosen and (resumed or config):
        fix = f"--preset alone, or 'preset: {chosen}' in the file"
        raise SettingError(expected("--preset or a file's settings", got="both", fix=fix))
    try:
        if resumed or config:
            from lagvae.training.folder import RunFolder, read_config_file, settings_of

            content = RunFolder(resumed).read_config() if resumed else read_config_file(Path(str(config)))
            if "preset" in content:
                content = {**_flat(preset(content["preset"])), **content}
            return settings_of(content)
    except CheckpointError as error:
        raise SettingError(str(error)) from error
    return preset(chosen or "default")


def _flat(settings: Settings) -> dict[str, object]:
    return dict(settings.flat())


def _value_of(flag: str, words: list[str]) -> str | None:
    for position, word in enumerate(words):
        if word == flag and position + 1 < len(words):
            return words[position + 1]
        if word.startswith(flag + "="):
            return word.removeprefix(flag + "=")
    return None


def _one_line(complaint: str, words: list[str]) -> str:
    """Turns the parser's framed complaint into expected, got, try."""
    message = " ".join(_first_paragraph([line.strip("│ ") for line in complaint.splitlines()]))
    if ": expected " in message:  # a setting's own complaint, in the parser's frame
        return message[message.index(": expected ") + 2 :]
    flags = {f"--{name.replace('_', '-')}" for name in setting_names()}
    flags |= {
        "--data",
        "--out",
        "--resume",
        "--overwrite",
        "--config",
        "--preset",
        "--quiet",
        "--json",
        "--seed",
        "--n",
    }
    unknown = [word.split("=")[0] for word in words if word.startswith("--")]
    unknown = [word for word in unknown if word.replace("_", "-").replace("--no-", "--") not in flags]
    if unknown and "nrecognized" in message:
        return expected("an option", got=unknown[0], fix=nearest(unknown[0], flags))
    commands = ("train", "evaluate", "sample", "report", "data")
    if words and words[0] not in commands and not words[0].startswith("-"):
        return expected("a command", got=f"'{words[0]}'", fix=nearest(words[0], commands))
    return f"{message.rstrip('.')}; try lagvae {words[0] if words else ''} --help"


def _first_paragraph(lines: list[str]) -> list[str]:
    """Returns what stands between a frame's title and its first rule, drawn with lines or, elsewhere, with hyphens."""

    def is_rule(line: str) -> bool:
        return line[:1] in ("╭", "╰") or (line != "" and set(line) <= set("─-"))

    rules = [index for index, line in enumerate(lines) if is_rule(line)]
    start, end = ([*rules, len(lines), len(lines)] if rules else [-1, len(lines)])[:2]
    return [line for line in lines[start + 1 : end] if line]


if __name__ == "__main__":
    sys.exit(main())
