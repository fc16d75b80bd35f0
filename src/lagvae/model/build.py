"""From the network settings to a VAE."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lagvae.model.likelihoods.likelihood import count_parameters
from lagvae.model.likelihoods.names import build_likelihood
from lagvae.model.networks import MLPDecoder, MLPEncoder
from lagvae.model.vae import VAE
from lagvae.settings import NetworkSettings


def build_vae(
    event_shape: Sequence[int], settings: NetworkSettings, *, generator: torch.Generator | None = None
) -> VAE:
    """Builds the networks and the likelihood that the settings name.

    Args:
        event_shape: Shape of one example.
        settings: ``likelihood`` is one by name, not ``auto``, which needs the data.
        generator: Where the initial weights are drawn from; torch's global one if none is given.

    Raises:
        SettingError: The likelihood is ``auto``.
    """
    shape, latent, hidden = tuple(event_shape), settings.latent_dim, settings.hidden
    likelihood = build_likelihood(settings.likelihood, shape, noise=settings.noise_std)
    each = count_parameters(likelihood)
    outputs = shape if each == 1 else (each, *shape)
    return VAE(
        MLPEncoder(shape, latent, hidden, activation=settings.activation, generator=generator),
        MLPDecoder(latent, outputs, hidden[::-1], activation=settings.activation, generator=generator),
        latent_dim=latent,
        likelihood=likelihood,
    )
