"""The importance-weighted bound: a loss that lies nearer to -log p(x) than -ELBO, the more draws it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lagvae.model.draw import Draw
from lagvae.terms.term import PerExampleTerm, register


@dataclass(frozen=True, eq=False, repr=False)
class NegIwae(PerExampleTerm):
    """-L_K = -E log (1/K) Σ_k p(x|z_k) p(z_k) / q(z_k|x), z_k ~ q(z|x): the importance weighted autoencoder's loss.

    Units: nats per example. Bias: none for -L_K, which is itself an upper bound of E[-log p(x)]:
    ``neg_elbo`` for K = 1, never larger for a larger K, and E[-log p(x)] in the limit. The first
    of the K draws is the one that every other term is measured on; the decoder runs K times.
    Gradients flow through the codes (reparameterisation). Source: [Burda2016], equations 8 and 13.

    Attributes:
        samples: K.
    """

    samples: int = 5
    name = "neg_iwae"
    may_be_rewarded = False

    def per_example(self, draw: Draw) -> Float[Tensor, "*stack batch"]:
        """Returns -log (1/K) Σ_k w_k."""
        log_weights = draw.log_weight.unsqueeze(0)
        if self.samples > 1:
            log_weights = torch.cat([log_weights, draw.draw_again(self.samples - 1).log_weight])
        return math.log(self.samples) - log_weights.logsumexp(0)


neg_iwae = NegIwae()
register(neg_iwae)
