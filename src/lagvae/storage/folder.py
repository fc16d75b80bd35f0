"""A run's folder: plain files, no pickle.

    config.yaml      what was asked for; repeats the run
    names.json       of the data's columns and classes, where they have any
    metrics.jsonl    one line per log step
    checkpoints/     the last two
    tensorboard/     the same metrics for TensorBoard
    evaluation.json  what came out
    estimates.json   all that was measured of it later, where someone asked
    trackers/        what MLflow and W&B call the run, where they track it; W&B's own files in wandb/

A run that was killed goes on from the newest checkpoint that is whole. While it runs, ``.lock`` says so.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lagvae.errors import CheckpointError, SettingError, expected
from lagvae.settings import Settings
from lagvae.storage.files import cannot_write, read_json, write_json, write_whole
from lagvae.storage.lock import LOCK, check_unlocked, locked
from lagvae.storage.metrics import MetricsLog

FRONT, TABLE, POINTS = "front.json", "points.parquet", "points"
"""What a front's folder holds besides: its points, the same as a table, and the folder of those that are runs."""
LATER = (FRONT, TABLE, "report.png", "report.html", "front.png", "front.pdf")
"""Files of what came out, which are not a run's that only begins."""
NAMED = ("columns", "classes")
"""What of the data has names: there may be thousands of them, which YAML is slow to read."""
Config = dict[str, Any]
"""``problem``, ``data`` and the sections of the settings, as ``config.yaml`` holds them."""


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as a number, as YAML 1.2 does and PyYAML does not."""


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789"))


class RunFolder:
    """The files of one run.

    Attributes:
        identity: What makes the run that is written here this run; every checkpoint holds it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.identity: dict[str, Any] = {}
        self.config_file = self.path / "config.yaml"
        self.names_file = self.path / "names.json"
        self.metrics_file = self.path / "metrics.jsonl"
        self.evaluation_file = self.path / "evaluation.json"
        self.estimates_file = self.path / "estimates.json"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.trackers = self.path / "trackers"
        self.metrics = MetricsLog(self.metrics_file)

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keeps other processes out of the folder while entered.

        Raises:
            CheckpointError: Another process is in it.
        """
        return locked(self.path)

    def check_free(self, *, overwrite: bool) -> None:
        """Raises CheckpointError if a run would be lost by starting here, or another folder's content."""
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise CheckpointError(expected(f"a folder at {self.path}", got="a file", fix="another --out"))
        is_run = self._holds_run()
        if is_run and not overwrite:
            raise CheckpointError(
                expected(f"no run at {self.path}", got="one", fix="--resume to go on, --overwrite, or another --out")
            )
        own = (f".{self.config_file.name}.part", LOCK)
        strangers = [path for path in self.path.iterdir() if path.name not in own]
        if not is_run and strangers:
            raise CheckpointError(
                expected(f"an empty folder or a run at {self.path}", got="other files", fix="another --out")
            )

    def _holds_run(self) -> bool:
        """Whether there is a run or a front: other programs have a ``config.yaml`` too."""
        try:
            text = self.config_file.read_bytes()
        except OSError:
            return self.config_file.exists()
        return text.startswith(_HEADINGS) or b"data_fingerprint:" in text

    def create(self, config: Config) -> None:
        """Starts afresh: clears an earlier run, or front, and writes the configuration."""
        text = _config_text(config).encode()  # before anything is cleared: it may hold what cannot be written
        try:
            for stale in (self.metrics_file, self.evaluation_file, self.estimates_file, self.names_file):
                stale.unlink(missing_ok=True)
            for name in LATER:
                (self.path / name).unlink(missing_ok=True)
            for old in (self.checkpoints, self.tensorboard, self.trackers, self.path / "wandb", self.path / POINTS):
                _remove(old)
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        if names := {name: config[name] for name in NAMED if name in config}:
            write_json(self.names_file, names)
        write_whole(self.config_file, text)
        self.identity = _identity(config)

    def read_config(self) -> Config:
        """Reads ``config.yaml``, and the names beside it.

        Raises:
            CheckpointError: There is none, or it is damaged.
        """
        if not self.config_file.exists():
            raise CheckpointError(expected(f"a run at {self.path}", got="no config.yaml there", fix="another folder"))
        config = read_config_file(self.config_file)
        kinds = {"problem": str, "data": str, "event_shape": list, "custom": list}
        if "front" in config:
            kinds["front"] = dict
        for name, kind in kinds.items():
            if not isinstance(config.get(name), kind):
                got = _short(config.get(name, "none"))
                raise CheckpointError(expected(f"{name} in {self.config_file}", got=got, fix="putting it back"))
        if self.names_file.exists():
            fix = "deleting it, to take columns by their place"
            config |= {name: value for name, value in read_json(self.names_file, fix=fix).items() if name in NAMED}
        return config

    def check_continues(self, config: Config) -> None:
        """Raises CheckpointError unless ``config`` is the run's own: problem, data, networks, settings.

        Data that were moved are the same; where they are now is written down.
        """
        written = self.read_config()
        saved = _comparable(written)
        for what, ours in _comparable(config).items():
            theirs = saved.get(what)
            if theirs != ours and what == "data_fingerprint" and config["data"] != written["data"]:
                what, theirs, ours = "data", written["data"] or "in memory", config["data"] or "others"
            if theirs != ours:
                raise _of_another_run(what, theirs, ours, is_front="front" in written)
        if config["data"] not in ("", written["data"]):
            write_whole(self.config_file, _config_text({**written, "data": config["data"]}).encode())
        self.identity = _identity(config)

    def check_written_with(self, config: Config, state: dict[str, Any]) -> None:
        """Raises CheckpointError unless ``config`` is what a checkpoint was written with.

        ``config.yaml`` is there to be edited, for another run: the weights are still those of this one.

        Args:
            config: The content of ``config.yaml``.
            state: A checkpoint's, with ``config`` if it is of a run.
        """
        ours = _identity(config)
        for what, theirs in state.get("config", {}).items():
            if ours.get(what) != theirs:
                where = f"{self.config_file} as the checkpoints were written with ({what}: {_short(theirs)})"
                fix = "putting it back; for another run, lagvae train --config FILE --out ANOTHER/FOLDER"
                raise CheckpointError(expected(where, got=_short(ours.get(what)), fix=fix))

    def resolved_problem(self, asked: str) -> str:
        """Returns the run's problem, numbers for bounds, where it was asked for as ``asked`` (bounds relative to best).

        Raises:
            CheckpointError: There is no run, or it was asked for otherwise.
        """
        config = self.read_config()
        own = config.get("asked", config.get("problem"))
        if own != asked:
            raise _of_another_run("problem", own, asked, is_front="front" in config)
        return str(config.get("problem"))

    def keep_metrics_until(self, step: int) -> list[dict[str, Any]]:
        """Drops what was logged after ``step`` (it will be logged again) and returns the rest."""
        records = self.metrics.read_until(step)
        self.metrics.rewrite(records)
        return records

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Adds a line to ``metrics.jsonl``."""
        self.metrics.append(record)

    def read_metrics(self) -> list[dict[str, Any]]:
        """Returns the whole lines of ``metrics.jsonl``; a run killed while writing leaves half of one."""
        return self.metrics.read()

    def write_evaluation(self, content: dict[str, Any]) -> None:
        """Writes ``evaluation.json``."""
        write_json(self.evaluation_file, content)

    def write_estimates(self, content: dict[str, Any]) -> None:
        """Writes ``estimates.json``."""
        write_json(self.estimates_file, content)

    def read_evaluation(self) -> dict[str, Any] | None:
        """Returns the content of ``evaluation.json``; None while the run is not finished.

        Raises:
            CheckpointError: It is damaged.
        """
        if not self.evaluation_file.exists():
            return None
        return read_json(self.evaluation_file, fix=f"lagvae train --resume {self.path}, which evaluates it again")

    def write_tracked(self, tracker: str, content: dict[str, str]) -> None:
        """Writes what a tracker calls the run, and where people find it there: ``id`` and ``where``."""
        self.trackers.mkdir(exist_ok=True)
        write_json(self.trackers / f"{tracker}.json", content)

    def read_tracked(self) -> dict[str, dict[str, str]]:
        """Returns tracker → ``id`` and ``where``, of every tracker that was given the run."""
        found = {path.stem: read_json(path) for path in sorted(self.trackers.glob("*.json"))}
        return {name: told for name, told in found.items() if isinstance(told, dict) and {"id", "where"} <= told.keys()}

    def plain_files(self) -> list[Path]:
        """Returns the run's files themselves: what it was, what was logged, what came out."""
        return sorted(path for path in self.path.glob("[!.]*") if path.is_file())


