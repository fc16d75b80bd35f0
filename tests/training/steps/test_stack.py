"""A stack of runs against each of them alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import lagvae as lv
from lagvae.duality.lagrangian import Lagrangian
from lagvae.model.likelihoods.gaussian import FixedGaussian
from lagvae.settings import Settings
from lagvae.terms.term import term
from lagvae.training.build import build_session
from lagvae.training.steps.batches import gather_together
from lagvae.training.steps.session import Session
from lagvae.training.steps.stack import StackSession, why_no_stack

PROBLEMS = (
    "max mi s.t. neg_elbo <= 40, mmd <= 2e-2",
    "min mi s.t. neg_elbo <= 35, mmd <= 1e-2",
    "max 2*mi s.t. neg_elbo <= 30, mmd <= 5e-3",
)
SMALL: dict[str, Any] = {"hidden": (32, 32), "latent_dim": 4, "batch_size": 100, "epochs": 3, "precision": "float32"}
STEPS = 24


@functools.cache
def digits() -> lv.Data:
    return lv.open_data("digits")


def build(
    problem: str, seed: int, *, make_optimizer: Any = None, model: lv.VAE | None = None, **changes: Any
) -> Session:
    settings = Settings().replace(**{**SMALL, "device": "cpu", "seed": seed, **changes})
    data = digits().hold_out(settings.dual.held_out, seed=seed)
    return build_session(lv.Problem.parse(problem), data, settings, optimizer=make_optimizer, model=model)


def build_all(problems: tuple[str, ...] = PROBLEMS, **changes: Any) -> list[Session]:
    """Sessions with other seeds, and unless told otherwise other learning rates."""
    rates = [{"learning_rate": 1e-3 * (seed + 1)} for seed in range(len(problems))]
    return [build(text, seed, **{**rates[seed], **changes}) for seed, text in enumerate(problems)]


def assert_same_to_rounding(alone: list[Session], stacked: list[Session], steps: int = STEPS) -> StackSession:
    """Takes steps alone and as a stack: values, multipliers, weights, optimisers and random streams agree."""
    stack = StackSession(stacked)
    for _ in range(steps):
        expected = torch.stack([session.take_step() for session in alone])
        measured = stack.take_step()
        assert measured.shape == (len(alone), *alone[0].measured_shape)
        torch.testing.assert_close(measured, expected, rtol=1e-3, atol=1e-5)
    stack.hand_back()
    for one, other in zip(alone, stacked, strict=True):
        assert (one.step, one.learning_rate()) == (other.step, pytest.approx(other.learning_rate()))
        tensors, plain = one.state()
        others, other_plain = other.state()
        assert tensors.keys() == others.keys()
        assert plain == other_plain
        for name, tensor in tensors.items():
            if "streams" in name:
                assert torch.equal(tensor, others[name]), name
            elif name.startswith(("model/", "dual/multipliers")):
                torch.testing.assert_close(
                    others[name], tensor, rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
                )
    return stack


def test_each_learns_what_it_learns_alone() -> None:
    stack = assert_same_to_rounding(build_all(), build_all())
    assert [len(rows.sessions) for rows in stack.rows] == [1, 1, 1]  # one for each learning rate


def test_with_one_learning_rate_one_optimiser_moves_all() -> None:
    stack = assert_same_to_rounding(build_all(learning_rate=2e-3), build_all(learning_rate=2e-3))
    assert [len(rows.sessions) for rows in stack.rows] == [3]


def test_bounds_may_be_measured_on_held_out_examples_of_each_ones_own() -> None:
    stack = assert_same_to_rounding(build_all(held_out=0.3), build_all(held_out=0.3), steps=10)
    assert stack.take_step().shape[1] == 2


@pytest.mark.parametrize("dual", ["gradient", "zhao2018", "geco", "nupi", "augmented_lagrangian", "adam"])
def test_every_rule_moves_as_it_does_alone(dual: str) -> None:
    assert_same_to_rounding(build_all(dual=dual), build_all(dual=dual), steps=10)


@pytest.mark.parametrize(
    "changes",
    [
        {"network": "residual", "activation": "softplus"},
        {"network": "convolutional", "channels": (4, 4)},
        {"optimizer": "sgd", "learning_rate": 0.01, "balance": False},
        {"optimizer": "adafactor"},
        {"likelihood": "fixed_gaussian", "dual": "zhao2018"},
        {"likelihood": "gaussian"},
        {"likelihood": "negative_binomial"},
        {"likelihood": "optimal_gaussian"},
    ],
    ids=lambda changes: next(iter(changes.values())),
)
def test_networks_optimisers_and_likelihoods(changes: dict[str, Any]) -> None:
    assert_same_to_rounding(build_all(**changes), build_all(**changes), steps=6)


@pytest.mark.parametrize("likelihood", ["gaussian", "optimal_gaussian"])
def test_scales_are_each_ones_own(likelihood: str) -> None:
    def runs() -> list[Session]:  # one seed: what is held out is the same, so that all are adapted to the same data
        changes = {"likelihood": likelihood, "held_out": 0.3, "learning_rate": 5e-3}
        return [build(f"min distortion + {beta}*rate", 0, **changes) for beta in (0.1, 10)]

    stack = assert_same_to_rounding(runs(), runs(), steps=12)
    low, high = (session.model.likelihood.log_scales.detach() for session in stack.sessions)
    assert bool((low < high).all())
    assert all(session.model.training for session in stack.sessions)


def test_the_scale_of_a_batch_is_that_of_all_its_samples() -> None:
    runs = functools.partial(build_all, ("min neg_iwae(samples=3)",) * 2, likelihood="optimal_gaussian")
    assert_same_to_rounding(runs(), runs(), steps=8)


@pytest.mark.parametrize(
    "problems",
    [
        ("min neg_iwae(samples=3)",) * 2,
        ("min neg_elbo s.t. mmd(features=64) <= 1e-2",) * 2,
        ("min rate s.t. distortion <= 30", "min rate s.t. distortion == 25"),
        ("min distortion s.t. mmd(kernel=imq, estimator=unbiased, prior=closed_form) <= 1e-2",) * 2,
    ],
)
def test_other_terms_and_kinds_of_bounds(problems: tuple[str, ...]) -> None:
    assert_same_to_rounding(build_all(problems), build_all(problems), steps=8)


def test_an_optimiser_of_the_users_own() -> None:
    def optimizer(weights: Any) -> torch.optim.Optimizer:
        matrices, others = [], []
        for weight in weights:
            (matrices if weight.dim() > 1 else others).append(weight)
        return torch.optim.AdamW([{"params": matrices, "lr": 3e-3}, {"params": others, "weight_decay": 0.0}], lr=1e-3)

    assert_same_to_rounding(build_all(make_optimizer=optimizer), build_all(make_optimizer=optimizer), steps=6)


def test_an_optimiser_of_some_weights_leaves_the_others_alone() -> None:
    def optimizer(weights: Any) -> torch.optim.Optimizer:
        return torch.optim.Adam(list(weights)[:2], lr=1e-2)

    stack = assert_same_to_rounding(build_all(make_optimizer=optimizer), build_all(make_optimizer=optimizer), steps=4)
    assert [len(rows.sessions) for rows in stack.rows] == [1, 1, 1]


class Factor(nn.Module):
    """A network with a weight that is a single number."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.factor = nn.Linear(4, 64), nn.Parameter(torch.tensor(1.0))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.factor * self.layers(z)


