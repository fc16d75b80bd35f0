"""The random numbers of a team: those that one process would draw for the whole batch."""

from __future__ import annotations

from torch import Tensor

from lagvae.distributed.team import Team
from lagvae.streams import Streams, draw_normal


class TeamStreams(Streams):
    """A run's streams in a process that holds a share of the batch.

    Every process draws for the whole batch and takes its share, so that the streams stand at the same place in all of
    them, and where one process alone would have them: checkpoints do not tell how many there were.

    Args:
        streams: The run's.
        team: Who shares the batch.
    """

    def __init__(self, streams: Streams, team: Team) -> None:
        super().__init__(streams.seed, streams.device)
        self.load_state_dict(streams.state_dict())
        self.team = team

    def posterior_noise(self, like: Tensor) -> Tensor:
        """Draws the share's part of the noise for all codes."""
        return self.team.share(draw_normal(self._whole(like), like, self.posterior), -2)

    def prior_sample(self, like: Tensor) -> Tensor:
        """Draws the sample for the whole batch: it is compared with the codes of all processes."""
        return draw_normal(self._whole(like), like, self.prior)

    def _whole(self, like: Tensor) -> tuple[int, ...]:
        *stack, batch, latent = like.shape
        return (*stack, batch * self.team.size, latent)
