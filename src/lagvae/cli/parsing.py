"""From words to a command, or to one line that says what was expected."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from pathlib import Path
from typing import Annotated, Any, Union

import tyro

from lagvae.cli.commands import DataCommand, Evaluate, Probe, Report, Train
from lagvae.cli.front_commands import Front, Solve
from lagvae.cli.model_commands import Encode, Sample
from lagvae.errors import CheckpointError, SettingError, expected, nearest
from lagvae.settings import FrontSettings, Settings, preset, setting_names

Command = Train | Front | Solve | Probe | Evaluate | Encode | Sample | Report | DataCommand
COMMANDS: dict[str, type[Command]] = {
    "train": Train,
    "front": Front,
    "solve": Solve,
    "probe": Probe,
    "evaluate": Evaluate,
    "encode": Encode,
    "sample": Sample,
    "report": Report,
    "data": DataCommand,
}


def parse(words: list[str]) -> Command:
    """Reads a command.

    Raises:
        SettingError: The words are no command; the nearest one is named.
        SystemExit: Help was asked for and printed.
    """
    settings = _base_settings(words)
    defaults: dict[str, Any] = {"train": Train(settings=settings), "front": Front(settings=settings)}
    choices = [
        Annotated[kind, tyro.conf.subcommand(name, **({"default": defaults[name]} if name in defaults else {}))]
        for name, kind in COMMANDS.items()
    ]
    union: Any = Union.__getitem__(tuple(choices))  # made at run time: there is no X | Y of a list
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            command: Command = tyro.cli(
                union,
                args=words,
                prog="lagvae",
                description="Latent-variable models as constrained problems: state the bounds, not the weights.",
            )
    except SystemExit as end:
        if end.code in (0, None):
            raise
        raise SettingError(_one_line(complaint.getvalue(), words)) from None
    return command


def _base_settings(words: list[str]) -> Settings:
    """Returns what flags override: a run's own settings, a file's, or a preset's."""
    if words[:1] not in (["train"], ["front"]) or "--help" in words or "-h" in words:
        return Settings()
    resumed, config, chosen = (_value_of(flag, words) for flag in ("--resume", "--config", "--preset"))
    if resumed and config:
        raise SettingError(expected("--resume or --config", got="both", fix="--resume alone, which has its own"))
    if resumed and any(word == "--overwrite" for word in words):
        raise SettingError(expected("--resume or --overwrite", got="both", fix="--overwrite with --out, to begin anew"))
    if chosen and (resumed or config):
        fix = f"--preset alone, or 'preset: {chosen}' in the file"
        raise SettingError(expected("--preset or a file's settings", got="both", fix=fix))
    if not (resumed or config):
        return preset(chosen or "default")
    from lagvae.storage.folder import RunFolder, read_config_file, settings_of

    try:
        content = RunFolder(resumed).read_config() if resumed else read_config_file(Path(str(config)))
    except CheckpointError as error:
        raise SettingError(str(error)) from error
    return settings_of(content, base=preset(content["preset"]) if "preset" in content else None)


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
    name = words[0] if words else ""
    if name not in COMMANDS and not name.startswith("-"):
        return expected("a command", got=f"'{name}'", fix=nearest(name, COMMANDS))
    known = _flags(name)
    given = [word.split("=")[0] for word in words if word.startswith("--")]
    unknown = [flag for flag in given if flag.replace("_", "-").replace("--no-", "--") not in known]
    if unknown and "nrecognized" in message:
        return expected(f"an option of lagvae {name}", got=unknown[0], fix=nearest(unknown[0], known))
    if name in ("train", "front") and "Could not find valid parse" in message:
        return f"{message.rstrip('.')}; try the problem first, before the options, or lagvae {name} --help"
    return f"{message.rstrip('.')}; try lagvae {name} --help"


def _flags(name: str) -> set[str]:
    names = [field.name for field in dataclasses.fields(COMMANDS[name])] if name in COMMANDS else []
    names += [field.name for field in dataclasses.fields(FrontSettings) if "front" in names]
    names += [setting for setting, section in setting_names().items() if section in names or "settings" in names]
    return {f"--{name.replace('_', '-')}" for name in names} | {"--help", "--debug"}


def _first_paragraph(lines: list[str]) -> list[str]:
    """Returns what stands between a frame's title and its first rule, drawn with lines or, elsewhere, with hyphens."""

    def is_rule(line: str) -> bool:
        return line[:1] in ("╭", "╰") or (line != "" and set(line) <= set("─-"))

    rules = [index for index, line in enumerate(lines) if is_rule(line)]
    start, end = ([*rules, len(lines), len(lines)] if rules else [-1, len(lines)])[:2]
    return [line for line in lines[start + 1 : end] if line]