def test_a_weight_of_no_dimension_goes_on_from_where_it_was() -> None:
    def sessions() -> list[Session]:
        torch.manual_seed(0)
        models = [lv.VAE(lv.MLPEncoder((1, 8, 8), 4, (16,)), Factor(), latent_dim=4) for _ in range(2)]
        return [build("min neg_elbo", 0, model=model) for model in models]

    alone, stacked = sessions(), sessions()
    assert_same_to_rounding(alone, stacked, steps=3)
    fresh = sessions()
    for session, before in zip(fresh, stacked, strict=True):
        tensors, state = before.state()
        session.load_state({name: tensor.clone() for name, tensor in tensors.items()}, {**state, "step": 3})
    assert_same_to_rounding(alone, fresh, steps=3)


def test_it_goes_on_from_where_its_sessions_are() -> None:
    alone, stacked = build_all(learning_rate=1e-3), build_all(learning_rate=1e-3)
    for session in [*alone, *stacked]:
        for _ in range(5):
            session.take_step()
    first = assert_same_to_rounding(alone, stacked, steps=5)
    for row in range(len(stacked)):
        first.release(row)
    saved = [session.state() for session in stacked]
    fresh = build_all(learning_rate=1e-3)
    for session, (tensors, state) in zip(fresh, saved, strict=True):
        session.load_state({name: tensor.clone() for name, tensor in tensors.items()}, {**state, "step": 10})
    again = StackSession(fresh)
    second = StackSession(stacked)
    for _ in range(3):
        assert torch.equal(again.take_step(), second.take_step())


