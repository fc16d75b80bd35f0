"""Steps that can be recorded: what they may not do, and that a replay is the step itself."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import lagvae as lv
from lagvae.front.amortised.fit import _build_session
from lagvae.settings import FrontSettings, Settings
from lagvae.terms.term import term
from lagvae.training.build import build_session
from lagvae.training.steps.capture import WARM, CapturedStep
from lagvae.training.steps.session import Session
from lagvae.training.steps.stack import StackSession

SMALL: dict[str, Any] = {"hidden": (32, 32), "latent_dim": 4, "batch_size": 100, "epochs": 3, "precision": "float32"}
PROBLEM = "max mi s.t. neg_elbo <= 40, mmd <= 2e-2"
WAITING = ("_local_scalar_dense", "lift_fresh", "nonzero", "masked_select", "unique_dim", "_unique2")
"""Operations that wait for the device, or send to it what lies in the processor's memory: no graph can hold them."""

Replay = tuple[Callable[[], None], torch.Tensor]


class DeviceOnly(TorchDispatchMode):
    """Fails on whatever a graph could not hold, and on nothing else."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name not in WAITING, f"{name} needs the processor"
        if name in ("index", "index_put", "index_put_"):
            assert all(index is None or index.dtype != torch.bool for index in args[1]), f"{name} by a mask"
        return func(*args, **(kwargs or {}))


@functools.cache
def digits() -> lv.Data:
    return lv.open_data("digits")


def build(problem: str = PROBLEM, *, device: str = "cpu", **changes: Any) -> Session:
    settings = Settings().replace(**{**SMALL, "device": device, **changes})
    data = digits().hold_out(settings.dual.held_out, seed=0)
    return build_session(lv.Problem.parse(problem), data, settings)


def build_front(divergence: str, *, device: str = "cpu", **changes: Any) -> Session:
    settings = Settings().replace(**{**SMALL, "device": device, **changes})
    return _build_session(digits(), FrontSettings(divergence=divergence), settings, None, None)


def replayed(computed: list[int], compute: Callable[[], torch.Tensor], generators: Sequence[Any]) -> Replay:
    """Records as a graph does: what is replayed later may do only what a graph can, and its output stays in place."""
    output: list[torch.Tensor] = []
    outcome = torch.empty(0)

    def replay() -> None:
        with DeviceOnly():
            made = compute()
        if not output:
            output.append(outcome.resize_(made.shape))
        output[0].copy_(made)
        computed.append(len(generators))

    return replay, outcome


def assert_replays(build_one: Callable[[], Any], with_record: Callable[[Any], Any], steps: int = WARM + 5) -> None:
    """Takes eager and recorded steps side by side."""
    computed: list[int] = []
    eager, recorded = build_one(), with_record(functools.partial(replayed, computed))
    for _ in range(steps):
        expected, measured = eager.take_step(), recorded.take_step()
        torch.testing.assert_close(measured, expected, rtol=1e-4, atol=1e-6)
    assert len(computed) == steps - WARM


def is_recorded(session: Any) -> bool:
    return isinstance(session._compute, CapturedStep) and session._compute._replay is not None


def recorded_session(make: Callable[[], Session], record: Any) -> Session:
    session = make()
    session.record = record
    return session


STEPS = [
    pytest.param(build, id="a problem"),
    pytest.param(functools.partial(build, held_out=0.2), id="held out"),
    pytest.param(functools.partial(build, optimizer="adamw"), id="another optimiser"),
    *(
        pytest.param(functools.partial(build, f"min rate s.t. distortion <= 30, {mmd} <= 1e-2"), id=mmd)
        for mmd in (
            "mmd(kernel=imq)",
            "mmd(kernel=imq, prior=closed_form, estimator=unbiased)",
            "mmd(kernel=rbf, features=64)",
        )
    ),
    pytest.param(functools.partial(build, "min neg_iwae(samples=3)"), id="several draws"),
    *(
        pytest.param(functools.partial(build, dual=rule), id=rule)
        for rule in ("gradient", "geco", "nupi", "augmented_lagrangian", "zhao2018", "adam")
    ),
    pytest.param(functools.partial(build, likelihood="gaussian"), id="gaussian"),
    pytest.param(functools.partial(build, likelihood="discretised_logistic"), id="discretised logistic"),
    pytest.param(functools.partial(build, network="residual"), id="residual"),
    pytest.param(functools.partial(build, network="convolutional"), id="convolutional"),
    pytest.param(functools.partial(build, prior="flow"), id="a flow as prior"),
    pytest.param(functools.partial(build_front, "none"), id="a front"),
    pytest.param(functools.partial(build_front, "mmd"), id="a front with mmd"),
    pytest.param(functools.partial(build_front, "mmd(kernel=imq)"), id="a front with imq"),
]


@pytest.mark.parametrize("make", STEPS)
def test_a_recorded_step_is_the_step(make: Callable[[], Session]) -> None:
    assert_replays(make, functools.partial(recorded_session, make))


@pytest.mark.parametrize("rule", ["forecast", "geco", "augmented_lagrangian", "adam"])
def test_a_recorded_step_of_a_stack_is_the_step(rule: str) -> None:
    def make() -> list[Session]:
        return [build(dual=rule, seed=seed) for seed in range(3)]

    assert_replays(lambda: StackSession(make()), lambda record: StackSession(make(), record=record))


def test_what_cannot_be_recorded_is_found() -> None:
    values = torch.ones(3)
    for use in (lambda: float(values[0]), lambda: values.new_tensor([1.0]), lambda: values[values > 0], values.nonzero):
        with DeviceOnly(), pytest.raises(AssertionError):
            use()
    with DeviceOnly():
        assert (values + 1).shape == (3,)


def test_a_recorded_session_is_saved_and_goes_on_elsewhere() -> None:
    make = functools.partial(recorded_session, build, functools.partial(replayed, []))
    session = make()
    for _ in range(WARM + 2):
        session.take_step()
    tensors, plain = session.state()
    copies = {name: tensor.clone() for name, tensor in tensors.items()}
    there, here = build(), make()
    for other in (there, here):
        other.load_state({name: tensor.clone() for name, tensor in copies.items()}, {**plain, "step": session.step})
    assert not there.optimizer.param_groups[0]["capturable"]  # it may be on a processor
    for _ in range(WARM + 2):
        expected = session.take_step()
        for other in (there, here):
            torch.testing.assert_close(other.take_step(), expected, rtol=1e-5, atol=1e-6)


NEEDS_DEVICE = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics processor")


@NEEDS_DEVICE
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("make", STEPS)
def test_a_graph_is_the_eager_step(make: Callable[..., Session], precision: str) -> None:
    eager = make(device="cuda", precision=precision, capture=False)
    recorded = make(device="cuda", precision=precision)
    for _ in range(WARM + 8):
        expected, measured = eager.take_step(), recorded.take_step()
        torch.testing.assert_close(measured, expected, rtol=2e-3, atol=1e-4)
    assert is_recorded(recorded)
    assert not is_recorded(eager)
    for name, tensor in eager.batches.streams.state_dict().items():
        assert torch.equal(tensor, recorded.batches.streams.state_dict()[name]), name


@NEEDS_DEVICE
@pytest.mark.parametrize("rule", ["forecast", "adam"])
@pytest.mark.parametrize("network", ["mlp", "residual", "convolutional"])
def test_a_graph_of_a_stack_is_each_eager_step(network: str, rule: str) -> None:
    changes: dict[str, Any] = {"device": "cuda", "network": network, "dual": rule}
    alone = [build(**changes, seed=seed, capture=False) for seed in range(3)]
    stack = StackSession([build(**changes, seed=seed) for seed in range(3)])
    for _ in range(WARM + 8):
        expected, measured = torch.stack([session.take_step() for session in alone]), stack.take_step()
        torch.testing.assert_close(measured, expected, rtol=5e-3, atol=1e-4)
    assert is_recorded(stack)


@NEEDS_DEVICE
def test_what_no_graph_holds_is_taken_eagerly_and_said(own_registry: None) -> None:
    @term
    def waits(draw: Any) -> torch.Tensor:
        return draw.z.square().mean() * float(draw.z.abs().max().clamp_max(1.0))

    def assert_same(steps: int) -> None:
        for _ in range(steps):
            torch.testing.assert_close(session.take_step(), other.take_step(), rtol=2e-3, atol=1e-4)

    session = build("min distortion + rate + waits", device="cuda")
    other = build("min distortion + rate + waits", device="cuda", capture=False)
    with pytest.warns(RuntimeWarning, match="one operation at a time"):
        assert_same(WARM + 1)
    assert_same(3)
    after = build(device="cuda")
    for _ in range(WARM + 2):
        after.take_step()
    assert is_recorded(after)


@NEEDS_DEVICE
def test_fits_fronts_and_stacks_on_a_graphics_processor(tmp_path: Path) -> None:
    options: dict[str, Any] = {**SMALL, "epochs": 20, "device": "cuda", "progress": False}
    solution = lv.fit("max mi s.t. neg_elbo <= 60", "digits", out=tmp_path / "run", **options)
    assert solution.status is lv.Status.FEASIBLE
    assert lv.evaluate(solution, quick=True).violations("train")["neg_elbo"] <= 0.15
    front = lv.fit_front("digits", out=tmp_path / "front", **options)
    assert front.solve("max mi s.t. neg_elbo <= 60").status is lv.Status.FEASIBLE
    assert lv.load_front(tmp_path / "front").solve("max mi s.t. neg_elbo <= 60").status is lv.Status.FEASIBLE
