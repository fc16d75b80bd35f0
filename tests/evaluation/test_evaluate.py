"""What is measured on whole data sets: each quantity, its error, and what the bounds make of it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import lagvae as lv
from lagvae.data.examples import Examples
from lagvae.evaluation.evaluate import Evaluation, evaluate_model
from lagvae.evaluation.questions import CONSTRAINT
from lagvae.model.vae import VAE, mlp_vae

PROBLEM = lv.Problem.parse("max mi s.t. neg_elbo <= 60, mmd <= 0.05")
QUANTITIES = {"distortion", "rate", "neg_elbo", "mmd_biased", "mmd_unbiased"}


@pytest.fixture(scope="module")
def digits() -> lv.Data:
    return lv.open_data("digits")


@pytest.fixture(scope="module")
def model() -> VAE:
    return mlp_vae((1, 8, 8), latent_dim=2, hidden=(16,), generator=torch.Generator().manual_seed(0))


def measure(model: VAE, data: lv.Data, problem: lv.Problem = PROBLEM, **options: Any) -> Evaluation:
    return evaluate_model(model, problem, data, **{"batch_size": 100, **options})


def close(one: lv.Estimate, two: lv.Estimate, errors: float = 5.0) -> bool:
    """Whether two independent estimates agree: 5 standard errors, one false alarm in 1.7 million."""
    return abs(one.value - two.value) < errors * math.hypot(one.standard_error, two.standard_error)


def test_what_is_reported_for_train_and_test(model: VAE, digits: lv.Data) -> None:
    found = measure(model, digits)
    assert set(found.estimates) == {"train", "test"}
    for part, examples in (("train", 1500), ("test", 297)):
        named = {name: e for name, e in found[part].items() if not name.startswith("constraint ")}
        assert set(named) == QUANTITIES
        for name, estimate in found[part].items():
            assert math.isfinite(estimate.value), name
            assert estimate.standard_error > 0, name
            in_nats = "mmd" not in name
            assert estimate.unit == ("nats per example" if in_nats else "MMD²")
            # Two whole batches of the test part are too few: it is visited four times.
            assert estimate.examples == (examples if in_nats or part == "test" else examples // 100 * 100)
            assert ("visited more than once" in estimate.method) == (not in_nats and part == "test")
        assert [named[name].bias for name in ("neg_elbo", "mmd_biased", "mmd_unbiased")] == ["none", "upper", "none"]


def test_neg_elbo_is_distortion_and_rate(model: VAE, digits: lv.Data) -> None:
    for part in measure(model, digits).estimates.values():
        assert part["neg_elbo"].value == pytest.approx(part["distortion"].value + part["rate"].value, rel=1e-6)
        assert part["constraint neg_elbo"] == part["neg_elbo"]


def test_the_rate_is_what_the_encoder_says(model: VAE) -> None:
    """On bits nothing is drawn but z, and the analytic rate is a plain mean over examples."""
    x = torch.rand(500, 1, 8, 8, generator=torch.Generator().manual_seed(1)).round()
    data = lv.Data("", Examples(x), Examples(x[:100]))
    posterior = model.posterior(x)
    mean, std = posterior.mean.detach().double(), posterior.log_std.detach().double().exp()
    rates = 0.5 * (mean.square() + std.square() - 1 - 2 * std.log()).sum(-1)
    found = measure(model, data, batch_size=70)
    assert found["train"]["rate"].value == pytest.approx(float(rates.mean()), rel=1e-5)
    assert found["train"]["rate"].standard_error == pytest.approx(float(rates.std()) / math.sqrt(500), rel=1e-5)
    assert found["test"]["rate"].value == pytest.approx(float(rates[:100].mean()), rel=1e-5)


def test_feasibility_uses_the_training_data(model: VAE, digits: lv.Data) -> None:
    x = digits.train.values
    assert isinstance(x, Tensor)
    inverted = lv.Data("", Examples(x), Examples(255 - x))
    found = measure(model, inverted)
    values = {part: found[part]["neg_elbo"].value for part in ("train", "test")}
    assert abs(values["train"] - values["test"]) > 1
    between = sum(values.values()) / 2
    problem = lv.Problem.parse(f"min rate s.t. neg_elbo <= {between}")
    judged = Evaluation(problem, measure(model, inverted, problem).estimates)
    better, worse = sorted(values, key=values.__getitem__)
    assert judged.is_feasible(better)  # type: ignore[arg-type]
    assert not judged.is_feasible(worse)  # type: ignore[arg-type]
    assert judged.is_feasible() == (better == "train")
    assert judged.violations() == judged.violations("train")
    assert judged.violations("train")["neg_elbo"] == pytest.approx(values["train"] - between)
    assert judged.violations("test")["neg_elbo"] == pytest.approx(values["test"] - between)


@pytest.mark.parametrize(("text", "sign"), [("min rate s.t. neg_elbo <= {}", 1), ("min neg_elbo s.t. rate >= {}", -1)])
def test_a_bound_holds_within_its_tolerance(model: VAE, digits: lv.Data, text: str, sign: int) -> None:
    quantity = "neg_elbo" if sign > 0 else "rate"
    value = measure(model, digits)["train"][quantity].value
    for slack, holds in ((0.1, True), (-0.1, True), (-0.2, False)):
        found = measure(model, digits, lv.Problem.parse(text.format(repr(value + sign * slack))))
        assert found.is_feasible() is holds
        assert found.violations()[quantity] == pytest.approx(-slack, abs=1e-4)


def test_equalities_are_missed_on_both_sides(model: VAE, digits: lv.Data) -> None:
    value = measure(model, digits)["train"]["rate"].value
    for offset, holds in ((0.0, True), (0.1, True), (-0.1, True), (0.2, False), (-0.2, False)):
        problem = lv.Problem.parse(f"min distortion s.t. rate == {value + offset!r}")
        assert measure(model, digits, problem).is_feasible() is holds


def test_biased_and_unbiased_are_the_same_sum_with_and_without_its_diagonal(model: VAE, digits: lv.Data) -> None:
    """V - U = (S_z + S_w), with S = (k(0) - mean off-diagonal kernel)/n, on the same codes: in (0, 2/n)."""
    found = measure(model, digits)["train"]
    difference = found["mmd_biased"].value - found["mmd_unbiased"].value
    assert 0 < difference < 2 / 100
    # By hand on the same draws: V = U·(n-1)/n + (2 k(0) - 2 mean k(z,w))/n, whence mean k(z,w) is a mean of kernels.
    cross = 1 - 100 / 2 * (found["mmd_biased"].value - 0.99 * found["mmd_unbiased"].value)
    assert 0 < cross < 1
    codes = mean_kernel(model, digits)
    assert cross == pytest.approx(codes, abs=0.02)


def mean_kernel(model: VAE, data: lv.Data) -> float:
    """E k(z,w) of the original's kernel, from draws of its own: exp(-‖z-w‖²/d²)."""
    generator = torch.Generator().manual_seed(7)
    assert isinstance(data.train.values, Tensor)
    x = (data.train.values / 255 > torch.rand(data.train.values.shape, generator=generator)).float()
    posterior = model.posterior(x)
    z = (posterior.mean + posterior.log_std.exp() * torch.randn(posterior.mean.shape, generator=generator)).detach()
    w = torch.randn(z.shape, generator=generator)
    return float(torch.exp(-torch.cdist(z.double(), w.double()).square() / 4).mean())