def test_a_model_that_diverges_leaves_the_others_alone() -> None:
    alone, stacked = build_all(learning_rate=1e-3), build_all(learning_rate=1e-3)
    stack = StackSession(stacked)
    with torch.no_grad():
        next(stacked[1].model.parameters())[0, 0] = torch.nan
    for _ in range(5):
        expected = [session.take_step() for session in alone]
        measured = stack.take_step()
    assert measured[1].isnan().any()
    for row in (0, 2):
        torch.testing.assert_close(measured[row], expected[row], rtol=1e-3, atol=1e-5)
    finite = [all(weight.isfinite().all() for weight in session.model.parameters()) for session in stacked]
    assert finite == [True, False, True]


def test_a_released_model_is_trained_no_further() -> None:
    sessions = build_all()
    stack = StackSession(sessions)
    stack.take_step()
    stack.release(1)
    kept = [parameter.detach().clone() for parameter in sessions[1].model.parameters()]
    moved = next(sessions[0].model.parameters()).detach().clone()
    stack.take_step()
    assert all(torch.equal(a, b) for a, b in zip(kept, sessions[1].model.parameters(), strict=True))
    assert not torch.equal(moved, next(sessions[0].model.parameters()))


def test_what_a_released_model_has_seen_stays_as_it_was() -> None:
    sessions = build_all(likelihood="optimal_gaussian")
    stack = StackSession(sessions)
    stack.take_step()
    (likelihood, memory), other = (
        (session.model.likelihood, session.model.likelihood.running_variance) for session in sessions[:2]
    )
    stack.release(0)
    kept, moved = likelihood.running_variance.clone(), other[1].clone()
    stack.take_step()
    assert torch.equal(likelihood.running_variance, kept)
    assert likelihood.running_variance is not memory
    assert not torch.equal(memory, kept)  # where a recorded step goes on writing
    assert not torch.equal(other[1], moved)


def replayed(compute: Callable[[], torch.Tensor], generators: Any) -> tuple[Callable[[], None], torch.Tensor]:
    """Records as a graph does: nothing is carried out before it is replayed, and the output stays where it is."""
    output = torch.empty(len(PROBLEMS), 1, 3)
    recorded.append(len(generators))
    return lambda: output.copy_(compute()), output  # type: ignore[func-returns-value, return-value]


recorded: list[int] = []


@pytest.mark.parametrize("changes", [{"learning_rate": 1e-3}, {}], ids=["one learning rate", "three"])
def test_a_recorded_step_is_the_eager_step(changes: dict[str, Any]) -> None:
    recorded.clear()
    eager, captured = build_all(**changes), build_all(**changes)
    stack, replay = StackSession(eager), StackSession(captured, record=replayed)
    kept = []
    for _ in range(8):
        expected, measured = stack.take_step(), replay.take_step()
        torch.testing.assert_close(measured, expected, rtol=1e-5, atol=1e-6)
        kept.append((measured, measured.clone()))
    assert recorded == [9]  # once; three streams of each model
    assert all(torch.equal(one, then) for one, then in kept)  # no replay overwrites what was handed out
    replay.hand_back()
    for session, other in zip(captured, eager, strict=True):
        assert not session.optimizer.param_groups[0]["capturable"]  # a session's own optimiser goes on anywhere
        assert isinstance(session.optimizer.param_groups[0]["lr"], float)
        torch.testing.assert_close(session.rule.multipliers, other.rule.multipliers)


