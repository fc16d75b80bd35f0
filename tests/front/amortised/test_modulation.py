"""A folded member is the modulated network, and an ordinary one."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.utils.prune
from torch import Tensor, nn

import lagvae as lv
from lagvae.front.amortised.modulation import Modulation, shares_of
from lagvae.model.flow import FlowPrior
from lagvae.model.likelihoods.counts import NegativeBinomial
from lagvae.model.likelihoods.gaussian import LearnedGaussian, OptimalGaussian
from lagvae.model.vae import mlp_vae

CONDITIONS = torch.tensor([[-0.9, 0.3], [0.1, -1.0], [0.8, 0.9]])


def perceptrons() -> tuple[lv.VAE, tuple[int, ...]]:
    return mlp_vae((5,), latent_dim=3, hidden=(7,), generator=torch.Generator().manual_seed(0)), (5,)


def convolutions() -> tuple[lv.VAE, tuple[int, ...]]:
    """Grouped, strided and transposed layers, and one without a bias."""
    torch.manual_seed(0)
    encoder = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False),
        nn.Flatten(),
        nn.Linear(6 * 16, 6, bias=False),
    )
    decoder = nn.Sequential(
        nn.Linear(3, 6 * 16),
        nn.Unflatten(1, (6, 4, 4)),
        nn.ReLU(),
        nn.ConvTranspose2d(6, 4, 4, stride=2, padding=1, groups=2),
        nn.ReLU(),
        nn.Conv2d(4, 2, 3, padding=1),
    )
    return lv.VAE(encoder, decoder, latent_dim=3), (2, 8, 8)


def trained(model: lv.VAE) -> Modulation:
    """A modulation that does something."""
    network = Modulation(model)
    nn.init.normal_(network.entries, std=0.3, generator=torch.Generator().manual_seed(2))
    return network


def outputs(model: lv.VAE, x: Tensor, z: Tensor) -> list[Tensor]:
    posterior = model.posterior(x)
    return [posterior.mean, posterior.log_std, model.decoder(z)]


@pytest.mark.parametrize("build", [perceptrons, convolutions])
def test_a_folded_member_is_the_modulated_network_to_rounding(build: object) -> None:
    model, shape = build()  # type: ignore[operator]
    network, generator = trained(model), torch.Generator().manual_seed(3)
    x, z = torch.rand(6, *shape, generator=generator), torch.randn(6, 3, generator=generator)
    with network.at(CONDITIONS) as modulated:
        found = outputs(modulated, x, z)
    for group, condition in enumerate(CONDITIONS):
        rows = slice(2 * group, 2 * group + 2)
        folded = network.fold(condition)
        for ours, theirs, plain in zip(
            outputs(folded, x[rows], z[rows]), found, outputs(model, x[rows], z[rows]), strict=True
        ):
            torch.testing.assert_close(ours, theirs[rows], rtol=1e-4, atol=1e-5)
            assert (ours - plain).abs().max() > 0.02  # and it is not just the model


def test_a_learned_prior_is_modulated_and_folded_with_the_rest() -> None:
    model, _ = perceptrons()
    model.prior = FlowPrior(3, generator=torch.Generator().manual_seed(4))
    network, z = trained(model), torch.randn(6, 3, generator=torch.Generator().manual_seed(3))
    with network.at(CONDITIONS) as modulated:
        found = modulated.prior.log_prob(z)
        grouped = modulated.prior.log_prob(z.unflatten(0, (3, 2)))  # as the divergence of each group sees it
    torch.testing.assert_close(grouped.flatten(), found)
    for group, condition in enumerate(CONDITIONS):
        rows = slice(2 * group, 2 * group + 2)
        ours = network.fold(condition).prior.log_prob(z[rows])
        torch.testing.assert_close(ours, found[rows], rtol=1e-4, atol=1e-5)
        assert (ours - model.prior.log_prob(z[rows])).abs().max() > 0.02


@pytest.mark.parametrize("kind", [LearnedGaussian, OptimalGaussian, NegativeBinomial])
def test_scales_are_each_members_own_and_folded_with_the_rest(
    kind: type[LearnedGaussian | OptimalGaussian | NegativeBinomial],
) -> None:
    model, _ = perceptrons()
    model.likelihood = kind((5,))
    network, generator = trained(model), torch.Generator().manual_seed(3)
    x = torch.randint(0, 10, (3, 4, 5), generator=generator).float()
    parameters = torch.randn(3, 4, 5, generator=generator)
    found = network.log_likelihood(parameters, x, CONDITIONS)
    assert found.shape == (3, 4)
    for group, condition in enumerate(CONDITIONS):
        folded = network.fold(condition)
        assert type(folded.likelihood) is kind
        ours = folded.likelihood.log_prob(parameters[group], x[group])
        torch.testing.assert_close(ours, found[group], rtol=1e-4, atol=1e-5)
        assert (ours - model.eval().likelihood.log_prob(parameters[group], x[group])).abs().max() > 0.5
    found.sum().backward()
    assert network.entries.grad is not None
    assert bool((network.entries.grad[:, -5:] != 0).any(0).all())


def test_inputs_are_gated_by_the_exponential_of_what_the_tables_say_but_not_the_data() -> None:
    """Splines add up to 1: a table that is log 3 / gain everywhere, as e alone, makes W' = 3 W."""
    model, _ = perceptrons()
    network = Modulation(model, gain=2.0)
    for e in network.entries.detach().split(network._sizes, dim=-1)[2::3]:
        e.fill_(math.log(3.0) / 2.0)
    folded = network.fold(torch.tensor([0.3, -1.0]))
    ours, theirs = folded.state_dict(), model.state_dict()
    first, *_ = network._names
    for name, tensor in theirs.items():
        tripled = name.endswith("weight") and not name.startswith(first)
        torch.testing.assert_close(ours[name], 3 * tensor if tripled else tensor)


