from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import lagvae as lv
from tiny_runs import run

pytest.importorskip("huggingface_hub", reason="needs the extra hub")

from lagvae.hub import Pretrained, describe
from lagvae.training.portable import FILES


@pytest.fixture(scope="module")
def solution() -> lv.Solution:
    return run(epochs=1)


def test_a_folder_holds_the_model_and_its_card_and_gives_it_back(solution: lv.Solution, tmp_path: Path) -> None:
    Pretrained(solution).save_pretrained(tmp_path / "mine")
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {*FILES, "README.md"}
    again = Pretrained.from_pretrained(str(tmp_path / "mine")).solution
    assert torch.equal(again.model.sample(4), solution.model.sample(4))
    assert (again.status, again.multipliers, again.problem) == (solution.status, solution.multipliers, solution.problem)


@pytest.mark.parametrize("name", ["models/that/is/not/there", "owner/missing"])
def test_a_model_that_is_neither_a_folder_nor_on_the_hub_is_said(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> str:
        raise FileNotFoundError("cannot locate the file on the Hub")

    if name.count("/") == 1:  # of the other the name alone is refused
        monkeypatch.setattr("lagvae.hub.snapshot_download", unreachable)
    with pytest.raises(lv.CheckpointError, match=f"expected a model at '{name}', got .*; try the path of a folder"):
        Pretrained.from_pretrained(name)


def test_the_card_says_what_was_asked_and_what_came_out(solution: lv.Solution) -> None:
    card = str(Pretrained(solution).generate_model_card())
    assert "library_name: lagvae" in card
    assert str(solution.problem) in card
    assert f"Status: {solution.status}" in card
    assert solution.evaluation is not None
    for part in ("train", "test"):
        assert f"{solution.evaluation[part]['neg_elbo'].value:.4g} ± " in card
    for name, multiplier in solution.multipliers.items():
        assert f"| `{solution.problem.constraints[name]}` | {multiplier:.4g} |" in card
    assert "likelihood: bernoulli" in card


def test_a_run_without_bounds_or_an_end_has_a_card_too(solution: lv.Solution) -> None:
    assert "multiplier" not in describe(run(epochs=1, problem="min neg_elbo"))
    evaluation, solution.evaluation = solution.evaluation, None
    try:
        assert "estimate" not in describe(solution)
    finally:
        solution.evaluation = evaluation


def test_a_model_of_ones_own_is_given_again(tmp_path: Path) -> None:
    def make() -> lv.VAE:
        return lv.VAE(lv.MLPEncoder((1, 8, 8), 2, (8,)), lv.MLPDecoder(2, (1, 8, 8), (8,)), latent_dim=2)

    own = run(epochs=1, model=make())
    Pretrained(own).save_pretrained(tmp_path)
    with pytest.raises(lv.CheckpointError, match="expected the model that the saved model was trained with"):
        Pretrained.from_pretrained(str(tmp_path))
    again = Pretrained.from_pretrained(str(tmp_path), model=make()).solution
    assert torch.equal(again.model.sample(2), own.model.sample(2))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(lv.CheckpointError, match=r"got no config\.yaml"):
        Pretrained.from_pretrained(str(tmp_path))


def test_pushing_uploads_the_same_files(solution: lv.Solution, monkeypatch: pytest.MonkeyPatch) -> None:
    uploaded: dict[str, set[str]] = {}

    class Hub:
        def __init__(self, **_: Any) -> None: ...

        def create_repo(self, repo_id: str, **_: Any) -> SimpleNamespace:
            return SimpleNamespace(repo_id=repo_id)

        def upload_folder(self, *, repo_id: str, folder_path: Path, **_: Any) -> str:
            uploaded[repo_id] = {path.name for path in Path(folder_path).iterdir()}
            return "done"

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Hub)
    assert Pretrained(solution).push_to_hub("me/mine") == "done"
    assert uploaded == {"me/mine": {*FILES, "README.md"}}


def test_without_the_package_the_way_to_it_is_said() -> None:
    code = "import sys\nsys.modules['huggingface_hub'] = None\nimport lagvae.hub"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'expected huggingface-hub, got no such package; try pip install "lagvae[hub]"' in ended.stderr
