"""Operations that a kernel computes in one pass over memory, where a chain of NumPy calls would need many.

Each is also implemented here as a composition of simple operations. The kernel computes the value and the first
derivative; with create_graph, the derivative is that of the composition. tinygen/kernels/reference.py defines the gated
activation and the likelihoods in NumPy.

Checked by: tests/autograd/test_fused.py
"""

from collections.abc import Callable

import numba
import numpy as np

from ..arguments import explained
from ..kernels import activation, likelihood, mixture
from ..kernels import lstm as recurrent
from .along_axis import take_along_axis
from .backward import grad, independent
from .elementwise import exp, log_sigmoid, sigmoid, tanh
from .grad_mode import is_grad_enabled
from .linalg import matmul
from .operands import check_constant, floating, kernel_dtype, real
from .reduce import log_softmax, logsumexp
from .shape import broadcast_to, concatenate, index, pad, reshape, split, stack, transpose
from .tensor import VJP, Array, Tensor, TensorLike, array_of, node, primitive


def _vjp(op: str, x: TensorLike, composed: Callable[[TensorLike], Tensor], kernel: Callable[[Array], Array]) -> VJP:
    """Return the VJP of a fused operation in x: the kernel's, or the composition's if gradients are recorded."""

    def vjp(g: Tensor, y: Tensor) -> Tensor:
        if is_grad_enabled():
            own = independent([x])
            return grad(composed(*own), own, g, create_graph=True)[0]
        return node(op, kernel(g.value))

    return vjp


@primitive
def gated_activation(x: TensorLike) -> Tensor:
    """y = tanh(a) σ(b), where a and b are the halves of the last axis of x: the gate of PixelCNN and WaveNet.

    Shapes: x (…, 2C), y (…, C).
    Raises: ValueError if the last axis is odd.
    Source: van den Oord et al., "Conditional Image Generation with PixelCNN Decoders", 2016, equation 2.
    """
    v = floating("gated_activation", x)
    kernel = lambda g: activation.gated_activation_vjp(v, g)
    vjp = _vjp("gated_activation_vjp", x, _composed_gate, kernel)
    return node("gated_activation", activation.gated_activation(v), (x, vjp))


def _composed_gate(x: TensorLike) -> Tensor:
    a, b = split(x, 2, axis=-1)
    return tanh(a) * sigmoid(b)


@primitive
def bernoulli_log_prob(logits: TensorLike, k: Array) -> Tensor:
    """y = Σⱼ ln p(kⱼ) with p(1) = σ(logitⱼ), p(0) = σ(−logitⱼ): the log-likelihood of each row of bits, in nats.

    Shapes: logits (N, D), k (N, D) of 0 and 1, y (N,).
    Raises: ValueError if the shapes do not match, or if k contains anything but 0 and 1; TypeError if k is a Tensor.
    """
    check_constant("bernoulli_log_prob", k=k)
    v, k = floating("bernoulli_log_prob", logits), real("bernoulli_log_prob", k)
    if v.ndim != 2 or k.shape != v.shape:
        raise ValueError(f"bernoulli_log_prob: expected logits (N, D) and k (N, D), got {v.shape} and {k.shape}")
    bits = k.astype(bool, copy=False)
    if bits is not k and not np.array_equal(bits, k):
        raise ValueError(
            "bernoulli_log_prob: k: expected only 0 and 1, got other numbers; for targets p in between, add up "
            "p * log_sigmoid(logits) + (1 - p) * log_sigmoid(-logits)"
        )
    bits = bits.astype(np.uint8)
    composed = lambda logits: log_sigmoid(logits * np.where(bits, 1, -1).astype(v.dtype)).sum(1)
    kernel = lambda g: likelihood.bernoulli_vjp(v, bits, g)
    return node(
        "bernoulli_log_prob", likelihood.bernoulli(v, bits), (logits, _vjp("bernoulli_vjp", logits, composed, kernel))
    )


