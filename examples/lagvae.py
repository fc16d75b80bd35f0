"""LagVAE as published: optimise mutual information subject to -ELBO <= e1 and 10,000 MMD <= e2.

python examples/lagvae.py --mi=1.0 --e1=86.0 --e2=5.0            (--epochs shortens, --test evaluates)
"""

import functools
import sys

sys.path.append(sys.path.pop(0))  # this folder goes last: its lagvae.py must not hide the package

import _original
import torch
import tyro

import lagvae as lv


def main(mi: float = 0.0, e1: float = 88.0, e2: float = 8.0, z_dim: int = 64, epochs: int = 5000, test: bool = False):
    out = _original.log_folder(f"lagvae_mi={mi}_e1={e1}_e2={e2}_z={z_dim}")
    data = lv.open_data("mnist")
    torch.manual_seed(0)
    model = lv.VAE(
        encoder=lv.MLPEncoder(data.train.event_shape, z_dim, hidden=(1024, 1024), activation="softplus"),
        decoder=lv.MLPDecoder(z_dim, data.train.event_shape, hidden=(1024, 1024), activation="softplus"),
        latent_dim=z_dim,
    )
    adam = functools.partial(torch.optim.Adam, lr=1e-4, betas=(0.5, 0.999), fused=True)
    problem = lv.lag_vae(mi, e1, e2, estimator="one_sample")
    if not test:
        lv.fit(
            problem, data, model=model, optimizer=adam, preset="zhao2018", epochs=epochs, out=out, resume=out.exists()
        )
    _original.print_means(lv.load(out, model=model), data)


if __name__ == "__main__":
    tyro.cli(main)
