"""The commands that make and ask fronts. Heavy imports wait until one runs."""

from __future__ import annotations

import dataclasses
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from lagvae.errors import SettingError, expected
from lagvae.settings import FrontSettings, Settings


@dataclass
class Front:
    """Find the solutions of many problems: one network for every weight, or a run for each problem."""

    problems: tyro.conf.Positional[tuple[str, ...]] = ()
    """For --method dedicated and path: problems in quotes; a bound may be a range, as in "neg_elbo <= 86:95:1"."""
    data: str | None = None
    """mnist, fashion-mnist, digits, a .npy, .npz, .csv, .tsv, .parquet or .h5ad file, or a folder of images."""
    out: str | None = None
    """Folder of the front; fronts/latest if none is given."""
    method: Literal["amortised", "dedicated", "path"] | None = None
    """One network for all (amortised, where no problem is given), a run for each, or each from its neighbour."""
    engine: Literal["local", "ray"] = "local"
    """What trains the runs of --method dedicated: this process, or a Ray cluster (RAY_ADDRESS, else this machine)."""
    stack: int | Literal["auto"] | None = None
    """For --method dedicated: runs trained as one (otherwise one by one); auto times a few steps to see what pays."""
    resume: str | None = None
    """Go on with the front in this folder."""
    overwrite: bool = False
    """Replace the front in --out."""
    preset: str = "default"
    """Settings to start from: default, or zhao2018 for the original's constants."""
    quiet: bool = False
    """Show no progress."""
    json: bool = False
    """Print what is written to front.json instead of a table."""
    front: tyro.conf.OmitArgPrefixes[FrontSettings] = dataclasses.field(default_factory=FrontSettings)
    settings: tyro.conf.OmitArgPrefixes[Settings] = dataclasses.field(default_factory=Settings)

    def run(self) -> int:
        """Trains, prints the points, and says what to do next; 0 done, 1 a run failed, diverged or was stopped."""
        from lagvae.cli.front_table import print_front
        from lagvae.front.fit_front import fit_front
        from lagvae.storage.files import to_plain
        from lagvae.storage.folder import RunFolder

        problems, method, data, front = self.problems, self.method, self.data, self.front
        if self.resume:
            config = RunFolder(self.resume).read_config()
            if "front" not in config:
                raise SettingError(expected("a front", got="a run", fix=f"lagvae train --resume {self.resume}"))
            described = dict(config["front"])
            data = data or config["data"]
            problems, method = tuple(map(str, described.pop("problems", ()))), described.pop("method", None)
            front = FrontSettings.of(described) if method is None else front
            self._check_resumes(problems, method or "amortised", front)
        if not data:
            raise SettingError(expected("data", got="none", fix="--data mnist, --data digits, or --data FILE.npy"))
        made = fit_front(
            data,
            problems,
            method=method or ("dedicated" if problems else "amortised"),
            engine=self.engine,
            stack=self.stack,
            out=self.resume or self.out or "fronts/latest",
            resume=self.resume is not None,
            overwrite=self.overwrite,
            front=front,
            settings=self.settings,
            progress=not self.quiet,
        )
        if self.json:
            print(json.dumps(to_plain(made.as_dict()), indent=2))
        else:
            print_front(made)
        is_whole = all(point.status in ("feasible", "infeasible") for point in made.points)
        return 0 if is_whole and made.status not in ("diverged", "stopped") else 1

    def _check_resumes(self, problems: tuple[str, ...], method: str, front: FrontSettings) -> None:
        """Raises SettingError where something else is asked for than the front in the folder."""
        from lagvae.front.dedicated.ranges import expand_ranges

        ours = tuple(str(one) for text in self.problems for one in expand_ranges(text))
        asked = (
            ("problems", ours, problems, ()),
            ("method", self.method, method, None),
            ("--out", self.out, self.resume, None),
            ("ranges", self.front, front, FrontSettings()),
        )
        for what, given, theirs, unasked in asked:
            if given not in (unasked, theirs):
                fix = f"lagvae front --resume {self.resume} alone, or another front with --out"
                raise SettingError(expected(f"the {what} of the front in {self.resume}", got=str(given), fix=fix))


@dataclass
class Solve:
    """Solve a problem on a front that was trained: nothing is trained again, and the answer is an ordinary model."""

    front: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FRONT")]
    """Folder of the front."""
    problem: tyro.conf.Positional[str]
    """What to solve, in quotes."""
    out: str | None = None
    """Folder for the solution, as of a run."""
    on: Literal["train", "held_out"] | None = None
    """The data on which bounds are to hold: held_out where the front has any, else train."""
    polish: int = 0
    """Epochs for which to train the solution further, multipliers included."""
    overwrite: bool = False
    """Replace the run in --out."""
    quiet: bool = False
    """Show no progress."""
    json: bool = False
    """Print what is written to evaluation.json instead of tables."""

    def run(self) -> int:
        """Prints the solution; 0, or 1 where polishing it diverged or was stopped."""
        from lagvae.cli.tables import print_solution
        from lagvae.front.amortised.front import AmortisedFront
        from lagvae.front.fit_front import load_front
        from lagvae.storage.files import to_plain

        found = load_front(self.front)
        if isinstance(found, AmortisedFront):
            solution = found.solve(
                self.problem,
                on=self.on,
                polish=self.polish,
                out=self.out,
                overwrite=self.overwrite,
                progress=not self.quiet,
            )
        elif self.polish:
            raise SettingError(expected("an amortised front to polish on", got=f"{found.method}", fix="lagvae train"))
        else:
            solution = found.solve(self.problem, on=self.on, out=self.out, overwrite=self.overwrite)
        if self.json:
            print(json.dumps(to_plain(solution.as_dict()), indent=2))
        else:
            print_solution(solution)
            if self.out is None:
                folder = shlex.quote(str(Path(self.front)))
                print(f'\nkeep it  lagvae solve {folder} "{self.problem}" --out runs/from-front')
        return 1 if solution.status in ("diverged", "stopped") else 0