@primitive
def categorical_log_prob(logits: TensorLike, k: Array) -> Tensor:
    """y = ln softmax(logits)ₖ: the log-probability of each class k given its row of logits, in nats.

    Shapes: logits (N, K), k (N,) of integers 0…K−1, y (N,).
    Raises: ValueError if the shapes do not match, or unless k are integers 0…K−1; TypeError if k is a Tensor.
    """
    check_constant("categorical_log_prob", k=k)
    v, k = floating("categorical_log_prob", logits), np.asarray(k)
    if v.ndim != 2 or not v.shape[1] or k.shape != v.shape[:1]:
        got = f"{v.shape} and {k.shape}"
        raise ValueError(f"categorical_log_prob: expected logits (N, K), K ≥ 1, and k (N,), got {got}")
    if k.dtype.kind not in "iub" or not 0 <= k.min(initial=0) <= k.max(initial=0) < v.shape[1]:
        got = f"{k.dtype} from {k.min()} to {k.max()}" if k.size else str(k.dtype)
        raise ValueError(f"categorical_log_prob: k: expected integers 0…{v.shape[1] - 1}, got {got}")
    classes = k.astype(np.int64, copy=is_grad_enabled())  # the caller may modify k before the backward pass
    y, tops, logs = likelihood.categorical(v, classes)
    composed = lambda logits: reshape(take_along_axis(log_softmax(logits), classes[:, None], 1), len(v))
    kernel = lambda g: likelihood.categorical_vjp(v, classes, tops, logs, g)
    return node("categorical_log_prob", y, (logits, _vjp("categorical_vjp", logits, composed, kernel)))


@primitive
def mixture_cdf(x: TensorLike, parameters: TensorLike) -> Tensor:
    """y = (logit F(x), ln F′(x)), where F(x) = Σₖ softmax(π)ₖ σ((x − μₖ) / sₖ) is the CDF of a mixture of logistics.

    logit F = ln F − ln(1 − F) keeps full precision in both tails; F itself would round to 1 in the upper one.

    Shapes: x (…); parameters (…, 3K), broadcastable to x: π, μ and ln s, K of each; y (2, …), at least float32.
    Raises: ValueError if the shapes do not match; TypeError for longdouble.
    """
    x, parameters = (t if isinstance(t, Tensor) else Tensor(floating("mixture_cdf", t)) for t in (x, parameters))
    v, theta = kernel_dtype("mixture_cdf", x), kernel_dtype("mixture_cdf", parameters)
    if not theta.ndim or not theta.shape[-1] or theta.shape[-1] % 3:
        raise ValueError(f"mixture_cdf: expected parameters (…, 3K), got {theta.shape}")
    width = theta.shape[-1]

    def vjp(g: Tensor, y: Tensor) -> Tensor:
        if is_grad_enabled():
            rows = broadcast_to(parameters, (*v.shape, width))
            own = independent([x, rows])
            by_x, by_rows = grad(_composed_mixture_cdf(*own), own, g, create_graph=True)
            return concatenate([reshape(by_x, (*v.shape, 1)), by_rows], -1)
        return node("mixture_cdf_vjp", mixture.mixture_vjp(v, theta, g.value))

    # One pass computes the cotangents of x and of the parameters together, as the cotangent of an intermediate node
    # whose value is not used.
    y = mixture.mixture(v, theta)
    unused = np.broadcast_to(np.zeros((), y.dtype), (*v.shape, 1 + width))
    both = node("mixture_operands", unused, (x, lambda g, y: g[..., 0]), (parameters, lambda g, y: g[..., 1:]))
    return node("mixture_cdf", y, (both, vjp))


