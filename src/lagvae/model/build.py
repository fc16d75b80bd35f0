"""From the network settings to a VAE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from lagvae.model.convolutional import ConvolutionalDecoder, ConvolutionalEncoder
from lagvae.model.flow import FlowPrior
from lagvae.model.likelihoods.likelihood import count_parameters
from lagvae.model.likelihoods.names import build_likelihood
from lagvae.model.networks import MLPDecoder, MLPEncoder
from lagvae.model.residual import ResidualDecoder, ResidualEncoder
from lagvae.model.vae import VAE
from lagvae.settings import NetworkSettings


def build_vae(
    event_shape: Sequence[int], settings: NetworkSettings, *, generator: torch.Generator | None = None
) -> VAE:
    """Builds the networks, the likelihood and the prior that the settings name.

    Args:
        event_shape: Shape of one example.
        settings: ``likelihood`` is one by name, not ``auto``, which needs the data.
        generator: Where the initial weights are drawn from; torch's global one if none is given.

    Raises:
        SettingError: The likelihood is ``auto``, or a flow is asked for in one dimension.
        ShapeError: Convolutional networks are asked for, and the examples are no images.
    """
    shape, latent, hidden = tuple(event_shape), settings.latent_dim, settings.hidden
    likelihood = build_likelihood(settings.likelihood, shape, noise=settings.noise_std)
    each = count_parameters(likelihood)
    outputs = shape if each == 1 else (each, *shape)
    options: dict[str, Any] = {"activation": settings.activation, "generator": generator}
    encoder: nn.Module
    decoder: nn.Module
    if settings.network == "convolutional":
        encoder = ConvolutionalEncoder(shape, latent, settings.channels, **options)
        decoder = ConvolutionalDecoder(latent, shape, settings.channels, each=each, **options)
    elif settings.network == "residual":
        encoder = ResidualEncoder(shape, latent, hidden, **options)
        decoder = ResidualDecoder(latent, outputs, hidden[::-1], **options)
    else:
        encoder = MLPEncoder(shape, latent, hidden, **options)
        decoder = MLPDecoder(latent, outputs, hidden[::-1], **options)
    prior = FlowPrior(latent, generator=generator) if settings.prior == "flow" else None
    return VAE(encoder, decoder, latent_dim=latent, likelihood=likelihood, prior=prior)
