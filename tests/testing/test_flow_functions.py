"""check_log_det and check_invertible of functions and of objects that are not tinygen modules: NumPy and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinygen.autograd import Array
from tinygen.testing import check_invertible, check_log_det

X = np.random.default_rng(1).normal(size=(4, 4))
W = np.random.default_rng(2).normal(size=(3, 4, 4))
Pair = tuple[Array, Array]


def scale(x: Array) -> Array:
    """Return s(x_a) of a coupling, zero for x_a."""
    s = np.tanh(x[:, :2] @ W[0, :2, :2].astype(x.dtype))
    return np.concatenate([0 * s, s], 1)


def forward(x: Array) -> Pair:
    return x * np.exp(scale(x)), scale(x).sum(1)


def inverse(z: Array) -> Pair:
    return z * np.exp(-scale(z)), -scale(z).sum(1)


class Coupling:
    """A coupling with a context, which is not a tinygen module."""

    def forward(self, x: Array, context: Array | None = None) -> Pair:
        z, log_det = forward(x)
        return (z, log_det) if context is None else (z + context @ W[1, :3], log_det)

    def inverse(self, z: Array, context: Array | None = None) -> Pair:
        return inverse(z if context is None else z - context @ W[1, :3])


CONTEXT = np.eye(4)[:, :3]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_accepts_correct_functions_and_objects(dtype: type, rng: np.random.Generator) -> None:
    x: Array = X.astype(dtype)
    check_log_det(forward, x, rng=rng)
    check_log_det(inverse, x, rng=rng)
    check_log_det(Coupling(), x, rng=rng)
    check_invertible(forward, inverse, x, rng=rng)
    check_invertible(Coupling(), x, rng=rng)
    check_invertible(lambda x: forward(x)[0], lambda z: inverse(z)[0], x, rng=rng)


def test_passes_the_context_on(rng: np.random.Generator) -> None:
    check_log_det(Coupling(), X, context=CONTEXT, rng=rng)
    check_invertible(Coupling(), X, context=CONTEXT, rng=rng)
    labels = np.array([0, 1, 0, 2])

    def shift(x: Array, labels: Array) -> Array:
        return np.asarray(x + labels[:, None])

    check_invertible(shift, lambda z, labels: shift(z, -labels), X, context=labels, rng=rng)
    with pytest.raises(AssertionError, match="forward ignores its context"):
        check_invertible(lambda x, c: forward(x), lambda z, c: inverse(z), X, context=labels, rng=rng)


def test_a_few_hundred_dimensions_are_checked_in_blocks(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 300))
    largest = 0

    def wide(x: Array) -> Pair:
        nonlocal largest
        largest = max(largest, len(x))
        return np.sinh(x) + np.roll(x, 1, 1) * 0.1 * (np.arange(300) > 0), np.log(np.cosh(x)).sum(1)

    check_log_det(wide, x, rng=rng)
    assert largest == 512
    with pytest.raises(AssertionError, match="a constant scale left out"):
        check_log_det(lambda x: (2 * wide(x)[0], wide(x)[1]), x, rng=rng)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_float32_is_precise_enough_to_name_the_fault(dtype: type, rng: np.random.Generator) -> None:
    x: Array = X.astype(dtype)
    with pytest.raises(AssertionError, match="The sign is flipped"):
        check_log_det(lambda x: (forward(x)[0], -forward(x)[1]), x, rng=rng)
    with pytest.raises(AssertionError, match=r"a factor of 0\.5 per dimension"):
        check_log_det(lambda x: (2 * forward(x)[0], forward(x)[1]), x, rng=rng)
    with pytest.raises(AssertionError, match=r"inverse\(forward\(·\)\) is .* instead of"):
        check_invertible(forward, lambda z: (1.01 * inverse(z)[0], inverse(z)[1]), x, rng=rng)


def test_rejects_calls_with_other_arguments(rng: np.random.Generator) -> None:
    with pytest.raises(TypeError, match=r"expected \(forward, inverse, x\), or \(bijection, x\)"):
        check_invertible(forward, X, rng=rng)
    with pytest.raises(TypeError, match="got the class Coupling; pass an instance"):
        check_log_det(Coupling, X, rng=rng)
    with pytest.raises(AssertionError, match=r"expected \(z, log_det\), got z only; use check_invertible"):
        check_log_det(np.sinh, X, rng=rng)
    with pytest.raises(AssertionError, match=r"forward: expected \(image, log_det\), got 3 results"):
        check_log_det(lambda x: (x, x, x), X, rng=rng)
    with pytest.raises(TypeError, match="forward: expected a function, or an object with a method forward, got None"):
        check_log_det(None, X, rng=rng)


def test_modules_of_pytorch(rng: np.random.Generator) -> None:
    torch: Any = pytest.importorskip("torch")
    torch.manual_seed(0)

    class RealNVPLayer(torch.nn.Module):  # type: ignore[misc]  # mypy does not follow PyTorch
        def __init__(self, sign: float = 1.0) -> None:
            super().__init__()
            self.net, self.sign = torch.nn.Linear(2, 2), sign

        def forward(self, x: Any) -> Any:
            s = torch.tanh(self.net(x[:, :2]))
            return torch.cat([x[:, :2], x[:, 2:] * torch.exp(s)], 1), self.sign * s.sum(1)

        def inverse(self, z: Any) -> Any:
            s = torch.tanh(self.net(z[:, :2]))
            return torch.cat([z[:, :2], z[:, 2:] * torch.exp(-s)], 1), -self.sign * s.sum(1)

    for x, module in ((X, lambda sign: RealNVPLayer(sign).double()), (X.astype(np.float32), RealNVPLayer)):
        check_log_det(module(1.0), x, rng=rng, convert=torch.from_numpy)
        check_invertible(module(1.0), x, rng=rng, convert=torch.from_numpy)
        check_invertible(module(-1.0), x, rng=rng, convert=torch.from_numpy)  # only the log_det is wrong
        with pytest.raises(AssertionError, match="The sign is flipped"):
            check_log_det(module(-1.0), x, rng=rng, convert=torch.from_numpy)
        wrong = module(1.0)
        with pytest.raises(AssertionError, match="forward applied twice"):
            check_invertible(wrong, wrong, x, rng=rng, convert=torch.from_numpy)
    with pytest.raises(RuntimeError) as caught:  # float64 data, float32 weights
        check_log_det(RealNVPLayer(), X, rng=rng, convert=torch.from_numpy)
    assert "float64 of shape (4, 4)" in caught.value.__notes__[0]


def next_example(x: Array) -> Array:
    return np.concatenate([x[1:], 0 * x[:1]])


def leaking_inverse(z: Array) -> Array:
    x = np.zeros((len(z) + 1, *z.shape[1:]))
    for i in reversed(range(len(z))):
        x[i] = z[i] * np.exp(-np.tanh(x[i + 1]))
    return x[:-1]


def test_rejects_a_dependence_on_the_next_example(rng: np.random.Generator) -> None:
    """It leaves all others as they are if only the first example changes."""
    forward = lambda x: x * np.exp(np.tanh(next_example(x)))
    with pytest.raises(AssertionError, match="changing example 4 changes other outputs"):
        check_invertible(forward, leaking_inverse, rng.normal(size=(5, 3)), rng=rng)


def test_a_tolerance_allows_for_solvers_that_depend_on_the_batch(rng: np.random.Generator) -> None:
    forward = lambda x: 2 * x + 1e-4 * np.sin(x.mean())
    inverse = lambda z: z / 2
    x = rng.normal(size=(5, 3))
    with pytest.raises(AssertionError, match="If an adaptive solver chooses its steps for the whole batch"):
        check_invertible(forward, inverse, x, rng=rng)
    check_invertible(forward, inverse, x, rng=rng, tolerance=1e-3)
