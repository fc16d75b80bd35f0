"""One network that is a whole family: every layer's units scaled and shifted by what is learned for its weights."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from lagvae.errors import ShapeError, expected
from lagvae.model.likelihoods.likelihood import Scaled
from lagvae.model.vae import VAE

Layer = nn.Linear | _ConvNd
"""What is modulated."""
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
Factors = tuple[Tensor, Tensor, Tensor]
"""1 + a, b and exp(e) of a layer; e is empty where inputs are not modulated."""
KNOTS = 5
"""How many splines there are along log β; with more of them fewer members share a row, and less is learned of each."""
SCALE_GAIN = 4.0
"""How much faster again a likelihood's log scales learn: fit, they follow residuals; late, they hold the fit back."""


class Modulation(nn.Module):
    """x ↦ (1 + a) ∘ (W (exp(e) ∘ x) + bias) + b in place of x ↦ W x + bias, in every linear and convolutional layer.

    (a, b, e) is a function of the condition c, unit by unit (channel by channel):

        (a, b, e)(c) = gain · sum_k B_k(c_1) (T_k + (c_2 + 1) / 2 · S_k),

    a table of values along log β, joined by quadratic B-splines B_k, and one of slopes along log γ. Both start at 0, so
    that at first every condition sees the model as it is. What is learned at one end of the family leaves the other
    end alone. At a fixed c it is constant, and

        W' = (1 + a) ∘ W ∘ exp(e)ᵀ,    bias' = (1 + a) ∘ bias + b:

    every member of the family *is* an ordinary network of the model's own shape, see :meth:`fold`. Without e the
    decoder could not switch off a dimension of z for one condition and read it for another; by factors it does so
    little by little. The first layer, which reads the data, has none. A layer without a bias is scaled and not shifted.

    A likelihood with scales of its own (σ of a Gaussian, r of counts) has their logarithms shifted likewise.

    The model itself is not changed: layers are hooked while :meth:`at` lasts. Whatever else it consists of is left
    alone, and shared by the whole family.

    Args:
        model: Any VAE whose networks contain linear or convolutional layers.
        gain: What the tables are multiplied by: an optimiser of fixed step size moves (a, b, e) that much faster.

    Raises:
        ShapeError: There is no such layer, two of them share their weights, or a weight is computed from others.

    Source: feature-wise modulation [Perez2018]; one network for many weights of a loss [Dosovitskiy2020].
    """

    def __init__(self, model: VAE, *, gain: float = 1.0) -> None:
        super().__init__()
        self.model, self.gain = model, gain
        self._names = _modulated_layers(model)
        layers = self._layers(model)
        # No e of the first layer: its inputs are the data, of which every member reads all.
        gates = [0, *(_inputs(layer) for layer in layers[1:])]
        self._sizes = [
            n for layer, gate in zip(layers, gates, strict=True) for n in (_units(layer), _units(layer), gate)
        ]
        scales = model.likelihood.log_scales.numel() if isinstance(model.likelihood, Scaled) else 0
        self.entries = nn.Parameter(torch.zeros(2 * KNOTS, sum(self._sizes) + scales))

    @contextmanager
    def at(self, conditions: Float[Tensor, "groups 2"]) -> Iterator[VAE]:
        """Lends the model modulated: what it sees is split into as many equal parts as there are conditions.

        Args:
            conditions: (c_1, c_2) of each part of the batch, in order, in [-1, 1].
        """
        with ExitStack() as stack:
            for layer, factors in zip(self._layers(self.model), self._factors(conditions), strict=True):
                if factors[2].shape[-1]:
                    stack.callback(layer.register_forward_pre_hook(partial(_modulate_input, factors=factors)).remove)
                stack.callback(layer.register_forward_hook(partial(_modulate_output, factors=factors)).remove)
            yield self.model

    def log_likelihood(
        self, parameters: Float[Tensor, "groups n outputs"], x: Float[Tensor, "groups n event"], conditions: Tensor
    ) -> Float[Tensor, "groups n"]:
        """Returns log p(x|z) of each part of the batch, with the scales of its member, in nats."""
        likelihood = self.model.likelihood
        if not isinstance(likelihood, Scaled):
            return likelihood.log_prob(parameters, x)
        return likelihood.log_prob_at(self._log_scales(likelihood, conditions).unsqueeze(1), parameters, x)

    @torch.no_grad()
    def fold(self, condition: Float[Tensor, " 2"]) -> VAE:
        """Returns the family's member at a condition: an ordinary model of the same class, shapes and speed."""
        folded = copy.deepcopy(self.model)
        for layer, factors in zip(self._layers(folded), self._factors(condition.unsqueeze(0)), strict=True):
            (scale,), (shift,), (gate,) = factors
            layer.weight.mul_(_along_units(layer, scale))
            if len(gate):
                layer.weight.mul_(_along_inputs(layer, gate))
            if layer.bias is not None:
                layer.bias.mul_(scale).add_(shift)
        if isinstance(folded.likelihood, Scaled):
            (log_scales,) = self._log_scales(folded.likelihood, condition.unsqueeze(0))
            folded.likelihood.set_log_scales(log_scales)
        return folded.eval()

    @torch.no_grad()
    def check_folds(self, event_shape: Sequence[int]) -> None:
        """Raises ShapeError unless members are what is trained: the model's layers alone use their weights.

        Both are compared on two examples, with tables that are not 0.
        """
        likelihood, device = self.model.likelihood, self.entries.device
        generator = torch.Generator().manual_seed(0)
        entries, was_training = self.entries.clone(), self.model.training
        try:
            noise = torch.randn(self.entries.shape, generator=generator)
            self.entries.copy_(noise.mul_(0.1 / self.gain))
            self.model.eval()
            condition = torch.zeros(2, device=device)
            raw = torch.rand(2, *event_shape, generator=generator).to(device)
            x = likelihood.prepare(raw.round(), torch.Generator(device))
            folded = self.fold(condition)
            with self.at(condition.unsqueeze(0)) as lent:
                posterior = lent.posterior(x)
                decoded = lent.decoder(posterior.mean)
            member = folded.posterior(x)
            pairs = (
                (posterior.mean, member.mean),
                (posterior.log_std, member.log_std),
                (decoded, folded.decoder(posterior.mean)),
            )
        finally:
            self.entries.copy_(entries)
            self.model.train(was_training)
        if not all(torch.allclose(one, other, rtol=1e-2, atol=1e-2, equal_nan=True) for one, other in pairs):
            got = "weights that something else uses too, or changes before they are used"
            fix = "a network whose layers alone use their weights, or --method dedicated"
            raise ShapeError(expected("a network that can be modulated layer by layer", got=got, fix=fix))

    def _layers(self, model: VAE) -> list[Layer]:
        modules = dict(model.named_modules())
        return [layer for name in self._names if isinstance(layer := modules[name], Layer)]

    def _factors(self, conditions: Tensor) -> list[Factors]:
        """Returns 1 + a and b [groups, units], exp(e) [groups, inputs or 0] of each layer."""
        parts = self._read(self.entries[:, : sum(self._sizes)], conditions).split(self._sizes, dim=-1)
        return [(1 + a, b, e.exp()) for a, b, e in zip(parts[::3], parts[1::3], parts[2::3], strict=True)]

    def _log_scales(self, likelihood: Scaled, conditions: Tensor) -> Float[Tensor, "groups scales"]:
        return likelihood.log_scales + SCALE_GAIN * self._read(self.entries[:, sum(self._sizes) :], conditions)

    def _read(self, entries: Tensor, conditions: Tensor) -> Tensor:
        return self.gain * (shares_of(conditions, KNOTS) @ entries)