@pytest.mark.parametrize("build", [perceptrons, convolutions])
def test_a_folded_member_has_the_models_class_and_shapes(build: object) -> None:
    model, _ = build()  # type: ignore[operator]
    folded = trained(model).fold(CONDITIONS[0])
    assert type(folded) is type(model)
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    assert {name: tensor.shape for name, tensor in folded.state_dict().items()} == shapes


def test_the_model_is_itself_before_training_and_after_every_use() -> None:
    model, shape = perceptrons()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x, z = torch.rand(3, *shape), torch.randn(3, 3)
    plain = outputs(model, x, z)
    with Modulation(model).at(CONDITIONS) as modulated:
        for ours, theirs in zip(outputs(modulated, x, z), plain, strict=True):
            torch.testing.assert_close(ours, theirs)
    network = trained(model)
    with pytest.raises(ZeroDivisionError), network.at(CONDITIONS):
        _ = 1 / 0
    network.fold(CONDITIONS[0])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(outputs(model, x, z), plain, strict=True))


def test_every_layer_and_the_modulation_itself_learn() -> None:
    model, shape = perceptrons()
    network = trained(model)
    with network.at(CONDITIONS) as modulated:
        torch.stack(
            [part.sum() for part in outputs(modulated, torch.rand(3, *shape), torch.randn(3, 3))]
        ).sum().backward()
    assert all(weight.grad is not None and bool(weight.grad.abs().sum() > 0) for weight in network.parameters())


def test_values_and_slopes_have_the_shares_of_quadratic_splines() -> None:
    """A B-spline at its centre is 3/4 and its neighbours 1/8; halfway to a neighbour both are 1/2."""
    conditions = torch.tensor([[-1.0, 1.0], [0.0, -1.0], [0.25, 0.5], [1.5, -2.0]])
    expected = torch.zeros(4, 2, 6)  # [condition, values or slopes, spline], centres at -1.25, -0.75, ..., 1.25
    expected[0, :, :2] = 0.5
    expected[1, 0, 2:4] = 0.5
    expected[2, 0, 2:5] = torch.tensor([1 / 8, 3 / 4, 1 / 8])
    expected[2, 1, 2:5] = 0.75 * expected[2, 0, 2:5]
    expected[3, 0, 4:] = 0.5
    torch.testing.assert_close(shares_of(conditions, 6), expected.flatten(1))


def test_what_one_end_of_the_family_learns_leaves_the_other_alone() -> None:
    model, shape = perceptrons()
    network = trained(model)
    ends = torch.tensor([[-1.0, -1.0], [1.0, 1.0]])
    before = [network.fold(end).state_dict() for end in ends]
    with network.at(ends[1:]) as modulated:
        modulated.posterior(torch.rand(3, *shape)).mean.square().sum().backward()
    with torch.no_grad():
        network.entries -= network.entries.grad
    after = [network.fold(end).state_dict() for end in ends]
    assert all(torch.equal(before[0][name], tensor) for name, tensor in after[0].items())
    assert not all(torch.equal(before[1][name], tensor) for name, tensor in after[1].items())


def test_a_batch_that_is_no_multiple_of_the_groups_is_refused() -> None:
    model, shape = perceptrons()
    with pytest.raises(lv.ShapeError, match="3 equal parts, got a batch of shape"), Modulation(model).at(CONDITIONS):
        model.posterior(torch.rand(4, *shape))


def test_a_model_without_layers_to_modulate_or_with_shared_ones_is_refused() -> None:
    with pytest.raises(lv.ShapeError, match="linear or convolutional layers to modulate, got none"):
        Modulation(lv.VAE(nn.Identity(), nn.Identity(), latent_dim=2))
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    other.weight = one.weight
    with pytest.raises(lv.ShapeError, match="layers with weights of their own"):
        Modulation(lv.VAE(one, other, latent_dim=2))


class Tied(nn.Module):
    """A decoder that uses its encoder's weight."""

    def __init__(self, first: nn.Linear) -> None:
        super().__init__()
        self.first, self.up = [first], nn.Linear(3, 7)

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(self.up(z)) @ self.first[0].weight


def tied() -> lv.VAE:
    first = nn.Linear(5, 7)
    return lv.VAE(nn.Sequential(first, nn.Tanh(), nn.Linear(7, 6)), Tied(first), latent_dim=3)


def test_weights_that_something_else_uses_too_are_refused() -> None:
    torch.manual_seed(0)
    Modulation(mlp_vae((5,), latent_dim=3, hidden=(7,))).check_folds((5,))
    with pytest.raises(lv.ShapeError, match=r"modulated layer by layer, got weights that something else uses too"):
        Modulation(tied()).check_folds((5,))
    data = torch.rand(60, 5).round()
    with pytest.raises(lv.ShapeError, match="--method dedicated"):
        lv.fit_front(data, model=tied(), epochs=1, batch_size=20, device="cpu", progress=False)


@pytest.mark.parametrize(
    "change",
    [
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        lambda layer: nn.utils.prune.l1_unstructured(layer, "weight", 3),
    ],
)
def test_weights_that_are_computed_from_others_are_refused(change: Any) -> None:
    model = mlp_vae((5,), latent_dim=3, hidden=(7,))
    change(model.decoder.layers[0])
    with pytest.raises(lv.ShapeError, match=r"got decoder\.layers\.0's, which is computed from others"):
        Modulation(model)


def test_a_check_leaves_the_network_as_it_was() -> None:
    network = trained(mlp_vae((5,), latent_dim=3, hidden=(7,))).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.check_folds((5,))
    assert network.model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
