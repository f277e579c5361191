"""JAX twins: MLP, VAE, the flows RealNVP and MAF of vectors, and Gated PixelCNN. Same weights, same losses.

A twin is a pair: parameters (nested lists of arrays, the pytree that JAX differentiates) and a function of them.
"""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import nn

from tinygen import bijections
from tinygen.models import GatedPixelCNN
from tinygen.nn.made_masks import made_masks
from tinygen.nn.masked import MaskedMLP

Twin = tuple[Any, Callable[..., Any]]  # parameters, function(parameters, x)
Offsets = Iterable[tuple[int, ...]]


def training_step(
    loss: Callable[..., Any], parameters: Any, batch: Callable[[], tuple[Any, ...]], lr: float = 1e-3
) -> Callable[[], float]:
    """Return a step of Adam, compiled as one function, for loss(parameters, key, *batch())."""

    @partial(jax.jit, donate_argnums=0)
    def update(state: Any, *data: Any) -> tuple[Any, Any]:
        theta, m, v, t = state
        t = t + 1
        value, g = jax.value_and_grad(loss)(theta, jax.random.fold_in(jax.random.key(0), t), *data)
        m = jax.tree.map(lambda m, g: m + 0.1 * (g - m), m, g)
        v = jax.tree.map(lambda v, g: v + 0.001 * (g * g - v), v, g)
        scale, root = lr / (1 - 0.9**t), 1 / jnp.sqrt(1 - 0.999**t)
        theta = jax.tree.map(lambda p, m, v: p - scale * m / (root * jnp.sqrt(v) + 1e-8), theta, m, v)
        return (theta, m, v, t), value

    parameters = jax.tree.map(jnp.array, parameters)
    zeros = [jax.tree.map(jnp.zeros_like, parameters) for _ in range(2)]
    state = (parameters, *zeros, jnp.zeros((), jnp.int32))

    def step() -> float:
        nonlocal state
        state, value = update(state, *batch())
        return float(value)

    return step


def linear(layer: Any) -> list[Any]:
    """Return the weights and the bias of a Linear or MaskedLinear."""
    return [layer.w.value, layer.b.value]


def mlp(layers: Iterable[Any], activation: Callable[[Any], Any]) -> Twin:
    """Return the twin of linear layers with an activation between them."""

    def apply(parameters: Any, x: Any) -> Any:
        *hidden, (w, b) = parameters
        for v, c in hidden:
            x = activation(x @ v + c)
        return x @ w + b

    return [linear(layer) for layer in layers], apply


def masked_mlp(net: MaskedMLP) -> Twin:
    """Return the twin of a MaskedMLP with one order and ReLUs."""
    masks = [jnp.asarray(mask, jnp.float32) for mask in made_masks(net.degrees[0], net.width)]
    parameters, apply = mlp(net.layers, nn.relu)
    return parameters, lambda p, x: apply([[w * mask, b] for (w, b), mask in zip(p, masks, strict=True)], x)


def vae_loss(encoder: Callable[..., Any], decoder: Callable[..., Any]) -> Callable[..., Any]:
    """Return the loss −ELBO with the analytic KL divergence; with the given noise (N, D), or else with new noise."""

    def loss(parameters: Any, key: Any, x: Any, noise: Any = None) -> Any:
        mean, log_scale = jnp.split(encoder(parameters[0], 2 * x - 1), 2, 1)
        noise = jax.random.normal(key, mean.shape) if noise is None else noise
        logits = decoder(parameters[1], mean + jnp.exp(log_scale) * noise)
        log_p = (nn.log_sigmoid(logits) * x + nn.log_sigmoid(-logits) * (1 - x)).sum(-1)
        kl = 0.5 * (jnp.exp(2 * log_scale) + mean * mean - 1) - log_scale
        return (kl.sum(-1) - log_p).mean()

    return loss


def flow_loss(flow: bijections.Flow) -> Twin:
    """Return the parameters and the loss −ln p(x) of a flow of vectors with a standard normal base."""
    parameters, forward = twin_of(flow.bijection)

    def loss(parameters: Any, key: Any, x: Any) -> Any:
        z, log_det = forward(parameters, x)
        return (0.5 * (z * z).sum(1) - log_det).mean() + 0.5 * z.shape[1] * math.log(2 * math.pi)

    return parameters, loss