def shares_of(conditions: Float[Tensor, "groups 2"], knots: int) -> Float[Tensor, "groups entries"]:
    """Returns the share of each row of the tables in a condition's modulation: first of values, then of slopes.

    Args:
        conditions: In [-1, 1]; what lies outside is taken at the end.
        knots: How many quadratic B-splines there are along the first number, centred a step apart: three of them
            differ from 0, and their sum is 1.
    """
    first, second = ((conditions.clamp(-1, 1) + 1) / 2).unsqueeze(-1).unbind(1)
    distance = (0.5 + first * (knots - 2) - torch.arange(knots, device=first.device)).abs()
    splines = torch.where(distance <= 0.5, 0.75 - distance.square(), 0.5 * (1.5 - distance).clamp_min(0.0).square())
    return torch.cat([splines, second * splines], dim=-1)


def _modulate_input(layer: Layer, inputs: tuple[Tensor], *, factors: Factors) -> Tensor:
    grouped, (gate,) = _in_groups(layer, inputs[0], factors[2])
    return (grouped * gate).flatten(0, 1)


def _modulate_output(layer: Layer, inputs: object, output: Tensor, *, factors: Factors) -> Tensor:
    grouped, (scale, shift) = _in_groups(layer, output, *factors[:2])
    modulated = grouped * scale if layer.bias is None else torch.addcmul(shift, grouped, scale)
    return modulated.flatten(0, 1)


