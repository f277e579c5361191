"""Convolutions in tinygen and PyTorch: time, rate and error of the forward and the backward pass.

Backward is both VJPs. Results are checked to be equal before they are timed. Rates count the multiply-adds at the taps:
PyTorch also multiplies the zeros of a masked kernel. `benchmarks.peak` has the limits, and defines the error in ulps.

    python -m benchmarks.layers [--threads 2] [--quick] [--save] [--only NAME]
"""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks import peak, timing
from benchmarks.record import Row, report
from benchmarks.twins.layers import TorchConv
from tinygen import kernels

Offsets = tuple[tuple[int, int], ...]
Array = np.ndarray[Any, np.dtype[Any]]


class Layer(NamedTuple):
    """A convolution from x to y or, if `transposed`, from y to x."""

    name: str
    batch: int
    size_x: tuple[int, int]
    size_y: tuple[int, int]
    channels: tuple[int, int]
    taps: Offsets
    stride: int = 1
    transposed: bool = False
    radius: int | None = None  # of PyTorch's square kernel; by default, the kernel is the bounding box of the taps


def rectangle(height: int, width: int, top: int, left: int) -> Offsets:
    """Return all offsets of a height × width kernel whose (top, left) entry is offset (0, 0)."""
    return tuple((i - top, j - left) for i in range(height) for j in range(width))


