"""Matrix products and fused kernels in tinygen and PyTorch: time, rate and error.

PyTorch computes the same in the operations that a user would write. `benchmarks.peak` has the machine's limits, and
defines the error in ulps. The last row is one call after another: two thread pools would compete for the cores.

    python -m benchmarks.fused [--threads 2] [--quick] [--save]
"""

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's convention

from benchmarks import peak, timing
from benchmarks.record import Row, report
from tinygen import kernels
from tinygen.kernels import adam, likelihood, lstm, mixture, reductions

Array = np.ndarray[Any, np.dtype[Any]]


class Kernel(NamedTuple):
    """A fused kernel and what PyTorch computes instead, a function of tensors of any dtype.

    Args:
        arrays: the operands.
        forward: tinygen's kernel, called with the operands.
        vjp: tinygen's VJP, called with the cotangent of the result; it returns the cotangent of the first operand.
        differentiated: number of operands, from the first, whose cotangents the VJP computes.
        operations: floating-point operations of the products in either pass, or 0 if the rate is given in bytes.
    """

    name: str
    arrays: tuple[Array, ...]
    forward: Callable[..., Array]
    torch: Callable[..., torch.Tensor]
    vjp: Callable[[Array], Array] | None = None
    operations: float = 0.0
    differentiated: int = 1


def normal(*shape: int) -> Array:
    """Return standard normal float32 numbers with a fixed seed."""
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def torch_gate(x: torch.Tensor) -> torch.Tensor:
    a, b = x.chunk(2, -1)
    return torch.tanh(a) * torch.sigmoid(b)


