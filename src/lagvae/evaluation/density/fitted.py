"""Densities fitted to the aggregate posterior q(z), and the choice among them by held-out score.

Whatever q̂ is, codes that it was not fitted to score lower under it than under q(z):

    E_q log q̂(z) = E_q log q(z) - KL(q(z) ‖ q̂) ≤ E_q log q(z)

so that the best held-out score is the least wrong one, and its error has a known side.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.errors import SettingError, expected, nearest
from lagvae.evaluation.codes import Advance, Codes
from lagvae.evaluation.density.autoregressive import fit_autoregressive
from lagvae.evaluation.density.covariance import shrunk_covariance
from lagvae.evaluation.density.kernel import fit_kernel_density
from lagvae.model.prior import Prior
from lagvae.streams import derive_seed

Candidate = Literal["prior", "gaussian", "mixture", "autoregressive", "kernel"]
CANDIDATES: tuple[Candidate, ...] = ("prior", "gaussian", "mixture", "autoregressive")
"""What is tried. The prior is the least that is known of q(z) where codes are too few to fit anything. The kernel
density is not tried: it is there to compare with, and loses."""

TRAIN_SHARE = 0.8
"""Of the codes that a density is fitted to; the rest chooses among the candidates."""

COMPONENTS = 10
MIXTURE_CODES = 20_000
"""Expectation-maximisation looks at so many codes at most."""


@runtime_checkable
class Density(Protocol):
    """A normalised density on codes."""

    @property
    def name(self) -> str:
        """How it is reported."""
        ...

    def log_prob(self, z: Float[Tensor, "points latent"]) -> Float[Tensor, " points"]:
        """Returns log q̂(z), in nats, in float64."""
        ...


@dataclass(frozen=True)
class FittedDensity:
    """The candidate with the best held-out score; a density itself.

    Attributes:
        density: The winner.
        scores: Name → mean log q̂(z) over the codes that chose, in nats, of every candidate.
    """

    density: Density
    scores: dict[str, float]

    @property
    def name(self) -> str:
        """The winner's."""
        return self.density.name

    def log_prob(self, z: Float[Tensor, "points latent"]) -> Float[Tensor, " points"]:
        """Returns log q̂(z), in nats, in float64."""
        return self.density.log_prob(z)


@dataclass(frozen=True)
class GaussianMixture:
    """q̂(z) = Σ_k w_k N(z; m_k, C_k); one component is a Gaussian.

    Attributes:
        name: How it is reported.
        log_weights: log w_k.
        means: m_k.
        factors: U_k with U_k U_kᵀ = C_k⁻¹.
    """

    name: str
    log_weights: Float[Tensor, " components"]
    means: Float[Tensor, "components latent"]
    factors: Float[Tensor, "components latent latent"]

    def log_prob(self, z: Float[Tensor, "points latent"]) -> Float[Tensor, " points"]:
        """Returns log q̂(z), in nats, in float64."""
        z = z.double()
        constants = -0.5 * z.shape[1] * math.log(2 * math.pi) + self.factors.diagonal(dim1=1, dim2=2).log().sum(1)
        squares = torch.stack(
            [((z - mean) @ factor).square().sum(1) for mean, factor in zip(self.means, self.factors, strict=True)], 1
        )
        return torch.logsumexp(self.log_weights + constants - 0.5 * squares, 1)


@dataclass(frozen=True)
class PriorDensity:
    """p(z) in place of q(z).

    Attributes:
        prior: p(z).
    """

    prior: Prior
    name: str = "prior"

    @torch.no_grad()
    def log_prob(self, z: Float[Tensor, "points latent"]) -> Float[Tensor, " points"]:
        """Returns log p(z), in nats, in float64."""
        return self.prior.log_prob(z.double())


def fit_density(
    codes: Codes, *, candidates: Sequence[Candidate] = CANDIDATES, seed: int = 0, advance: Advance | None = None
) -> FittedDensity:
    """Fits each candidate to four fifths of the codes, and returns the one that the last fifth likes best.

    * ``prior``: p(z) as it is, so that the information is not above the rate but for noise;
    * ``gaussian``: the codes' mean and full covariance, shrunk as far as few codes ask for;
    * ``mixture``: ten full-covariance Gaussians, by expectation-maximisation (scikit-learn's);
    * ``autoregressive``: each coordinate a mixture of Gaussians given those before it, by a masked network;
    * ``kernel``: a Gaussian kernel density, its bandwidth chosen by the held-out codes. In many
      dimensions far off (about 9 nats in 64): for comparison with work that reports it.

    Score the result on other codes than these.

    Args:
        codes: To fit to.
        candidates: Which to try.
        seed: Of the split, the networks' weights and the noise.
        advance: Told of progress, in the autoregressive network's steps.

    Raises:
        SettingError: There is no candidate, or one that is not known.
    """
    unknown = [name for name in candidates if name not in get_args(Candidate)]
    if unknown or not candidates:
        fix = nearest(unknown[0], get_args(Candidate)) if unknown else repr(list(CANDIDATES))
        raise SettingError(expected("names of densities to fit", got=repr(list(candidates)), fix=fix))
    train, validation = codes.split(TRAIN_SHARE, seed=derive_seed(seed, "density"))
    fitted: list[Density] = []
    for name in candidates:
        if name == "prior":
            fitted.append(PriorDensity(codes.prior))
        elif name == "gaussian":
            fitted.append(fit_gaussian(train))
        elif name == "mixture":
            fitted.append(fit_mixture(train, seed=seed))
        elif name == "autoregressive":
            fitted.append(fit_autoregressive(train, validation, seed=seed, advance=advance))
        else:
            fitted.append(fit_kernel_density(train, validation))
    scores = {density.name: float(density.log_prob(validation.z).mean()) for density in fitted}
    return FittedDensity(max(fitted, key=lambda density: scores[density.name]), scores)


def fit_gaussian(codes: Codes) -> GaussianMixture:
    """Fits one Gaussian with a full covariance, see :func:`~lagvae.evaluation.density.covariance.shrunk_covariance`."""
    z = codes.z.double()
    # C = L Lᵀ, so that U = L⁻ᵀ.
    factor = torch.linalg.inv(torch.linalg.cholesky(shrunk_covariance(z))).T
    return GaussianMixture("gaussian", z.new_zeros(1), z.mean(0)[None], factor[None])


def fit_mixture(codes: Codes, *, seed: int = 0) -> GaussianMixture:
    """Fits ten Gaussians with full covariances by expectation-maximisation, fewer to few codes."""
    from sklearn import mixture  # slow to import, and only needed here
    from sklearn.exceptions import ConvergenceWarning

    z = codes.z[:MIXTURE_CODES].double()  # codes far apart make covariances that float32 cannot hold
    model = mixture.GaussianMixture(
        min(COMPONENTS, max(1, len(z) // (2 * codes.latent_dim))),
        init_params="k-means++",
        max_iter=30,
        tol=1e-2,
        reg_covar=1e-6,
        random_state=derive_seed(seed, "mixture") % 2**32,
    )
    with warnings.catch_warnings():
        # Stopped early it is as good a density, and its score says how good.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(z.cpu().numpy())
    weights, means, factors = (
        torch.as_tensor(array, dtype=torch.float64, device=z.device)
        for array in (model.weights_, model.means_, model.precisions_cholesky_)
    )
    return GaussianMixture("mixture", weights.log(), means, factors)
