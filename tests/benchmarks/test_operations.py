"""Operations are those of the products, convolutions and recurrences of a call, each counted once."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from benchmarks.operations import operations
from tinygen import autograd as ag
from tinygen import kernels, value_and_grad
from tinygen.autograd import Tensor, taps
from tinygen.kernels import lstm


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def test_products_and_their_derivatives() -> None:
    w = Tensor(ones(30, 20))
    assert operations(lambda: ag.matmul(ones(7, 30), w)) == 2 * 7 * 30 * 20
    loss = value_and_grad(lambda x: ag.linear(ag.tanh(x), w, ones(20)).sum())
    assert operations(lambda: loss(ones(7, 30))) == 2 * (2 * 7 * 30 * 20)
    assert operations(lambda: kernels.product(ones(5, 2, 3), ones(5, 3, 4))) == 2 * 5 * 2 * 3 * 4
    assert operations(lambda: kernels.product(ones(2, 3), ones(3, 4), relu=True)) == 2 * 2 * 3 * 4


def test_large_products_are_counted_once() -> None:
    x, y = ones(700, 60), ones(700, 50)  # by the convolution kernels
    assert operations(lambda: kernels.product(x.T, y)) == 2 * 700 * 60 * 50
    assert operations(lambda: kernels.product(y, ones(50, 60))) == 2 * 700 * 60 * 50
    stack = ones(3, 70, 70)  # which calls `product` for each matrix
    assert operations(lambda: kernels.product(stack, stack)) == 3 * 2 * 70**3


@pytest.mark.parametrize("rows", [3, 30])  # layer by layer, and in the kernel of all layers
def test_perceptrons_and_their_derivatives(rows: int) -> None:
    ws, bs = [Tensor(ones(5, 6)), Tensor(ones(6, 7))], [ones(6), ones(7)]
    forward = 2 * rows * (5 * 6 + 6 * 7)
    assert operations(lambda: ag.mlp(ones(rows, 5), ws, bs)) == forward
    by_weights = value_and_grad(lambda: ag.mlp(ones(rows, 5), ws, bs).sum(), ws)
    assert operations(by_weights) == 2 * forward + 2 * rows * 6 * 7
    by_input = value_and_grad(lambda x: ag.mlp(x, ws, bs).sum())
    assert operations(lambda: by_input(Tensor(ones(rows, 5)))) == 2 * forward


def test_convolutions_count_every_tap_at_every_pixel() -> None:
    x, w, window = ones(2, 8, 6, 3), Tensor(ones(9, 3, 5)), taps.square(3)
    each = 2 * (2 * 4 * 3) * (9 * 3 * 5)
    assert operations(lambda: ag.conv(x, w, window, 2)) == each
    loss = value_and_grad(lambda x, w: ag.conv(x, w, window, 2).sum(), [w])
    assert operations(lambda: loss(Tensor(x), w)) == 2 * each
    assert operations(lambda: ag.conv_transpose(ones(2, 4, 3, 5), w, window, 2)) == each


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="the kernel is compiled only")
def test_an_lstm_counts_its_recurrence_forward_and_backward() -> None:
    x, u = ones(4, 6, 20), ones(5, 20)
    assert operations(lambda: lstm.lstm(x, u)) == 2 * 4 * 5 * 5 * 20  # the state before the first step is zero
    _, c, gates = lstm.lstm(x, u)
    assert operations(lambda: lstm.lstm_vjp(ones(4, 6, 5), u, c, gates)) == 2 * 4 * 5 * 5 * 20


def test_functions_are_restored_also_after_an_error() -> None:
    before = kernels.product, lstm.lstm
    with pytest.raises(ZeroDivisionError):
        operations(lambda: 1 // 0)
    assert (kernels.product, lstm.lstm) == before
