"""The autoregressive bijection: triangular in its order, inverted one variable after another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen import Tensor, no_grad
from tinygen.autograd import Array, TensorLike, tanh
from tinygen.bijections import AffineTransformer, Inverse, MaskedAutoregressive, MixtureCDF, Transformer
from tinygen.nn.masked import MaskedMLP
from tinygen.testing import check_autoregressive, check_grads, check_invertible, check_log_det, check_parameter_grads

TRANSFORMERS: dict[str, Transformer] = {"affine": AffineTransformer(), "mixture_cdf": MixtureCDF(2)}


class Counting(MaskedMLP):
    """A masked network that counts its evaluations: of all units at once, and of one variable's after another."""

    evaluations = variables_drawn = 0

    def __call__(self, x: Any, context: TensorLike | None = None, order_index: int = 0, **settings: Any) -> Tensor:
        self.evaluations += 1
        return super().__call__(x, context, order_index, **settings)

    def one_by_one(self, x: Array, context: Array | None = None, order_index: int = 0) -> Iterator[tuple[int, Array]]:
        for drawn in super().one_by_one(x, context, order_index):
            self.variables_drawn += 1
            yield drawn


def small(
    dim: int = 3, transformer: str = "affine", seed: int = 0, order: Any = None, context: int = 0
) -> MaskedAutoregressive:
    """In float64, every parameter random, so that no term is hidden by a zero; tanh has no kinks.

    They are small enough for slopes within e^±10 or so: of steeper maps, differences measure nothing to six digits.
    """
    rng, tau = np.random.default_rng(seed), TRANSFORMERS[transformer]
    orders = [rng.permutation(dim) if order is None else order]
    net = Counting(dim, tau.width, rng, hidden=(2 * dim, 2 * dim), orders=orders, context=context, activation=tanh)
    bijection = MaskedAutoregressive(net.astype(np.float64), tau)
    for parameter in bijection.parameters():
        parameter.assign(rng.normal(size=parameter.shape) * 0.4)
    return bijection


def given_vector(rng: np.random.Generator, n: int, size: int) -> Array | None:
    return rng.normal(size=(n, size)) if size else None