def held(folder: RunFolder | None) -> contextlib.AbstractContextManager[None]:
    """Keeps other processes out of a folder, if there is one."""
    return contextlib.nullcontext() if folder is None else folder.locked()


def claim_folder(out: str | Path | None, *, resume: bool, overwrite: bool, what: str) -> RunFolder | None:
    """Returns the folder to write to, if there is one to be, after a look at what it holds.

    Args:
        out: Its path; None where nothing is to be written.
        resume: Whether it is to hold what is gone on with.
        overwrite: Whether what it holds may be replaced.
        what: ``run`` or ``front``, for messages.

    Raises:
        SettingError: There is no folder to resume from.
        CheckpointError: It holds another run that may not be replaced, or something else; or another process is in it.
    """
    if out is None:
        if resume:
            raise SettingError(expected(f"the folder of the {what} to resume", got="none", fix=f"out='{what}s/first'"))
        return None
    folder = RunFolder(out)
    check_unlocked(folder.path)
    if not resume:
        folder.check_free(overwrite=overwrite)
    return folder


def make_config(
    problem: object,
    data: str,
    fingerprint: str,
    settings: Settings,
    *,
    event_shape: tuple[int, ...],
    custom: list[str],
    names: Mapping[str, Sequence[str]] | None = None,
    asked: object | None = None,
    front: dict[str, Any] | None = None,
) -> Config:
    """Returns the content of ``config.yaml``.

    Args:
        problem: Its text repeats it.
        data: Name or path; empty for arrays in memory.
        fingerprint: Of the data.
        settings: All of them.
        event_shape: Shape of one example.
        custom: Which of model, optimizer and dual were given as Python objects.
        names: Of the data's ``columns`` and ``classes``, where they have any.
        asked: The problem as it was asked for, where its bounds were relative to best.
        front: What one modulated network covers, where it is one.
    """
    return {
        "problem": str(problem),
        **({} if asked is None else {"asked": str(asked)}),
        "data": data,
        "data_fingerprint": fingerprint,
        "event_shape": list(event_shape),
        "custom": custom,
        **({} if front is None else {"front": front}),
        **settings.as_sections(),
        **{name: list(given) for name, given in (names or {}).items() if given},
    }


