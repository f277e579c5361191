"""Convolutions with and without the algorithm for their shape: Winograd's, or one pixel at a time across the batch.

    python -m benchmarks.algorithms [--threads N] [--quick]

The limits from which on each is used, in kernels/winograd.py and kernels/convolution.py, follow from these tables. A
cell has the time of the tile loops, that of the algorithm, and their ratio: below 1, the algorithm is faster.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import numpy as np

from benchmarks.timing import median_milliseconds, parse_arguments
from tinygen.kernels import conv, conv_transpose, conv_weight, convolution, winograd
from tinygen.kernels.reference import Taps
from tinygen.kernels.runtime.arrays import Array

SQUARE, ROWS = tuple(product((-1, 0, 1), repeat=2)), tuple(product((-1, 0), (-1, 0, 1)))
# Images, side, channels of x and of y
DENSE = [
    *((n, 8, 64, 64) for n in (4, 8, 16, 64)), *((64, side, 64, 64) for side in (3, 4, 5, 6, 7, 9, 13, 28)),
    *((64, 8, n, n) for n in (32, 48)), (64, 8, 32, 64), (64, 8, 64, 32), (4, 16, 128, 128), (16, 8, 256, 256),
    (64, 14, 32, 32), (64, 16, 32, 32), (64, 28, 32, 32),
]  # fmt: skip
VERTICAL = [(n, side, c, 2 * c) for c in (32, 48, 64) for n, side in ((128, 8), (64, 16), (64, 28))]
NARROW = [*((64, 2, n, n) for n in (16, 32, 64)), (16, 2, 64, 64), (64, 3, 64, 64), (64, 3, 16, 16), (64, 1, 64, 64)]
Shape = tuple[int, int, int, int]
NEVER = 1 << 62


def cells(taps: Taps, shape: Shape, tiles: int, work: int) -> Iterator[str]:
    """Yield the times of the three convolutions without an algorithm and with those that these limits allow."""
    (n, side, n_in, n_out), rng = shape, np.random.default_rng(0)
    x, y = (rng.standard_normal((n, side, side, channels), np.float32) for channels in (n_in, n_out))
    w = rng.standard_normal((len(taps), n_in, n_out), np.float32)

    def limited(call: Callable[[], Array], tiles: int, work: int) -> Array:
        winograd._TILES, convolution._LARGE = tiles, work
        return call()

    for call in (
        partial(conv, x, w, taps, 1, (side, side)),
        partial(conv_transpose, y, w, taps, 1, (side, side)),
        partial(conv_weight, x, y, taps, 1),
    ):
        calls = {"loops": partial(limited, call, NEVER, NEVER), "algorithm": partial(limited, call, tiles, work)}
        times = median_milliseconds(calls)
        yield f"{times['loops']:.3f} → {times['algorithm']:.3f}, {times['algorithm'] / times['loops']:.2f}"


def main() -> None:
    quick = parse_arguments(__doc__).quick
    winograd._CHANNELS, winograd._FEWER, winograd._WASTE = 1, 1, np.inf
    tables: list[tuple[str, Taps, list[Shape], int, int]] = [
        ("Winograd, 3×3", SQUARE, DENSE, 0, NEVER),
        ("Winograd, 2×3", ROWS, VERTICAL, 0, NEVER),
        ("across images", SQUARE, NARROW, NEVER, 0),
    ]
    for title, taps, shapes, tiles, work in tables:
        print(f"\n| {title}, ms | forward | adjoint in x | adjoint in w |\n|---|---|---|---|")
        for shape in shapes[:1] if quick else shapes:
            n, side, n_in, n_out = shape
            print(f"| {n} × {side}², {n_in}→{n_out} |", " | ".join(cells(taps, shape, tiles, work)), "|", flush=True)


if __name__ == "__main__":
    main()
