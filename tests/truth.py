"""What is known in closed form, computed without lagvae: in float64, by the textbook's formulas."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import integrate
from torch import Tensor, nn

from lagvae.model.draw import Draw
from lagvae.model.gaussian import DiagonalGaussian
from lagvae.model.likelihoods.bernoulli import Bernoulli
from lagvae.model.vae import VAE

Array = np.ndarray

SIGMAS = 4.0
"""Statistical checks allow this many standard errors on both sides: one false alarm in 16,000 (6.3e-5)."""


def gaussian_entropy(covariance: Array) -> float:
    """H of N(., covariance), in nats."""
    return 0.5 * float(np.linalg.slogdet(2 * math.pi * math.e * covariance)[1])


def gaussian_log_density(x: Array, mean: Array, covariance: Array) -> Array:
    """Returns log N(x; mean, covariance), row by row."""
    residual = x - mean
    squares = (residual @ np.linalg.inv(covariance) * residual).sum(-1)
    return -0.5 * (squares + np.linalg.slogdet(2 * math.pi * covariance)[1])


def gaussian_kl(mean: Array, covariance: Array) -> float:
    """KL(N(mean, covariance) ‖ N(0, I)), in nats."""
    return 0.5 * float(mean @ mean + np.trace(covariance) - len(mean) - np.linalg.slogdet(covariance)[1])


def gaussian_mutual_information(covariance: Array, first: int) -> float:
    """I between the first coordinates and the others of one Gaussian vector, by its determinants."""
    parts = gaussian_entropy(covariance[:first, :first]) + gaussian_entropy(covariance[first:, first:])
    return parts - gaussian_entropy(covariance)


class LinearEncoder(nn.Module):
    """x → (A x + c, log s)."""

    def __init__(self, slope: Array, offset: Array, std: Array) -> None:
        super().__init__()
        self.slope, self.offset = _parameter(slope), _parameter(offset)
        self.log_std = _parameter(np.log(std))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = x @ self.slope.T + self.offset
        return mean, self.log_std.expand_as(mean)


class LinearDecoder(nn.Module):
    """z → W z + b."""

    def __init__(self, loading: Array, mean: Array) -> None:
        super().__init__()
        self.loading, self.mean = _parameter(loading), _parameter(mean)

    def forward(self, z: Tensor) -> Tensor:
        return z @ self.loading.T + self.mean


class Gaussian:
    """p(x|z) = N(mean, noise² I): a likelihood of a user's own."""

    name = "gaussian"

    def __init__(self, noise: float) -> None:
        self.noise = noise

    def prepare(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        return raw.float()

    def log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        standardised = (x - parameters) / self.noise
        return -(0.5 * standardised.square() + math.log(self.noise) + 0.5 * math.log(2 * math.pi)).sum(-1)

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return parameters + self.noise * torch.randn(parameters.shape, generator=generator)

    def check(self, examples: object, *, name: str) -> None:
        pass


@dataclass(frozen=True)
class LinearGaussian:
    """A VAE whose every quantity is known: data N(m, S), q(z|x) = N(Ax + c, s²), p(x|z) = N(Wz + b, noise²).

    The columns of W are orthogonal, so that the true posterior has a diagonal covariance.
    """

    loading: Array
    mean: Array
    noise: float
    slope: Array
    offset: Array
    std: Array
    data_mean: Array
    data_covariance: Array

    @staticmethod
    def with_true_posterior(*, event: int, latent: int, noise: float, seed: int) -> LinearGaussian:
        """A model of the data's own distribution, with its exact posterior: everything is tight."""
        rng = np.random.default_rng(seed)
        basis = np.linalg.qr(rng.normal(size=(event, latent)))[0]
        loading = basis * rng.uniform(0.7, 2.0, latent)
        mean = rng.normal(size=event)
        precision = 1 + (loading**2).sum(0) / noise**2
        slope = (loading / (noise**2 * precision)).T
        return LinearGaussian(
            loading=loading,
            mean=mean,
            noise=noise,
            slope=slope,
            offset=-slope @ mean,
            std=precision**-0.5,
            data_mean=mean,
            data_covariance=loading @ loading.T + noise**2 * np.eye(event),
        )

    @staticmethod
    def arbitrary(*, event: int, latent: int, seed: int) -> LinearGaussian:
        """Nothing fits anything: every inequality is strict."""
        rng = np.random.default_rng(seed)
        root = rng.normal(size=(event, event)) / event**0.5
        return LinearGaussian(
            loading=np.linalg.qr(rng.normal(size=(event, latent)))[0] * rng.uniform(0.5, 1.5, latent),
            mean=rng.normal(size=event),
            noise=0.8,
            slope=0.4 * rng.normal(size=(latent, event)),
            offset=0.3 * rng.normal(size=latent),
            std=rng.uniform(0.3, 0.9, latent),
            data_mean=rng.normal(size=event),
            data_covariance=root @ root.T + 0.3 * np.eye(event),
        )

    def with_encoder(self, *, widen: float, shift: float = 0.0) -> LinearGaussian:
        """The same decoder and data; of the encoder, std is multiplied, and the mean moved by so many of its std."""
        return replace(self, std=widen * self.std, offset=self.offset + shift * self.std)

    def vae(self) -> VAE:
        """The same as a module."""
        return VAE(
            LinearEncoder(self.slope, self.offset, self.std),
            LinearDecoder(self.loading, self.mean),
            latent_dim=len(self.std),
            likelihood=Gaussian(self.noise),
        )

    def sample_data(self, size: int, *, seed: int) -> Tensor:
        """Draws x ~ N(m, S)."""
        x = np.random.default_rng(seed).multivariate_normal(self.data_mean, self.data_covariance, size)
        return torch.tensor(x, dtype=torch.float32)

    def log_likelihood(self, x: Tensor) -> Array:
        """Returns the model's exact log p(x)."""
        covariance = self.loading @ self.loading.T + self.noise**2 * np.eye(len(self.mean))
        return gaussian_log_density(x.double().numpy(), self.mean, covariance)

    def tempered_posterior(self, x: Tensor, beta: float) -> tuple[Array, Array]:
        """Means (row by row) and variances of p(z) p(x|z)^β / Z_β(x): W has orthogonal columns."""
        variance = 1 / (1 + beta * (self.loading**2).sum(0) / self.noise**2)
        return beta * variance * ((x.double().numpy() - self.mean) @ self.loading) / self.noise**2, variance

    def tempered_distortion(self, x: Tensor, beta: float) -> Array:
        """E[-log p(x|z)] under the tempered posterior, row by row."""
        mean, variance = self.tempered_posterior(x, beta)
        residual = x.double().numpy() - mean @ self.loading.T - self.mean
        squares = (residual**2).sum(-1) + (variance * (self.loading**2).sum(0)).sum()
        return 0.5 * (squares / self.noise**2 + len(self.mean) * math.log(2 * math.pi * self.noise**2))

    def tempered_rate(self, x: Tensor, beta: float) -> Array:
        """KL(tempered posterior ‖ p(z)), row by row."""
        means, variance = self.tempered_posterior(x, beta)
        return np.array([gaussian_kl(mean, np.diag(variance)) for mean in means])

    def entropy(self) -> float:
        """H(x) of the data."""
        return gaussian_entropy(self.data_covariance)

    def aggregate(self) -> tuple[Array, Array]:
        """Mean and covariance of q(z)."""
        mean = self.slope @ self.data_mean + self.offset
        return mean, self.slope @ self.data_covariance @ self.slope.T + np.diag(self.std**2)

    def mutual_information(self) -> float:
        """I_q(x;z), from the joint covariance of (x, z)."""
        cross = self.data_covariance @ self.slope.T
        joint = np.block([[self.data_covariance, cross], [cross.T, self.aggregate()[1]]])
        return gaussian_mutual_information(joint, len(self.data_mean))

    def rate(self) -> float:
        """E KL(q(z|x) ‖ p(z))."""
        mean, covariance = self.aggregate()
        second_moments = mean**2 + np.diag(covariance)
        return 0.5 * float((second_moments - 1 - 2 * np.log(self.std)).sum())

    def distortion(self) -> float:
        """E [-log p(x|z)]: the residual x - Wz - b is Gaussian."""
        left = np.eye(len(self.mean)) - self.loading @ self.slope
        centre = left @ self.data_mean - self.loading @ self.offset - self.mean
        spread = np.trace(left @ self.data_covariance @ left.T) + (self.std**2 * (self.loading**2).sum(0)).sum()
        squares = (centre @ centre + spread) / self.noise**2
        return 0.5 * float(squares + len(self.mean) * math.log(2 * math.pi * self.noise**2))


def rbf_expectation(shift: Array, variance: Array, squared_bandwidth: float) -> float:
    """E exp(-‖u‖²/(2g)) for u ~ N(shift, diag(variance))."""
    total = squared_bandwidth + variance
    return float(np.prod(np.sqrt(squared_bandwidth / total) * np.exp(-0.5 * shift**2 / total)))


def imq_expectation(shift: Array, variance: Array, constants: list[float]) -> float:
    """E Σ C/(C + ‖u‖²) for u ~ N(shift, diag(variance)), by adaptive quadrature of C/(C+r) = ∫ e^(-t) e^(-tr/C) dt."""

    def integrand(t: float, constant: float) -> float:
        return math.exp(-t) * rbf_expectation(shift, variance, constant / (2 * t)) if t > 0 else 1.0

    return sum(
        integrate.quad(integrand, 0, np.inf, args=(c,), epsabs=1e-12, epsrel=1e-11, limit=500)[0] for c in constants
    )


@dataclass(frozen=True)
class KernelMeans:
    """The three expectations that make MMD² of z ~ N(mean, diag(std²)) against w ~ N(0, I)."""

    within: float
    cross: float
    prior: float

    @property
    def squared_mmd(self) -> float:
        return self.within + self.prior - 2 * self.cross

    @staticmethod
    def of(expectation: object, parameter: object, mean: Array, std: Array) -> KernelMeans:
        """Evaluates one of the expectations above at z - z', z - w and w - w'."""
        one = np.ones_like(std)
        return KernelMeans(
            expectation(0 * mean, 2 * std**2, parameter),  # type: ignore[operator]
            expectation(mean, std**2 + one, parameter),  # type: ignore[operator]
            expectation(0 * mean, 2 * one, parameter),  # type: ignore[operator]
        )


def feature_squared_mmd(omega: Array, weight: Array, mean: Array, std: Array) -> float:
    """Σ_j weight_j |E e^(iω_j·z) - E e^(iω_j·w)|² for z ~ N(mean, diag(std²)), w ~ N(0, I)."""
    of_codes = np.exp(1j * omega @ mean - 0.5 * (omega**2) @ std**2)
    return float(weight @ abs(of_codes - np.exp(-0.5 * (omega**2).sum(-1))) ** 2)


def v_statistic_floor(batch: int, latent: int) -> float:
    """What a perfect q(z) measures with the original's kernel: (2/n)(1 - (1 + 4/d²)^(-d/2))."""
    return 2 / batch * (1 - (1 + 4 / latent**2) ** (-latent / 2))


@dataclass(frozen=True)
class QuadraticProgram:
    """min ½ xᵀQx + cᵀx subject to A x ≤ b and E x = d.

    At the solution Q x* + c + Aᵀ λ* + Eᵀ ν* = 0.
    """

    Q: Array
    c: Array
    A: Array
    b: Array
    E: Array
    d: Array

    @staticmethod
    def projection(
        target: Array,
        inequalities: tuple[tuple[Array, float], ...] = (),
        equalities: tuple[tuple[Array, float], ...] = (),
    ) -> QuadraticProgram:
        """min ‖x - target‖² (its constant dropped) subject to pairs (normal, bound)."""
        size = len(target)
        A, b, E, d = (
            np.array([pair[part] for pair in pairs]).reshape(len(pairs), *shape)
            for pairs in (inequalities, equalities)
            for part, shape in ((0, (size,)), (1, ()))
        )
        return QuadraticProgram(Q=2 * np.eye(size), c=-2 * target, A=A, b=b, E=E, d=d)

    @staticmethod
    def with_multipliers(below: Array, equal: Array, *, variables: int, seed: int) -> QuadraticProgram:
        """A random program with these multipliers at its solution; where one of ``below`` is 0, there is slack."""
        rng = np.random.default_rng(seed)
        basis, turned = (np.linalg.qr(rng.normal(size=(variables, variables)))[0] for _ in range(2))
        Q = basis * rng.uniform(1, 3, variables) @ basis.T
        # Normals far from parallel: first-order methods take as long as the angles are small.
        skewed = turned + rng.uniform(-0.25, 0.25, turned.shape)
        A, E = np.split(skewed[: len(below) + len(equal)], [len(below)])
        x = rng.normal(size=variables)
        slack = np.where(below == 0, rng.uniform(0.2, 1, len(below)), 0.0)
        return QuadraticProgram(Q=Q, c=-(Q @ x + A.T @ below + E.T @ equal), A=A, b=A @ x + slack, E=E, d=E @ x)

    def solve(self) -> tuple[Array, list[float], list[float]]:
        """Returns x*, λ* ≥ 0 of the inequalities, and ν* of the equalities, by an independent solver."""
        import cvxpy

        x = cvxpy.Variable(len(self.c))
        below = [normal @ x <= bound for normal, bound in zip(self.A, self.b, strict=True)]
        equal = [normal @ x == bound for normal, bound in zip(self.E, self.d, strict=True)]
        objective = cvxpy.Minimize(0.5 * cvxpy.quad_form(x, self.Q) + self.c @ x)
        cvxpy.Problem(objective, below + equal).solve(solver=cvxpy.CLARABEL)
        return x.value, [float(c.dual_value) for c in below], [float(c.dual_value) for c in equal]

    def stationarity(self, x: Array, below: list[float], equal: list[float]) -> float:
        """Returns the largest component of the Lagrangian's gradient, 0 at the solution."""
        gradient = self.Q @ x + self.c + self.A.T @ np.array(below) + self.E.T @ np.array(equal)
        return float(abs(gradient).max())


def standard_errors(samples: Tensor, truth: float) -> float:
    """How many standard errors the mean of independent samples lies from the truth."""
    samples = samples.double()
    return float((samples.mean() - truth) / (samples.std() / len(samples) ** 0.5))


def draw_of_codes(z: Tensor, prior: Tensor | None = None) -> Draw:
    """A draw with these codes, for terms that look at nothing else."""
    nothing = torch.zeros(*z.shape[:-1], 1)
    return Draw(
        x=nothing,
        posterior=DiagonalGaussian(torch.zeros_like(z), torch.zeros_like(z)),
        z=z,
        parameters=nothing,
        likelihood=Bernoulli(),
        draw_standard=lambda: torch.zeros_like(z) if prior is None else prior,
        draw_again=lambda samples: draw_of_codes(z.expand(samples, *z.shape)),
    )


def _parameter(array: Array) -> nn.Parameter:
    return nn.Parameter(torch.tensor(np.asarray(array), dtype=torch.float32))