def _composed_mixture_cdf(x: Tensor, rows: Tensor) -> Tensor:
    logits, means, log_scales = split(rows, 3, -1)
    log_weights, a = log_softmax(logits), (reshape(x, (*x.shape, 1)) - means) * exp(-log_scales)
    below, above = log_sigmoid(a), log_sigmoid(-a)  # ln σ(a) and ln(1 − σ(a)); σ′ = σ (1 − σ)
    log_cdf, log_tail = logsumexp(log_weights + below, -1), logsumexp(log_weights + above, -1)
    return stack([log_cdf - log_tail, logsumexp(log_weights + below + above - log_scales, -1)])


@primitive
def lstm(x: TensorLike, u: TensorLike) -> Tensor:
    """LSTM over whole sequences, from zero states: a_t = x_t + h_{t−1} u, and (h_t, c_t) = lstm_cell(a_t, c_{t−1}).

    x_t is the inputs' contribution to the gates. In float64, the composition is used instead of the kernel.

    Shapes: x (N, T, 4H), u (H, 4H), result h (N, T, H).
    Raises: ValueError if the shapes do not match.
    Source: as for `lstm_cell`.
    """
    x, u = (t if isinstance(t, Tensor) and t.dtype.kind == "f" else Tensor(floating("lstm", t)) for t in (x, u))
    v, w, size = x.value, u.value, u.shape[0] if u.ndim else 0
    if v.ndim != 3 or w.shape != (size, 4 * size) or v.shape[2:] != w.shape[1:]:
        raise ValueError(f"lstm: expected x (N, T, 4H) and u (H, 4H), got {v.shape} and {w.shape}")
    if numba.config.DISABLE_JIT or not v.size or not v.dtype == w.dtype == np.float32:
        return _composed_lstm(x, u)
    h, c, gates = recurrent.lstm(v, w)

    def vjp_u(g: Tensor, y: Tensor) -> Tensor:
        earlier = pad((lstm(x, u) if is_grad_enabled() else Tensor(h))[:, :-1], [(0, 0), (1, 0), (0, 0)])  # h_{t−1}
        return matmul(transpose(reshape(earlier, (-1, size))), reshape(g, (-1, 4 * size)))

    # One backward pass through time computes the cotangents of all a_t, as the cotangent of an intermediate node whose
    # value is not used. That of x is the same; that of u takes one matrix product.
    a = node("lstm_gates", gates, (x, lambda g, y: g), (u, vjp_u))
    kernel = lambda g: recurrent.lstm_vjp(g, w, c, gates)
    return node("lstm", h, (a, _vjp("lstm_vjp", x, lambda x: _composed_lstm(x, u), kernel)))


@explained
def lstm_cell(a: TensorLike, c: TensorLike) -> tuple[Tensor, Tensor]:
    """One step of an LSTM: c′ = σ(f) c + σ(i) tanh(g), h′ = σ(o) tanh(c′), where i, f, g, o are the quarters of a.

    Shapes: a (…, 4H), c (…, H); the result is (h′, c′), both (…, H).
    Raises: ValueError if the shapes do not match.
    Source: Hochreiter & Schmidhuber, "Long short-term memory", 1997; with the forget gate of Gers, Schmidhuber &
    Cummins, "Learning to forget: continual prediction with LSTM", 2000.
    """
    u, v = array_of(a), array_of(c)
    if not u.ndim or u.shape[-1] % 4 or v.shape != (*u.shape[:-1], u.shape[-1] // 4):
        raise ValueError(f"lstm_cell: a and c: expected shapes (…, 4H) and (…, H), got {u.shape} and {v.shape}")
    i, f, g, o = split(a, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def _composed_lstm(x: TensorLike, u: Tensor) -> Tensor:
    n, length, _ = array_of(x).shape
    h: TensorLike = np.zeros((n, u.shape[0]), array_of(x).dtype)
    c, hs = h, []
    for t in range(length):
        h, c = lstm_cell(index(x, (slice(None), t)) + matmul(h, u), c)
        hs.append(h)
    return stack(hs, axis=1) if hs else matmul(x, transpose(u))  # an empty array of the right shape
