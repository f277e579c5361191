"""check_grads and check_parameter_grads reject gradients with one fault each and name the fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygen.autograd as ag
from tinygen.autograd import Parameter, Tensor, no_grad
from tinygen.autograd.tensor import VJP, node
from tinygen.testing import check_grads, check_parameter_grads

X = np.random.default_rng(1).uniform(0.5, 1.5, (3, 4))


def cube(x: Tensor, vjp: VJP) -> Tensor:
    """Return x³ with the given VJP."""
    return node("cube", x.value**3, (x, vjp))


def one_entry_wrong(g: Tensor, x: Tensor) -> Tensor:
    mistake = np.zeros(x.shape)
    mistake[1, 2] = 1e-5
    return g * 3 * x * x * (1 + mistake)


def modifies_its_cotangent(g: Tensor, x: Tensor) -> Tensor:
    g.value *= 3
    return g * x * x


def modifies_its_input(g: Tensor, x: Tensor) -> Tensor:
    x.value[0, 0] += 1e-9
    return g * 3 * x * x


WRONG: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], str]] = {
    "wrong sign": (lambda g, x: -3 * g * x * x, "the sign is flipped"),
    "factor 2": (lambda g, x: 6 * g * x * x, "all by a factor of 2"),
    "missing factor": (lambda g, x: g * x * x, "all by a factor of 0.333333"),
    "zero": (lambda g, x: 0 * g, "all are 0"),
    "derivative of another function": (lambda g, x: 3 * g * x, "12 of 12 entries are wrong"),
    "one entry wrong by 1e-5": (one_entry_wrong, r"1 of 12 entries are wrong, the worst at \(1, 2\)"),
    "averaged cotangent": (lambda g, x: ag.mean(g) * 3 * x * x, "entries are wrong"),
    "right only for a cotangent of ones": (lambda g, x: g * g * 3 * x * x, "entries are wrong"),
    "reversed rows": (lambda g, x: g[::-1] * 3 * x * x, "entries are wrong"),
    "modifies its cotangent": (modifies_its_cotangent, "modified in place|another gradient"),
    "modifies its input": (modifies_its_input, r"xs\[0\] was modified in place"),
    "second order uses .value": (lambda g, x: g * (3 * x.value**2), "order 2.*all are 0.*Order 1 is correct"),
    "second order ignores the cotangent": (lambda g, x: Tensor(g.value) * 3 * x * x, "order 2.*cotangent 0 of order 1"),
    "second order with the wrong sign": (lambda g, x: g * cube_slope(x, -6), r"order 2.*xs\[0\]"),
    "third order missing": (lambda g, x: g * cube_slope(x, 6, third=0.0), r"order 3.*xs\[0\]"),
}


def cube_slope(x: Tensor, curvature: float, third: float | None = None) -> Tensor:
    """Return 3 x² with derivative curvature · x; if `third` is given, that derivative is not differentiable."""
    slope: VJP = (lambda g, y: g * curvature * x) if third is None else (lambda g, y: g * (curvature * x.value))
    return node("slope", 3 * x.value**2, (x, slope))


@pytest.mark.parametrize("name", WRONG)
def test_rejects_wrong_vjps(name: str, rng: np.random.Generator) -> None:
    rule, message = WRONG[name]
    with pytest.raises(AssertionError, match=f"(?s){message}"):
        check_grads(lambda x: cube(x, lambda g, y: rule(g, x)), X.copy(), order=3, rng=rng)


def test_accepts_correct_vjps_up_to_fourth_order(rng: np.random.Generator) -> None:
    check_grads(lambda x: cube(x, lambda g, y: g * 3 * x * x), X, order=4, rng=rng)
    check_grads(lambda x, y: ag.exp(x) * ag.sin(y), Tensor(X), X[0], order=4, rng=rng, tolerance=1e-11)


def test_names_only_the_input_with_the_wrong_gradient(rng: np.random.Generator) -> None:
    def product(a: Tensor, b: Tensor) -> Tensor:
        return node("product", a.value * b.value, (a, lambda g, y: g * b), (b, lambda g, y: g))

    with pytest.raises(AssertionError, match=r"gradient of xs\[1\], 12 of 12") as caught:
        check_grads(product, X, X + 1, rng=rng)
    assert "xs[0]" not in str(caught.value)


def test_reports_a_graph_cut_by_value_or_no_grad(rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match=r"cut by \.value"):
        check_grads(lambda x: Tensor(x.value**2) + 0 * x, X, rng=rng)
    with no_grad(), pytest.raises(AssertionError, match=r"cut by \.value"):
        check_grads(lambda x: x * x, X, rng=rng)


def test_report_has_both_values_the_error_and_the_tolerance(rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match=r"order 1: .* = .*, but finite .* differ by .*, more than .* \(1e-08 of"):
        check_grads(lambda x: cube(x, lambda g, y: -g), X, rng=rng)


def test_reports_finite_differences_that_do_not_converge_at_a_kink(rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match=r"converged only to within .* a kink"):
        check_grads(ag.abs, X * 1e-4, rng=rng)
    check_grads(ag.abs, X, rng=rng)


@pytest.mark.parametrize("f", [lambda x: Tensor(np.ones(2)), lambda x: 0 * x, lambda x: ag.relu(-x)])
def test_rejects_constant_functions(f: Callable[[Tensor], Tensor], rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match=r"does not depend on xs\[0\]"):
        check_grads(f, X, rng=rng)


def test_rejects_and_names_an_unused_input(rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match=r"does not depend on xs\[1\]"):
        check_grads(lambda x, y: x * x, X, X, rng=rng)


def test_rejects_wrong_dtypes_types_and_empty_inputs(rng: np.random.Generator) -> None:
    with pytest.raises(TypeError, match=r"xs\[1\]: expected float64, got float32.*model.astype"):
        check_grads(lambda x, y: x * y, X, X.astype(np.float32), rng=rng)
    with pytest.raises(TypeError, match="a parameter or constant in f float32"):
        check_grads(lambda x: x.astype(np.float32), X, rng=rng)
    with pytest.raises(
        TypeError, match=r"f: expected a tinygen Tensor as its result, got numpy.ndarray; .* use check_vjp"
    ):
        check_grads(lambda x: x.value, X, rng=rng)
    with pytest.raises(ValueError, match=r"xs\[0\]: expected at least one number, got an array of shape \(0, 2\)"):
        check_grads(lambda x: x, np.zeros((0, 2)), rng=rng)
    with pytest.raises(ValueError, match="xs: expected one or more arrays, got none"):
        check_grads(lambda: Tensor(1.0), rng=rng)


def test_rejects_random_functions(rng: np.random.Generator) -> None:
    noise = np.random.default_rng(0)
    with pytest.raises(AssertionError, match="two calls of f differ"):
        check_grads(lambda x: x * noise.normal(), X, rng=rng)


def test_parameter_grads_are_checked_and_parameters_restored(rng: np.random.Generator) -> None:
    w, b = Parameter(X[0], np.float64), Parameter(X[1], np.float64)
    values = w.value, b.value

    def loss() -> Tensor:
        return ag.sum(ag.tanh(w * X) * b)

    check_parameter_grads(loss, [w, b], order=2, rng=rng)
    with pytest.raises(AssertionError, match=r"gradient of xs\[1\], 4 of 4 entries are wrong"):
        check_parameter_grads(lambda: loss() + ag.sum(b.value**2), [w, b], rng=rng)

    def wrong_in_second_order() -> Tensor:
        return ag.sum(cube(w, lambda g, y: g * (3 * w.value**2)))

    check_parameter_grads(wrong_in_second_order, [w], order=1, rng=rng)
    with pytest.raises(AssertionError, match="order 2"):
        check_parameter_grads(wrong_in_second_order, [w], order=2, rng=rng)
    assert (w.value is values[0], b.value is values[1], w.edges, b.edges) == (True, True, (), ())
    np.testing.assert_array_equal(ag.grad(ag.sum(w * b), [w])[0].value, b.value)


def test_rejects_operations_that_turn_float32_into_float64(rng: np.random.Generator) -> None:
    def always_float64(x: Tensor) -> Tensor:
        return node("cube64", x.value.astype(np.float64) ** 3, (x, lambda g, y: 3 * g * x * x))

    for f in (always_float64, lambda x: ag.sin(always_float64(ag.sin(x))) * 2):
        with pytest.raises(AssertionError, match="the operation 'cube64' in f turns float32 into float64"):
            check_grads(f, X, order=1, rng=rng)
    with pytest.raises(AssertionError, match="the operation 'astype' in f turns float32 into float64"):
        check_grads(lambda x: ag.sum(x.astype(np.float64)), X, order=1, rng=rng)
    check_grads(lambda x: ag.sin(x * X), X, rng=rng)  # a float64 constant promotes, by NumPy's rules


@pytest.mark.parametrize("f", [np.sin, lambda x: x.detach(), lambda x: None])
def test_functions_of_other_arrays_are_referred_to_the_other_checks(
    f: Callable[..., Any], rng: np.random.Generator
) -> None:
    with pytest.raises((TypeError, AttributeError)) as caught:
        check_grads(f, X, rng=rng)
    text = "".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert "use check_vjp, check_jvp or check_gradient" in text
