"""The commands that use a trained model: encode and sample. Heavy imports wait until one runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from lagvae.errors import SettingError, expected

if TYPE_CHECKING:
    from torch import Tensor

    from lagvae.training.outcome.solution import Solution


@dataclass
class Encode:
    """Save the code of every example, the mean of q(z|x), in a file: a table with labels beside, or an array."""

    run_folder: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    out: str = "codes.csv"
    """A .csv, .tsv or .parquet table (z0, z1, ..., label), a .npz with codes and labels, or a .npy of codes alone."""
    data: str | None = None
    """Other data than the run's own."""
    part: Literal["all", "train", "held_out", "test"] = "all"
    """Every example in the order of the file, or one part of the data as the run split them."""
    seed: int = 0
    """Of the bits that grey values are drawn as, for a Bernoulli likelihood."""

    def run(self) -> int:
        """Writes the file and says what is in it; 0."""
        from lagvae.report.tables import SUFFIXES, check_suffix, save_codes
        from lagvae.training.encode import encode
        from lagvae.training.load import load

        check_suffix(Path(self.out), SUFFIXES)
        codes, labels = encode(load(self.run_folder), self.data, part=self.part, seed=self.seed, progress=True)
        save_codes(codes, labels, Path(self.out))
        beside = "" if labels is None or self.out.endswith(".npy") else ", with labels,"
        print(f"{len(codes)} codes of {codes.shape[1]} dimensions{beside} in {self.out}")
        return 0


@dataclass
class Sample:
    """Save what the decoder makes of codes: samples, reconstructions, interpolations, traversals of images; rows."""

    run_folder: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """Folder of the run."""
    kind: Literal["samples", "reconstructions", "interpolations", "traversals"] = "samples"
    """Of codes z ~ p(z), of test examples, between pairs of them, or along the most active dimensions."""
    n: int | None = None
    """How many samples (64), or rows of examples with their reconstructions (4), or of the others (8)."""
    out: str | None = None
    """The picture, named after its kind if none is given; an array if it ends in .npy; of a table's rows a .csv, ..."""
    data: str | None = None
    """Other data than the run's own."""
    seed: int = 0
    """Of the codes, or of which examples are taken."""

    def run(self) -> int:
        """Writes the picture or the table and says where; 0."""
        from lagvae.report.pictures import save_examples, save_grid
        from lagvae.report.tables import TABLES, save_rows
        from lagvae.training.load import load

        if self.kind == "samples" and self.data is not None:
            fix = "--kind reconstructions, or no --data"
            raise SettingError(expected("no data for samples, which are drawn from the prior", got=self.data, fix=fix))
        usual = {"samples": 64, "reconstructions": 4}.get(self.kind, 8)
        count = usual if self.n is None else self.n
        if count < 1:
            raise SettingError(expected("at least one sample or row", got=count, fix="--n 64"))
        solution = load(self.run_folder)
        are_rows = self.kind == "samples" and len((solution.config or {})["event_shape"]) == 1
        out = self.out or f"{self.kind}{'.csv' if are_rows else '.png'}"
        if are_rows and Path(out).suffix.lower() in TABLES:
            save_rows(solution, count, Path(out), seed=self.seed)
        elif self.kind == "samples":
            save_examples(solution.model.sample(count, seed=self.seed), Path(out))
        if self.kind == "samples":
            print(f"{count} {'rows' if are_rows else 'samples'} in {out}")
            return 0
        grid = self._grid(solution, count)
        save_grid(grid, Path(out))
        print(f"{len(grid)} rows of {self.kind} in {out}")
        return 0

    def _grid(self, solution: Solution, rows: int) -> Tensor:
        from lagvae.report import latent
        from lagvae.training.load import open_for

        data = open_for(solution, self.data)
        draw = {
            "reconstructions": latent.reconstructions,
            "interpolations": latent.interpolations,
            "traversals": latent.traversals,
        }[self.kind]
        return draw(solution.model, data.test, rows=rows, seed=self.seed)
