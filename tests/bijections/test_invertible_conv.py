"""Invertible 1×1 convolution: PLU factorisation, inverse, log-determinant, and singular matrices."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.flows import perturbed
from hypothesis import given
from hypothesis import strategies as st

from tinygen.bijections import InvertibleConv
from tinygen.bijections.invertible_conv import plu
from tinygen.testing import check_invertible, check_log_det, check_parameter_grads


def random_conv(channels: int, rng: np.random.Generator) -> InvertibleConv:
    return perturbed(InvertibleConv(channels, rng, rng.normal(size=(channels, channels))), rng, 0.3)


@given(n=st.integers(1, 6), seed=st.integers(0, 2**32))
def test_plu_reproduces_matrix(n: int, seed: int) -> None:
    w = np.random.default_rng(seed).normal(size=(n, n))
    order, lower, upper = plu(w)
    np.testing.assert_allclose(lower[order] @ upper, w, atol=1e-12)
    np.testing.assert_array_equal(lower, np.tril(lower))
    np.testing.assert_array_equal(upper, np.triu(upper))
    np.testing.assert_array_equal(np.diag(lower), np.ones(n))
    assert np.abs(lower).max() <= 1  # by partial pivoting


@given(shape=st.sampled_from([(2,), (5,), (2, 3), (2, 2, 4)]), seed=st.integers(0, 2**32))
def test_inverse_and_log_det(shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    conv, x = random_conv(shape[-1], rng), rng.normal(size=(3, *shape))
    check_log_det(conv, x, rng=rng)
    # The error of the inverse grows with the condition number of W.
    check_invertible(conv, x, rng=rng, tolerance=1e-12 * max(1e3, np.linalg.cond(conv.w.value)))


def test_starts_as_rotation_or_given_matrix(rng: np.random.Generator) -> None:
    w = InvertibleConv(6, rng).w.value
    np.testing.assert_allclose(w @ w.T, np.eye(6), atol=1e-6)  # float32
    given = rng.normal(size=(4, 4))
    np.testing.assert_allclose(InvertibleConv(4, rng, given).w.value, given, atol=1e-6)


def test_applies_same_matrix_to_every_pixel(rng: np.random.Generator) -> None:
    conv, x = random_conv(3, rng), rng.normal(size=(2, 4, 5, 3))
    np.testing.assert_allclose(conv.forward(x)[0].value, np.einsum("nhwc,cd->nhwd", x, conv.w.value), rtol=1e-12)


def test_log_det_of_one_pixel_is_rejected(rng: np.random.Generator) -> None:
    class OnePixel(InvertibleConv):
        def _log_det(self, name, x):  # type: ignore[no-untyped-def]
            return super()._log_det(name, x[:, 0, 0])

    with pytest.raises(AssertionError, match="log_det of forward"):
        check_log_det(OnePixel(2, rng, 2 * np.eye(2)).astype(np.float64), rng.normal(size=(2, 2, 2, 2)), rng=rng)


def test_gradients(rng: np.random.Generator) -> None:
    conv, x, weights = random_conv(3, rng), rng.normal(size=(2, 2, 2, 3)), rng.normal(size=(2, 2, 3))
    check_parameter_grads(
        lambda: (conv.forward(x)[0] * weights).sum((1, 2, 3)) + conv.forward(x)[1], conv.parameters(), rng=rng
    )


def test_rejects_singular_matrix(rng: np.random.Generator) -> None:
    for w in (np.zeros((2, 2)), np.ones((3, 3)), np.outer([1.0, 2, 3], [4, 5, 6])):
        with pytest.raises(ValueError, match="w: expected an invertible matrix"):
            InvertibleConv(len(w), rng, w)


def test_rejects_matrix_that_became_singular(rng: np.random.Generator) -> None:
    conv = InvertibleConv(2, rng)
    for log_s in (-1000.0, 1000.0, np.nan):
        conv.log_s.assign([0, log_s])
        for direction in (conv.forward, conv.inverse):
            with (
                np.errstate(over="ignore"),
                pytest.raises(ValueError, match="w: expected an invertible matrix, got diagonal"),
            ):
                direction(np.ones((1, 2), np.float32))


def test_rejects_wrong_shapes(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="channels: expected at least 1, got 0"):
        InvertibleConv(0, rng)
    for channels, w in ((2, np.eye(3)), (2, np.ones((2, 3)))):
        with pytest.raises(ValueError, match="w: expected"):
            InvertibleConv(channels, rng, w)
    with pytest.raises(ValueError, match=r"x: expected shape \(N, …, 3\)"):
        InvertibleConv(3, rng).forward(np.zeros((2, 4)))
