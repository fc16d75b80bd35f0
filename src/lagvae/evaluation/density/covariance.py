"""The covariance of codes, few or many."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def shrunk_covariance(z: Float[Tensor, "points latent"]) -> Float[Tensor, "latent latent"]:
    """Returns C = (1 - s) S + s tr(S)/d I, in float64, with the share s that has the least expected squared error.

    s goes to 0 as 1/N. With fewer codes than dimensions S is singular, and codes that it was not taken from score
    thousands of nats lower under it than under the prior. A dimension that never varies gets a little of it.

    Source: [Ledoit2004], as in scikit-learn.
    """
    from sklearn.covariance import ledoit_wolf  # slow to import, and only needed here

    dimensions = z.shape[1]
    if dimensions == 1:
        covariance = z.double().var(0, correction=0).reshape(1, 1)
    else:
        covariance = torch.as_tensor(ledoit_wolf(z.double().cpu().numpy())[0], dtype=torch.float64, device=z.device)
    return covariance + 1e-9 * torch.eye(dimensions, dtype=torch.float64, device=z.device)
