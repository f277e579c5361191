"""The networks of three autoregressive models, in NumPy and from the equations and diagrams of their docstrings.

Each function maps x (N, *shape) and labels (N,) to the parameters of every variable. Checks of dependencies and of
normalisation accept any network with the right masks; these references also fix its layers and connections.
"""

from __future__ import annotations

import numpy as np
from helpers import oracle

from tinygen.autograd import Array
from tinygen.models import GatedPixelCNN, PixelCNN, WaveNet
from tinygen.nn import Conv
from tinygen.nn.masked import MaskedLinear


def conv(layer: Conv, h: Array) -> Array:
    y = oracle.conv(h, layer.w.value, layer.taps, 1, h.shape[1:-1])
    return y if layer.b is None else np.asarray(y + layer.b.value)


def masked(layer: MaskedLinear, h: Array, mask: Array | None) -> Array:
    y = h @ (layer.w.value if mask is None else layer.w.value * mask)
    return np.asarray(y if layer.b is None else y + layer.b.value)


def gate(h: Array) -> Array:
    a, b = np.split(h, 2, -1)
    return np.asarray(np.tanh(a) / (1 + np.exp(-b)))


def relu(h: Array) -> Array:
    return np.asarray(np.maximum(h, 0))


def gated_pixelcnn(model: GatedPixelCNN, x: Array, labels: Array) -> Array:
    v = h = model.rescale(x)
    skip: Array | float = 0.0
    for i, layer in enumerate(model.layers):
        v = conv(layer.vertical, gate(v) if i else v) + model.embeddings.layers[i].w.value[labels][:, None, None]
        features = gate(conv(layer.horizontal, h) + conv(layer.to_horizontal, v))
        skip = skip + conv(layer.skip, features)
        if layer.residual is not None:
            h = conv(layer.residual, features) + (h if i else 0)
    return conv(model.logits, relu(conv(model.hidden, relu(np.asarray(skip))))).reshape(*x.shape, -1)


def wavenet(model: WaveNet, x: Array, labels: Array, features: Array | None = None) -> Array:
    """The gate is tanh(W_f ∗ h + V_f c) ⊙ σ(W_g ∗ h + V_g c); V c has a term of the label and one of the features."""
    h = conv(model.first, model.embedding.w.value[x])
    skip: Array | float = 0.0
    for i, block in enumerate(model.blocks):
        context = model.label_embeddings.layers[i].w.value[labels][:, None]
        if features is not None:
            context = context + features @ model.feature_layers[i].w.value
        z = gate(conv(block.dilated, h) + context)
        skip = skip + conv(block.skip, z)
        if block.residual is not None:
            h = h + conv(block.residual, z)
    return conv(model.logits, relu(conv(model.hidden, relu(np.asarray(skip)))))


def pixelcnn(model: PixelCNN, x: Array, labels: Array) -> Array:
    values, contexts = model.rescale(x), [e.w.value[labels][:, None, None] for e in model.embeddings.layers]
    first, reduce, here, expand, hidden, last = model.masks
    h = conv(model.earlier, values) + contexts[0]
    if model.here is not None:
        h = h + masked(model.here, values, first)
    for block, context in zip(model.blocks, contexts[1:], strict=True):
        f = relu(masked(block.reduce, relu(h), reduce))
        f = relu(conv(block.conv.earlier, f) + masked(block.conv.centre, f, here) + context)
        h = h + masked(block.expand, f, expand)
    return masked(model.last, relu(masked(model.hidden, relu(h), hidden)), last).reshape(*x.shape, -1)
