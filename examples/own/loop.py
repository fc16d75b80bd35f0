"""The Lagrangian in a PyTorch loop of one's own: three lines make it a constrained one.

python examples/own/loop.py
"""

import torch
from torch.utils.data import DataLoader

import lagvae as lv
from lagvae.duality.forecast import Forecast
from lagvae.duality.lagrangian import Lagrangian
from lagvae.streams import Streams

STEPS = 450

torch.manual_seed(0)
data = lv.open_data("digits")
loader = DataLoader(data.train.values, batch_size=100, shuffle=True, drop_last=True)
model = lv.VAE(lv.MLPEncoder((1, 8, 8), 8, (64,)), lv.MLPDecoder(8, (1, 8, 8), (64,)), latent_dim=8)
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
problem, streams = lv.Problem.parse("max mi s.t. neg_elbo <= 30"), Streams(seed=0)
lagrangian, rule = Lagrangian(problem), Forecast(problem)
for step in range(STEPS):
    if step % len(loader) == 0:
        batches = iter(loader)
    x = model.likelihood.prepare(next(batches), streams.binarisation)
    values = lagrangian.measure(model.draw(x, streams))  # distortion, rate, ...
    recent = values.detach() if step == 0 else recent.lerp(values.detach(), 0.05)
    violations = lagrangian.violations(values.detach())[None]
    loss = values @ lagrangian.weights(rule.primal_multipliers(violations))[0]
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    rule.update(violations, progress=(step + 1) / STEPS)
print({name: round(value, 2) for name, value in zip(problem.names, rule.multipliers[0].tolist(), strict=True)})
print({str(term): round(value, 1) for term, value in zip(lagrangian.terms, recent.tolist(), strict=True)})
