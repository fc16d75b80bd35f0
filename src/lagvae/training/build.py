"""From a problem, data and settings to a session that can take its first step."""

from __future__ import annotations

from dataclasses import asdict

from lagvae.data.dataset import Data
from lagvae.duality.lagrangian import Lagrangian
from lagvae.duality.rules import DualRuleFactory, build_rule
from lagvae.model.vae import VAE, mlp_vae
from lagvae.optimizers import OptimizerFactory
from lagvae.problem.problem import Problem
from lagvae.settings import Settings
from lagvae.streams import Streams
from lagvae.training.hardware import pick_device, pick_dtype
from lagvae.training.optimization import build_optimizer
from lagvae.training.session import Session


def build_session(
    problem: Problem,
    data: Data,
    settings: Settings,
    *,
    model: VAE | None = None,
    optimizer: OptimizerFactory | None = None,
    dual: DualRuleFactory | None = None,
) -> Session:
    """Builds what the settings name, around what is given, on the device that the settings name.

    Args:
        problem: What to solve; every bound a number.
        data: What to train on.
        settings: Of networks, optimiser, rule, device and seed.
        model: Trained in place; built from the settings if none is given.
        optimizer: A function of the weights, in place of the settings' optimiser.
        dual: A function of the problem, in place of the settings' rule.

    Raises:
        DataError: The likelihood cannot score the data.
        ShapeError: The networks do not fit the data.
        SettingError: There is no such device, optimiser or rule.
    """
    device = pick_device(settings.execution.device)
    streams = Streams(settings.execution.seed, device)
    if model is None:
        model = mlp_vae(data.train.event_shape, generator=streams.initial_weights, **asdict(settings.network))
    model.check_data(data)

    model.to(device).train()
    rule = build_rule(problem, settings.dual) if dual is None else dual(problem)
    rule.to(device)
    return Session(
        model=model,
        lagrangian=Lagrangian(problem, device),
        rule=rule,
        optimizer=build_optimizer(model.parameters(), settings.primal, optimizer),
        examples=data.train.to(device),
        streams=streams,
        settings=settings.primal,
        dtype=pick_dtype(settings.execution.precision, device),
    )
