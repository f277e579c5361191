"""Negative controls: gradients and adjoints that are wrong in one way each, which the checkers must see and name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import tinygen.autograd as ag
from tinygen.autograd import Array, Parameter, Tensor, no_grad
from tinygen.autograd.tensor import VJP, node
from tinygen.testing import check_adjoint, check_grads, check_parameter_grads

X = np.random.default_rng(1).uniform(0.5, 1.5, (3, 4))


def cube(x: Tensor, vjp: VJP) -> Tensor:
    """x³ with the derivative that is given."""
    return node("cube", x.value**3, (x, vjp))


def one_entry_wrong(g: Tensor, x: Tensor) -> Tensor:
    mistake = np.zeros(x.shape)
    mistake[1, 2] = 1e-5
    return g * 3 * x * x * (1 + mistake)


def changes_its_cotangent(g: Tensor, x: Tensor) -> Tensor:
    g.value *= 3
    return g * x * x


def changes_its_input(g: Tensor, x: Tensor) -> Tensor:
    x.value[0, 0] += 1e-9
    return g * 3 * x * x


WRONG: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], str]] = {
    "sign": (lambda g, x: -3 * g * x * x, "the sign is flipped"),
    "factor": (lambda g, x: 6 * g * x * x, "a factor of 2 throughout"),
    "missing factor": (lambda g, x: g * x * x, "a factor of 0.333333 throughout"),
    "nothing": (lambda g, x: 0 * g, "0 throughout"),
    "another function": (lambda g, x: 3 * g * x, "12 of 12 entries are wrong"),
    "one entry by 1e-5": (one_entry_wrong, r"1 of 12 entries are wrong, the worst at \(1, 2\)"),
    "a mean for a sum": (lambda g, x: ag.mean(g) * 3 * x * x, "entries are wrong"),
    "right for a cotangent of ones only": (lambda g, x: g * g * 3 * x * x, "entries are wrong"),
    "transposed rows": (lambda g, x: ag.flip(g, 0) * 3 * x * x, "entries are wrong"),
    "changes its cotangent": (changes_its_cotangent, "changed in place|another gradient"),
    "changes its input": (changes_its_input, r"xs\[0\] was changed in place"),
    "second order untaped": (lambda g, x: g * (3 * x.value**2), "order 2.*0 throughout.*Order 1 is right"),
    "second order without cotangent": (lambda g, x: Tensor(g.value) * 3 * x * x, "order 2.*cotangent 0 of order 1"),
    "second order sign": (lambda g, x: g * cube_slope(x, -6), r"order 2.*xs\[0\]"),
    "third order": (lambda g, x: g * cube_slope(x, 6, third=0.0), r"order 3.*xs\[0\]"),
}


def cube_slope(x: Tensor, curvature: float, third: float | None = None) -> Tensor:
    """3 x² whose own derivative, 6 x, is of another sign or is not differentiable."""
    slope: VJP = (lambda g, y: g * curvature * x) if third is None else (lambda g, y: g * (curvature * x.value))
    return node("slope", 3 * x.value**2, (x, slope))


@pytest.mark.parametrize("name", WRONG)
def test_wrong_rules_are_rejected(name: str, rng: np.random.Generator) -> None:
    rule, message = WRONG[name]
    with pytest.raises(AssertionError, match=f"(?s){message}"):
        check_grads(lambda x: cube(x, lambda g, y: rule(g, x)), X.copy(), order=3, rng=rng)


def test_right_rules_pass_to_fourth_order(rng: np.random.Generator) -> None:
    check_grads(lambda x: cube(x, lambda g, y: g * 3 * x * x), X, order=4, rng=rng)
    check_grads(lambda x, y: ag.exp(x) * ag.sin(y), Tensor(X), X[0], order=4, rng=rng, tolerance=1e-11)


def test_a_missing_term_is_blamed_on_its_input(rng: np.random.Generator) -> None:
    def product(a: Tensor, b: Tensor) -> Tensor:
        return node("product", a.value * b.value, (a, lambda g, y: g * b), (b, lambda g, y: g))

    with pytest.raises(AssertionError, match=r"By xs\[1\], 12 of 12") as caught:
        check_grads(product, X, X + 1, rng=rng)
    assert "xs[0]" not in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda g: g, r"gradient by xs\[0\] shares memory with the cotangent"),
        (lambda g: g.astype(np.float32), r"xs\[0\] is float64 \(3, 4\) but its gradient float32"),
        (lambda g: g.reshape(4, 3).copy(), r"xs\[0\] is float64 \(3, 4\) but its gradient float64 \(4, 3\)"),
    ],
)
def test_an_engine_that_spoils_its_gradients_is_noticed(
    spoil: Callable[[Array], Array], message: str, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    """The gradient of x ↦ x is its cotangent; tinygen's grad copies it."""
    monkeypatch.setattr("tinygen.testing.gradients.grad", lambda y, xs, c, *_, **__: [Tensor(spoil(c))])
    with pytest.raises(AssertionError, match=message):
        check_grads(lambda x: x, X, order=1, rng=rng)


def test_a_graph_that_was_cut_is_noticed(rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match=r"cut by \.value"):
        check_grads(lambda x: Tensor(x.value**2) + 0 * x, X, rng=rng)
    with no_grad(), pytest.raises(AssertionError, match=r"cut by \.value"):
        check_grads(lambda x: x * x, X, rng=rng)


