"""Several VAEs of one architecture as one: their weights lie side by side, and one pass runs them all."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (the field's name for it)
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from lagvae.errors import ShapeError, expected
from lagvae.model.draw import Draw
from lagvae.model.gaussian import LOG_STD_RANGE, DiagonalGaussian
from lagvae.model.likelihoods.likelihood import Likelihood, Running, Scaled, sees_batch, show_encoder
from lagvae.model.networks import ACTIVATIONS, FlatDecoder, FlatEncoder, MLPDecoder, MLPEncoder
from lagvae.model.residual import ResidualDecoder, ResidualEncoder, ResidualLayer
from lagvae.model.vae import VAE, current_precision
from lagvae.streams import Streams

FLAT = (FlatEncoder, FlatDecoder, MLPEncoder, MLPDecoder, ResidualEncoder, ResidualDecoder)
"""Networks that are their ``layers`` between a flat entrance and exit."""
ELEMENTWISE = (nn.Identity, *ACTIVATIONS.values())

Weights = Mapping[str, Float[Tensor, "models ..."]]


class StackedVAE:
    """Models of one architecture. Every tensor has a leading dimension of models; model i's weights are row i.

    Perceptrons, residual ones too, run as stacked matrix products, other networks under ``torch.func.vmap``. Random
    numbers are each model's own, drawn as it would draw them alone, so that it learns what it would learn alone.

    Args:
        models: Their parameters become rows of ``weights``: what trains these trains them.

    Attributes:
        weights: Name → the parameters of all models, leaves of autograd.

    Raises:
        ShapeError: The models cannot be stacked; :func:`why_not_stacked` says why.
    """

    def __init__(self, models: Sequence[VAE]) -> None:
        reason = why_not_stacked(models)
        if reason:
            raise ShapeError(expected("models that can be stacked", got=reason, fix="a run for each"))
        self.models = list(models)
        rows = [dict(model.named_parameters()) for model in models]
        self.weights = {
            name: torch.stack([row[name].detach() for row in rows]).requires_grad_(rows[0][name].requires_grad)
            for name in rows[0]
        }
        for name, stacked in self.weights.items():
            for row, own in zip(rows, stacked.detach().unbind(), strict=True):
                row[name].data = own
        # A likelihood of the stack's own: what becomes of the first model is no matter of the others.
        self.likelihood = copy.deepcopy(models[0].likelihood)
        self._likelihoods = [model.likelihood for model in models]
        self._scoring = self._stack_likelihoods()
        self._encode = _stacked(models[0].encoder, self._of("encoder."))
        self._decode = _stacked(models[0].decoder, self._of("decoder."))

    def draw(self, x: Float[Tensor, "models batch *event"], streams: Sequence[Streams]) -> Draw:
        """Runs a prepared batch for each model through it: one z per example, of its own posterior's stream."""
        output = self._encode(show_encoder(self.likelihood, x))
        mean, log_std = (part.float() for part in (output.chunk(2, -1) if isinstance(output, Tensor) else output))
        posterior = DiagonalGaussian(mean, log_std.clamp(*LOG_STD_RANGE))
        return self._draw_at(x.flatten(2), posterior, streams, current_precision(x.device))

    def release(self, index: int) -> None:
        """Gives a model's parameters memory of their own again: the stack trains it no further."""
        for parameter in self.models[index].parameters():
            parameter.data = parameter.data.clone()
        theirs, ours = self._likelihoods[index], copy.deepcopy(self._likelihoods[index])
        for name in getattr(theirs, "running", ()):  # the memory stays the stack's: a recorded step writes there
            setattr(ours, name, getattr(theirs, name))
            setattr(theirs, name, getattr(theirs, name).clone())
        self._likelihoods[index] = ours

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Examples are no batches to train on while it lasts: scales that follow the batch are the running ones."""
        if not isinstance(self.likelihood, nn.Module):
            yield
            return
        self.likelihood.eval()
        try:
            yield
        finally:
            self.likelihood.train()

    def _draw_at(
        self,
        x: Float[Tensor, "*again models batch event"],
        posterior: DiagonalGaussian,
        streams: Sequence[Streams],
        precision: AbstractContextManager[object],
    ) -> Draw:
        def draw_again(samples: int) -> Draw:
            with precision:
                return self._draw_at(x.expand(samples, *x.shape), posterior.expand(samples), streams, precision)

        rows = list(zip(posterior.mean.detach().unbind(-3), streams, strict=True))
        z = posterior.at(torch.stack([own.posterior_noise(mean) for mean, own in rows], dim=-3))
        codes = z.movedim(-3, 0)
        parameters = self._decode(codes.flatten(1, -2)).flatten(2).unflatten(1, codes.shape[1:-1])
        return Draw(
            x=x,
            posterior=posterior,
            z=z,
            parameters=parameters.movedim(0, -3),
            likelihood=self._scoring,
            draw_standard=lambda: torch.stack([own.prior_sample(mean) for mean, own in rows], dim=-3),
            draw_again=draw_again,
            prior=self.models[0].prior,
        )

    def _stack_likelihoods(self) -> Likelihood:
        """Returns the likelihood, with each model's own scales where it has any."""
        own = self.likelihood
        if isinstance(own, Running):
            return _Scoring(own, lambda parameters, x: own.log_prob_each(self._likelihoods, parameters, x))
        name = _scales_in(own)
        if isinstance(own, Scaled) and name is not None:
            log_scales = self.weights[f"likelihood.{name}"].unsqueeze
            return _Scoring(own, lambda parameters, x: own.log_prob_at(log_scales(1), parameters, x))
        return own

    def _of(self, part: str) -> Weights:
        return {name.removeprefix(part): tensor for name, tensor in self.weights.items() if name.startswith(part)}


