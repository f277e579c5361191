"""Invertible 1×1 convolutions: one matrix for every pixel, its determinant from the diagonal, singular never unsaid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.bijections import InvertibleConv
from tinygen.bijections.invertible_conv import plu
from tinygen.testing import check_invertible, check_log_det, check_parameter_grads


def random(channels: int, rng: np.random.Generator) -> InvertibleConv:
    mixing = InvertibleConv(channels, rng, rng.normal(size=(channels, channels))).astype(np.float64)
    for parameter in mixing.parameters():
        parameter.assign(parameter.value + 0.3 * rng.normal(size=parameter.shape))
    return mixing


@given(n=st.integers(1, 6), seed=st.integers(0, 2**32))
def test_plu_multiplies_back(n: int, seed: int) -> None:
    w = np.random.default_rng(seed).normal(size=(n, n))
    order, lower, upper = plu(w)
    np.testing.assert_allclose(lower[order] @ upper, w, atol=1e-12)
    np.testing.assert_array_equal(lower, np.tril(lower))
    np.testing.assert_array_equal(upper, np.triu(upper))
    np.testing.assert_array_equal(np.diag(lower), np.ones(n))
    assert np.abs(lower).max() <= 1  # what pivoting is for


@given(shape=st.sampled_from([(2,), (5,), (2, 3), (2, 2, 4)]), seed=st.integers(0, 2**32))
def test_invertible_with_the_log_det_of_its_jacobian(shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    mixing, x = random(shape[-1], rng), rng.normal(size=(3, *shape))
    check_log_det(mixing, x, rng=rng)
    # W is inverted, with an error that grows with its context.
    check_invertible(mixing, x, rng=rng, tolerance=1e-12 * max(1e3, np.linalg.cond(mixing.w.value)))


def test_it_starts_as_a_rotation_or_as_the_matrix_given(rng: np.random.Generator) -> None:
    w = InvertibleConv(6, rng).w.value
    np.testing.assert_allclose(w @ w.T, np.eye(6), atol=1e-6)  # float32
    given = rng.normal(size=(4, 4))
    np.testing.assert_allclose(InvertibleConv(4, rng, given).w.value, given, atol=1e-6)


def test_every_pixel_is_mixed_alike_and_by_itself(rng: np.random.Generator) -> None:
    mixing, x = random(3, rng), rng.normal(size=(2, 4, 5, 3))
    np.testing.assert_allclose(mixing.forward(x)[0].value, np.einsum("nhwc,cd->nhwd", x, mixing.w.value), rtol=1e-12)


def test_a_log_det_of_one_pixel_is_rejected(rng: np.random.Generator) -> None:
    class Once(InvertibleConv):
        def _log_det(self, x):  # type: ignore[no-untyped-def]
            return super()._log_det(x[:, 0, 0])

    with pytest.raises(AssertionError, match="log_det of forward"):
        check_log_det(Once(2, rng, 2 * np.eye(2)).astype(np.float64), rng.normal(size=(2, 2, 2, 2)), rng=rng)


def test_gradients(rng: np.random.Generator) -> None:
    mixing, x, weights = random(3, rng), rng.normal(size=(2, 2, 2, 3)), rng.normal(size=(2, 2, 3))
    parameters = mixing.parameters()
    check_parameter_grads(
        lambda: (mixing.forward(x)[0] * weights).sum((1, 2, 3)) + mixing.forward(x)[1], parameters, rng=rng
    )


def test_a_matrix_that_is_singular_or_becomes_so(rng: np.random.Generator) -> None:
    for w in (np.zeros((2, 2)), np.ones((3, 3)), np.outer([1.0, 2, 3], [4, 5, 6])):
        with pytest.raises(ValueError, match="w: expected an invertible matrix"):
            InvertibleConv(len(w), rng, w)
    mixing = InvertibleConv(2, rng)
    for log_s in (-1000.0, 1000.0, np.nan):
        mixing.log_s.assign([0, log_s])
        for direction in (mixing.forward, mixing.inverse):
            with np.errstate(over="ignore"), pytest.raises(ValueError, match="has become singular"):
                direction(np.ones((1, 2), np.float32))


def test_shapes_that_do_not_fit(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="channels: expected at least 1, got 0"):
        InvertibleConv(0, rng)
    for channels, w in ((2, np.eye(3)), (2, np.ones((2, 3)))):
        with pytest.raises(ValueError, match="w: expected"):
            InvertibleConv(channels, rng, w)
    with pytest.raises(ValueError, match="matmul"):
        InvertibleConv(3, rng).forward(np.zeros((2, 4)))
