"""MaskedAutoregressive: inverse, log-determinant, triangular Jacobian, and both implementations of the inverse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers.flows import check_bijection, random_context, randomised
from hypothesis import given
from hypothesis import strategies as st

from tinygen import Tensor, no_grad
from tinygen.autograd import Array, TensorLike, tanh
from tinygen.bijections import AffineTransformer, Inverse, MaskedAutoregressive, MixtureCDF, Transformer
from tinygen.nn.masked import MaskedMLP
from tinygen.testing import check_autoregressive, check_grads, check_invertible, check_log_det, check_parameter_grads

TRANSFORMERS: dict[str, Transformer] = {"affine": AffineTransformer(), "mixture_cdf": MixtureCDF(2)}


class CountingMLP(MaskedMLP):
    """A masked network that counts its full evaluations, and the variables that it computes one by one."""

    evaluations = variables_computed = 0

    def __call__(self, x: Any, context: TensorLike | None = None, order_index: int = 0, **settings: Any) -> Tensor:
        self.evaluations += 1
        return super().__call__(x, context, order_index, **settings)

    def one_by_one(self, x: Array, context: Array | None = None, order_index: int = 0) -> Iterator[tuple[int, Array]]:
        for item in super().one_by_one(x, context, order_index):
            self.variables_computed += 1
            yield item


def small(
    dim: int = 3, transformer: str = "affine", seed: int = 0, order: Any = None, context: int = 0
) -> MaskedAutoregressive:
    """Build a randomised bijection with a tanh network, as finite differences fail at the kink of relu.

    A scale of 0.4 keeps the slopes within about e^±10; for steeper maps finite differences lose too many digits.
    """
    rng, tau = np.random.default_rng(seed), TRANSFORMERS[transformer]
    orders = [rng.permutation(dim) if order is None else order]
    net = CountingMLP(dim, tau.width, rng, hidden=(2 * dim, 2 * dim), orders=orders, context=context, activation=tanh)
    return randomised(MaskedAutoregressive(net, tau), rng, 0.4)


@given(
    dim=st.integers(2, 4),
    transformer=st.sampled_from(sorted(TRANSFORMERS)),
    context=st.integers(0, 2),
    inverted=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_inverse_and_log_det(dim: int, transformer: str, context: int, inverted: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bijection = small(dim, transformer, seed, context=context)
    c = random_context(rng, 3, context)
    check_bijection(Inverse(bijection) if inverted else bijection, rng.normal(size=(3, dim)), context=c, rng=rng)


@pytest.mark.parametrize("transformer", sorted(TRANSFORMERS))
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
def test_jacobian_is_triangular_in_order(transformer: str, order: list[int], rng: np.random.Generator) -> None:
    bijection = small(4, transformer, order=order)
    x = rng.normal(size=(3, 4))
    for direction in ("forward", "inverse"):
        function = lambda x, d=direction: getattr(bijection, d)(x)[0]
        check_autoregressive(function, x, axes=1, order=order, inclusive=True, rng=rng)


@given(
    dim=st.integers(1, 5),
    transformer=st.sampled_from(sorted(TRANSFORMERS)),
    context=st.integers(0, 2),
    seed=st.integers(0, 2**32),
)
def test_cached_inverse_equals_differentiable_inverse(dim: int, transformer: str, context: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bijection, c = small(dim, transformer, seed, context=context), random_context(rng, 4, context)
    z = rng.normal(size=(4, dim))
    differentiable = bijection.inverse(z, c)
    with no_grad():
        cached = bijection.inverse(z, c)
    for slow, fast in zip(differentiable, cached, strict=True):
        np.testing.assert_allclose(slow.value, fast.value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dim", [1, 2, 7])
def test_number_of_network_evaluations(dim: int) -> None:
    bijection, x = small(dim), np.zeros((2, dim))
    net: Any = bijection.net
    for checked, fast, slow in ((bijection, "forward", "inverse"), (Inverse(bijection), "inverse", "forward")):
        net.evaluations = net.variables_computed = 0
        getattr(checked, fast)(x)
        assert (net.evaluations, net.variables_computed) == (1, 0)
        getattr(checked, slow)(x)
        assert (net.evaluations, net.variables_computed) == (1 + dim, 0)
        with no_grad():
            getattr(checked, slow)(x)
        assert (net.evaluations, net.variables_computed) == (1 + dim, dim)


@pytest.mark.parametrize("transformer", sorted(TRANSFORMERS))
def test_gradients(transformer: str, rng: np.random.Generator) -> None:
    bijection = small(2, transformer, context=1)
    x, c = rng.normal(size=(2, 2)), rng.normal(size=(2, 1))
    for direction in (bijection.forward, bijection.inverse):
        for part in (0, 1):
            check_grads(lambda x, c: direction(x, c)[part], x, c, rng=rng)  # noqa: B023 - called at once
            check_parameter_grads(lambda: direction(x, c)[part], bijection.parameters(), rng=rng)  # noqa: B023


def test_inverse_of_far_point_is_finite() -> None:
    bijection = small(6)
    for parameter in bijection.parameters():
        parameter.assign(100 * parameter.value)
    x, log_det = bijection.inverse(np.full((1, 6), 1e3))
    assert np.all(np.isfinite(x.value))
    assert abs(log_det.item()) <= 6 * 5.0  # the transformer's bound for each variable


class SeesItself(MaskedMLP):
    """Wrong: the parameters of each variable depend on the variable itself, as with mask B in the last layer."""

    def __call__(self, x: Any, context: TensorLike | None = None, order_index: int = 0, **settings: Any) -> Tensor:
        y, seen, variable = super().__call__(x, context, order_index, **settings), tanh(x), settings.get("variable")
        return y + 0.3 * (seen.reshape(*seen.shape, 1) if variable is None else seen[:, variable : variable + 1])


class ForwardTwice(MaskedAutoregressive):
    """Wrong: inverse is forward."""

    inverse = MaskedAutoregressive.forward  # type: ignore[assignment]  # its argument is named x, not z


class IgnoresOrder(MaskedAutoregressive):
    """Wrong: inverse computes the variables in the order 0…D−1 instead of the order of the net."""

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        correct, self.net.order = self.net.order, lambda order_index=0: np.arange(self.net.variables)  # type: ignore[method-assign]
        try:
            return super().inverse(z, context)
        finally:
            self.net.order = correct  # type: ignore[method-assign]


def as_wrong(kind: type[MaskedAutoregressive], net_kind: type[MaskedMLP] = CountingMLP) -> MaskedAutoregressive:
    """Return a correct bijection whose classes are replaced by these."""
    right = small(order=[2, 0, 1])
    right.net.__class__ = net_kind
    return kind(right.net, right.transformer)


def test_net_that_sees_variable_itself_is_rejected(rng: np.random.Generator) -> None:
    wrong, x = as_wrong(MaskedAutoregressive, SeesItself), rng.normal(size=(3, 3))
    with pytest.raises(AssertionError, match="log_det of forward"):
        check_log_det(wrong, x, rng=rng)
    with pytest.raises(AssertionError, match="own input"):
        check_autoregressive(wrong.net, x, axes=1, order=[2, 0, 1], rng=rng)


@pytest.mark.parametrize(("kind", "message"), [(ForwardTwice, "forward applied twice"), (IgnoresOrder, "instead of")])
def test_wrong_inverse_is_rejected(kind: type[MaskedAutoregressive], message: str, rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match=message):
        check_invertible(as_wrong(kind), rng.normal(size=(3, 3)), rng=rng)


def test_wrong_order_is_rejected(rng: np.random.Generator) -> None:
    bijection, x = small(order=[2, 0, 1]), rng.normal(size=(3, 3))
    with pytest.raises(AssertionError, match="it must not see"):
        check_autoregressive(lambda x: bijection.forward(x)[0], x, axes=1, inclusive=True, rng=rng)


def test_order_is_equivalent_to_permuted_variables(rng: np.random.Generator) -> None:
    order = np.array([2, 0, 1])
    ordered, plain = small(order=order), small(order=np.arange(3))
    outputs = np.arange(3 * ordered.transformer.width).reshape(3, -1)[order].ravel()
    for i, (source, target) in enumerate(zip(ordered.net.layers, plain.net.layers, strict=True)):
        rows, columns = (order if i == 0 else slice(None)), (outputs if i == 2 else slice(None))
        target.w.assign(source.w.value[rows][:, columns])
        target.b.assign(source.b.value[columns])  # type: ignore[union-attr]
    x = rng.normal(size=(4, 3))
    z, log_det = plain.forward(x[:, order])
    np.testing.assert_allclose(ordered.forward(x)[0].value[:, order], z.value, rtol=1e-12)
    np.testing.assert_allclose(ordered.forward(x)[1].value, log_det.value, rtol=1e-12)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_rejects_wrong_shapes(direction: str) -> None:
    plain, conditional = getattr(small(3), direction), getattr(small(3, context=2), direction)
    for x in (np.zeros((2, 4)), np.zeros(3)):
        with pytest.raises(ValueError, match=r"x: expected shape|z: expected floats"):
            plain(x)
    with pytest.raises(ValueError, match="context: expected none"):
        plain(np.zeros((2, 3)), np.zeros((2, 1)))
    for c in (None, np.zeros((2, 3)), np.zeros((1, 2))):
        with pytest.raises(ValueError, match="context: expected shape"):
            conditional(np.zeros((2, 3)), c)


def test_inverse_rejects_integers() -> None:
    with pytest.raises(ValueError, match="z: expected floats"):
        small(3).inverse(np.zeros((2, 3), int))


def test_rejects_net_of_wrong_width(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="net: expected width 2"):
        MaskedAutoregressive(MaskedMLP(3, 1, rng, hidden=(4,)), AffineTransformer())