def masked(width: int, centre: bool) -> Offsets:
    """Return the offsets before (0, 0) in raster order, and (0, 0) itself if `centre`."""
    return tuple(offset for offset in rectangle(width, width, width // 2, width // 2) if offset < (0, int(centre)))


MNIST, SMALL, HALF, LONG = (28, 28), (8, 8), (14, 14), (1, 4096)
LAYERS = [
    Layer("7×7 mask A, 1→64, 28² [64]", 64, MNIST, MNIST, (1, 64), masked(7, False), radius=3),
    Layer("7×7 mask A, 1→64, 8² [128]", 128, SMALL, SMALL, (1, 64), masked(7, False), radius=3),
    Layer("3×3 mask B, 64→64, 28² [64]", 64, MNIST, MNIST, (64, 64), masked(3, True), radius=1),
    Layer("3×3 mask B, 32→32, 8² [128]", 128, SMALL, SMALL, (32, 32), masked(3, True), radius=1),
    Layer("vertical 2×3, 64→128, 28² [64]", 64, MNIST, MNIST, (64, 128), rectangle(2, 3, 2, 1)),
    Layer("vertical 2×3, 32→64, 8² [128]", 128, SMALL, SMALL, (32, 64), rectangle(2, 3, 2, 1)),
    Layer("horizontal 1×2, 64→128, 28² [64]", 64, MNIST, MNIST, (64, 128), rectangle(1, 2, 0, 1)),
    Layer("horizontal 1×2, 32→64, 8² [128]", 128, SMALL, SMALL, (32, 64), rectangle(1, 2, 0, 1)),
    Layer("causal k=2, 32→64, T=4096 [4]", 4, LONG, LONG, (32, 64), ((0, -1), (0, 0))),
    Layer("causal k=2 dilation 256, 32→64, T=4096 [4]", 4, LONG, LONG, (32, 64), ((0, -256), (0, 0))),
    Layer("3×3 stride 2, 64→64, 28→14 [64]", 64, MNIST, HALF, (64, 64), rectangle(3, 3, 1, 1), 2),
    Layer("4×4 stride 2, 64→64, 28→14 [64]", 64, MNIST, HALF, (64, 64), rectangle(4, 4, 1, 1), 2),
    Layer("transposed 4×4 stride 2, 64→64, 14→28 [64]", 64, MNIST, HALF, (64, 64), rectangle(4, 4, 1, 1), 2, True),
    Layer("transposed 4×4 stride 2, 64→1, 14→28 [64]", 64, MNIST, HALF, (1, 64), rectangle(4, 4, 1, 1), 2, True),
    Layer("3×3, 64→64, 28² [64]", 64, MNIST, MNIST, (64, 64), rectangle(3, 3, 1, 1)),
    Layer("3×3, 32→32, 8² [128]", 128, SMALL, SMALL, (32, 32), rectangle(3, 3, 1, 1)),
    Layer("1×1, 64→64, 28² [64]", 64, MNIST, MNIST, (64, 64), ((0, 0),)),
    Layer("1×1, 128→128, 28² [64]", 64, MNIST, MNIST, (128, 128), ((0, 0),)),
    Layer("1×1, 32→32, 8² [128]", 128, SMALL, SMALL, (32, 32), ((0, 0),)),
    Layer("1×1, 64→1, 28² [64]", 64, MNIST, MNIST, (64, 1), ((0, 0),)),
]


def normal(*shape: int) -> Array:
    """Return standard normal float32 numbers with a fixed seed."""
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def check_close(ours: Array, theirs: torch.Tensor) -> None:
    """Raise AssertionError unless two arrays agree up to float32 rounding of sums of a few thousand terms."""
    expected = theirs.numpy()
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-5 * float(np.abs(expected).max()) + 1e-6)


def tinygen_calls(layer: Layer, w: Array, x: Array, y: Array) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return the forward pass and the backward pass; the latter returns the gradients of input and weights."""
    conv = partial(kernels.conv, x, w, layer.taps, layer.stride, layer.size_y)
    conv_transpose = partial(kernels.conv_transpose, y, w, layer.taps, layer.stride, layer.size_x)
    forward, adjoint = (conv_transpose, conv) if layer.transposed else (conv, conv_transpose)
    return forward, lambda: (adjoint(), kernels.conv_weight(x, y, layer.taps, layer.stride))


def torch_calls(
    layer: Layer, w: Array, x: Array, y: Array, memory_format: torch.memory_format
) -> tuple[TorchConv, Callable[[], Any], Callable[[], Any]]:
    """Return the twin, its forward and its backward pass; the cotangent is y, or x if transposed, as in tinygen."""
    r = layer.radius
    window = None if r is None else ((-r, -r), (r, r))
    conv = TorchConv(w, None, layer.taps, layer.stride, layer.transposed, window).to(memory_format=memory_format)
    image, cotangent = (
        torch.from_numpy(np.ascontiguousarray(a.transpose(0, 3, 1, 2))).contiguous(memory_format=memory_format)
        for a in ((y, x) if layer.transposed else (x, y))
    )
    output = conv(image.requires_grad_())

    def forward() -> Any:
        with torch.no_grad():
            return conv(image)

    def backward() -> Any:
        return torch.autograd.grad(output, (image, conv.weight), cotangent, retain_graph=True)

    return conv, forward, backward


def convolution(layer: Layer, rounds: int, seconds: float) -> Iterator[Row]:
    """Yield the rows of the forward and the backward pass, checked and with their errors against float64."""
    w = normal(len(layer.taps), *layer.channels) * np.float32(0.1)
    x, y = normal(layer.batch, *layer.size_x, layer.channels[0]), normal(layer.batch, *layer.size_y, layer.channels[1])
    forward, backward = tinygen_calls(layer, w, x, y)
    torch_forward, torch_backward = {}, {}
    for name, memory_format in timing.LAYOUTS.items():
        conv, torch_forward[name], torch_backward[name] = torch_calls(layer, w, x, y, memory_format)
        check_close(forward(), torch_forward[name]().permute(0, 2, 3, 1))
        (image_gradient, weight_gradient), (image, weight) = backward(), torch_backward[name]()
        check_close(image_gradient, image.permute(0, 2, 3, 1))
        check_close(weight_gradient, conv.at_taps(weight))
    operations = 2.0 * w.size * layer.batch * math.prod(layer.size_y)
    errors = convolution_errors(layer, w, x, y)
    for name, ours, theirs, passes in (
        ("forward", forward, torch_forward, 1),
        ("backward", backward, torch_backward, 2),
    ):
        times = timing.compare(ours, theirs, rounds=rounds, seconds=seconds)
        yield Row(
            "kernel, ms", f"{layer.name}, {name}", timing.with_rates(times, operations * passes, 0) | errors[name]
        )


def convolution_errors(layer: Layer, w: Array, x: Array, y: Array) -> dict[str, dict[str, float]]:
    """Return the errors of the forward and backward pass in ulps; of the backward pass, the larger of two gradients."""
    few = slice(min(layer.batch, 4))  # float64 convolutions are slow
    results = []
    for dtype in (np.float64, np.float32):
        operands = (w.astype(dtype), x[few].astype(dtype), y[few].astype(dtype))
        conv, torch_forward, torch_backward = torch_calls(layer, *operands, torch.contiguous_format)
        image, weight = torch_backward()
        results.append([torch_forward().permute(0, 2, 3, 1), image.permute(0, 2, 3, 1), conv.at_taps(weight)])
    exact, theirs = results
    forward, backward = tinygen_calls(layer, w, x[few], y[few])
    ours = [forward(), *backward()]
    errors = [
        [peak.ulps(result, reference) for result, reference in zip(side, exact, strict=True)]
        for side in (ours, [np.asarray(result.detach()) for result in theirs])
    ]
    return {
        "forward": {"ulps": errors[0][0], "PyTorch ulps": errors[1][0]},
        "backward": {"ulps": max(errors[0][1:]), "PyTorch ulps": max(errors[1][1:])},
    }


def rows(quick: bool, only: str = "") -> Iterator[Row]:
    yield from peak.rows(torch.get_num_threads(), quick)
    for layer in LAYERS:
        if only in layer.name:
            yield from convolution(layer, *((1, 0.0) if quick else (5, 0.1)))


if __name__ == "__main__":
    args = timing.parse_arguments(__doc__, only="run only the convolutions whose name contains this text")
    args.save = None if args.only else args.save
    report("layers", rows(args.quick, args.only), args)
