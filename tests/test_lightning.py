"""A problem in somebody's Lightning project: fit's own steps, checkpoints that go on, a module of one's own."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

import lagvae as lv
from lagvae.lightning import AscendMultipliers, LagrangianLoss, ProblemModule
from lagvae.settings import Settings
from lagvae.streams import Streams
from lagvae.training.build import build_session

PROBLEM = "max mi s.t. neg_elbo <= 40, mmd <= 2e-2"
SIZE, EPOCHS = 250, 3
SETTINGS: dict[str, Any] = {"learning_rate": 3e-3, "warmup_steps": 5, "seed": 3}
DIGITS = lv.open_data("digits")
pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*", "ignore:.*isinstance.treespec.*")


def make_session(**changes: Any) -> Any:
    settings = Settings().replace(
        hidden=(32,), latent_dim=2, epochs=EPOCHS, batch_size=SIZE, shuffle=False, precision="float32", device="cpu",
        **SETTINGS, **changes,
    )  # fmt: skip
    return build_session(lv.Problem.parse(PROBLEM), DIGITS, settings)


def loader(**options: Any) -> DataLoader[Any]:
    return DataLoader(TensorDataset(DIGITS.train.values, DIGITS.train.labels), SIZE, drop_last=True, **options)


def trainer(folder: Path, **options: Any) -> pl.Trainer:
    defaults: dict[str, Any] = {
        "default_root_dir": folder, "max_epochs": EPOCHS, "accelerator": "cpu", "logger": False,
        "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False,
    }  # fmt: skip
    return pl.Trainer(**{**defaults, **options})


def test_it_takes_the_steps_of_fit(tmp_path: Path) -> None:
    session = make_session()
    module = ProblemModule(PROBLEM, copy.deepcopy(session.model), **SETTINGS)
    for _ in range(session.total_steps):
        session.take_step()
    trainer(tmp_path).fit(module, loader())
    assert module.loss.steps == session.total_steps == 18
    for name, tensor in session.rule.state_dict().items():
        torch.testing.assert_close(module.loss.rule.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)
    for name, tensor in session.model.state_dict().items():
        torch.testing.assert_close(module.model.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)
    assert list(module.multipliers) == ["neg_elbo", "mmd"]


def test_other_steps_would_be_seen(tmp_path: Path) -> None:
    session = make_session()
    module = ProblemModule(PROBLEM, copy.deepcopy(session.model), **{**SETTINGS, "seed": 4})
    for _ in range(session.total_steps):
        session.take_step()
    trainer(tmp_path).fit(module, loader())
    with pytest.raises(AssertionError):
        torch.testing.assert_close(module.model.encoder.state_dict(), session.model.encoder.state_dict())


def test_a_checkpoint_goes_on_to_the_same_multipliers(tmp_path: Path) -> None:
    start = make_session().model
    whole = ProblemModule(PROBLEM, copy.deepcopy(start), **SETTINGS)
    trainer(tmp_path).fit(whole, loader())
    part = ProblemModule(PROBLEM, copy.deepcopy(start), **SETTINGS)
    keep = ModelCheckpoint(tmp_path / "kept", save_top_k=-1)
    trainer(tmp_path, callbacks=[keep], enable_checkpointing=True).fit(part, loader())
    (middle,) = (tmp_path / "kept").glob("epoch=1-*.ckpt")
    resumed = ProblemModule(PROBLEM, copy.deepcopy(start), **SETTINGS)
    trainer(tmp_path).fit(resumed, loader(), ckpt_path=middle)
    assert resumed.loss.steps == 18
    assert resumed.multipliers == whole.multipliers != ProblemModule(PROBLEM, start).multipliers
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], tensor), name
    loaded = ProblemModule.load_from_checkpoint(middle, model=copy.deepcopy(start))
    assert loaded.settings.primal.learning_rate == 3e-3
    assert loaded.loss.steps == 12


class Logged(pl.Callback):
    """Keeps what was logged."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seen.append({name: float(value) for name, value in trainer.logged_metrics.items()})


def test_terms_violations_and_multipliers_are_logged(tmp_path: Path) -> None:
    module, logged = ProblemModule(PROBLEM, make_session().model, **SETTINGS), Logged()
    validation = DataLoader(DIGITS.test.values, SIZE)
    runner = trainer(tmp_path, callbacks=[logged], num_sanity_val_steps=0)
    runner.fit(module, loader(shuffle=True), validation)
    last = logged.seen[-1]
    assert last["violation/neg_elbo"] == pytest.approx(last["terms/neg_elbo"] - 40, abs=1e-3)
    assert last["multiplier/neg_elbo"] == pytest.approx(module.multipliers["neg_elbo"])
    assert {"terms/distortion", "terms/rate", "terms/mmd", "weight/rate", "val/violation/mmd"} <= set(last)
    assert last["val/terms/neg_elbo"] < logged.seen[0]["val/terms/neg_elbo"]
    (measured,) = runner.test(module, validation, verbose=False)
    assert measured["test/terms/neg_elbo"] == pytest.approx(last["val/terms/neg_elbo"], abs=3)
    assert module.loss.steps == 18
    codes = module(DIGITS.test.values[:4] / 255)
    assert codes.shape == (4, 2)