def torch_log_likelihood(x: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    return -F.binary_cross_entropy_with_logits(x, k.to(x.dtype), reduction="none").sum(1)


@cache
def _transposed(w: torch.Tensor) -> torch.Tensor:
    return w.T.contiguous()


def torch_lstm(x: torch.Tensor, w: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    zero = x.new_zeros(1, len(x), len(u))
    return torch.lstm(x, (zero, zero), [_transposed(w), _transposed(u)], False, 1, 0.0, True, False, True)[0]


def torch_mixture(x: torch.Tensor, parameters: torch.Tensor) -> torch.Tensor:
    logits, means, log_scales = parameters.chunk(3, -1)
    log_weights, a = F.log_softmax(logits, -1), (x[..., None] - means) * torch.exp(-log_scales)
    lower, upper = F.logsigmoid(a), F.logsigmoid(-a)
    log_cdf, log_tail = (torch.logsumexp(log_weights + part, -1) for part in (lower, upper))
    return torch.stack([log_cdf - log_tail, torch.logsumexp(log_weights + lower + upper - log_scales, -1)])


def torch_adam(value: torch.Tensor, g: torch.Tensor, m: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Take the first step of PyTorch's own Adam, from moments of zero."""
    parameter = value.clone().requires_grad_()
    parameter.grad = g
    torch.optim.Adam([parameter], 1e-3, fused=True).step()
    return parameter.detach()


def tinygen_adam(value: Array, g: Array, m: Array, v: Array) -> Array:
    m[...], v[...] = 0, 0
    return adam.adam(value, g, m, v, (0.1, 0.001, 1e-3 / (1 - 0.9), 1 / np.sqrt(1 - 0.999), 1e-8, 1.0))


def recurrence(x: Array, w: Array, u: Array) -> Kernel:
    """Return an LSTM with inputs x (N, T, F) and zero biases: the product with w, then the recurrence."""

    def gate_inputs(x: Array, w: Array) -> Array:
        return kernels.product(x.reshape(-1, x.shape[2]), w).reshape(*x.shape[:2], -1)

    _, c, gates = lstm.lstm(gate_inputs(x, w), u)
    n, length, features = x.shape
    return Kernel(
        f"LSTM, {length} steps of {len(u)}, batch {n}",
        (x, w, u),
        lambda x, w, u: lstm.lstm(gate_inputs(x, w), u)[0],
        torch_lstm,
        lambda g: gate_inputs(lstm.lstm_vjp(g, u, c, gates), w.T),
        2.0 * n * length * (features + len(u)) * u.shape[1],
    )


def cases(quick: bool) -> Iterator[Kernel]:
    """Yield the matrix products and the fused kernels."""
    shrink = 16 if quick else 1
    for m, k, n in (32, 64, 64), (256, 64, 64), (256, 256, 256), (1024, 256, 256), (50176 // shrink, 64, 64):
        yield Kernel(
            f"product {m}×{k}×{n}", (normal(m, k), normal(k, n)), kernels.product, torch.matmul, None, 2.0 * m * k * n
        )
    x = normal(64 // shrink, 28, 28, 128)
    values = 1_000_000 // shrink
    gate_vjp = partial(kernels.gated_activation_vjp, x)
    yield Kernel(f"gated activation tanh·σ, {len(x)}·28²×128", (x,), kernels.gated_activation, torch_gate, gate_vjp)
    logits, bits = normal(1600 // shrink, 784), (normal(1600 // shrink, 784) > 0).astype(np.uint8)
    bernoulli_vjp = partial(likelihood.bernoulli_vjp, logits, bits)
    yield Kernel(
        f"Bernoulli log-likelihood, {len(bits)}×784",
        (logits, bits),
        likelihood.bernoulli,
        torch_log_likelihood,
        bernoulli_vjp,
    )
    levels, classes = normal(16384 // shrink, 256), np.arange(16384 // shrink) % 256
    _, tops, logs = likelihood.categorical(levels, classes)
    yield Kernel(
        f"categorical log-likelihood, {len(classes)}×256",
        (levels, classes),
        lambda x, k: likelihood.categorical(x, k)[0],
        lambda x, k: -F.cross_entropy(x, k, reduction="none"),
        lambda g: likelihood.categorical_vjp(levels, classes, tops, logs, g),
    )
    yield recurrence(normal(32, 64, 64), normal(64, 512) * np.float32(0.1), normal(128, 512) * np.float32(0.1))
    points, parameters = normal(4096 // shrink), normal(4096 // shrink, 30)
    mixture_vjp = lambda g: mixture.mixture_vjp(points, parameters, g)[..., 0]
    operands = (points, parameters)
    name = f"mixture of 10 logistics, {len(points)} values"
    yield Kernel(name, operands, mixture.mixture, torch_mixture, mixture_vjp, differentiated=2)
    value, g, m, v = normal(4, values)
    yield Kernel(
        "Adam, 10⁶ parameters" if values == 10**6 else f"Adam, {values} parameters",
        (value, g, 0 * m, 0 * v),
        tinygen_adam,
        torch_adam,
    )
    for axis, name in enumerate(("rows", "columns")):
        for m, n in (256, 128), (50176 // shrink, 64):
            total = lambda x, axis=axis: reductions.total(x, (axis,)).astype(x.dtype)
            yield Kernel(f"sum over {name}, {m}×{n}", (normal(m, n),), total, lambda x, axis=axis: x.sum(axis))


def compare(kernel: Kernel, rounds: int, seconds: float) -> Iterator[Row]:
    """Yield the row of the forward pass and, if there is a VJP, that of the cotangent of the first operand."""
    theirs, doubles = (
        [torch.from_numpy(a.astype(dtype)) if a.dtype == np.float32 else torch.from_numpy(a) for a in kernel.arrays]
        for dtype in (np.float32, np.float64)
    )
    forward = partial(kernel.forward, *kernel.arrays)
    torch_forward = torch.no_grad()(partial(kernel.torch, *theirs))
    exact = torch.no_grad()(kernel.torch)(*doubles)
    size = sum(a.nbytes for a in (*kernel.arrays, forward()))
    yield row(kernel.name, forward, torch_forward, exact, (kernel.operations, size), rounds, seconds)
    if kernel.vjp is None:
        return
    cotangent = normal(*exact.shape)
    pullbacks = []
    for operands, g in (theirs, torch.from_numpy(cotangent)), (doubles, torch.from_numpy(cotangent).double()):
        inputs = [operand.requires_grad_() for operand in operands[: kernel.differentiated]]
        pullbacks.append(partial(torch.autograd.grad, kernel.torch(*operands), inputs, g, retain_graph=True))
    ours = partial(kernel.vjp, cotangent)
    size = sum(a.nbytes for a in (*kernel.arrays, cotangent, ours()))
    work = (kernel.operations, size)
    yield row(f"{kernel.name}, backward", ours, lambda: pullbacks[0]()[0], pullbacks[1]()[0], work, rounds, seconds)


def row(
    name: str,
    ours: Callable[[], Array],
    theirs: Callable[[], torch.Tensor],
    exact: torch.Tensor,
    work: tuple[float, float],
    rounds: int,
    seconds: float,
) -> Row:
    """Check both results against the float64 one, then time them."""
    results = ours(), theirs().numpy()
    for result in results:
        scale = float(exact.abs().max())
        np.testing.assert_allclose(result, exact.numpy(), rtol=0, atol=2e-5 * scale + 1e-6, err_msg=name)
    errors = {name: peak.ulps(result, exact) for name, result in zip(("ulps", "PyTorch ulps"), results, strict=True)}
    times = timing.compare(ours, {"PyTorch": theirs}, rounds=rounds, seconds=seconds)
    return Row("kernel, ms", name, timing.with_rates(times, *work) | errors)


def alternation(rounds: int, seconds: float) -> Row:
    """Time a convolution followed by a product against the sum of their separate times."""
    taps = ((-1, -1), (-1, 0), (-1, 1), (0, -1))
    x, w, a = normal(16, 28, 28, 32), normal(4, 32, 32), normal(256, 256)
    conv, product = partial(kernels.conv, x, w, taps, 1, (28, 28)), partial(kernels.product, a, a)
    calls: dict[str, Callable[[], Any]] = {"conv": conv, "product": product, "both": lambda: (conv(), product())}
    times = timing.median_milliseconds(calls, rounds, seconds)
    separate = times["conv"] + times["product"]
    values: dict[str, float | str] = {"both": times["both"], "sum": separate, "ratio": times["both"] / separate}
    return Row("alternation, ms", "convolution then product, compared with the sum of both alone", values)


def rows(quick: bool) -> Iterator[Row]:
    rounds, seconds = (1, 0.0) if quick else (5, 0.1)
    for kernel in cases(quick):
        yield from compare(kernel, rounds, seconds)
    yield alternation(rounds, seconds)


if __name__ == "__main__":
    args = timing.parse_arguments(__doc__)
    report("fused", rows(args.quick), args)
