"""The commands, each a typed record of its arguments. Heavy imports wait until one runs."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from lagvae.errors import CheckpointError, DataError, SettingError, expected
from lagvae.settings import PROBE_EPOCHS, ExecutionSettings, NetworkSettings, PrimalSettings, Settings

if TYPE_CHECKING:
    from lagvae.training.outcome.solution import Solution


@dataclass
class Train:
    """Solve a problem on data, e.g. lagvae train "max mi s.t. neg_elbo <= 105, mmd <= 5e-4" --data mnist."""

    problem: tyro.conf.Positional[str | None] = None
    """What to solve, in quotes."""
    data: str | None = None
    """mnist, fashion-mnist, digits, a .npy, .npz, .csv, .tsv, .parquet or .h5ad file, or a folder of images."""
    out: str | None = None
    """Folder of the run; runs/latest if none is given."""
    resume: str | None = None
    """Go on with the run in this folder."""
    overwrite: bool = False
    """Replace the run in --out."""
    config: str | None = None
    """Take problem, data and settings from this YAML file; flags override it."""
    preset: str = "default"
    """Settings to start from: default, or zhao2018 for the original's constants."""
    quiet: bool = False
    """Show no progress."""
    json: bool = False
    """Print what is written to evaluation.json instead of tables."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = dataclasses.field(default_factory=Settings)

    def run(self) -> int:
        """Trains, prints the table, and says where to look; 0 done, 1 diverged or stopped."""
        from lagvae.cli.tables import print_solution
        from lagvae.storage.files import to_plain
        from lagvae.training.fit import fit
        from lagvae.training.outcome.solution import Status

        described = self._described()
        problem, data = self.problem or described.get("problem"), self.data or described.get("data")
        out = self.resume or self.out or described.get("out") or "runs/latest"
        if not isinstance(out, str):
            raise SettingError(expected("the path of a folder as out", got=repr(out), fix="runs/first"))
        if not problem:
            example = '"max mi s.t. neg_elbo <= 105, mmd <= 5e-4"'
            raise SettingError(expected("a problem", got="none", fix=f"lagvae train {example} --data mnist"))
        if not data:
            raise SettingError(expected("data", got="none", fix="--data mnist, --data digits, or --data FILE.npy"))
        if self.resume and self.out and Path(self.resume) != Path(self.out):
            raise SettingError(expected("--resume or --out", got="both", fix="--resume alone"))
        solution = fit(
            problem,
            data,
            out=out,
            resume=self.resume is not None,
            overwrite=self.overwrite,
            settings=self.settings,
            draw=None if self.quiet else self._draw,
            progress=not self.quiet,
        )
        if self.json:
            print(json.dumps(to_plain(solution.as_dict()), indent=2))
        else:
            print_solution(solution)
        return 1 if solution.status in (Status.DIVERGED, Status.STOPPED) else 0

    def _described(self) -> dict[str, str]:
        """Returns the configuration of the run that is resumed, or of the file that is given."""
        from lagvae.storage.folder import RunFolder, read_config_file

        if self.resume:
            return RunFolder(self.resume).read_config()
        described = read_config_file(Path(self.config)) if self.config else {}
        if described.get("front"):
            fix = f"lagvae front --resume {Path(str(self.config)).parent}"
            raise SettingError(expected("the configuration of a run", got="a front's", fix=fix))
        if described.get("custom"):
            own = described["custom"]
            own = ", ".join(map(str, own)) if isinstance(own, list) else own
            fix = "lagvae solve FRONT PROBLEM --polish 10" if "front" in own else "lv.fit with the same"
            raise SettingError(expected("a run of named parts only", got=f"its own {own}", fix=fix))
        return described

    @staticmethod
    def _draw(solution: Solution) -> None:
        from lagvae.report.figure import draw_run

        assert solution.folder is not None
        draw_run(solution, solution.folder / "report.png")


@dataclass
class Probe:
    """Train an ordinary VAE and the two ends of the range briefly; show what is within reach, and bounds to ask for."""

    data: str | None = None
    """mnist, fashion-mnist, digits, a .npy, .npz, .csv, .tsv, .parquet or .h5ad file, or a folder of images."""
    json: bool = False
    """Print JSON instead of a table."""
    quiet: bool = False
    """Show no progress."""
    network: tyro.conf.OmitArgPrefixes[NetworkSettings] = dataclasses.field(default_factory=NetworkSettings)
    primal: tyro.conf.OmitArgPrefixes[PrimalSettings] = dataclasses.field(
        default_factory=lambda: PrimalSettings(epochs=PROBE_EPOCHS)
    )
    execution: tyro.conf.OmitArgPrefixes[ExecutionSettings] = dataclasses.field(default_factory=ExecutionSettings)

    def run(self) -> int:
        """Trains, prints the ranges and a few problems to solve; 0."""
        from lagvae.cli.tables import print_probe
        from lagvae.storage.files import to_plain
        from lagvae.training.probe import probe

        if not self.data:
            raise SettingError(expected("data", got="none", fix="--data mnist, --data digits, or --data FILE.npy"))
        settings = Settings(network=self.network, primal=self.primal, execution=self.execution)
        found = probe(self.data, settings=settings, progress=not self.quiet)
        if self.json:
            print(json.dumps(to_plain(found.as_dict()), indent=2))
        else:
            print_probe(found, data=self.data)
        return 0


@dataclass
class Evaluate:
    """Measure a finished run: bounds, likelihood, information, use of the latent space, all with standard errors.

    Of a front: the interval that the information of every point lies in.
    """

    run_folder: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """Folder of the run, or of the front."""
    data: str | None = None
    """Other data than the run's own."""
    quick: bool = False
    """Only what a run measures at its end: distortion, rate, neg_elbo, mmd and the bounds."""
    samples: int = 100
    """K, draws per example of the log-likelihood."""
    examples: int = 1000
    """How many examples of each part the log-likelihood is measured on, at most."""
    seed: int = 0
    """Of everything that is drawn."""
    json: bool = False
    """Print JSON instead of tables."""

    def run(self) -> int:
        """Prints the estimates, and keeps those of a run's own data in estimates.json, a front's in front.json; 0."""
        from lagvae.storage.folder import RunFolder

        return self._evaluate_front() if "front" in RunFolder(self.run_folder).read_config() else self._evaluate_run()

    def _evaluate_front(self) -> int:
        from lagvae.cli.front_table import print_information
        from lagvae.front.fit_front import load_front
        from lagvae.storage.files import to_plain

        asked = Evaluate(self.run_folder, seed=self.seed, json=self.json)
        if self != asked:
            fix = f'lagvae solve {self.run_folder} "min neg_elbo" --out runs/from-front, and evaluating that'
            raise SettingError(expected("--seed and --json alone for a front", got="options of a run's", fix=fix))
        front = load_front(self.run_folder)
        front.measure_information(seed=self.seed, progress=True)
        if self.json:
            print(json.dumps(to_plain(front.as_dict()), indent=2))
        else:
            print_information(front)
        return 0

    def _evaluate_run(self) -> int:
        from lagvae.cli.evaluation_table import print_evaluation
        from lagvae.storage.files import to_plain
        from lagvae.storage.folder import RunFolder
        from lagvae.training.evaluate import evaluate
        from lagvae.training.load import load
        from lagvae.training.outcome.solution import Status

        solution = load(self.run_folder)
        evaluation = evaluate(
            solution,
            self.data,
            quick=self.quick,
            samples=self.samples,
            examples=self.examples,
            seed=self.seed,
            progress=True,
        )
        data = RunFolder(self.run_folder).read_config()["data"] if self.data is None else self.data
        content = {"step": solution.step, "seed": self.seed, "data": data, **evaluation.as_dict()}
        if self.json:
            print(json.dumps(to_plain(content), indent=2))
        else:
            if solution.status not in (Status.FEASIBLE, Status.INFEASIBLE):
                print(f"{solution.status} at step {solution.step}: {solution.message}")
            print_evaluation(evaluation)
        if self.data is None and not self.quick:
            RunFolder(self.run_folder).write_estimates(content)
        return 0


