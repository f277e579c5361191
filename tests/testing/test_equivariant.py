"""check_equivariant accepts correct functions and rejects those with one fault each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygen.autograd import Array
from tinygen.testing import check_equivariant

X = np.random.default_rng(1).normal(size=(2, 8))
POINTS = np.random.default_rng(2).normal(size=(3, 5, 2))  # sets of five points
ANGLE = np.array([[0.6, -0.8], [0.8, 0.6]])


def shift(x: Array) -> Array:
    return np.roll(x, 1, 1)


def conv(x: Array) -> Array:
    return np.asarray(np.tanh(x + 2 * np.roll(x, 1, 1) - np.roll(x, -1, 1)))


def deep_set(x: Array) -> Array:
    return np.asarray(np.tanh(x - x.mean(1, keepdims=True)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_accepts_equivariant_and_invariant_functions(dtype: type, rng: np.random.Generator) -> None:
    check_equivariant(conv, shift, X.astype(dtype), rng=rng)
    check_equivariant(deep_set, lambda x: x[:, ::-1], POINTS.astype(dtype), rng=rng)
    check_equivariant(lambda x: (x**2).sum((1, 2)), lambda x: x @ ANGLE, POINTS, output_transform=lambda y: y, rng=rng)
    check_equivariant(lambda x: x.mean(1), lambda x: x + 1, X, output_transform=lambda y: y + 1, rng=rng)


WRONG: dict[str, tuple[Callable[..., Any], str]] = {
    "zero padding": (lambda x: np.diff(x, axis=1, prepend=0.0), "Only a few entries are wrong: is it a border"),
    "one position": (lambda x: conv(x) + 0.01 * (np.arange(8) == 3) * x, "in 4 of 16 entries"),
    "bias per position": (lambda x: conv(x) + np.arange(8) / 10, "parameters that depend on the position"),
    "dense layer": (
        lambda x: x @ np.random.default_rng(0).normal(size=(8, 8)),
        "parameters that depend on the position",
    ),
    "invariant": (lambda x: np.sort(x, 1), r"f\(T x\) = f\(x\): f is invariant instead"),
}


@pytest.mark.parametrize("name", WRONG)
def test_rejects_functions_that_are_not_equivariant(name: str, rng: np.random.Generator) -> None:
    wrong, message = WRONG[name]
    with pytest.raises(AssertionError, match=message):
        check_equivariant(wrong, shift, X, rng=rng)


def test_rejects_functions_that_are_not_invariant(rng: np.random.Generator) -> None:
    def check(f: Callable[..., Any]) -> None:
        check_equivariant(f, lambda x: x @ ANGLE, POINTS, output_transform=lambda y: y, rng=rng)

    with pytest.raises(AssertionError, match="a preferred axis"):
        check(lambda x: (x**2 * [1, 1.1]).sum((1, 2)))
    with pytest.raises(AssertionError, match=r"f\(T x\) is wrong by more than 1e-09"):
        check(lambda x: np.abs(x).sum((1, 2)))
    with pytest.raises(AssertionError, match="does not depend on x"):
        check(lambda x: np.ones(3))


def test_rejects_unsuitable_transforms(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="transform: expected a transform that changes x"):
        check_equivariant(conv, lambda x: x, X, rng=rng)
    with pytest.raises(AssertionError, match=r"transform: expected float64 of shape \(2, 8\), as x, got .* \(2, 7\)"):
        check_equivariant(conv, lambda x: x[:, 1:], X, rng=rng)
    with pytest.raises(AssertionError, match=r"f\(T x\): expected shape \(2,\), that of T′ f\(x\), got \(2, 8\)"):
        check_equivariant(conv, shift, X, output_transform=lambda y: y.sum(1), rng=rng)


def test_networks_of_pytorch(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    images = np.random.default_rng(3).normal(size=(2, 1, 3, 12))

    def check(mode: str, stride: int = 1) -> None:
        net = torch.nn.Conv2d(1, 2, 3, stride, padding=1, padding_mode=mode).double()
        check_equivariant(net, lambda x: np.roll(x, 1, 3), images, rng=rng, convert=torch.from_numpy)

    check("circular")
    with pytest.raises(AssertionError, match="is it a border, padding, a stride"):
        check("zeros")
    with pytest.raises(AssertionError, match="depend on the position"):
        check("circular", stride=2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_outputs_are_not_rounding_errors(dtype: type, rng: np.random.Generator) -> None:
    x: Array = rng.normal(size=(4, 8)).astype(dtype)
    scale = dtype(1e-20)
    check_equivariant(lambda x: scale * (x - np.roll(x, 1, 1)), lambda x: np.roll(x, 1, 1), x, rng=rng)
    with pytest.raises(AssertionError, match="in 8 of 32 entries"):
        check_equivariant(
            lambda x: scale * np.diff(x, axis=1, prepend=dtype(0)), lambda x: np.roll(x, 1, 1), x, rng=rng
        )
    slopes: Array = np.arange(1, 9, dtype=dtype)
    density = lambda x: scale * np.exp(-(x**2 * slopes).sum(1))
    with pytest.raises(AssertionError, match="check_equivariant"):
        check_equivariant(density, lambda x: x[:, ::-1].copy(), x, output_transform=lambda y: y, rng=rng)


def test_a_large_output_does_not_hide_a_fault_of_a_small_one(rng: np.random.Generator) -> None:
    x = rng.normal(size=(4, 3))
    f = lambda x: np.concatenate([1e10 * x.sum(1, keepdims=True), x[:, :1]], 1)  # column 1 is not invariant
    with pytest.raises(AssertionError, match="in 4 of 8 entries"):
        check_equivariant(f, lambda x: x[:, ::-1].copy(), x, output_transform=lambda y: y, rng=rng)


def test_rejects_a_function_that_is_constant_within_the_tolerance(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 6))
    for output in (None, lambda y: y):
        with pytest.raises(AssertionError, match=r"so nothing is checked|does not depend on x"):
            check_equivariant(
                lambda x: 1e12 + x * np.arange(6), lambda x: np.roll(x, 1, 1), x, output_transform=output, rng=rng
            )