def chain(bijection: bijections.Chain) -> Twin:
    parts = [twin_of(part) for part in bijection.bijections]

    def forward(parameters: Any, x: Any) -> Any:
        total = 0.0
        for p, (_, part) in zip(parameters, parts, strict=True):
            x, log_det = part(p, x)
            total = total + log_det
        return x, total

    return [parameters for parameters, _ in parts], forward


def affine_coupling(coupling: bijections.AffineCoupling) -> Twin:
    net: Any = coupling.network
    (parameters, apply), mask = mlp([*net.layers, net.last], nn.relu), coupling.mask

    def forward(parameters: Any, x: Any) -> Any:
        a, b = x[:, : mask.at], x[:, mask.at :]
        a, b = (b, a) if mask.flipped else (a, b)
        s, t = jnp.split(apply(parameters[0], a), 2, 1)
        s = parameters[1] * jnp.tanh(s)
        b = b * jnp.exp(s) + t
        return jnp.concatenate([b, a] if mask.flipped else [a, b], 1), s.sum(1)

    assert mask.name == "half"
    return [parameters, coupling.w.value], forward


def masked_autoregressive(bijection: bijections.MaskedAutoregressive) -> Twin:
    (parameters, apply), bound = masked_mlp(bijection.net), bijection.transformer.bound  # type: ignore[attr-defined]

    def forward(parameters: Any, x: Any) -> Any:
        s, t = jnp.moveaxis(apply(parameters, x).reshape(*x.shape, 2), 2, 0)
        s = bound * jnp.tanh(s / bound)
        return x * jnp.exp(s) + t, s.sum(1)

    return parameters, forward


def act_norm(norm: bijections.ActNorm) -> Twin:
    return [norm.m.value, norm.s.value], lambda p, x: ((x - p[0]) * jnp.exp(p[1]), p[1].sum())


_TWINS: dict[type, Callable[[Any], Twin]] = {
    bijections.ActNorm: act_norm,
    bijections.AffineCoupling: affine_coupling,
    bijections.Chain: chain,
    bijections.MaskedAutoregressive: masked_autoregressive,
}


def twin_of(bijection: Any) -> Twin:
    """Return the twin of a bijection: parameters, and forward(parameters, x) with the log-determinant."""
    return _TWINS[type(bijection)](bijection)


def convolution(layer: Any) -> Twin:
    """Return the twin of a Conv in 2-D: its kernel is the bounding box of the taps, with zeros elsewhere."""
    offsets = np.array(layer.taps)
    first, last = offsets.min(0), offsets.max(0)
    kernel = np.zeros((*(last - first + 1), *layer.w.shape[1:]), np.float32)
    kernel[tuple((offsets - first).T)] = layer.w.value
    padding = [(int(-a), int(b)) for a, b in zip(first, last, strict=True)]

    def apply(parameters: Any, x: Any) -> Any:
        y = jax.lax.conv_general_dilated(x, parameters[0], (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return y + parameters[1] if len(parameters) > 1 else y

    return [kernel] if layer.b is None else [kernel, layer.b.value], apply


def gated_pixelcnn_loss(model: GatedPixelCNN) -> Twin:
    """Return the parameters and the loss −ln p(x) of images (N, H, W, 1)."""
    names = ("vertical", "to_horizontal", "horizontal", "skip", "residual")
    twins = [{n: convolution(getattr(layer, n)) for n in names if getattr(layer, n)} for layer in model.layers]
    ends = [convolution(model.hidden), convolution(model.logits)]
    parameters = [{n: p for n, (p, _) in layer.items()} for layer in twins], [p for p, _ in ends]

    def gate(x: Any) -> Any:
        a, b = jnp.split(x, 2, -1)
        return jnp.tanh(a) * nn.sigmoid(b)

    def loss(parameters: Any, key: Any, x: Any) -> Any:
        layers, last = parameters
        v = h = x.astype(jnp.float32) * (2 / (model.output.levels - 1)) - 1
        skip = 0.0
        for i, (p, layer) in enumerate(zip(layers, twins, strict=True)):
            run = {n: partial(apply, p[n]) for n, (_, apply) in layer.items()}
            v = run["vertical"](gate(v) if i else v)
            features = gate(run["horizontal"](h) + run["to_horizontal"](v))
            skip = skip + run["skip"](features)
            if "residual" in run:
                h = run["residual"](features) + (h if i else 0.0)
        logits = ends[1][1](last[1], nn.relu(ends[0][1](last[0], nn.relu(skip))))
        log_p = jnp.take_along_axis(nn.log_softmax(logits), x, 3)
        return -log_p.sum() / len(x)

    return parameters, loss
