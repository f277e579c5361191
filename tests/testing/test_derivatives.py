"""check_vjp, check_jvp and check_gradient reject derivatives with one fault each and name the fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygen.autograd import Array
from tinygen.testing import check_gradient, check_jvp, check_vjp
from tinygen.testing.calls import recorded_figures

X = np.random.default_rng(1).uniform(0.5, 1.5, (3, 4))
W = np.random.default_rng(2).uniform(0.5, 1.5, (4, 4))
Derivative = Callable[..., Any]


def product(x: Array, w: Array) -> Array:
    return np.asarray(np.tanh(x) @ w)


def product_vjp(c: Array, x: Array, w: Array) -> tuple[Array, Array]:
    return (c @ w.T) * (1 - np.tanh(x) ** 2), np.tanh(x).T @ c


def product_jvp(v: Array, u: Array, x: Array, w: Array) -> Array:
    return np.asarray((v * (1 - np.tanh(x) ** 2)) @ w + np.tanh(x) @ u)


def loss(x: Array, w: Array) -> Array:
    return np.asarray(0.5 * np.sum((x @ w) ** 2))


def loss_gradient(x: Array, w: Array) -> tuple[Array, Array]:
    return x @ w @ w.T, x.T @ x @ w


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_accepts_correct_derivatives(dtype: type, rng: np.random.Generator) -> None:
    x: Array = X.astype(dtype)
    w: Array = W.astype(dtype)
    for _ in range(20):  # the default tolerance must hold for every direction
        check_vjp(product, product_vjp, x, w, rng=rng)
        check_jvp(product, product_jvp, x, w, rng=rng)
        check_gradient(loss, loss_gradient, x, w, rng=rng)


def test_checks_functions_with_several_results_and_second_derivatives(rng: np.random.Generator) -> None:
    def square_vjp(c: Array, x: Array) -> Array:
        return np.asarray(2 * c * x)

    def second(g: Array, c: Array, x: Array) -> tuple[Array, Array]:
        return 2 * g * x, 2 * g * c

    check_vjp(square_vjp, second, X, X + 1, rng=rng)
    with pytest.raises(AssertionError, match=r"gradient of xs\[1\], 12 of 12 .* \(all by a factor of 0\.5\)"):
        check_vjp(square_vjp, lambda g, c, x: (2 * g * x, g * c), X, X + 1, rng=rng)

    def two(x: Array) -> tuple[Array, Array]:
        return np.sin(x), x.sum(0)

    check_vjp(two, lambda a, b, x: a * np.cos(x) + b, X, rng=rng)
    check_jvp(two, lambda v, x: (v * np.cos(x), v.sum(0)), X, rng=rng)
    with pytest.raises(AssertionError, match=r"In the tangent of result 1, 4 of 4 .* \(all by a factor of 0.333333"):
        check_jvp(two, lambda v, x: (v * np.cos(x), v.mean(0)), X, rng=rng)


def one_entry_wrong(c: Array, x: Array, w: Array) -> tuple[Array, Array]:
    first, second = product_vjp(c, x, w)
    first[1, 2] *= 1 + 1e-5
    return first, second


WRONG_VJPS: dict[str, tuple[Derivative, str]] = {
    "wrong sign": (lambda c, x, w: (-product_vjp(c, x, w)[0], product_vjp(c, x, w)[1]), r"xs\[0\], .*sign is flipped"),
    "factor 2": (lambda c, x, w: (product_vjp(c, x, w)[0], 2 * product_vjp(c, x, w)[1]), r"xs\[1\], .*factor of 2\)"),
    "missing chain rule": (lambda c, x, w: (c @ w.T, product_vjp(c, x, w)[1]), r"xs\[0\], 12 of 12 entries are wrong"),
    "one entry wrong by 1e-5": (one_entry_wrong, r"1 of 12 entries are wrong, the worst at \(1, 2\)"),
}


@pytest.mark.parametrize("name", WRONG_VJPS)
def test_rejects_wrong_vjps(name: str, rng: np.random.Generator) -> None:
    wrong, message = WRONG_VJPS[name]
    with pytest.raises(AssertionError, match=message):
        check_vjp(product, wrong, X, W, rng=rng)


WRONG_JVPS: dict[str, tuple[Derivative, str]] = {
    "wrong sign": (lambda v, u, x, w: -product_jvp(v, u, x, w), r"direction v of xs\[0\]: .*the sign is flipped"),
    "second input forgotten": (lambda v, u, x, w: product_jvp(v, 0 * u, x, w), r"direction v of xs\[1\].* \(all are 0"),
    "factor 2": (lambda v, u, x, w: product_jvp(v, 2 * u, x, w), r"xs\[1\].* \(all by a factor of 2\)"),
}


@pytest.mark.parametrize("name", WRONG_JVPS)
def test_rejects_wrong_jvps(name: str, rng: np.random.Generator) -> None:
    wrong, message = WRONG_JVPS[name]
    with pytest.raises(AssertionError, match=message):
        check_jvp(product, wrong, X, W, rng=rng)


WRONG_GRADIENTS: dict[str, tuple[Derivative, str]] = {
    "factor 2": (lambda x, w: (2 * loss_gradient(x, w)[0], loss_gradient(x, w)[1]), r"xs\[0\], .* factor of 2\)"),
    "descent direction": (lambda x, w: tuple(-g for g in loss_gradient(x, w)), "the sign is flipped"),
    "of another function": (lambda x, w: (x @ w, loss_gradient(x, w)[1]), r"In the gradient of xs\[0\], 12 of 12"),
    "a scalar": (lambda x, w: (loss(x, w), loss_gradient(x, w)[1]), r"expected gradient 0 of shape \(3, 4\)"),
}


@pytest.mark.parametrize("name", WRONG_GRADIENTS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rejects_wrong_gradients(name: str, dtype: type, rng: np.random.Generator) -> None:
    wrong, message = WRONG_GRADIENTS[name]
    with pytest.raises(AssertionError, match=message):
        check_gradient(loss, wrong, X.astype(dtype), W.astype(dtype), rng=rng)


def test_float32_tolerance_is_stated_and_rejects_an_error_of_one_percent(rng: np.random.Generator) -> None:
    x = X.astype(np.float32)
    with pytest.raises(AssertionError, match=r"\(0.0004 of .*, plus rounding in float32\).*factor of 1.01\)"):
        check_vjp(lambda x: x**3, lambda c, x: np.float32(3.03) * c * x**2, x, rng=rng)
    with pytest.raises(AssertionError, match=r"result of f: expected float32 as xs, got float64; is an array inside f"):
        check_vjp(lambda x: x * W[0], lambda c, x: c, x, rng=rng)


def test_reports_kinks_constants_and_vector_valued_losses(rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match=r"converged only to within .* a kink"):
        check_vjp(np.abs, lambda c, x: c * np.sign(x), X * 1e-4, rng=rng)
    with pytest.raises(AssertionError, match=r"converged only to within .* a kink"):
        check_jvp(np.abs, lambda v, x: v * np.sign(x), X * 1e-3, rng=np.random.default_rng(0))
    for check, rule in ((check_vjp, lambda c, x: 0 * x), (check_jvp, lambda v, x: 0 * v)):
        with pytest.raises(AssertionError, match=r"f does not depend on xs\[0\]"):
            check(np.ones_like, rule, X, rng=rng)
    with pytest.raises(AssertionError, match=r"expected one scalar, got shapes \[\(3, 4\)\]; use check_vjp"):
        check_gradient(np.sin, np.cos, X, rng=rng)
    with pytest.raises(AssertionError, match=r"does not depend on xs\[1\]"):
        check_gradient(lambda x, y: np.sum(x * x), lambda x, y: (2 * x, 0 * y), X, X, rng=rng)


def test_figures_are_recorded(rng: np.random.Generator) -> None:
    with recorded_figures() as figures:
        check_gradient(loss, loss_gradient, X, W, rng=rng)
    assert figures[0].startswith("largest error ")
    assert "tolerance" in figures[0]


def test_functions_of_pytorch(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")

    def f(x: Any) -> Any:  # the result requires grad
        return torch.tanh(x.requires_grad_()) ** 2

    def vjp(c: Any, x: Any) -> Any:
        return torch.autograd.grad(f(x), x, c)[0]

    def detached(c: Any, x: Any) -> Any:
        x.requires_grad_()
        return torch.autograd.grad(torch.tanh(x) * torch.tanh(x).detach(), x, c)[0]

    for x in (X, X.astype(np.float32)):
        check_vjp(f, vjp, x, rng=rng, convert=torch.from_numpy)
        with pytest.raises(
            AssertionError, match=r"12 of 12 entries are wrong.* \(all by a factor of 0\.(5|49999|50000)"
        ):
            check_vjp(f, detached, x, rng=rng, convert=torch.from_numpy)

    def jvp(v: Any, x: Any) -> Any:
        return 2 * torch.tanh(x) * (1 - torch.tanh(x) ** 2) * v

    check_jvp(f, jvp, X, rng=rng, convert=torch.from_numpy)
    with pytest.raises(AssertionError, match="the sign is flipped"):
        check_jvp(f, lambda v, x: -jvp(v, x), X, rng=rng, convert=torch.from_numpy)
    check_gradient(lambda x: f(x).sum(), lambda x: vjp(torch.ones_like(x), x), X, rng=rng, convert=torch.from_numpy)
    with pytest.raises(AssertionError, match="a mean instead of a sum over 12 entries"):
        check_gradient(
            lambda x: f(x).sum(), lambda x: vjp(torch.ones_like(x) / x.numel(), x), X, rng=rng, convert=torch.from_numpy
        )


def test_pytorch_without_convert_is_explained(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError) as caught:
        check_vjp(torch.tanh, lambda c, x: c, X, rng=rng)
    assert "pass convert=torch.from_numpy" in caught.value.__notes__[0]
    with pytest.raises(
        TypeError, match=r"xs\[0\]: expected an array or a float, got Tensor; for a function of PyTorch"
    ):
        check_vjp(torch.tanh, lambda c, x: c, torch.from_numpy(X), rng=rng)


@pytest.mark.parametrize("size", [1000, 1001])
def test_up_to_1000_entries_are_searched(size: int, rng: np.random.Generator) -> None:
    x, wrong = rng.uniform(0.5, 1.5, size), np.where(np.arange(size) == size - 1, 1.1, 1.0)
    with pytest.raises(AssertionError) as jvp:
        check_jvp(np.sin, lambda v, x: wrong * v * np.cos(x), x, rng=rng)
    with pytest.raises(AssertionError) as vjp:
        check_vjp(np.sin, lambda c, x: wrong * c * np.cos(x), x, rng=rng)
    said = "1 of 1000 entries" if size == 1000 else "has 1001 entries and was not searched"
    assert said in str(jvp.value)
    assert said in str(vjp.value)
