"""Kernels treat denormal numbers as zeros, and leave the mode of the calling thread as it was."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

from tinygen.kernels import conv, conv_transpose, conv_weight, likelihood, lstm, mlp
from tinygen.kernels import product as matrix_product
from tinygen.kernels.runtime import team
from tinygen.kernels.runtime.denormals import HAS_MODE
from tinygen.kernels.runtime.pool import get_num_threads, set_num_threads

POINT, SQUARE = ((0,),), tuple(product((-1, 0, 1), repeat=2))


def filled(value: float, *shape: int) -> Any:
    return np.full(shape, value, np.float32)


def lstm_vjp() -> Any:
    _, cells, gates = lstm.lstm(filled(0.5, 9, 20, 32), filled(0.1, 8, 32))
    g = filled(0, 9, 20, 8)
    g[:, -1] = 1e-34  # the cotangent falls below 1e-38 within the 20 steps
    return lstm.lstm_vjp(g, filled(1e-3, 8, 32), cells, gates)


# Each kernel with factors that are normal and whose products are not: 1e-30 · 1e-10 = 1e-40
CALLS: dict[str, Callable[[], Any]] = {
    "product": lambda: matrix_product(filled(1e-30, 300, 64), filled(1e-10, 64, 64)),
    "conv": lambda: conv(filled(1e-30, 2, 40, 16), filled(1e-10, 1, 16, 16), POINT, 1, (40,)),
    "conv_transpose": lambda: conv_transpose(filled(1e-30, 2, 40, 16), filled(1e-10, 1, 16, 16), POINT, 1, (40,)),
    "conv_weight": lambda: conv_weight(filled(1e-30, 2, 40, 16), filled(1e-10, 2, 40, 16), POINT, 1),
    "conv, dense": lambda: conv(filled(1e-30, 4, 16, 16, 64), filled(1e-10, 9, 64, 64), SQUARE, 1, (16, 16)),
    "conv_weight, dense": lambda: conv_weight(filled(1e-30, 4, 16, 16, 64), filled(1e-10, 4, 16, 16, 64), SQUARE, 1),
    "mlp.forward": lambda: mlp.forward(
        filled(1e-30, 30, 8), [filled(1e-10, 8, 5), filled(1, 5, 3)], [filled(0, 5), filled(0, 3)], "tanh"
    )[0],
    "mlp.backward": lambda: mlp.backward(
        filled(1e-30, 30, 5), [filled(1, 30, 8), filled(0, 30, 8)], [filled(1, 8, 8), filled(1e-10, 8, 5)], "tanh", -1
    )[0],
    "product of a denormal operand": lambda: matrix_product(filled(1e-40, 300, 64), filled(1e10, 64, 64)),
    "lstm_vjp": lstm_vjp,
    "bernoulli_vjp": lambda: likelihood.bernoulli_vjp(filled(14, 9, 8), np.ones((9, 8), np.uint8), filled(1e-33, 9)),
}


@pytest.mark.skipif(not HAS_MODE, reason="the mode exists on x86 only")
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("threads", [1, 2])
def test_denormal_products_are_zeros_in_kernels_and_only_there(
    name: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bits = np.full(1000, 71362, np.int32)  # of 1e-40; a comparison of numbers would read them as zeros, too
    before = get_num_threads()
    set_num_threads(threads)
    monkeypatch.setattr(team, "count_parts", lambda size, grain: min(size, threads))
    monkeypatch.setattr(team, "_team", team._Team())  # one that does not pause
    try:
        result = CALLS[name]()
    finally:
        set_num_threads(before)
    assert not ((np.abs(result) < np.finfo(np.float32).tiny) & (result != 0)).any()
    assert (result == 0).any()
    np.testing.assert_array_equal((bits.view(np.float32) * np.float32(1)).view(np.int32), bits)  # NumPy has them