def _in_groups(layer: Layer, batch: Tensor, *factors: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Returns the batch as [groups, examples, ...], and the factors in shapes that fit its units or channels."""
    groups = len(factors[0])
    if batch.shape[0] % groups:
        raise ShapeError(
            expected(
                f"layers that keep the batch first, in {groups} equal parts",
                got=f"a batch of shape {tuple(batch.shape)} at {type(layer).__name__}",
                fix="a network whose layers see [batch, ...]",
            )
        )
    grouped = batch.unflatten(0, (groups, -1))
    shape = [groups, *[1] * (grouped.dim() - 1)]
    shape[2 if isinstance(layer, _ConvNd) else -1] = -1
    return grouped, [factor.to(batch.dtype).reshape(shape) for factor in factors]


def _modulated_layers(model: VAE) -> list[str]:
    """Returns the names of the layers to modulate, in the model's order."""
    found = [name for name, layer in model.named_modules() if isinstance(layer, Layer)]
    if not found:
        raise ShapeError(
            expected(
                "linear or convolutional layers to modulate", got="none in the model", fix="networks of such layers"
            )
        )
    layers = [model.get_submodule(name) for name in found]
    weights = [layer.weight for layer in layers]
    for name, layer in zip(found, layers, strict=True):
        if "weight" not in dict(layer.named_parameters(recurse=False)):
            got = f"{name}'s, which is computed from others (weight_norm, spectral_norm, pruning)"
            fix = "layers without it, or --method dedicated"
            raise ShapeError(expected("weights that are parameters of their layers", got=got, fix=fix))
    if len({id(weight) for weight in weights}) < len(weights):
        raise ShapeError(
            expected("layers with weights of their own", got="two layers that share them", fix="untied weights")
        )
    return found


def _units(layer: Layer) -> int:
    units: int = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    return units


def _inputs(layer: Layer) -> int:
    inputs: int = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
    return inputs


def _along_units(layer: Layer, scale: Float[Tensor, " units"]) -> Tensor:
    """Returns the scale in a shape that multiplies the layer's weight, unit by unit."""
    return _along_first(layer, scale) if not isinstance(layer, _TRANSPOSED) else _along_second(layer, scale)


def _along_inputs(layer: Layer, gate: Float[Tensor, " inputs"]) -> Tensor:
    """The same input by input."""
    return _along_first(layer, gate) if isinstance(layer, _TRANSPOSED) else _along_second(layer, gate)


def _along_first(layer: Layer, factor: Tensor) -> Tensor:
    return factor.reshape(-1, *[1] * (layer.weight.dim() - 1))


def _along_second(layer: Layer, factor: Tensor) -> Tensor:
    """Returns the factor for the weight's second dimension, which holds one group's share of a grouped convolution."""
    weight, groups = layer.weight, getattr(layer, "groups", 1)
    by_group = factor.reshape(groups, 1, -1).expand(-1, weight.shape[0] // groups, -1)
    return by_group.reshape(weight.shape[0], -1, *[1] * (weight.dim() - 2))
