"""The density that is fitted to q(z) where Gaussians do not suffice: a masked autoregressive network."""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from jaxtyping import Float
from torch import Tensor, nn

from lagvae.evaluation.codes import Advance, Codes
from lagvae.evaluation.density.covariance import shrunk_covariance
from lagvae.streams import derive_seed

COMPONENTS, HIDDEN = 3, 256
STEPS, BATCH, LEARNING_RATE = 1000, 500, 1e-2
CHECK_EVERY = 100
"""Steps between looks at the validation codes: the best state of the weights is kept."""
CHUNK = 4096
LARGEST_LOG_SCALE = 4.0
"""Bounds every conditional's standard deviation, so that no code far out is scored as infinity."""


class AutoregressiveMixture(nn.Module):
    """log q̂(z) = Σ_d log Σ_k w_k N(u_d; m_k, s_k²) + log |∂u/∂z|, with w, m, s functions of u_<d.

    u is z whitened by the codes' mean and covariance, by a triangular map; the functions are one
    network of two hidden layers, masked so that output d sees the inputs before d only. It begins
    close to the Gaussian of that mean and covariance.

    Source: [Germain2015] for the masks, [Papamakarios2017] for conditionals that are mixtures.

    Args:
        z: What to whiten by.
        generator: Where the initial weights are drawn from, on the processor.
    """

    name = "autoregressive"
    mean: Tensor
    whitening: Tensor
    first_mask: Tensor
    second_mask: Tensor
    last_mask: Tensor

    def __init__(self, z: Float[Tensor, "points latent"], generator: torch.Generator) -> None:
        super().__init__()
        latent_dim, z = z.shape[1], z.double()
        root = torch.linalg.cholesky(shrunk_covariance(z))
        self.register_buffer("mean", z.mean(0).float())
        self.register_buffer("whitening", torch.linalg.inv(root).float())
        self.log_determinant = -float(root.diagonal().log().sum())

        # A hidden unit of degree m sees inputs 1..m; output d sees the units of degrees under d.
        inputs = torch.arange(1, latent_dim + 1)
        degrees = torch.arange(HIDDEN) % max(latent_dim - 1, 1) + 1
        self.register_buffer("first_mask", (degrees[:, None] >= inputs).float())
        self.register_buffer("second_mask", (degrees[:, None] >= degrees).float())
        self.register_buffer("last_mask", (inputs[:, None] > degrees).float())

        self.first = nn.Parameter(torch.randn(HIDDEN, latent_dim, generator=generator) / latent_dim**0.5)
        self.second = nn.Parameter(torch.randn(HIDDEN, HIDDEN, generator=generator) / HIDDEN**0.5)
        self.last = nn.Parameter(torch.zeros(3, COMPONENTS, latent_dim, HIDDEN))
        self.first_bias, self.second_bias = nn.Parameter(torch.zeros(HIDDEN)), nn.Parameter(torch.zeros(HIDDEN))
        spread = torch.zeros(3, COMPONENTS, latent_dim)
        spread[0] = torch.linspace(-0.5, 0.5, COMPONENTS)[:, None]  # equal components would stay equal
        self.last_bias = nn.Parameter(spread)
        self.to(z.device)

    def forward(self, z: Float[Tensor, "points latent"]) -> Float[Tensor, " points"]:
        """Returns log q̂(z), differentiable."""
        u = (z - self.mean) @ self.whitening.T
        hidden = F.silu(F.linear(u, self.first * self.first_mask, self.first_bias))
        hidden = hidden + F.silu(F.linear(hidden, self.second * self.second_mask, self.second_bias))
        outputs = F.linear(hidden, (self.last * self.last_mask).flatten(0, 2), self.last_bias.flatten())
        mean, log_scale, logit = outputs.unflatten(-1, (3, COMPONENTS, -1)).unbind(1)
        log_scale = LARGEST_LOG_SCALE * torch.tanh(log_scale / LARGEST_LOG_SCALE)
        standardised = (u.unsqueeze(1) - mean) * torch.exp(-log_scale)
        log_component = -0.5 * standardised.square() - log_scale - 0.5 * math.log(2 * math.pi)
        conditional = torch.logsumexp(log_component + F.log_softmax(logit, 1), 1)
        return conditional.sum(-1) + self.log_determinant

    @torch.no_grad()
    def log_prob(self, z: Float[Tensor, "points latent"]) -> Float[Tensor, " points"]:
        """Returns log q̂(z), in nats, in float64."""
        return torch.cat([self(chunk.float()).double() for chunk in z.split(CHUNK)])


def fit_autoregressive(
    train: Codes, validation: Codes, *, seed: int = 0, advance: Advance | None = None
) -> AutoregressiveMixture:
    """Fits by maximum likelihood, with z drawn from q(z|x) afresh at every visit.

    The cost is 1000 steps of 500 codes, however many there are.

    Args:
        train: Fitted to.
        validation: Its score decides which state of the weights is kept.
        seed: Of weights, order and noise.
        advance: Told of progress, in steps.
    """
    model = AutoregressiveMixture(train.z, torch.Generator().manual_seed(derive_seed(seed, "autoregressive")))
    device = train.z.device
    generator = torch.Generator(device).manual_seed(derive_seed(seed, "autoregressive", "noise"))
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    best, best_score = copy.deepcopy(model.state_dict()), float(model.log_prob(validation.z).mean())
    for step in range(1, STEPS + 1):
        index = torch.randint(len(train), (BATCH,), generator=generator, device=device)
        mean, log_std = train.posterior.mean[index], train.posterior.log_std[index]
        z = mean + log_std.exp() * torch.randn(mean.shape, generator=generator, device=device)
        optimizer.zero_grad()
        loss = -model(z).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        if step % CHECK_EVERY == 0:
            score = float(model.log_prob(validation.z).mean())
            if score > best_score:
                best, best_score = copy.deepcopy(model.state_dict()), score
            if advance is not None:
                advance(CHECK_EVERY)
    model.load_state_dict(best)
    return model
