"""Permute and Reshape: inverse and zero log-determinant."""

import numpy as np
import pytest
from helpers.flows import check_bijection
from hypothesis import given
from hypothesis import strategies as st

from tinygen.bijections import Affine, Chain, Permute, Reshape
from tinygen.testing import check_grads
from tinygen.testing.strategies import orders, rngs, shapes


@given(data=st.data(), dim=st.integers(1, 4), lead=shapes(0, 1), rng=rngs())
def test_permute(data: st.DataObject, dim: int, lead: tuple[int, ...], rng: np.random.Generator) -> None:
    order = data.draw(orders(dim))
    x = rng.normal(size=(3, *lead, dim))
    # The checks reject the identity, which a permutation may be; the scaling avoids that.
    check_bijection(Chain(Permute(order), Affine(np.arange(2.0, 2 + dim))), x, rng=rng)
    z, log_det = Permute(order).forward(x)
    for i, source in enumerate(order):
        np.testing.assert_array_equal(z.value[..., i], x[..., source])
    np.testing.assert_array_equal(log_det.value, np.zeros(3))


def test_reshape(rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, 2, 2, 1))
    reshape = Reshape((2, 2, 1), (4,))
    np.testing.assert_array_equal(reshape.forward(x)[0].value, x.reshape(3, 4))
    check_bijection(reshape, x, rng=rng)
    assert reshape.forward(x[:0])[0].shape == (0, 4)


def test_gradients(rng: np.random.Generator) -> None:
    for bijection in (Permute(np.array([2, 0, 1])), Reshape((3,), (3, 1))):
        check_grads(lambda x, b=bijection: b.inverse(b.forward(x * x)[0] * 2)[0], rng.normal(size=(2, 3)), rng=rng)


@pytest.mark.parametrize("order", [[0, 0], [1, 2], [[0, 1]], [0.0, 1.0], [True, False]])
def test_rejects_invalid_permutation(order: list[int]) -> None:
    with pytest.raises(ValueError, match="order: expected a permutation"):
        Permute(np.array(order))


def test_rejects_wrong_shapes() -> None:
    for direction, name in (("forward", "x"), ("inverse", "z")):
        for shape in ((2, 4), (3,), ()):
            with pytest.raises(ValueError, match=rf"^{name}: expected shape \(N, …, 3\) in Permute"):
                getattr(Permute(np.arange(3)), direction)(np.zeros(shape))
        with pytest.raises(ValueError, match=r"^[xz]: expected shape \(N, "):
            getattr(Reshape((4,), (2, 2)), direction)(np.zeros((3, 4, 1)))
    with pytest.raises(ValueError, match="noise: expected the size of data, 4 elements"):
        Reshape((4,), (2, 3))