@dataclass
class Report:
    """Draw a run: its bounds, its multipliers, its pictures. Or a front: a page to explore and a figure for print."""

    run_folder: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """Folder of the run, or of the front."""
    out: str | None = None
    """A run's picture, or the folder for a front's files; the run's or the front's own folder if none is given."""

    def run(self) -> int:
        """Writes the picture, or the page and the figure, and says where; 0."""
        from lagvae.storage.folder import RunFolder

        config = RunFolder(self.run_folder).read_config()
        return self._report_front() if "front" in config else self._report_run(has_data=bool(config["data"]))

    def _report_front(self) -> int:
        from lagvae.front.fit_front import load_front
        from lagvae.report.front_figure import write_front_figure
        from lagvae.report.front_page import write_front_page

        front, folder = load_front(self.run_folder), Path(self.out or self.run_folder)
        if not front.parts:
            raise CheckpointError(
                expected(f"a front at {self.run_folder} with a point that was measured", got="none", fix="--resume it")
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(expected(f"to write into {folder}", got=str(error), fix="--out FOLDER")) from error
        page, png, pdf = (folder / name for name in ("report.html", "front.png", "front.pdf"))
        write_front_figure(front, png, pdf)
        write_front_page(front, page)
        print(f"page in {page}\nfigure in {png} and {pdf}")
        return 0

    def _report_run(self, *, has_data: bool) -> int:
        from lagvae.report.figure import draw_run
        from lagvae.training.load import load, reopen_data

        solution = load(self.run_folder)
        if has_data:
            try:
                solution.data = reopen_data(solution)
            except DataError as error:  # moved, or changed since
                print(f"without examples of the data: {str(error).partition('; try ')[0]}", file=sys.stderr)
        path = Path(self.out or Path(self.run_folder) / "report.png")
        draw_run(solution, path)
        print(f"picture in {path}")
        return 0


@dataclass
class DataCommand:
    """Fetch and check a named data set: lagvae data fetch mnist."""

    action: tyro.conf.Positional[Literal["fetch"]]
    """What to do."""
    name: tyro.conf.Positional[str]
    """mnist, fashion-mnist or digits."""

    def run(self) -> int:
        """Fetches, and says where the files are; 0."""
        from lagvae.data.named.fetch import fetch

        print(f"{self.name} is complete in {fetch(self.name)}")
        return 0
