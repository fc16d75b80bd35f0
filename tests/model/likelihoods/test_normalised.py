"""Every likelihood sums or integrates to 1, has the mean that it says, and draws what it scores."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor

from lagvae.model.likelihoods.bernoulli import Bernoulli
from lagvae.model.likelihoods.continuous_bernoulli import ContinuousBernoulli
from lagvae.model.likelihoods.counts import NegativeBinomial, Poisson
from lagvae.model.likelihoods.gaussian import FixedGaussian, Gaussian, LearnedGaussian, OptimalGaussian
from lagvae.model.likelihoods.levels import Categorical, DiscretisedLogistic
from lagvae.model.likelihoods.likelihood import BOUND, Likelihood, Scaled, count_parameters

LEVELS = torch.arange(256) / 255
COUNTS = torch.arange(6000.0)


def gaussian(kind: type[Gaussian], **options: float) -> Likelihood:
    """A Gaussian of one column around 40 with a spread of 3, σ = e^0.4 of them where it is learned."""
    made = kind((1,), **options)
    made.location.fill_(40.0)
    made.scale.fill_(3.0)
    if isinstance(made, LearnedGaussian):
        torch.nn.init.constant_(made.raw_log_std, 0.4)
    if isinstance(made, OptimalGaussian):
        made.running_variance.fill_(0.3)
    return made.eval()


def counts(kind: type[Poisson | NegativeBinomial], log_dispersion: float = 0.0) -> Likelihood:
    made = kind((1,))
    made.log_rate.fill_(1.0)
    if isinstance(made, NegativeBinomial):
        torch.nn.init.constant_(made.raw_log_dispersion, log_dispersion)
    return made


@pytest.mark.parametrize("count", [0, 5, 15, 16, 17, 300, 1e5, 1e7])
@pytest.mark.parametrize("log_dispersion", [-4.0, 0.0, 2.5, 7.0, 11.0])
def test_counts_of_any_size_are_scored_to_a_thousandth_of_a_nat(count: float, log_dispersion: float) -> None:
    poisson, negative_binomial = counts(Poisson), counts(NegativeBinomial, log_dispersion)
    assert isinstance(poisson, Poisson)
    assert isinstance(negative_binomial, NegativeBinomial)
    x, outputs = torch.tensor([[float(count)]]), torch.zeros(1, 1)
    for offset in (-2.0, 0.0, 1.5):  # standard deviations of the Poisson
        log_rate = math.log(max(count + offset * count**0.5, 0.5))
        for likelihood in (poisson, negative_binomial):
            likelihood.log_rate.fill_(log_rate)
        mean = float(poisson.log_rate.double().exp())
        exact, error = stats.poisson.logpmf(count, mean), max(1e-3, 5e-10 * count)  # log μ has seven digits
        assert float(poisson.log_prob(outputs, x)) == pytest.approx(exact, abs=error)
        r = float(negative_binomial.log_dispersion.detach().double().exp())
        exact = stats.nbinom.logpmf(count, r, r / (r + mean))
        assert float(negative_binomial.log_prob(outputs, x)) == pytest.approx(exact, abs=error)


SCALED = [gaussian(LearnedGaussian), gaussian(OptimalGaussian), counts(NegativeBinomial, 0.7)]


@pytest.mark.parametrize("likelihood", SCALED, ids=lambda likelihood: likelihood.name)
def test_scales_that_are_given_count_as_those_that_are_set(likelihood: Likelihood) -> None:
    assert isinstance(likelihood, Scaled)
    x, outputs = torch.tensor([[3.0], [40.0]]), torch.tensor([[0.1], [-0.4]])
    own = likelihood.log_prob(outputs, x)
    torch.testing.assert_close(likelihood.log_prob_at(likelihood.log_scales, outputs, x), own)
    others = likelihood.log_scales.detach() + torch.tensor([[[-1.5]], [[0.0]], [[1.0]]])  # a stack of three
    found = likelihood.log_prob_at(others, outputs.expand(3, 2, 1), x.expand(3, 2, 1))
    for given, theirs in zip(others.flatten(1), found, strict=True):
        changed = copy.deepcopy(likelihood)
        changed.set_log_scales(given)
        torch.testing.assert_close(changed.log_scales.detach(), given)
        torch.testing.assert_close(changed.log_prob(outputs, x), theirs)
    assert (found[0] - found[2]).abs().min() > 0.1


REAL = torch.linspace(-60, 140, 20_001)
UNIT = torch.linspace(0, 1, 20_001)
DENSITIES: dict[str, tuple[Likelihood, Tensor]] = {
    "continuous_bernoulli": (ContinuousBernoulli(), UNIT),
    "fixed_gaussian": (gaussian(FixedGaussian, std=0.5), REAL),
    "gaussian": (gaussian(LearnedGaussian), REAL),
    "optimal_gaussian": (gaussian(OptimalGaussian), REAL),
}
MASSES: dict[str, tuple[Likelihood, Tensor]] = {
    "bernoulli": (Bernoulli(), torch.tensor([0.0, 1.0])),
    "categorical": (Categorical(), LEVELS),
    "discretised_logistic": (DiscretisedLogistic(), LEVELS),
    "poisson": (counts(Poisson), COUNTS),
    "negative_binomial": (counts(NegativeBinomial, -1.0), COUNTS),
    "negative_binomial, spread": (counts(NegativeBinomial, 2.0), COUNTS),
}
ALL = DENSITIES | MASSES


def parameters(likelihood: Likelihood) -> Tensor:
    """A few decoder outputs for one dimension, [settings, outputs], from a narrow to a wide law."""
    each = count_parameters(likelihood)
    if each > 2:
        return torch.randn(3, each, generator=torch.Generator().manual_seed(0)) * 3
    values = torch.tensor([-4.0, -1.0, -0.01, 0.0, 0.05, 0.3, 2.0])
    if each == 2:
        return torch.cartesian_prod(values * 0.3, torch.tensor([-20.0, -3.0, 0.0, 1.0, 20.0]))
    return values[:, None]


def probabilities(likelihood: Likelihood, support: Tensor) -> Tensor:
    """exp log p(x|z) at every point of the support, [settings, points], in float64."""
    outputs = parameters(likelihood)
    x = support[:, None, None].expand(-1, len(outputs), 1)
    with torch.no_grad():
        return likelihood.log_prob(outputs.expand(len(support), *outputs.shape), x).double().exp().mT


@pytest.mark.parametrize("name", DENSITIES)
def test_densities_integrate_to_one_and_have_their_mean(name: str) -> None:
    likelihood, grid = DENSITIES[name]
    density = probabilities(likelihood, grid)
    total = torch.trapezoid(density, grid.double())
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=2e-5)
    mean = torch.trapezoid(density * grid, grid.double())
    with torch.no_grad():
        torch.testing.assert_close(likelihood.mean(parameters(likelihood))[:, 0].double(), mean, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MASSES)
def test_probabilities_sum_to_one_and_have_their_mean(name: str) -> None:
    likelihood, support = MASSES[name]
    mass = probabilities(likelihood, support)
    torch.testing.assert_close(mass.sum(1), torch.ones(len(mass)).double(), rtol=0, atol=2e-4)
    with torch.no_grad():
        found = likelihood.mean(parameters(likelihood))[:, 0].double()
    torch.testing.assert_close(found, mass @ support.double(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_samples_have_the_distribution_that_is_scored(name: str) -> None:
    likelihood, support = ALL[name]
    outputs, size = parameters(likelihood), 4000
    probability = probabilities(likelihood, support)
    for row, weights in zip(outputs, probability, strict=True):
        with torch.no_grad():
            drawn = likelihood.sample(row.expand(size, -1), torch.Generator().manual_seed(5))[:, 0]
        again = likelihood.sample(row.expand(size, -1), torch.Generator().manual_seed(5))[:, 0]
        assert torch.equal(drawn, again)
        cumulative = (weights / weights.sum()).cumsum(0)
        position = torch.searchsorted(support, drawn + 1e-6, right=True).clamp(1, len(support)) - 1
        # The randomised distribution function of what was drawn is uniform: Kolmogorov-Smirnov, false alarm 1e-5.
        u = torch.rand(size, generator=torch.Generator().manual_seed(6)).double()
        below = torch.where(position > 0, cumulative[position - 1], 0.0)
        uniform = below + u * (cumulative[position] - below)
        assert stats.kstest(uniform.numpy(), "uniform").pvalue > 1e-5, row


@pytest.mark.parametrize("name", ALL)
def test_dimensions_add_up_and_stacks_are_scored_alike(name: str) -> None:
    likelihood, support = ALL[name]
    each = count_parameters(likelihood)
    generator = torch.Generator().manual_seed(1)
    outputs = torch.randn(2, 3, each, 4, generator=generator)
    x = support[torch.randint(len(support) // 3 + 1, (2, 3, 4), generator=generator)]
    with torch.no_grad():
        found = likelihood.log_prob(outputs.flatten(2), x)
        by_dimension = [likelihood.log_prob(outputs[..., d], x[..., d : d + 1]) for d in range(4)]
    torch.testing.assert_close(found, torch.stack(by_dimension).sum(0), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", [1e3, 1e6])
def test_wild_outputs_stay_finite_and_have_gradients(name: str, size: float) -> None:
    likelihood, support = ALL[name]
    outputs = (size * torch.randn(50, count_parameters(likelihood), generator=torch.Generator().manual_seed(2))).float()
    outputs.requires_grad_()
    x = support[torch.randint(min(len(support), 300), (50, 1), generator=torch.Generator().manual_seed(3))]
    score = likelihood.log_prob(outputs, x)
    (gradient,) = torch.autograd.grad(score.sum(), outputs)
    assert torch.isfinite(score).all()
    assert torch.isfinite(gradient).all()
    assert torch.isfinite(likelihood.mean(outputs)).all()


def oracle(law: Callable[[Tensor], object], x: Tensor) -> Tensor:
    return torch.as_tensor(law(x.double()))


def test_named_laws_are_scipys() -> None:
    x = torch.tensor([[0.0], [1.0], [7.0], [400.0]])
    output = torch.full_like(x, 0.7)
    with torch.no_grad():
        found = counts(Poisson).log_prob(output, x).double()
        mean = math.exp(1.0 + BOUND * math.tanh(0.7 / BOUND))
        torch.testing.assert_close(
            found, oracle(lambda x: stats.poisson.logpmf(x, mean), x)[:, 0], rtol=1e-4, atol=1e-3
        )
        for log_r in (-3.0, 0.0, 5.0, 7.5, 11.0):
            r = math.exp(BOUND * math.tanh(log_r / BOUND))
            found = counts(NegativeBinomial, log_r).log_prob(output, x).double()
            wanted = oracle(lambda x, r=r: stats.nbinom.logpmf(x, r, r / (r + mean)), x)[:, 0]  # type: ignore[misc]
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=2e-3)
        found = gaussian(FixedGaussian, std=0.5).log_prob(output, x).double()
        wanted = oracle(lambda x: stats.norm.logpdf(x, 40 + 3 * 0.7, 1.5), x)[:, 0]
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-3)


def test_discretised_logistic_is_the_difference_of_the_distribution_function() -> None:
    outputs, bound = torch.tensor([[0.1, 0.5]]), 5.0
    scale = float((bound * torch.tensor(0.5 / bound).tanh() - 2).exp())
    edges = torch.arange(257) / 255 - 0.5 / 255
    cdf = torch.as_tensor(stats.logistic.cdf(edges.double(), 0.6, scale))
    cdf[0], cdf[-1] = 0.0, 1.0
    found = DiscretisedLogistic().log_prob(outputs.expand(256, -1), LEVELS[:, None])
    torch.testing.assert_close(found.double(), cdf.diff().log(), rtol=1e-4, atol=1e-3)