def read_config_file(path: Path) -> Config:
    """Reads a YAML configuration.

    Raises:
        CheckpointError: It is missing, or no mapping of names to values.
    """
    try:
        content = yaml.load(path.read_text("utf-8"), _Loader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(expected(f"a YAML file at {path}", got=reason, fix="config.yaml of a run")) from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise CheckpointError(expected(f"names and values in {path}", got=_short(content), fix="config.yaml of a run"))
    return content


def settings_of(config: Config, *, base: Settings | None = None) -> Settings:
    """Returns the settings that a configuration holds; what it does not name is as in ``base``, else the default.

    Raises:
        SettingError: A name is unknown or a value out of range.
    """
    described = {"problem", "asked", "data", "data_fingerprint", "event_shape", "custom", "front", "out", "preset"}
    named = {name: value for name, value in config.items() if name not in described.union(NAMED)}
    return Settings.from_sections(named, base=base)


_HEADINGS = (b"# Repeats this run: ", b"# A front. ", b"# A run with its own ")


def _config_text(config: Config) -> str:
    heading = "# Repeats this run: lagvae train --config config.yaml --out ANOTHER/FOLDER\n"
    if config.get("front"):
        heading = "# A front. Goes on with it: lagvae front --resume FOLDER\n"
    elif config.get("custom"):
        heading = f"# A run with its own {', '.join(config['custom'])}, which stand in no file: lv.fit with the same\n"
    content = {name: value for name, value in config.items() if name not in NAMED}
    return heading + yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100)


def _comparable(config: Config) -> dict[str, Any]:
    """Returns what makes a run the same run.

    Everything but where it is computed, how often it reports, and where the data lie: they may be moved, their
    fingerprint may not.
    """
    settings = settings_of(config).flat()
    for free in ("device", "devices", "log_every", "checkpoint_seconds", "track"):
        del settings[free]
    names = ("front", "problem", "event_shape", "custom", "data_fingerprint")
    described = {name: config.get(name) for name in names}
    return {**described, **settings}


def _identity(config: Config) -> dict[str, Any]:
    """Returns the same in JSON's types."""
    return dict(json.loads(json.dumps(_comparable(config), default=str)))


def _remove(path: Path) -> None:
    """Removes a folder and all in it; of a link, the link alone."""
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _of_another_run(what: str, theirs: Any, ours: Any, *, is_front: bool) -> CheckpointError:
    resume, kinds = f"lagvae {'front' if is_front else 'train'} --resume", ("a run", "a front")
    if what == "front" and is_front != bool(ours):
        return CheckpointError(expected(f"{kinds[bool(ours)]} to resume", got=kinds[is_front], fix=resume))
    fix = f"{resume} without it, or another --out"
    if what == "custom" and "front" in list(theirs or ()):
        fix = "lagvae solve FRONT PROBLEM --polish 10, or lv.fit(problem, data, start=lv.load(folder))"
        return CheckpointError(expected("a run to resume", got="a solution of a front", fix=fix))
    if what == "custom" and theirs:
        fix = "lv.fit with the same parts and resume=True, or another --out"
    return CheckpointError(
        expected(f"to resume with the run's own {what} ({_short(theirs)})", got=_short(ours), fix=fix)
    )


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else text[:77] + "..."
