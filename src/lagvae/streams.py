"""Named streams of random numbers: a seed in, independent generators out.

Every consumer of randomness has its own stream, so that switching one off (say, the prior's
sample of a problem without mmd) never shifts the numbers that another one sees.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

NAMES = ("initial_weights", "binarisation", "posterior", "prior")


def derive_seed(seed: int, *path: object) -> int:
    """Returns a 63-bit seed for the stream at ``path`` below ``seed``, unrelated to its neighbours."""
    text = "/".join(map(str, (seed, *path)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def permutation(size: int, seed: int, *path: object) -> Tensor:
    """Returns the permutation of ``size`` things at ``path`` below ``seed``; it depends on nothing drawn before."""
    return torch.randperm(size, generator=torch.Generator().manual_seed(derive_seed(seed, *path)))


def draw_normal(shape: Sequence[int], like: Tensor, generator: torch.Generator) -> Tensor:
    """Draws numbers from N(0, 1), in the dtype and on the device of ``like``."""
    return torch.randn(tuple(shape), dtype=like.dtype, device=like.device, generator=generator)


class Streams:
    """The generators of one run.

    Args:
        seed: The run's seed.
        device: Where the numbers are drawn. Initial weights are always drawn on the processor,
            so that a run starts from the same weights everywhere.
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        self.seed = seed
        self.device = torch.device(device)
        self._generators = {
            name: torch.Generator("cpu" if name == "initial_weights" else self.device).manual_seed(
                derive_seed(seed, name)
            )
            for name in NAMES
        }

    @property
    def initial_weights(self) -> torch.Generator:
        """For the networks' first weights."""
        return self._generators["initial_weights"]

    @property
    def binarisation(self) -> torch.Generator:
        """For the thresholds that turn grey pixels into bits."""
        return self._generators["binarisation"]

    @property
    def posterior(self) -> torch.Generator:
        """For the noise of z ~ q(z|x)."""
        return self._generators["posterior"]

    @property
    def prior(self) -> torch.Generator:
        """For samples of p(z), which mmd compares with."""
        return self._generators["prior"]

    def posterior_noise(self, like: Tensor) -> Tensor:
        """Draws the noise of codes in the shape of ``like``, [*stack, batch, latent]."""
        return draw_normal(like.shape, like, self.posterior)

    def prior_sample(self, like: Tensor) -> Tensor:
        """Draws a sample of N(0, I) to compare codes with, in the shape of ``like``."""
        return draw_normal(like.shape, like, self.prior)

    @property
    def generators(self) -> list[torch.Generator]:
        """Those that a step draws from: all but the initial weights'."""
        return [generator for name, generator in self._generators.items() if name != "initial_weights"]

    def data_order(self, epoch: int, size: int) -> Tensor:
        """Returns the permutation of ``size`` examples for ``epoch``; it depends on nothing drawn before."""
        return permutation(size, self.seed, "data_order", epoch)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the state of every stream."""
        return {name: generator.get_state() for name, generator in self._generators.items()}

    def fits(self, state: Mapping[str, Tensor]) -> bool:
        """Whether a state is of the same streams on the same kind of device."""
        own = self.state_dict()
        return own.keys() == state.keys() and all(own[name].shape == state[name].shape for name in own)

    def go_on(self, state: dict[str, Tensor], *, step: int) -> None:
        """Puts every stream back to where ``state_dict`` found it, or, on another kind of device, begins it afresh.

        A state of a processor says nothing to a graphics processor: what is drawn from ``step`` on is then decided by
        the seed and the step alone, and a warning says so.
        """
        if self.fits(state):
            self.load_state_dict(state)
            return
        text = f"from step {step} on random numbers are others than on the device that the run was started on"
        warnings.warn(text, UserWarning, stacklevel=2)
        for name, generator in self._generators.items():
            generator.manual_seed(derive_seed(self.seed, name, "elsewhere", step))

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Puts every stream back to where ``state_dict`` found it."""
        for name, generator in self._generators.items():
            generator.set_state(state[name].cpu())
