"""The kernels beside PyTorch: same values, same number of threads, PyTorch in the better of its two memory formats.

    python -m benchmarks.layers [--quick] [--threads 2] [--only NAME]

Prints a Markdown table of milliseconds and of ratios (below 1: tinygen is faster). Every row is checked to compute the
same numbers before it is timed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as tf

import tinygen
from benchmarks.timing import medians
from tinygen import kernels

Offsets = tuple[tuple[int, int], ...]
Array = np.ndarray[Any, np.dtype[np.float32]]


class Layer(NamedTuple):
    """A convolution: batch, sizes of x and y, channels, taps; and how PyTorch says the same."""

    name: str
    batch: int
    size_x: tuple[int, int]
    size_y: tuple[int, int]
    channels: tuple[int, int]
    taps: Offsets
    kernel: tuple[int, int]  # PyTorch's kernel is a full rectangle …
    origin: tuple[int, int]  # … with offset (0, 0) here
    stride: int = 1
    dilation: int = 1
    transposed: bool = False


def square(height: int, width: int, top: int, left: int) -> Offsets:
    """All offsets of a height × width kernel whose (top, left) entry is offset (0, 0)."""
    return tuple((i - top, j - left) for i in range(height) for j in range(width))


def masked(width: int, own: bool) -> Offsets:
    """The offsets before (0, 0) in reading order, and (0, 0) itself if own."""
    return tuple(offset for offset in square(width, width, width // 2, width // 2) if offset < (0, int(own)))


MNIST, SMALL, HALF = (28, 28), (8, 8), (14, 14)
LAYERS = [
    Layer("7×7 mask A, 1→64, 28² [64]", 64, MNIST, MNIST, (1, 64), masked(7, False), (7, 7), (3, 3)),
    Layer("7×7 mask A, 1→64, 8² [128]", 128, SMALL, SMALL, (1, 64), masked(7, False), (7, 7), (3, 3)),
    Layer("3×3 mask B, 64→64, 28² [64]", 64, MNIST, MNIST, (64, 64), masked(3, True), (3, 3), (1, 1)),
    Layer("3×3 mask B, 32→32, 8² [128]", 128, SMALL, SMALL, (32, 32), masked(3, True), (3, 3), (1, 1)),
    Layer("vertical 2×3, 64→128, 28² [64]", 64, MNIST, MNIST, (64, 128), square(2, 3, 2, 1), (2, 3), (2, 1)),
    Layer("vertical 2×3, 32→64, 8² [128]", 128, SMALL, SMALL, (32, 64), square(2, 3, 2, 1), (2, 3), (2, 1)),
    Layer("horizontal 1×2, 64→128, 28² [64]", 64, MNIST, MNIST, (64, 128), square(1, 2, 0, 1), (1, 2), (0, 1)),
    Layer("horizontal 1×2, 32→64, 8² [128]", 128, SMALL, SMALL, (32, 64), square(1, 2, 0, 1), (1, 2), (0, 1)),
    Layer("causal k=2, 32→64, T=4096 [4]", 4, (1, 4096), (1, 4096), (32, 64), ((0, -1), (0, 0)), (1, 2), (0, 1)),
    Layer(
        "causal k=2 dilation 256, 32→64, T=4096 [4]",
        4, (1, 4096), (1, 4096), (32, 64), ((0, -256), (0, 0)), (1, 2), (0, 1), dilation=256,
    ),
    Layer("3×3 stride 2, 64→64, 28→14 [64]", 64, MNIST, HALF, (64, 64), square(3, 3, 1, 1), (3, 3), (1, 1), 2),
    Layer("4×4 stride 2, 64→64, 28→14 [64]", 64, MNIST, HALF, (64, 64), square(4, 4, 1, 1), (4, 4), (1, 1), 2),
    Layer(
        "transposed 4×4 stride 2, 64→64, 14→28 [64]",
        64, MNIST, HALF, (64, 64), square(4, 4, 1, 1), (4, 4), (1, 1), 2, transposed=True,
    ),
    Layer(
        "transposed 4×4 stride 2, 64→1, 14→28 [64]",
        64, MNIST, HALF, (1, 64), square(4, 4, 1, 1), (4, 4), (1, 1), 2, transposed=True,
    ),
    Layer("3×3, 64→64, 28² [64]", 64, MNIST, MNIST, (64, 64), square(3, 3, 1, 1), (3, 3), (1, 1)),
    Layer("3×3, 32→32, 8² [128]", 128, SMALL, SMALL, (32, 32), square(3, 3, 1, 1), (3, 3), (1, 1)),
    Layer("1×1, 64→64, 28² [64]", 64, MNIST, MNIST, (64, 64), ((0, 0),), (1, 1), (0, 0)),
    Layer("1×1, 128→128, 28² [64]", 64, MNIST, MNIST, (128, 128), ((0, 0),), (1, 1), (0, 0)),
    Layer("1×1, 32→32, 8² [128]", 128, SMALL, SMALL, (32, 32), ((0, 0),), (1, 1), (0, 0)),
    Layer("1×1, 64→1, 28² [64]", 64, MNIST, MNIST, (64, 1), ((0, 0),), (1, 1), (0, 0)),
]  # fmt: skip


def normal(*shape: int) -> Array:
    """Standard normal float32 numbers, the same every time."""
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def agree(ours: Array, theirs: Array) -> None:
    """Raise AssertionError unless two arrays agree to float32 rounding of sums of some thousand terms."""
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * float(np.abs(theirs).max()) + 1e-6)


def nchw(x: Array, memory: torch.memory_format) -> torch.Tensor:
    """A channels-last array as PyTorch's (N, C, H, W) in a memory format of its own."""
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))).contiguous(memory_format=memory)


