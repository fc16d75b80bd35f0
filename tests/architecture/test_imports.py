"""Imports point only downwards: every import in the package is read, lazy ones and those for types included."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

import pytest

import lagvae

PACKAGE = Path(lagvae.__file__).parent
ROOMS = (  # bottom to top
    "errors",
    "streams",
    "settings",
    "optimizers",
    "storage",
    "tracking",
    "data",
    "model",
    "distributed",
    "terms",
    "problem",
    "duality",
    "evaluation",
    "training",
    "front",
    "report",
    "sklearn",
    "lightning",
    "hub",
    "cli",
)
EVALUATION = (  # bottom to top; a folder of it is one of them
    "estimate",
    "questions",
    "visits",
    "codes",
    "density",
    "latent",
    "likelihood",
    "evaluate",
    "assess",
)
TRAINING = (  # bottom to top
    "interrupt",
    "steps",
    "record",
    "progress",
    "run_log",
    "outcome",
    "loop",
    "build",
    "together",
    "devices",
    "probe",
    "save",
    "load",
    "evaluate",
    "encode",
    "portable",
    "fit",
)
DATA = ("mapped", "sparse", "names", "examples", "blocks", "moments", "checks", "arrays", "readers", "named", "dataset")
FRONT = ("pareto", "point", "bounds", "front", "amortised", "dedicated", "fit_front")  # bottom to top
EXEMPT = {"__init__", "__main__"}
ROOT_NAMES = {"__version__"}
"""All that a room may take from the package itself: its other names are every room's."""


@dataclass(frozen=True)
class Import:
    """One import of lagvae by lagvae: the file's module, the line, and the module or name asked for."""

    importer: str
    line: int
    imported: str

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def read_imports(source: str, module: str, *, is_package: bool = False) -> list[Import]:
    """Returns every import of lagvae in ``source``, wherever it stands, relative ones resolved."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: None if is_package and node.level == 1 else -node.level + is_package]
            base = ".".join([*parents, node.module or ""]).rstrip(".") if node.level else str(node.module)
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        found += [Import(module, node.lineno, n) for n in names if n.split(".")[0] == "lagvae"]
    return found


def room_of(name: str, *, depth: int = 1) -> str:
    parts = name.split(".")
    return parts[depth] if len(parts) > depth else "__init__"


def find_upward(imports: list[Import], rooms: tuple[str, ...] = ROOMS, *, depth: int = 1) -> list[str]:
    """Returns every import of a higher room, and every one of or by something that is no room."""
    wrong = []
    for found in imports:
        importer, imported = room_of(found.importer, depth=depth), room_of(found.imported, depth=depth)
        if importer in EXEMPT or imported in ROOT_NAMES:
            continue
        known = importer in rooms and imported in rooms
        if not known or rooms.index(imported) > rooms.index(importer):
            wrong.append(str(found))
    return wrong


def within(room: str, imports: list[Import]) -> list[Import]:
    return [found for found in imports if room_of(found.importer) == room == room_of(found.imported)]


def all_imports() -> list[Import]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("lagvae", *path.relative_to(PACKAGE).with_suffix("").parts)
        is_package = parts[-1] == "__init__" and len(parts) > 2
        module = ".".join(parts[:-1] if is_package else parts)
        found += read_imports(path.read_text(encoding="utf-8"), module, is_package=is_package)
    return found


def test_imports_point_only_downwards() -> None:
    assert find_upward(all_imports()) == []


@pytest.mark.parametrize(
    ("room", "rooms"), [("data", DATA), ("evaluation", EVALUATION), ("training", TRAINING), ("front", FRONT)]
)
def test_imports_within_a_large_room_point_only_downwards(room: str, rooms: tuple[str, ...]) -> None:
    seen = within(room, all_imports())
    assert len(seen) > 30
    assert find_upward(seen, rooms, depth=2) == []


@pytest.mark.parametrize("importer", ["codes", "latent.units", "likelihood.pareto", "evaluate"])
def test_an_upward_import_within_evaluation_is_caught(importer: str) -> None:
    source = "from lagvae.evaluation.assess import assess"
    seen = read_imports(source, f"lagvae.evaluation.{importer}")
    assert len(find_upward(within("evaluation", seen), EVALUATION, depth=2)) == 1


def test_every_file_stands_in_a_room() -> None:
    homes = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert homes - EXEMPT <= set(ROOMS)


def test_the_reader_sees_the_packages_own_imports() -> None:
    seen = {(i.importer, i.imported) for i in all_imports()}
    assert ("lagvae.duality.lagrangian", "lagvae.problem.problem.Problem") in seen
    assert ("lagvae.problem.problem", "lagvae.problem.text.parse_problem") in seen  # inside a function
    assert ("lagvae.terms.algebra", "lagvae.terms.term.Term") in seen  # for types only
    assert len(seen) > 100


@pytest.mark.parametrize(
    "source",
    [
        "from lagvae.duality.lagrangian import Lagrangian",
        "import lagvae.training.fit",
        "import lagvae.cli.main as main",
        "from lagvae import training",
        "from lagvae import fit",
        "import lagvae",
        "from ..duality import rule",
        "from .. import cli",
        "def f():\n    from lagvae.problem import text",
        "if TYPE_CHECKING:\n    from lagvae.evaluation.estimate import Estimate",
        "from lagvae.attic import old",
    ],
)
def test_an_upward_import_is_caught(source: str) -> None:
    assert len(find_upward(read_imports(source, "lagvae.terms.term"))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from lagvae.model.draw import Draw",
        "import lagvae.errors",
        "from lagvae import __version__",
        "from . import algebra",
        "from .algebra import Quantity",
        "from ..model import draw",
        "import torch",
        "from lagvae_like import anything",
    ],
)
def test_a_downward_import_is_not(source: str) -> None:
    assert find_upward(read_imports(source, "lagvae.terms.term")) == []


def test_relative_imports_of_a_rooms_own_init_are_resolved() -> None:
    (found,) = read_imports("from .term import Term", "lagvae.terms", is_package=True)
    assert found.imported == "lagvae.terms.term.Term"
    (found,) = read_imports("from ..duality import rule", "lagvae.terms", is_package=True)
    assert found.imported == "lagvae.duality.rule"
