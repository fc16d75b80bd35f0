"""The Lagrangian as a module: the session's own loss and ascent, in any loop, with any checkpoint."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.distributed
import torch.multiprocessing

import lagvae as lv
from lagvae.duality.loss import LagrangianLoss
from lagvae.streams import Streams

PROBLEM = "max mi s.t. neg_elbo <= 40, mmd <= 2e-2"


def make_model(seed: int = 0) -> lv.VAE:
    generator = torch.Generator().manual_seed(seed)
    shape = (1, 8, 8)
    encoder, decoder = (
        lv.MLPEncoder(shape, 2, (16,), generator=generator),
        lv.MLPDecoder(2, shape, (16,), generator=generator),
    )
    return lv.VAE(encoder, decoder, latent_dim=2)


def draw(model: lv.VAE, seed: int = 0) -> object:
    x = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(seed)).round()
    return model.draw(x, Streams(seed))


@pytest.mark.parametrize("balance", [True, False])
def test_the_loss_is_the_weighted_sum_of_its_terms(balance: bool) -> None:
    loss = LagrangianLoss(PROBLEM, balance=balance)
    value = loss(draw(make_model()))
    found = loss.scalars()
    terms = {name.removeprefix("weight/"): weight for name, weight in found.items() if name.startswith("weight/")}
    total = sum(weight * found[f"terms/{name}"] for name, weight in terms.items())
    units = sum(abs(weight) * (1e-4 if name.startswith("mmd") else 1.0) for name, weight in terms.items())
    assert value.item() == pytest.approx((total / units if balance else total).item(), rel=1e-5)
    assert found["violation/neg_elbo"] == pytest.approx(found["terms/neg_elbo"].item() - 40, abs=1e-3)
    assert {"multiplier/neg_elbo", "multiplier/mmd"} <= set(found)


def test_it_ascends_by_what_it_saw() -> None:
    loss = LagrangianLoss("min rate s.t. distortion <= 30", dual="gradient")
    before = loss.multipliers["distortion"]
    loss.ascend(progress=0.1)  # nothing seen
    assert (loss.multipliers["distortion"], loss.steps) == (before, 0)
    model = make_model()
    violations = []
    for seed in range(2):
        loss(draw(model, seed))
        violations.append(loss.scalars()["violation/distortion"])
    alone = LagrangianLoss("min rate s.t. distortion <= 30", dual="gradient")
    alone.rule.update(torch.stack(violations).mean().reshape(1, 1), progress=0.1)
    loss.ascend(progress=0.1)
    assert loss.multipliers == pytest.approx(alone.multipliers)
    assert loss.multipliers["distortion"] > before
    assert loss.steps == 1
    loss.eval()
    loss(draw(model))
    loss.ascend(progress=0.2)  # what is measured in eval mode moves nothing
    assert loss.steps == 1


def test_any_checkpoint_of_its_owner_holds_the_multipliers(tmp_path: Path) -> None:
    owner = torch.nn.ModuleDict({"model": make_model(), "loss": LagrangianLoss(PROBLEM)})
    loss = owner["loss"]
    assert isinstance(loss, LagrangianLoss)
    for step in range(1, 8):
        loss(draw(make_model(), step))
        loss.ascend(progress=step / 10)
    torch.save(owner.state_dict(), tmp_path / "owner.pt")
    other = torch.nn.ModuleDict({"model": make_model(1), "loss": LagrangianLoss(PROBLEM)})
    assert other["loss"].multipliers != loss.multipliers
    other.load_state_dict(torch.load(tmp_path / "owner.pt", weights_only=True))
    assert other["loss"].multipliers == loss.multipliers
    for each in (loss, other["loss"]):
        each(draw(make_model(), 9))
        each.ascend(progress=0.9)
    assert other["loss"].multipliers == loss.multipliers
    with pytest.raises(lv.ProblemError, match=r"got the state of 'max mutual_information s.t. neg_elbo <= 40"):
        LagrangianLoss("min rate").load_state_dict(loss.state_dict())


def test_sums_are_in_float32_under_autocast() -> None:
    model = make_model()
    plain, mixed = LagrangianLoss(PROBLEM), LagrangianLoss(PROBLEM)
    drawn = draw(model)
    with torch.autocast("cpu", torch.bfloat16):
        value = mixed(drawn)
    assert value.dtype == torch.float32
    assert value.item() == plain(drawn).item()


def test_what_is_no_problem_of_numbers() -> None:
    with pytest.raises(lv.ProblemError, match=r"expected numbers as bounds, got .*best \+ 4"):
        LagrangianLoss("max mi s.t. neg_elbo <= best + 4")
    with pytest.raises(lv.SettingError, match="expected a dual rule, got 'gradiant'; try 'gradient'"):
        LagrangianLoss(PROBLEM, dual="gradiant")


def train_apart(rank: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="0", OMP_NUM_THREADS="1")
    store = torch.distributed.FileStore(f"{folder}/store", 2)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    loss = LagrangianLoss(PROBLEM)
    for step in range(1, 5):
        loss(draw(make_model(), 10 * step + rank))
        loss.ascend(progress=step / 5)
    torch.save((loss.state_dict(), loss.scalars()), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_processes_that_train_one_model_ascend_alike(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(train_apart, (str(tmp_path),), nprocs=2)
    (first, seen), (second, others) = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert seen["terms/rate"] != others["terms/rate"]
    together = LagrangianLoss(PROBLEM)
    for step in range(1, 5):
        for rank in range(2):
            together(draw(make_model(), 10 * step + rank))
        together.ascend(progress=step / 5)
    for name, tensor in together.rule.state_dict().items():
        torch.testing.assert_close(first["_extra_state"]["rule"][name], tensor)
        assert torch.equal(first["_extra_state"]["rule"][name], second["_extra_state"]["rule"][name])


def test_a_validation_may_be_the_first_to_bring_it_to_a_device() -> None:
    loss = LagrangianLoss(PROBLEM)
    with torch.inference_mode():
        loss._move(torch.device("meta"))
    loss._seen = [torch.zeros(2, device="meta")]
    loss.ascend(progress=0.5)  # in place, which no tensor of an inference allows
    assert not loss.rule.multipliers.is_inference()


def test_the_state_of_another_rule_is_refused() -> None:
    state = LagrangianLoss(PROBLEM, dual="geco").state_dict()
    with pytest.raises(lv.CheckpointError, match="expected the state of NuPI, got that of Geco; try the same dual"):
        LagrangianLoss(PROBLEM, dual="nupi").load_state_dict(state)


def test_another_run_begins_where_the_last_one_ended() -> None:
    loss, model = LagrangianLoss(PROBLEM), make_model()
    for step in range(1, 6):
        loss(draw(model, step))
        loss.ascend(progress=0.25 + step / 200)
    ended = loss.multipliers
    loss.begin()
    assert loss.steps == 0
    assert loss.multipliers == pytest.approx(ended)
    loss(draw(model, 11))
    loss.ascend(progress=0.06)
    other = LagrangianLoss(PROBLEM)
    other.load_state_dict(loss.state_dict())
    for each in (loss, other):
        each(draw(model, 12))
        each.ascend(progress=0.065)
    assert other.multipliers == loss.multipliers != ended
    other.load_state_dict(LagrangianLoss(PROBLEM).state_dict())
    assert other.multipliers == LagrangianLoss(PROBLEM).multipliers
