"""A problem in a LightningModule of one's own: a loss that is the Lagrangian, and a callback that moves multipliers.

python examples/own/in_lightning.py --epochs 20
"""

from __future__ import annotations

import argparse

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

import lagvae as lv
from lagvae.lightning import AscendMultipliers, LagrangianLoss
from lagvae.streams import Streams


class Autoencoder(pl.LightningModule):
    """Your module: networks, optimiser and logging are yours."""

    def __init__(self, problem: str) -> None:
        super().__init__()
        self.model = lv.VAE(lv.MLPEncoder((1, 8, 8), 8, (64,)), lv.MLPDecoder(8, (1, 8, 8), (64,)), latent_dim=8)
        self.lagrangian = LagrangianLoss(problem, latent_dim=8)  # its multipliers are in every checkpoint
        self.streams = Streams(seed=0)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        """Returns the Lagrangian on a batch."""
        x = self.model.likelihood.prepare(batch, self.streams.binarisation)
        return self.lagrangian(self.model.draw(x, self.streams))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Returns the optimiser of the weights."""
        return torch.optim.Adam(self.model.parameters(), lr=5e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    pl.seed_everything(0, verbose=False)
    data = lv.open_data("digits")
    module = Autoencoder("max mi s.t. neg_elbo <= 30")
    trainer = pl.Trainer(
        max_epochs=options.epochs,
        accelerator="cpu",
        callbacks=[AscendMultipliers()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    trainer.fit(module, DataLoader(data.train.values, batch_size=100, shuffle=True, drop_last=True))
    print({name: round(value, 2) for name, value in module.lagrangian.multipliers.items()})
    print({name: round(float(value), 1) for name, value in trainer.logged_metrics.items()})


if __name__ == "__main__":
    main()