def torch_layer(
    layer: Layer, w: Array, x: Array, y: Array, memory: torch.memory_format
) -> tuple[Callable[[], Any], ...]:
    """PyTorch's forward and backward of a layer, as functions that return channels-last results."""
    kernel = np.zeros((w.shape[2], w.shape[1], *layer.kernel), np.float32)
    top, left = layer.origin
    for (dy, dx), matrix in zip(layer.taps, w, strict=True):
        kernel[:, :, dy + top, dx // layer.dilation + left] = matrix.T
    weight = torch.from_numpy(kernel).contiguous(memory_format=memory).requires_grad_()
    image, cotangent = (
        nchw(y if layer.transposed else x, memory).requires_grad_(),
        nchw(x if layer.transposed else y, memory),
    )

    def forward(image: torch.Tensor = image) -> torch.Tensor:
        if layer.transposed:
            return tf.conv_transpose2d(image, weight, stride=layer.stride, padding=layer.origin)
        symmetric = all(2 * o == k - 1 or layer.stride > 1 for o, k in zip(layer.origin, layer.kernel, strict=True))
        if symmetric:
            return tf.conv2d(image, weight, padding=layer.origin, stride=layer.stride)
        reach = layer.dilation * left
        right = layer.kernel[1] - 1 - left
        padded = tf.pad(image, (reach, right, top, max(0, layer.kernel[0] - 1 - top)))
        return tf.conv2d(padded, weight, dilation=(1, layer.dilation))[:, :, : layer.size_y[0]]

    def untaped() -> Any:
        with torch.no_grad():
            return forward()

    taped = forward()

    def backward() -> Any:
        return torch.autograd.grad(taped, (image, weight), cotangent, retain_graph=True)

    return untaped, backward


def measure(layer: Layer, rounds: int, seconds: float) -> str:
    """Check and time one layer; return its row of the table."""
    w = normal(len(layer.taps), *layer.channels) * np.float32(0.1)
    x, y = normal(layer.batch, *layer.size_x, layer.channels[0]), normal(layer.batch, *layer.size_y, layer.channels[1])
    family = layer.taps, layer.stride
    if layer.transposed:
        forward: Callable[[], Any] = lambda: kernels.conv_transpose(y, w, *family, layer.size_x)
        backward: Callable[[], Any] = lambda: (
            kernels.conv(x, w, *family, layer.size_y),
            kernels.conv_weight(x, y, *family),
        )
    else:
        forward = lambda: kernels.conv(x, w, *family, layer.size_y)
        backward = lambda: (kernels.conv_transpose(y, w, *family, layer.size_x), kernels.conv_weight(x, y, *family))
    candidates = {"forward": forward, "backward": backward}
    for memory in torch.contiguous_format, torch.channels_last:
        theirs_forward, theirs_backward = torch_layer(layer, w, x, y, memory)
        agree(forward(), theirs_forward().numpy().transpose(0, 2, 3, 1))
        image, weight = backward()
        their_image, their_weight = theirs_backward()
        agree(image, their_image.numpy().transpose(0, 2, 3, 1))
        for t, (dy, dx) in enumerate(layer.taps):
            entry = their_weight[:, :, dy + layer.origin[0], dx // layer.dilation + layer.origin[1]]
            np.testing.assert_allclose(weight[t], entry.numpy().T, rtol=0, atol=2e-5 * float(their_weight.abs().max()))
        candidates[f"forward {memory}"], candidates[f"backward {memory}"] = theirs_forward, theirs_backward
    times = medians(candidates, rounds, seconds)
    cells = []
    for direction in "forward", "backward":
        best = min(time for name, time in times.items() if name.startswith(direction + " "))
        cells += [f"{times[direction]:.2f}", f"{best:.2f}", f"**{times[direction] / best:.2f}**"]
    return f"| {layer.name} | {' | '.join(cells)} |"


def other_rows(rounds: int, seconds: float) -> Iterator[str]:
    """The gate, matrix products, and convolution and product in turns."""
    x = normal(64, 28, 28, 128)
    g = normal(64, 28, 28, 64)
    tx = torch.from_numpy(x).requires_grad_()
    tg = torch.from_numpy(g)

    def gated_activation(z: torch.Tensor) -> torch.Tensor:
        return torch.tanh(z[..., :64]) * torch.sigmoid(z[..., 64:])

    taped = gated_activation(tx)

    def untaped() -> torch.Tensor:
        with torch.no_grad():
            return gated_activation(tx)

    def pair(name: str, ours: Callable[[], Any], theirs: Callable[[], Any]) -> str:
        agree(ours(), theirs().numpy())
        times = medians({"ours": ours, "theirs": theirs}, rounds, seconds)
        return f"| {name} | {times['ours']:.3f} | {times['theirs']:.3f} | **{times['ours'] / times['theirs']:.2f}** |"

    yield pair("gate tanh·σ, 64·28²×128", partial(kernels.gated_activation, x), untaped)
    yield pair(
        "gate, backward",
        partial(kernels.gated_activation_vjp, x, g),
        lambda: torch.autograd.grad(taped, tx, tg, retain_graph=True)[0],
    )
    for m, k, n in (32, 64, 64), (256, 64, 64), (256, 256, 256), (1024, 256, 256), (50176, 64, 64):
        a, b = normal(m, k), normal(k, n)
        ta, tb = torch.from_numpy(a), torch.from_numpy(b)
        yield pair(f"product {m}×{k}×{n}", partial(kernels.product, a, b), partial(torch.matmul, ta, tb))
    yield stall(rounds, seconds)


def stall(rounds: int, seconds: float) -> str:
    """Time a convolution and a product in turns against the sum of their separate times: two pools would stall."""
    x, w, a = normal(16, 28, 28, 32), normal(4, 32, 32), normal(256, 256)
    conv, product = partial(kernels.conv, x, w, masked(3, True)[:4], 1, MNIST), partial(kernels.product, a, a)
    times = medians({"conv": conv, "product": product, "both": lambda: (conv(), product())}, rounds, seconds)
    both, apart = times["both"], times["conv"] + times["product"]
    return f"| conv and product in turns, beside their sum alone | {both:.3f} | {apart:.3f} | **{both / apart:.2f}** |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="every row, too few repetitions to believe")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="only the layers whose name contains this")
    arguments = parser.parse_args()
    tinygen.set_num_threads(arguments.threads)
    torch.set_num_threads(arguments.threads)
    rounds, seconds = (1, 0.0) if arguments.quick else (5, 0.1)
    print(f"{arguments.threads} threads, PyTorch {torch.__version__}, NumPy {np.__version__}; milliseconds\n")
    print("| layer | forward | PyTorch | ratio | backward | PyTorch | ratio |\n|---|---|---|---|---|---|---|")
    for layer in LAYERS:
        if arguments.only in layer.name:
            print(measure(layer, rounds, seconds), flush=True)
    if arguments.only:
        return
    print("\n| | tinygen | PyTorch | ratio |\n|---|---|---|---|")
    for row in other_rows(rounds, seconds):
        print(row, flush=True)


if __name__ == "__main__":
    main()