def why_not_stacked(models: Sequence[VAE]) -> str:
    """Returns why models cannot be stacked, in words; empty where they can.

    They need the same networks, without buffers or random numbers of their own, and the same likelihood and prior,
    which learn nothing themselves but scales.
    """
    first = models[0]
    shapes = {name: parameter.shape for name, parameter in first.named_parameters()}
    buffers = dict(first.named_buffers())
    for model in models:
        if repr(model) != repr(first) or {n: p.shape for n, p in model.named_parameters()} != shapes:
            return "networks that differ"
        own = {f"likelihood.{name}" for name in getattr(model.likelihood, "running", ())}
        if any(not torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers() if name not in own):
            return "likelihoods adapted to different data"
    if any(name.startswith(("encoder.", "decoder.")) for name in buffers):
        return "networks with running statistics"
    if len(list(first.named_parameters(remove_duplicate=False))) > len(shapes):
        return "layers that share their weights"
    scales = f"likelihood.{_scales_in(first.likelihood)}"
    if any(not name.startswith(("encoder.", "decoder.")) and name != scales for name in shapes):
        return "a likelihood or prior that learns"
    if sees_batch(first.likelihood) and not isinstance(first.likelihood, Running):
        return "a likelihood that takes its scale from the batch"
    if any(
        type(model.likelihood) is not type(first.likelihood) or _plain(model.likelihood) != _plain(first.likelihood)
        for model in models
    ):
        return "likelihoods that differ"
    if any(isinstance(module, nn.modules.dropout._DropoutNd) for module in first.modules()):
        return "networks with dropout"
    return ""


@torch.no_grad()
def why_not_mapped(model: VAE, event_shape: Sequence[int]) -> str:
    """Returns why networks that are no sequences of products do not run side by side; empty where they do.

    Two of each are tried: numbers of chance, and decisions that hang on values, show only so.
    """
    x = torch.zeros(2, 2, *event_shape, device=model.device)
    z = torch.zeros(2, 2, model.latent_dim, device=model.device)
    for network, batch in ((model.encoder, show_encoder(model.likelihood, x)), (model.decoder, z)):
        if runs_as_products(network):
            continue
        try:
            _stacked(network, {name: torch.stack([own, own]) for name, own in network.named_parameters()})(batch)
        except Exception as error:  # whatever a user's own networks, or vmap, raise
            return f"networks that do not run side by side ({' '.join(str(error).split('.')[0].split())[:120]})"
    return ""