def test_the_unbiased_mmd_of_the_prior_itself_is_nothing(digits: lv.Data) -> None:
    """q(z|x) = p(z) for every x: the unbiased estimate is 0 within 5 errors, the biased one its floor."""
    model = mlp_vae((1, 8, 8), latent_dim=2, hidden=(4,), generator=torch.Generator().manual_seed(0))
    for parameter in model.encoder.parameters():
        parameter.data.zero_()
    found = measure(model, digits)["train"]
    assert found["rate"].value == 0.0
    floor = 2 / 100 * (1 - (1 + 4 / 4) ** -1)
    for name, truth in (("mmd_unbiased", 0.0), ("mmd_biased", floor)):
        assert abs(found[name].value - truth) < 5 * found[name].standard_error
    assert found["mmd_biased"].value > 5 * found["mmd_biased"].standard_error
    assert lv.mmd().floor(latent_dim=2, batch_size=100) == pytest.approx(floor)


def test_mmd_is_measured_in_the_problems_kernel(model: VAE, digits: lv.Data) -> None:
    plain = measure(model, digits)["train"]
    problem = lv.Problem.parse("max mi s.t. neg_elbo <= 60, mmd(kernel=imq, prior=closed_form) <= 3")
    found = measure(model, digits, problem)["train"]
    assert found["mmd_biased"].value != pytest.approx(plain["mmd_biased"].value, rel=0.1)
    constraint = next(e for name, e in found.items() if name.startswith("constraint mmd"))
    assert constraint == found["mmd_biased"]
    unbiased = lv.Problem.parse("max mi s.t. neg_elbo <= 60, mmd(estimator=unbiased) <= 0.03")
    found = measure(model, digits, unbiased)["train"]
    assert next(e for name, e in found.items() if name.startswith("constraint mmd")) == found["mmd_unbiased"]
    assert found["mmd_biased"] == plain["mmd_biased"]


def test_a_seed_decides_every_number(model: VAE, digits: lv.Data) -> None:
    assert measure(model, digits, seed=3) == measure(model, digits, seed=3)
    other = measure(model, digits, seed=4)
    for part in ("train", "test"):
        for name, estimate in measure(model, digits, seed=3)[part].items():
            assert estimate.value != other[part][name].value
            assert close(estimate, other[part][name])


