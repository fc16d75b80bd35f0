"""A prior that learns: trained with the rest, resumed to the bit, read back, and no part of other runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import lagvae as lv
from lagvae.model.flow import FlowPrior
from lagvae.model.prior import StandardNormal
from tiny_runs import STEPS, assert_same_run, run, stopped_after


def test_it_learns_with_the_networks_and_is_read_back(tmp_path: Path) -> None:
    solution = run(tmp_path / "run", prior="flow")
    prior = solution.model.prior
    assert isinstance(prior, FlowPrior)
    assert all(bool(coupling.outer.weight.abs().sum() > 0) for coupling in prior.couplings)  # they began at 0
    z = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(lv.load(tmp_path / "run").model.prior.log_prob(z), prior.log_prob(z))
    assert "prior: flow" in (tmp_path / "run" / "config.yaml").read_text()


@pytest.mark.parametrize("step", [1, 7, STEPS - 1])
def test_it_resumes_to_the_bit(tmp_path: Path, step: int) -> None:
    run(tmp_path / "whole", prior="flow")
    with stopped_after(step):
        run(tmp_path / "parts", prior="flow")
    run(tmp_path / "parts", prior="flow", resume=True)
    assert_same_run(tmp_path / "parts", tmp_path / "whole")


def test_the_networks_begin_alike_under_either_prior() -> None:
    flow, normal = (run(epochs=1, learning_rate=1e-12, prior=prior).model for prior in ("flow", "standard_normal"))
    assert isinstance(normal.prior, StandardNormal)
    for ours, theirs in zip(flow.encoder.parameters(), normal.encoder.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_one_dimension_is_refused() -> None:
    with pytest.raises(lv.SettingError, match="try a larger latent_dim, or prior=standard_normal"):
        run(prior="flow", latent_dim=1)