def test_a_step_that_cannot_be_recorded_is_taken_eagerly() -> None:
    def refuse(compute: Any, generators: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing")

    alone, stacked = build_all(), build_all()
    stack = StackSession(stacked, record=refuse)

    def take_steps() -> None:
        for _ in range(6):
            expected = torch.stack([session.take_step() for session in alone])
            torch.testing.assert_close(stack.take_step(), expected, rtol=1e-3, atol=1e-5)

    with pytest.warns(RuntimeWarning, match="one operation at a time: operation not permitted"):
        take_steps()


class Noisy(nn.Module):
    """A decoder with dropout, or with running statistics."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 64), layer)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.layers(z)


class Widening(FixedGaussian):
    """σ learned, as the likelihood's own affair."""

    def __init__(self, event_shape: tuple[int, ...]) -> None:
        super().__init__(event_shape)
        self.raw = nn.Parameter(torch.zeros(1))

    def known_log_std(self) -> torch.Tensor:
        return self.raw


class Batchwise(FixedGaussian):
    """What an example scores depends on its batch."""

    sees_batch = True


class Random(nn.Module):
    """Dropout that is no layer."""

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(h, 0.1, training=True)


class Deciding(nn.Module):
    """A network that does as the values bid it."""

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return h if h.mean() > 2 else -h


def tied() -> lv.VAE:
    model = lv.VAE(lv.MLPEncoder((1, 8, 8), 4, (16,)), Noisy(nn.Identity()), latent_dim=4)
    inner = nn.Linear(4, 4)
    model.encoder.layers.append(nn.Identity())
    model.encoder.tied, model.decoder.tied = inner, inner
    return model


def with_likelihoods(kind: type[FixedGaussian]) -> list[lv.VAE]:
    shape = (1, 8, 8)
    networks = [(lv.MLPEncoder(shape, 4, (16,)), lv.MLPDecoder(4, shape, (16,))) for _ in range(2)]
    return [lv.VAE(*pair, latent_dim=4, likelihood=kind(shape)) for pair in networks]


def with_decoder(layer: Callable[[], nn.Module]) -> list[Session]:
    def model() -> lv.VAE:
        return lv.VAE(lv.MLPEncoder((1, 8, 8), 4, (16,)), Noisy(layer()), latent_dim=4)

    return [build("min neg_elbo", seed, model=model()) for seed in range(2)]


@pytest.mark.parametrize(
    ("sessions", "reason"),
    [
        (lambda: build_all(("min neg_elbo", "min neg_elbo + 10*mmd")), "different terms"),
        (
            lambda: [build(PROBLEMS[0], 0), build("min mi s.t. neg_elbo <= 3, mmd <= 1, rate >= 1", 0)],
            "different terms",
        ),
        (lambda: [build(PROBLEMS[0], 0), build(PROBLEMS[0], 0, epochs=4)], "different lengths"),
        (lambda: [build(PROBLEMS[0], 0), build(PROBLEMS[0], 0, held_out=0.2)], "held-out data in some only"),
        (lambda: [build("min neg_elbo", 0), build("min neg_elbo", 0, hidden=(16,))], "networks that differ"),
        (lambda: build_all(("min neg_elbo",) * 2, prior="flow"), "a likelihood or prior that learns"),
        (lambda: [build("min neg_elbo", 0, model=m) for m in with_likelihoods(Widening)], "that learns"),
        (lambda: [build("min neg_elbo", 0, model=m) for m in with_likelihoods(Batchwise)], "from the batch"),
        (
            lambda: [build("min neg_elbo", 0, likelihood="fixed_gaussian", noise_std=std) for std in (1.0, 0.1)],
            "likelihoods that differ",
        ),
        (
            lambda: [build("min neg_elbo", 0, likelihood=name) for name in ("bernoulli", "continuous_bernoulli")],
            "likelihoods that differ",
        ),
        (lambda: with_decoder(lambda: nn.Dropout(0.1)), "dropout"),
        (lambda: with_decoder(lambda: nn.BatchNorm1d(64)), "running statistics"),
        (lambda: with_decoder(Random), "do not run side by side (vmap: called random operation"),
        (lambda: with_decoder(Deciding), "do not run side by side (vmap: "),
        (lambda: [build("min neg_elbo", seed, model=tied()) for seed in range(2)], "layers that share their weights"),
    ],
)
def test_what_cannot_be_stacked_is_named(sessions: Callable[[], list[Session]], reason: str) -> None:
    built = sessions()
    assert reason in why_no_stack(built)
    with pytest.raises(lv.ShapeError, match="runs that can be stacked"):
        StackSession(built)


@pytest.mark.usefixtures("own_registry")
def test_a_function_of_one_models_draw_is_not_stacked() -> None:
    @term
    def code_energy(draw: Any) -> torch.Tensor:
        return draw.z.square().sum(1)

    problem = "min neg_elbo s.t. code_energy <= 3"
    assert isinstance(Lagrangian(lv.Problem.parse(problem)).terms[-1], type(code_energy))
    assert "code_energy" in why_no_stack([build(problem, 0), build(problem, 1)])


def test_a_step_that_fails_lets_go_of_the_folder_at_once(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(session: Session) -> None:
        raise ZeroDivisionError("a step")

    options: dict[str, Any] = {**SMALL, "epochs": 1, "device": "cpu", "progress": False}
    with monkeypatch.context() as patch:
        patch.setattr(Session, "take_step", fail)
        with pytest.raises(ZeroDivisionError, match="a step") as caught:
            lv.fit(PROBLEMS[0], digits(), out=tmp_path / "run", **options)
    assert caught.value.__traceback__ is not None  # which keeps the frames, and what they refer to
    assert lv.fit(PROBLEMS[0], digits(), out=tmp_path / "run", resume=True, **options).step > 0


def test_batches_of_shared_examples_are_gathered_in_one_visit() -> None:
    shared = [session.batches for session in build_all()]
    assert len({id(own.examples.values) for own in shared}) == 1
    own = [build(PROBLEMS[0], seed, held_out=0.2).batches for seed in range(3)]  # each of other rows
    for batches in (shared, own):
        for step in (0, 1, 20):
            expected = torch.stack([one.at(step) for one in batches])
            assert torch.equal(gather_together(batches, step), expected)