def test_the_report_has_both_numbers_the_error_and_the_tolerance(rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match=r"order 1: .* = .*, by finite .* differ by .*, allowed is .* \(1e-08 of"):
        check_grads(lambda x: cube(x, lambda g, y: -g), X, rng=rng)


def test_a_kink_is_not_called_a_wrong_gradient(rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match="beside a kink"):
        check_grads(ag.abs, X * 1e-4, rng=rng)
    check_grads(ag.abs, X, rng=rng)


@pytest.mark.parametrize("f", [lambda x: Tensor(np.ones(2)), lambda x: 0 * x, lambda x: ag.relu(-x)])
def test_constants_are_refused(f: Callable[[Tensor], Tensor], rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match=r"does not depend on xs\[0\]"):
        check_grads(f, X, rng=rng)


def test_an_unused_input_is_refused_by_name(rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match=r"does not depend on xs\[1\]"):
        check_grads(lambda x, y: x * x, X, X, rng=rng)


def test_what_cannot_be_checked_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(TypeError, match=r"xs\[1\] is float32.*model.astype"):
        check_grads(lambda x, y: x * y, X, X.astype(np.float32), rng=rng)
    with pytest.raises(TypeError, match="a parameter or constant in it float32"):
        check_grads(lambda x: x.astype(np.float32), X, rng=rng)
    with pytest.raises(TypeError, match="not a Tensor"):
        check_grads(lambda x: x.value, X, rng=rng)
    with pytest.raises(ValueError, match="nothing to check"):
        check_grads(lambda x: x, np.zeros((0, 2)), rng=rng)
    with pytest.raises(ValueError, match="nothing to check"):
        check_grads(lambda: Tensor(1.0), rng=rng)


def test_randomness_inside_is_noticed(rng: np.random.Generator) -> None:
    noise = np.random.default_rng(0)
    with pytest.raises(AssertionError, match="called twice gives two values"):
        check_grads(lambda x: x * noise.normal(), X, rng=rng)


def test_parameters_are_checked_and_left_as_they_were(rng: np.random.Generator) -> None:
    w, b = Parameter(X[0], np.float64), Parameter(X[1], np.float64)
    values = w.value, b.value

    def loss() -> Tensor:
        return ag.sum(ag.tanh(w * X) * b)

    check_parameter_grads(loss, [w, b], order=2, rng=rng)
    with pytest.raises(AssertionError, match=r"By xs\[1\], 4 of 4 entries are wrong"):
        check_parameter_grads(lambda: loss() + ag.sum(b.value**2), [w, b], rng=rng)

    def wrong_in_second_order() -> Tensor:
        return ag.sum(cube(w, lambda g, y: g * (3 * w.value**2)))

    check_parameter_grads(wrong_in_second_order, [w], order=1, rng=rng)
    with pytest.raises(AssertionError, match="order 2"):
        check_parameter_grads(wrong_in_second_order, [w], order=2, rng=rng)
    assert (w.value is values[0], b.value is values[1], w.edges, b.edges) == (True, True, (), ())
    np.testing.assert_array_equal(ag.grad(ag.sum(w * b), [w])[0].value, b.value)


A = np.random.default_rng(2).normal(size=(4, 3))


def test_adjoint_pairs_pass(rng: np.random.Generator) -> None:
    check_adjoint(lambda x: A @ x, lambda y: A.T @ y, (3,), (4,), rng=rng)
    check_adjoint(lambda x: Tensor(A @ x), lambda y: Tensor(A.T @ y), (3, 2), (4, 2), rng=rng)


NOT_ADJOINT: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array], str]] = {
    "transposed wrongly": (lambda x: A[:3] @ x, lambda y: A[:3] @ y, "adjoint of another map"),
    "sign": (lambda x: A[:3] @ x, lambda y: -A[:3].T @ y, "adjoint of another map"),
    "one entry by 1e-9": (lambda x: A[:3] @ x, lambda y: (A[:3] + 1e-9 * np.eye(3)[::-1]).T @ y, "another map"),
    "rolled the wrong way": (lambda x: np.roll(x, 1), lambda y: np.roll(y, 1), "adjoint of another map"),
    "a bias": (lambda x: A[:3] @ x + 1, lambda y: A[:3].T @ y, "forward is not linear"),
    "a nonlinear adjoint": (lambda x: A[:3] @ x, lambda y: A[:3].T @ np.tanh(y), "adjoint is not linear"),
    "float32 inside": (lambda x: (A[:3] @ x).astype(np.float32), lambda y: A[:3].T @ y, "forward is not linear"),
    "another shape": (lambda x: A @ x, lambda y: A[:3].T @ y, r"forward takes shape \(3,\) to \(4,\), not to \(3,\)"),
    "nothing": (lambda x: 0 * x, lambda y: 0 * y, "takes a random input to 0"),
}


@pytest.mark.parametrize("name", NOT_ADJOINT)
def test_pairs_that_are_not_adjoint_are_rejected(name: str, rng: np.random.Generator) -> None:
    forward, adjoint, message = NOT_ADJOINT[name]
    with pytest.raises(AssertionError, match=message):
        check_adjoint(forward, adjoint, (3,), (3,), rng=rng)