class _Scoring:
    """A likelihood that scores a stack's examples otherwise than one model's."""

    def __init__(self, likelihood: Likelihood, log_prob: Callable[[Tensor, Tensor], Tensor]) -> None:
        self._likelihood, self.log_prob = likelihood, log_prob

    def __getattr__(self, name: str) -> Any:
        return getattr(self._likelihood, name)


def _scales_in(likelihood: Likelihood) -> str | None:
    """Returns the name of the parameter that holds a likelihood's scales, if one does."""
    if not isinstance(likelihood, Scaled) or not isinstance(likelihood, nn.Module):
        return None
    return next((name for name, own in likelihood.named_parameters() if own is likelihood.log_scales), None)


def _plain(likelihood: object) -> dict[str, object]:
    """Returns the numbers and words that a likelihood is told, which its text may leave out."""
    return {name: value for name, value in vars(likelihood).items() if isinstance(value, int | float | str)}


def runs_as_products(network: nn.Module) -> bool:
    """Whether a stack of this network is a sequence of stacked matrix products."""
    if type(network) in FLAT or type(network) in (nn.Sequential, ResidualLayer):
        return all(map(runs_as_products, network.children()))
    return type(network) in (nn.Linear, nn.LayerNorm, *ELEMENTWISE)


def _stacked(network: nn.Module, weights: Weights) -> Callable[[Tensor], Any]:
    """Returns the network as a function of a batch for each model."""
    network = copy.deepcopy(network).to("meta")  # its structure: the weights are given, and the model goes its own way
    if not runs_as_products(network):
        mapped = vmap(lambda own, batch: functional_call(network, own, (batch,)))
        return lambda batch: mapped(dict(weights), batch)
    if isinstance(network, FlatEncoder):
        return lambda batch: _products(network.layers, weights, "layers.", batch.flatten(2))
    return lambda batch: _products(network, weights, "", batch)


def _products(module: nn.Module, weights: Weights, prefix: str, h: Tensor) -> Tensor:
    """Runs a module of which :func:`runs_as_products` holds, its outputs flat."""
    if isinstance(module, FlatEncoder | FlatDecoder):
        return _products(module.layers, weights, f"{prefix}layers.", h)
    if isinstance(module, nn.Sequential):
        for name, child in module.named_children():
            h = _products(child, weights, f"{prefix}{name}.", h)
        return h
    if isinstance(module, ResidualLayer):
        inner = _products(module.norm, weights, f"{prefix}norm.", h)
        inner = module.activation(_products(module.linear, weights, f"{prefix}linear.", inner))
        return _products(module.skip, weights, f"{prefix}skip.", h) + inner
    bias = weights.get(f"{prefix}bias")
    if isinstance(module, nn.Linear):
        matrix = weights[f"{prefix}weight"]
        kind = h.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else h.dtype
        shift = None if bias is None else bias.to(dtype)
        product: Tensor = _Product.apply(h.to(dtype), matrix.to(dtype), shift)  # type: ignore[no-untyped-call]
        return product
    if isinstance(module, nn.LayerNorm):
        h = F.layer_norm(h, module.normalized_shape, eps=module.eps)
        h = h * weights[f"{prefix}weight"].unsqueeze(1) if module.elementwise_affine else h
        return h if bias is None else h + bias.unsqueeze(1)
    output: Tensor = module(h)
    return output


class _Product(torch.autograd.Function):
    """(h, W, b) ↦ h Wᵀ + b for each model; the gradient of W lies in memory as W does: nothing is copied."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(h, matrix)
        return torch.bmm(h, matrix.mT) if bias is None else torch.baddbmm(bias.unsqueeze(1), h, matrix.mT)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        h, matrix = ctx.saved_tensors
        for_h, for_matrix, for_bias = ctx.needs_input_grad
        return (
            torch.bmm(gradient, matrix) if for_h else None,
            torch.bmm(gradient.mT, h) if for_matrix else None,
            gradient.sum(1) if for_bias else None,
        )
