"""From a problem, data and settings to a session that can take its first step."""

from __future__ import annotations

from lagvae.data.dataset import Data
from lagvae.duality.lagrangian import Lagrangian
from lagvae.duality.rules import DualRuleFactory, build_rule
from lagvae.model.build import build_vae
from lagvae.model.likelihoods.likelihood import Adaptive
from lagvae.model.likelihoods.names import Choice, choose_likelihood
from lagvae.model.vae import VAE
from lagvae.optimizers import OptimizerFactory
from lagvae.problem.problem import Problem
from lagvae.settings import Settings
from lagvae.streams import Streams, derive_seed
from lagvae.training.steps.batches import Batches
from lagvae.training.steps.capture import record_on_cuda
from lagvae.training.steps.hardware import pick_device, pick_dtype
from lagvae.training.steps.optimization import build_optimizer
from lagvae.training.steps.session import Session


def settle_likelihood(settings: Settings, data: Data) -> tuple[Settings, Choice | None]:
    """Returns the settings with a likelihood by name, and the choice that was made where they said ``auto``."""
    if settings.network.likelihood != "auto":
        return settings, None
    choice = choose_likelihood(data.train)
    return settings.replace(likelihood=choice.name), choice


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
        data: What to train on, and where bounds are measured if there is a held-out part.
        settings: Of networks, optimiser, rule, device and seed.
        model: Trained in place; built from the settings if none is given.
        optimizer: A function of the weights, in place of the settings' optimiser.
        dual: A function of the problem, in place of the settings' rule.

    Raises:
        DataError: The likelihood cannot score the data.
        ShapeError: The networks do not fit the data.
        SettingError: There is no such device, optimiser or rule.
    """
    settings = settings.settled()
    device, seed = pick_device(settings.execution.device), settings.execution.seed
    streams = Streams(seed, device)
    if model is None:
        settings, _ = settle_likelihood(settings, data)
        model = build_vae(data.train.event_shape, settings.network, generator=streams.initial_weights)
    if isinstance(model.likelihood, Adaptive) and not getattr(model.likelihood, "is_adapted", False):
        model.likelihood.adapt(data.train)
    model.check_data(data)

    model.to(device).train()
    rule = build_rule(problem, settings.dual, latent_dim=model.latent_dim) if dual is None else dual(problem)
    rule.to(device)
    size, shuffle = settings.primal.batch_size, settings.primal.shuffle
    held_out = None
    if data.held_out is not None and problem.subject_to:
        # Streams of its own: what the weights see is the same whether violations are measured here or not.
        held_out_streams = Streams(derive_seed(seed, "held_out", "batches"), device)
        held_out = Batches(data.held_out.to(device), held_out_streams, size=size, shuffle=shuffle)
    return Session(
        model=model,
        lagrangian=Lagrangian(problem, device),
        rule=rule,
        optimizer=build_optimizer(model.parameters(), settings.primal, optimizer),
        batches=Batches(data.train.to(device), streams, size=size, shuffle=shuffle),
        held_out=held_out,
        settings=settings.primal,
        dtype=pick_dtype(settings.execution.precision, device),
        record=record_on_cuda if settings.execution.capture and device.type == "cuda" else None,
    )
