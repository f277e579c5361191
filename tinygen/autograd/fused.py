"""Operations that a kernel computes at once, where a chain of NumPy calls would go through memory many times.

Each has its plain form beside it. The kernel serves the value and the first derivative; a derivative that is itself to
be differentiated is that of the plain form.

Checked by: tests/autograd/test_fused.py
"""

from __future__ import annotations

import numba
import numpy as np

from ..kernels import activation, likelihood, mixture
from ..kernels import lstm as recurrent
from .backward import grad
from .elementwise import exp, log_sigmoid, sigmoid, tanh
from .linalg import matmul
from .reduce import log_softmax, logsumexp
from .shape import broadcast_to, concatenate, pad, reshape, split, stack, transpose
from .special import log_ndtr, log_normal
from .tensor import Array, Tensor, TensorLike, array_of, is_grad_enabled, node, primitive


@primitive
def gated_activation(x: TensorLike) -> Tensor:
    """y = tanh(a) σ(b), where a and b are the halves of x's last axis: the gated unit of PixelCNN and WaveNet

    Shapes: x (…, 2C), y (…, C).  Raises ValueError if the last axis is odd.
    Source: van den Oord et al., "Conditional Image Generation with PixelCNN Decoders", 2016, equation 2.
    """
    v = array_of(x)
    if not v.ndim or v.shape[-1] % 2:
        raise ValueError(
            f"gated_activation: the last axis of shape {v.shape} must be even: one half is gated by the other"
        )

    def rule(g: Tensor, y: Tensor) -> Tensor:
        if is_grad_enabled():
            return grad(_plain_gate(x), [x], g, create_graph=True)[0]  # type: ignore[list-item]  # an edge has a tensor
        return node("gated_activation_vjp", activation.gated_activation_vjp(v, g.value))

    return node("gated_activation", activation.gated_activation(v), (x, rule))


def _plain_gate(x: TensorLike) -> Tensor:
    a, b = split(x, 2, axis=-1)
    return tanh(a) * sigmoid(b)


@primitive
def bernoulli_log_prob(logits: TensorLike, k: Array) -> Tensor:
    """y = Σⱼ ln p(kⱼ), where p(1) = σ(logitⱼ) and p(0) = σ(−logitⱼ): the log-likelihood of each row of bits, in nats

    Shapes: logits (N, D), k (N, D) of 0 and 1, y (N,).  Raises ValueError if the shapes are not these.
    """
    v = array_of(logits)
    if v.ndim != 2 or k.shape != v.shape:
        raise ValueError(f"bernoulli_log_prob: logits {v.shape} and k {k.shape} are not both (N, D)")
    bits = k.astype(np.uint8)

    def rule(g: Tensor, y: Tensor) -> Tensor:
        if is_grad_enabled():
            return grad(_plain_bernoulli(logits, bits), [logits], g, create_graph=True)[0]  # type: ignore[list-item]
        return node("bernoulli_vjp", likelihood.bernoulli_vjp(v, bits, g.value))

    return node("bernoulli_log_prob", likelihood.bernoulli(v, bits), (logits, rule))


def _plain_bernoulli(logits: TensorLike, bits: Array) -> Tensor:
    v = array_of(logits)
    return log_sigmoid(logits * np.where(bits, 1, -1).astype(v.dtype)).sum(1)


@primitive
def mixture_cdf(x: TensorLike, parameters: TensorLike, kind: str = "logistic") -> Tensor:
    """y = (logit F(x), ln F′(x)), where F(x) = Σₖ softmax(π)ₖ C((x − μₖ) / sₖ) and C is "logistic" or "normal"

    logit F = ln F − ln(1 − F) has both tails to full precision, where F itself would round to 1 in the upper one.

    Shapes: x (…), parameters (…, 3K), which broadcast to x: π, μ and ln s, K of each; y (2, …).
    Raises ValueError if the shapes are not these or there is no such kind.
    """
    x, parameters = (t if isinstance(t, Tensor) else Tensor(t) for t in (x, parameters))
    v, theta = x.value, parameters.value
    size = theta.shape[-1] // 3 if theta.ndim else 0
    if kind not in ("logistic", "normal") or not size or theta.shape[-1] % 3:
        raise ValueError(f"mixture_cdf: {kind!r} of parameters {theta.shape} is no mixture with (…, 3K)")
    normal = kind == "normal"

    def rule(g: Tensor, y: Tensor) -> Tensor:
        if is_grad_enabled():
            rows = broadcast_to(parameters, (*v.shape, 3 * size))
            by_x, by_rows = grad(_plain_mixture_cdf(x, rows, kind), [x, rows], g, create_graph=True)
            return concatenate([reshape(by_x, (*v.shape, 1)), by_rows], -1)
        return node("mixture_cdf_vjp", mixture.mixture_vjp(v, theta, normal, g.value))

    # The cotangents of x and of the parameters come from one pass. A node between holds both, and no value.
    y = mixture.mixture(v, theta, normal)
    nothing = np.broadcast_to(np.zeros((), y.dtype), (*v.shape, 1 + 3 * size))
    both = node("mixture_operands", nothing, (x, lambda g, y: g[..., 0]), (parameters, lambda g, y: g[..., 1:]))
    return node("mixture_cdf", y, (both, rule))