def test_the_order_of_the_data_does_not_matter(digits: lv.Data) -> None:
    """Batches of one class would read a larger mmd: the model keeps classes apart."""
    assert isinstance(digits.train.values, Tensor)
    assert digits.train.labels is not None
    model = mlp_vae((1, 8, 8), latent_dim=2, hidden=(), generator=torch.Generator().manual_seed(0))
    by_class = digits.train.labels.argsort(stable=True)
    ordered = lv.Data("", Examples(digits.train.values[by_class]), digits.test)
    plain, ranked = measure(model, digits, seed=1)["train"], measure(model, ordered, seed=2)["train"]
    for name in QUANTITIES:
        assert close(plain[name], ranked[name])
    batches = Examples(digits.train.values[by_class][:100])
    one_class = measure(model, lv.Data("", batches, digits.test))["train"]["mmd_biased"]
    assert abs(one_class.value - plain["mmd_biased"].value) > 5 * plain["mmd_biased"].standard_error


def test_a_last_batch_that_is_cut_counts_for_examples_and_not_for_batches(model: VAE, digits: lv.Data) -> None:
    found = measure(model, digits, batch_size=180)["train"]
    assert (found["rate"].examples, found["mmd_biased"].examples) == (1500, 1440)
    assert "8 batches of 180" in found["mmd_biased"].method


def test_few_batches_are_drawn_again_in_other_orders(model: VAE, digits: lv.Data) -> None:
    found = measure(model, digits, batch_size=400)["train"]["mmd_biased"]
    assert "9 batches of 400" in found.method
    assert found.method.endswith("examples visited more than once")
    whole = measure(model, digits, batch_size=10_000)["train"]
    assert (whole["rate"].examples, whole["mmd_biased"].examples) == (1500, 1500)
    assert whole["mmd_biased"].standard_error > 0


@pytest.mark.usefixtures("own_registry")
@pytest.mark.parametrize("size", [64, 130])
def test_the_error_of_few_batches_is_that_of_other_examples(size: int) -> None:
    @lv.term
    def squares(draw: Any) -> Tensor:
        return draw.posterior.mean.square().sum(1)

    model = mlp_vae((6,), latent_dim=3, hidden=(8,), generator=torch.Generator().manual_seed(0))
    problem = lv.Problem.parse("min neg_elbo s.t. squares <= 1")
    found = []
    for seed in range(60):
        x = torch.rand(size, 6, generator=torch.Generator().manual_seed(seed)).round()
        data = lv.Data("random", Examples(x), Examples(x[:2]))
        found.append(measure(model, data, problem, batch_size=64, seed=seed)["train"][f"{CONSTRAINT}squares"])
    spread = float(torch.tensor([one.value for one in found]).std())
    reported = float(torch.tensor([one.standard_error for one in found]).square().mean().sqrt())
    assert 0.75 < reported / spread < 1.35


def test_it_leaves_the_model_and_the_random_state_alone(model: VAE, digits: lv.Data) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    for training in (True, False):
        model.train(training)
        measure(model, digits)
        assert model.training is training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_progress_is_told(model: VAE, digits: lv.Data) -> None:
    done: list[int] = []
    measure(model, digits, batch_size=400, advance=done.append)
    assert done == [400, 400, 400, 300, 297]


def test_plain_types(model: VAE, digits: lv.Data) -> None:
    found = measure(model, digits)
    content = found.as_dict()
    assert content["problem"] == str(PROBLEM)
    assert content["violations"] == {part: found.violations(part) for part in ("train", "test")}
    assert content["feasible"] == {part: found.is_feasible(part) for part in ("train", "test")}
    assert content["estimates"]["test"]["rate"] == dataclasses.asdict(found["test"]["rate"])


def test_a_bound_on_the_importance_weighted_loss_says_how_many_draws_it_rests_on(model: VAE, digits: lv.Data) -> None:
    problem = lv.Problem.parse("min distortion s.t. neg_elbo <= 90, neg_iwae(samples=7) <= 80")
    found = measure(model, digits, problem)["test"]
    assert found["constraint neg_elbo"].method == "mean over examples, one z each"
    assert found["constraint neg_iwae"].method == "mean over examples, 7 z each"
    assert found["constraint neg_iwae"].value < found["neg_elbo"].value


def test_sums_and_terms_of_ones_own_are_measured(model: VAE, digits: lv.Data, monkeypatch: pytest.MonkeyPatch) -> None:
    from lagvae.terms import term as term_module

    monkeypatch.setattr(term_module, "_REGISTRY", dict(term_module._REGISTRY))

    @lv.term
    def code_energy(draw: Any) -> Tensor:
        return draw.z.square().sum(-1)

    problem = lv.Problem.parse("min distortion s.t. distortion + 2*rate <= 90, code_energy <= 3")
    found = measure(model, digits, problem)
    first, second = (e for name, e in found["train"].items() if name.startswith("constraint "))
    parts = found["train"]
    assert first.value == pytest.approx(parts["distortion"].value + 2 * parts["rate"].value, rel=1e-6)
    assert second.value > 0
    assert list(found.violations().values()) == pytest.approx([first.value - 90, second.value - 3])
