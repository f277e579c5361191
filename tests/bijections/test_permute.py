"""Permutations and reshapes move numbers and change no volume."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.bijections import Affine, Chain, Permute, Reshape, Reverse
from tinygen.testing import check_grads, check_invertible, check_log_det
from tinygen.testing.strategies import orders, rngs, shapes


@given(data=st.data(), dim=st.integers(1, 4), lead=shapes(0, 1), rng=rngs())
def test_permute(data: st.DataObject, dim: int, lead: tuple[int, ...], rng: np.random.Generator) -> None:
    order = data.draw(orders(dim))
    x = rng.normal(size=(3, *lead, dim))
    scaled = Chain(Permute(order), Affine(np.arange(2.0, 2 + dim)))  # so that it is not the identity in any case
    check_invertible(scaled, x, rng=rng)
    check_log_det(scaled, x, rng=rng)
    z, log_det = Permute(order).forward(x)
    for i, source in enumerate(order):
        np.testing.assert_array_equal(z.value[..., i], x[..., source])
    np.testing.assert_array_equal(log_det.value, np.zeros(3))


def test_reverse(rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, 4))
    np.testing.assert_array_equal(Reverse(4).forward(x)[0].value, x[:, ::-1])
    check_log_det(Reverse(4), x, rng=rng)


def test_reshape(rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, 2, 2, 1))
    reshape = Reshape((2, 2, 1), (4,))
    np.testing.assert_array_equal(reshape.forward(x)[0].value, x.reshape(3, 4))
    check_invertible(reshape, x, rng=rng)
    check_log_det(reshape, x, rng=rng)
    assert reshape.forward(x[:0])[0].shape == (0, 4)


def test_both_can_be_differentiated(rng: np.random.Generator) -> None:
    for bijection in (Permute(np.array([2, 0, 1])), Reshape((3,), (3, 1))):
        check_grads(lambda x, b=bijection: b.inverse(b.forward(x * x)[0] * 2)[0], rng.normal(size=(2, 3)), rng=rng)


@pytest.mark.parametrize("order", [[0, 0], [1, 2], [[0, 1]], [0.0, 1.0], [True, False]])
def test_what_is_no_permutation(order: list[int]) -> None:
    with pytest.raises(ValueError, match="order: expected a permutation"):
        Permute(np.array(order))


def test_wrong_shapes() -> None:
    for direction in ("forward", "inverse"):
        for shape in ((2, 4), (3,), ()):
            with pytest.raises(ValueError, match=r"^x: expected .* by Reverse"):
                getattr(Reverse(3), direction)(np.zeros(shape))
        with pytest.raises(ValueError, match=r"^x: expected \(N, .* by Reshape"):
            getattr(Reshape((4,), (2, 2)), direction)(np.zeros((3, 4, 1)))
    with pytest.raises(ValueError, match="noise: expected as many numbers"):
        Reshape((4,), (2, 3))