def _plain_mixture_cdf(x: Tensor, rows: Tensor, kind: str) -> Tensor:
    logits, means, log_scales = split(rows, 3, -1)
    log_weights, a = log_softmax(logits), (reshape(x, (*x.shape, 1)) - means) * exp(-log_scales)
    if kind == "logistic":
        below, above = log_sigmoid(a), log_sigmoid(-a)
        density = below + above
    else:
        below, above, density = log_ndtr(a), log_ndtr(-a), log_normal(a)
    log_u, log_rest = logsumexp(log_weights + below, -1), logsumexp(log_weights + above, -1)
    return stack([log_u - log_rest, logsumexp(log_weights + density - log_scales, -1)])


@primitive
def lstm(x: TensorLike, u: TensorLike) -> Tensor:
    """h_t of an LSTM that starts from zeros: a_t = x_t + h_{t−1} u, and (h_t, c_t) = lstm_cell(a_t, c_{t−1})

    x_t is what the inputs add to the gates, computed for all t beforehand. In float64 it is the plain form.

    Shapes: x (N, T, 4H), u (H, 4H), h (N, T, H).  Raises ValueError if x or u is of no such shape.
    Source: as that of `lstm_cell`.
    """
    x, u = (t if isinstance(t, Tensor) else Tensor(t) for t in (x, u))
    v, w, size = x.value, u.value, u.shape[0] if u.ndim else 0
    if v.ndim != 3 or w.shape != (size, 4 * size) or v.shape[2:] != w.shape[1:]:
        raise ValueError(f"lstm: x {v.shape} and u {w.shape} are not (N, T, 4H) and (H, 4H)")
    if numba.config.DISABLE_JIT or not v.size or not v.dtype == w.dtype == np.float32:
        return _plain_lstm(x, u)
    h, c, gates = recurrent.lstm(v, w)

    def through_time(g: Tensor, y: Tensor) -> Tensor:
        if is_grad_enabled():
            return grad(_plain_lstm(x, u), [x], g, create_graph=True)[0]
        return node("lstm_vjp", recurrent.lstm_vjp(g.value, w, c, gates))

    def to_u(g: Tensor, y: Tensor) -> Tensor:
        before = pad((lstm(x, u) if is_grad_enabled() else Tensor(h))[:, :-1], [(0, 0), (1, 0), (0, 0)])
        return matmul(transpose(reshape(before, (-1, size))), reshape(g, (-1, 4 * size)))

    # Once back through time gives the cotangents of all a_t; those of x and u come from these, in one product each. A
    # node between holds them; its own value is nobody's business.
    a = node("lstm_gates", gates, (x, lambda g, y: g), (u, to_u))
    return node("lstm", h, (a, through_time))


def lstm_cell(a: TensorLike, c: TensorLike) -> tuple[Tensor, Tensor]:
    """c′ = σ(f) c + σ(i) tanh(g) and h′ = σ(o) tanh(c′), where i, f, g, o are the quarters of a's last axis

    Shapes: a (…, 4H), c, h′ and c′ (…, H); the result is (h′, c′).  Raises ValueError if a's last axis is not four H.
    Source: Hochreiter & Schmidhuber, "Long short-term memory", 1997; with the forget gate of Gers, Schmidhuber &
    Cummins, "Learning to forget: continual prediction with LSTM", 2000.
    """
    i, f, g, o = split(a, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def _plain_lstm(x: Tensor, u: Tensor) -> Tensor:
    h: TensorLike = np.zeros((len(x), u.shape[0]), x.dtype)
    c, hs = h, []
    for t in range(x.shape[1]):
        h, c = lstm_cell(x[:, t] + matmul(h, u), c)
        hs.append(h)
    return stack(hs, axis=1) if hs else matmul(x, transpose(u))  # nothing, of the right shape
