"""A network of one's own: any torch.nn.Module that maps examples to (mean, log_std), or to both side by side.

python examples/own/network.py --epochs 20
"""

from __future__ import annotations

import argparse

from torch import nn

import lagvae as lv


def main() -> lv.Solution:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()

    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.SiLU(), nn.Linear(128, 2 * 8))
    decoder = nn.Sequential(nn.Linear(8, 128), nn.SiLU(), nn.Linear(128, 64), nn.Unflatten(1, (1, 8, 8)))
    model = lv.VAE(encoder, decoder, latent_dim=8)
    solution = lv.fit("max mi s.t. neg_elbo <= 32", options.data, model=model, epochs=options.epochs, batch_size=100)
    print(solution.status, solution.multipliers)
    return solution


if __name__ == "__main__":
    main()