@given(
    dim=st.integers(2, 4),
    transformer=st.sampled_from(sorted(TRANSFORMERS)),
    context=st.integers(0, 2),
    inverted=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_it_is_invertible_and_its_log_det_that_of_its_jacobian(
    dim: int, transformer: str, context: int, inverted: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    bijection = small(dim, transformer, seed, context=context)
    c = given_vector(rng, 3, context)
    checked = Inverse(bijection) if inverted else bijection
    check_invertible(checked, rng.normal(size=(3, dim)), context=c, rng=rng)
    check_log_det(checked, rng.normal(size=(3, dim)), context=c, rng=rng)


@pytest.mark.parametrize("transformer", sorted(TRANSFORMERS))
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
def test_its_jacobian_is_triangular_in_its_order(transformer: str, order: list[int], rng: np.random.Generator) -> None:
    bijection = small(4, transformer, order=order)
    x = rng.normal(size=(3, 4))
    check_autoregressive(lambda x: bijection.forward(x)[0], x, axes=1, order=order, inclusive=True, rng=rng)
    if transformer == "affine":  # bisection takes as many steps as its whole batch needs, and so changes the last bits
        check_autoregressive(lambda z: bijection.inverse(z)[0], x, axes=1, order=order, inclusive=True, rng=rng)


@given(
    dim=st.integers(1, 5),
    transformer=st.sampled_from(sorted(TRANSFORMERS)),
    context=st.integers(0, 2),
    seed=st.integers(0, 2**32),
)
def test_the_two_inverses_agree(dim: int, transformer: str, context: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bijection, c = small(dim, transformer, seed, context=context), given_vector(rng, 4, context)
    z = rng.normal(size=(4, dim))
    differentiable = bijection.inverse(z, c)
    with no_grad():
        remembering = bijection.inverse(z, c)
    for slow, fast in zip(differentiable, remembering, strict=True):
        np.testing.assert_allclose(slow.value, fast.value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dim", [1, 2, 7])
def test_one_way_is_one_evaluation_the_other_is_one_for_each_variable(dim: int) -> None:
    bijection, x = small(dim), np.zeros((2, dim))
    net: Any = bijection.net
    for checked, there, back in ((bijection, "forward", "inverse"), (Inverse(bijection), "inverse", "forward")):
        net.evaluations = net.variables_drawn = 0
        getattr(checked, there)(x)
        assert (net.evaluations, net.variables_drawn) == (1, 0)
        getattr(checked, back)(x)
        assert (net.evaluations, net.variables_drawn) == (1 + dim, 0)
        with no_grad():
            getattr(checked, back)(x)
        assert (net.evaluations, net.variables_drawn) == (1 + dim, dim)


@pytest.mark.parametrize("transformer", sorted(TRANSFORMERS))
def test_both_ways_can_be_differentiated(transformer: str, rng: np.random.Generator) -> None:
    bijection = small(2, transformer, context=1)
    x, c = rng.normal(size=(2, 2)), rng.normal(size=(2, 1))
    for way in (bijection.forward, bijection.inverse):
        for part in (0, 1):
            check_grads(lambda x, c: way(x, c)[part], x, c, rng=rng)  # noqa: B023 - called at once
            check_parameter_grads(lambda: way(x, c)[part], bijection.parameters(), rng=rng)  # noqa: B023


def test_the_inverse_of_a_far_point_is_finite() -> None:
    bijection = small(6)
    for parameter in bijection.parameters():
        parameter.assign(100 * parameter.value)
    x, log_det = bijection.inverse(np.full((1, 6), 1e3))
    assert np.all(np.isfinite(x.value))
    assert abs(log_det.item()) <= 6 * 5.0


class SeesItself(MaskedMLP):
    """Wrong: each variable's parameters depend on the variable itself, as with mask B in the last layer."""

    def __call__(self, x: Any, context: TensorLike | None = None, order_index: int = 0, **settings: Any) -> Tensor:
        y, seen, variable = super().__call__(x, context, order_index, **settings), tanh(x), settings.get("variable")
        return y + 0.3 * (seen.reshape(*seen.shape, 1) if variable is None else seen[:, variable : variable + 1])


class ForwardTwice(MaskedAutoregressive):
    """Wrong: the inverse is the forward map again."""

    inverse = MaskedAutoregressive.forward  # type: ignore[assignment]  # its argument is x, not z


class IgnoresTheOrder(MaskedAutoregressive):
    """Wrong: the inverse draws the variables from 0 to D − 1, whatever the order of the net."""

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        own, self.net.order = self.net.order, lambda order_index=0: np.arange(self.net.variables)  # type: ignore[method-assign]
        try:
            return super().inverse(z, context)
        finally:
            self.net.order = own  # type: ignore[method-assign]


def as_wrong(kind: type[MaskedAutoregressive], net_kind: type[MaskedMLP] = Counting) -> MaskedAutoregressive:
    right = small(order=[2, 0, 1])
    right.net.__class__ = net_kind
    return kind(right.net, right.transformer)


def test_a_net_that_sees_the_variable_itself_is_rejected(rng: np.random.Generator) -> None:
    wrong, x = as_wrong(MaskedAutoregressive, SeesItself), rng.normal(size=(3, 3))
    with pytest.raises(AssertionError, match="log_det of forward"):
        check_log_det(wrong, x, rng=rng)
    with pytest.raises(AssertionError, match="own input"):
        check_autoregressive(wrong.net, x, axes=1, order=[2, 0, 1], rng=rng)


@pytest.mark.parametrize(
    ("kind", "message"), [(ForwardTwice, "forward applied twice"), (IgnoresTheOrder, "instead of")]
)
def test_wrong_inverses_are_rejected(kind: type[MaskedAutoregressive], message: str, rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match=message):
        check_invertible(as_wrong(kind), rng.normal(size=(3, 3)), rng=rng)


def test_another_order_is_rejected(rng: np.random.Generator) -> None:
    bijection = small(order=[2, 0, 1])
    with pytest.raises(AssertionError, match="it must not see"):
        check_autoregressive(
            lambda x: bijection.forward(x)[0], rng.normal(size=(3, 3)), axes=1, inclusive=True, rng=rng
        )


def test_an_order_of_the_net_is_a_permutation_around_it(rng: np.random.Generator) -> None:
    order = np.array([2, 0, 1])
    here, plain = small(order=order), small(order=np.arange(3))
    outputs = np.arange(3 * here.transformer.width).reshape(3, -1)[order].ravel()
    for i, (mine, its) in enumerate(zip(here.net.layers, plain.net.layers, strict=True)):
        rows, columns = (order if i == 0 else slice(None)), (outputs if i == 2 else slice(None))
        its.w.assign(mine.w.value[rows][:, columns])
        its.b.assign(mine.b.value[columns])  # type: ignore[union-attr]
    x = rng.normal(size=(4, 3))
    z, log_det = plain.forward(x[:, order])
    np.testing.assert_allclose(here.forward(x)[0].value[:, order], z.value, rtol=1e-12)
    np.testing.assert_allclose(here.forward(x)[1].value, log_det.value, rtol=1e-12)


@pytest.mark.parametrize("way", ["forward", "inverse"])
def test_arguments_that_do_not_fit(way: str) -> None:
    plain, contexts = getattr(small(3), way), getattr(small(3, context=2), way)
    for x in (np.zeros((2, 4)), np.zeros(3)):
        with pytest.raises(ValueError, match=r"x: expected shape|z: expected floats"):
            plain(x)
    with pytest.raises(ValueError, match="context: expected none"):
        plain(np.zeros((2, 3)), np.zeros((2, 1)))
    for c in (None, np.zeros((2, 3)), np.zeros((1, 2))):
        with pytest.raises(ValueError, match="context: expected shape"):
            contexts(np.zeros((2, 3)), c)


def test_noise_of_integers_is_refused() -> None:
    with pytest.raises(ValueError, match="z: expected floats"):
        small(3).inverse(np.zeros((2, 3), int))


def test_settings_that_make_no_bijection(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="net: expected width 2"):
        MaskedAutoregressive(MaskedMLP(3, 1, rng, hidden=(4,)), AffineTransformer())
