"""A prior that learns its shape: a normalising flow of affine couplings."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lagvae.errors import SettingError, expected
from lagvae.model.networks import glorot_linear
from lagvae.model.prior import Prior

WIDTH = 128
"""Units of each coupling's hidden layer."""

STEEPEST = 2.0
"""The largest |log scale| of one coupling: no single step stretches the space without bound."""


class FlowPrior(Prior):
    """p(z) = the density of T⁻¹(e), e ~ N(0, I), with T a chain of affine couplings: learned with the model.

    It begins as N(0, I) exactly. Each coupling leaves half of the coordinates as they are and moves the others
    by a small perceptron of these; which half, changes from one to the next (even and odd ones, then first and
    second ones). Both directions cost one pass.

    Args:
        latent_dim: Dimensions of z; at least 2.
        layers: Couplings.
        generator: Where the initial weights are drawn from; torch's global one if none is given.

    Raises:
        SettingError: z has one dimension, which leaves nothing to move it by.

    Source: [Dinh2017], section 3; as the prior of a VAE, [Chen2017], section 3.2.
    """

    def __init__(self, latent_dim: int, *, layers: int = 8, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if latent_dim < 2 or layers < 1:
            raise SettingError(
                expected(
                    "a flow of one coupling or more, over two dimensions or more",
                    got=f"{layers} over {latent_dim}",
                    fix="a larger latent_dim, or prior=standard_normal",
                )
            )
        position = torch.arange(latent_dim)
        halves = (position % 2 == 0, position % 2 == 1, position < latent_dim // 2, position >= latent_dim // 2)
        self.couplings = nn.ModuleList(_Coupling(halves[i % 4], generator) for i in range(layers))

    def standardise(
        self, z: Float[Tensor, "*batch latent"]
    ) -> tuple[Float[Tensor, "*batch latent"], Float[Tensor, "*batch latent"]]:
        """Returns T(z), and log |det ∂T/∂z| by coordinate."""
        total = torch.zeros_like(z)
        for coupling in self.couplings:
            log_scale, shift = coupling(z)
            z = (z - shift) * (-log_scale).exp()
            total = total - log_scale
        return z, total

    def place(self, standard: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch latent"]:
        """Returns T⁻¹(e)."""
        z = standard
        for coupling in reversed(self.couplings):
            log_scale, shift = coupling(z)
            z = z * log_scale.exp() + shift
        return z


class _Coupling(nn.Module):
    """Scale and shift of one half of the coordinates, as a function of the other; 0 for that other half."""

    held: Tensor
    moved: Tensor

    def __init__(self, is_held: Tensor, generator: torch.Generator | None) -> None:
        super().__init__()
        # Which half follows from the coupling's place: nothing that a checkpoint has to carry.
        self.register_buffer("held", is_held.nonzero().flatten(), persistent=False)
        self.register_buffer("moved", (~is_held).nonzero().flatten(), persistent=False)
        self.inner = glorot_linear(len(self.held), WIDTH, generator)
        self.outer = glorot_linear(WIDTH, 2 * len(self.moved), generator)
        nn.init.zeros_(self.outer.weight)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (log scale, shift), each in the shape and precision of z."""
        inner = nn.functional.silu(self.inner(z.index_select(-1, self.held).to(self.inner.weight)))
        raw, shift = self.outer(inner).to(z.dtype).chunk(2, -1)
        nothing = torch.zeros_like(z)
        log_scale = nothing.index_copy(-1, self.moved, STEEPEST * torch.tanh(raw / STEEPEST))
        return log_scale, nothing.index_copy(-1, self.moved, shift)
