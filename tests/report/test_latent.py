"""Pictures of codes: their shapes, their ends, and which dimensions are moved."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import lagvae as lv
from lagvae.data.examples import Examples
from lagvae.model.build import build_vae
from lagvae.report.latent import most_active
from lagvae.settings import NetworkSettings


class Encoder(nn.Module):
    """Two pixels to four dimensions: the second carries most, the fourth some, the others nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.0, 3.0, 0.0, 1.0]))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = x.flatten(1).unbind(1)
        mean = torch.stack([first, 2 * first - 1, first, 2 * second - 1], 1) * self.scale
        return mean, torch.where(self.scale == 0, 0.0, -1.0).expand_as(mean)


@pytest.fixture
def model() -> lv.VAE:
    torch.manual_seed(0)
    return lv.VAE(Encoder(), nn.Linear(4, 2), latent_dim=4)


@pytest.fixture
def examples() -> Examples:
    bits = torch.rand(40, 1, 1, 2, generator=torch.Generator().manual_seed(0)).round()
    return Examples(bits)


def test_rows_and_columns(model: lv.VAE, examples: Examples) -> None:
    assert lv.reconstructions(model, examples, rows=3).shape == (6, 8, 1, 1, 2)
    assert lv.reconstructions(model, examples, rows=99).shape == (10, 8, 1, 1, 2)  # five rows are all there are
    assert lv.reconstructions(model, examples.subset(0, 3)).shape == (2, 3, 1, 1, 2)
    assert lv.interpolations(model, examples, rows=3, columns=5).shape == (3, 5, 1, 1, 2)
    assert lv.interpolations(model, examples, rows=99).shape == (20, 10, 1, 1, 2)
    assert lv.traversals(model, examples, rows=3, columns=5).shape == (3, 5, 1, 1, 2)
    assert lv.traversals(model, examples, rows=99).shape == (4, 11, 1, 1, 2)


def test_examples_stand_above_their_reconstructions(model: lv.VAE, examples: Examples) -> None:
    grid = lv.reconstructions(model, examples, rows=2)
    x = examples.gather(torch.arange(16))
    assert torch.equal(grid[0::2].flatten(0, 1), x)
    assert torch.allclose(grid[1::2].flatten(0, 1).flatten(1), model.decode(model.encode(x)))


def test_an_interpolation_leads_from_one_reconstruction_to_another(model: lv.VAE, examples: Examples) -> None:
    grid = lv.interpolations(model, examples, rows=4, columns=3, seed=None)
    codes = model.encode(examples.gather(torch.arange(8)))
    ends = model.decode(codes).unflatten(0, (4, 2))
    assert torch.allclose(grid[:, [0, -1]].flatten(2), ends, atol=1e-5)
    # The middle of an arc between codes of one length has that length; opposite or equal ones have the straight middle.
    for row, (first, second) in enumerate(codes.unflatten(0, (4, 2))):
        middle = (first + second) / 2
        if 1e-3 < float(middle.norm()) < float(first.norm()) - 1e-3:
            middle = middle * first.norm() / middle.norm()
        assert torch.allclose(grid[row, 1].flatten(), model.decode(middle[None])[0], atol=1e-4)


def test_a_traversal_moves_the_most_active_dimensions(model: lv.VAE, examples: Examples) -> None:
    assert most_active(model, examples)[:2] == [1, 3]
    grid = lv.traversals(model, examples, rows=2, columns=3, seed=None)
    start = model.encode(examples.gather(torch.arange(1)))
    for row, dimension in enumerate((1, 3)):
        for column, value in enumerate((-3.0, 0.0, 3.0)):
            moved = start.clone()
            moved[0, dimension] = value
            assert torch.allclose(grid[row, column].flatten(), model.decode(moved)[0], atol=1e-6)


def test_a_seed_chooses_examples_and_leaves_the_model_as_it_was(model: lv.VAE, examples: Examples) -> None:
    grey = Examples(torch.rand(40, 1, 1, 2, generator=torch.Generator().manual_seed(1)))
    model.train()
    state = torch.get_rng_state()
    for draw in (lv.reconstructions, lv.interpolations, lv.traversals):
        assert torch.equal(draw(model, grey, seed=3), draw(model, grey, seed=3))
        assert not torch.equal(draw(model, grey, seed=3), draw(model, grey, seed=4))
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training


def test_no_rows_are_refused(model: lv.VAE, examples: Examples) -> None:
    for draw in (lv.reconstructions, lv.interpolations, lv.traversals):
        with pytest.raises(lv.SettingError, match="expected at least 1 rows, got 0"):
            draw(model, examples, rows=0)
    with pytest.raises(lv.SettingError, match="expected at least 2 columns, got 1"):
        lv.traversals(model, examples, columns=1)


def test_one_example_is_no_way_between_two(model: lv.VAE, examples: Examples) -> None:
    for draw in (lv.interpolations, lv.traversals):
        with pytest.raises(lv.DataError, match="expected two examples or more in that part of the data, got 1"):
            draw(model, examples.subset(0, 1))


def test_under_a_learned_prior_a_traversal_moves_along_its_own_coordinates(examples: Examples) -> None:
    shape = tuple(examples.event_shape)
    model = build_vae(shape, NetworkSettings(latent_dim=4, hidden=(8,), prior="flow", likelihood="bernoulli"))
    with torch.no_grad():
        for parameter in model.prior.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    grid = lv.traversals(model, examples, rows=1, columns=3, seed=None)
    start = model.prior.standardise(model.encode(examples.gather(torch.arange(1))))[0]
    (dimension,) = most_active(model, examples)[:1]
    start[0, dimension] = -3.0
    assert torch.allclose(grid[0, 0].flatten(), model.decode(model.prior.place(start))[0].flatten(), atol=1e-5)