class Own(pl.LightningModule):
    """Somebody's module, with a loss and an optimiser of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.model = make_session().model
        self.lagrangian = LagrangianLoss("min rate s.t. distortion <= 30")
        self.streams = Streams(seed=0)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        x = self.model.likelihood.prepare(batch[0], self.streams.binarisation)
        return self.lagrangian(self.model.draw(x, self.streams))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.parameters(), lr=1e-3)


def test_a_module_of_ones_own_with_gradients_added_up(tmp_path: Path) -> None:
    module = Own()
    before = module.lagrangian.multipliers
    trainer(tmp_path, callbacks=[AscendMultipliers()], accumulate_grad_batches=2, max_epochs=6).fit(module, loader())
    assert module.lagrangian.steps == 18  # of 36 batches: two are one step
    assert module.lagrangian.multipliers["distortion"] > before["distortion"]
    alone = Own()
    trainer(tmp_path).fit(alone, loader())
    assert alone.lagrangian.steps == 0  # without the callback nothing ascends


def test_a_run_without_an_end_and_batches_of_something_else(tmp_path: Path) -> None:
    module = ProblemModule(PROBLEM, make_session().model)
    with pytest.raises(
        lv.SettingError, match=r"expected a run with an end, got inf steps; try Trainer\(max_epochs=30\)"
    ):
        trainer(tmp_path, max_epochs=-1).fit(module, loader())
    with pytest.raises(lv.DataError, match="expected batches of examples, or tuples that begin with them, got dict"):
        trainer(tmp_path).fit(module, DataLoader([{"x": 1.0}] * 4, 2))
    with pytest.raises(lv.SettingError, match="expected a setting, got 'learning'; try 'learning_rate'"):
        ProblemModule(PROBLEM, make_session().model, learning=1.0)


def test_a_second_run_of_a_trainer_has_a_beginning_and_an_end_of_its_own(tmp_path: Path) -> None:
    module = ProblemModule("min distortion s.t. rate == 3", make_session().model, **SETTINGS)
    trainer(tmp_path).fit(module, loader())
    trainer(tmp_path, max_epochs=1, limit_train_batches=1).fit(module, loader())
    assert module.loss.steps == 1
    trainer(tmp_path).fit(module, loader())
    assert module.loss.steps == 18
    assert module.loss.rule.progress.item() == 1.0  # type: ignore[attr-defined]


def test_a_rule_and_its_step_size_are_settings_like_others(tmp_path: Path) -> None:
    module = ProblemModule(PROBLEM, make_session().model, dual="nupi", dual_learning_rate=0.5)
    assert module.loss.rule.learning_rate == 0.5  # type: ignore[attr-defined]
    keep = ModelCheckpoint(tmp_path / "kept")
    trainer(tmp_path, max_epochs=1, callbacks=[keep], enable_checkpointing=True).fit(module, loader())
    loaded = ProblemModule.load_from_checkpoint(keep.best_model_path, model=make_session().model)
    assert loaded.multipliers == module.multipliers
    assert loaded.settings.dual.dual_learning_rate == 0.5
    for name, value in {"held_out": 0.1, "epochs": 3, "latent_dim": 2, "probe_epochs": 1}.items():
        with pytest.raises(lv.SettingError, match=f"got {name}; try the Trainer, the DataLoader or the model"):
            ProblemModule(PROBLEM, make_session().model, **{name: value})


def test_a_batch_of_one_has_no_mmd(tmp_path: Path) -> None:
    module = ProblemModule(PROBLEM, make_session().model)
    rows = DataLoader(DIGITS.train.values[:3], 2)
    with pytest.raises(lv.DataError, match=r"two examples or more, to measure mmd, got one; try .*drop_last"):
        trainer(tmp_path).fit(module, rows)


def test_streams_of_another_process_or_device_are_not_taken_over() -> None:
    module = ProblemModule(PROBLEM, make_session().model, **SETTINGS)
    own = Streams(3)
    own.posterior_noise(torch.zeros(5))
    saved = {"train": own.state_dict(), "val": own.state_dict()}
    module.on_load_checkpoint({"lagvae_streams": saved, "global_step": 6})
    assert torch.equal(module._streams_of("train").state_dict()["posterior"], saved["train"]["posterior"])
    kept: dict[str, Any] = {}
    module.on_save_checkpoint(kept)
    assert set(kept["lagvae_streams"]) == {"train", "val"}  # also what was not asked for since
    elsewhere = {name: state[:16] for name, state in saved["train"].items()}  # as a graphics processor's are
    module.on_load_checkpoint({"lagvae_streams": {"train": elsewhere}, "global_step": 6})
    fresh = module._streams_of("train").state_dict()["posterior"]
    assert not torch.equal(fresh, Streams(3).state_dict()["posterior"])


def test_batches_that_are_tuples_of_bytes_are_predicted(tmp_path: Path) -> None:
    module = ProblemModule(PROBLEM, make_session().model)
    found = trainer(tmp_path).predict(module, loader())
    assert found is not None
    codes = torch.cat(found)  # type: ignore[arg-type]
    assert codes.shape == (len(DIGITS.train) // SIZE * SIZE, 2)
    assert codes.abs().max() < 10  # of bytes taken for intensities it would be hundreds
