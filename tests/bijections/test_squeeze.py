"""Squeeze, FactorOut and multi_scale: inverse, log-determinant, and order of the elements."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.flows import check_bijection, perturbed
from hypothesis import given
from hypothesis import strategies as st

from tinygen.bijections import (
    ActNorm,
    Affine,
    Bijection,
    Chain,
    FactorOut,
    InvertibleConv,
    Reshape,
    Squeeze,
    multi_scale,
)
from tinygen.testing import check_log_det, check_parameter_grads


def test_squeeze_moves_block_into_channels() -> None:
    x = np.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    z, log_det = Squeeze().forward(x)
    assert z.shape == (2, 2, 3, 12)
    for i, j in np.ndindex(2, 3):
        np.testing.assert_array_equal(z.value[:, i, j], x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].reshape(2, 12))
    np.testing.assert_array_equal(log_det.value, [0, 0])


@given(h=st.integers(1, 3), w=st.integers(1, 3), c=st.integers(1, 3), seed=st.integers(0, 2**32))
def test_squeeze_inverse_and_log_det(h: int, w: int, c: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # The checks reject the identity, which a squeeze of a single block is; the affine map avoids that.
    check_bijection(Chain(Affine(2.0, 1.0), Squeeze()), rng.normal(size=(2, 2 * h, 2 * w, c)), rng=rng)


def random_levels(rng: np.random.Generator, levels: int) -> tuple[Chain, tuple[int, int, int]]:
    """Return a multi-scale bijection and its event shape. Each level is Squeeze, InvertibleConv and ActNorm."""
    size = 2**levels
    shapes = [(size // 2**level, size // 2**level, 2 ** (level + 1)) for level in range(1, levels + 1)]
    stages: list[Bijection] = [Chain(Squeeze(), InvertibleConv(c, rng), ActNorm(c)) for _, _, c in shapes]
    return perturbed(multi_scale(stages, shapes), rng, 0.3), (size, size, 1)


@given(levels=st.integers(1, 2), seed=st.integers(0, 2**32))
def test_multi_scale_inverse_and_log_det(levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bijection, shape = random_levels(rng, levels)
    x = rng.normal(size=(2, *shape))
    assert bijection.forward(x)[0].shape == (2, math.prod(shape))
    check_bijection(bijection, x, rng=rng)


def test_factor_out_transforms_second_half_only(rng: np.random.Generator) -> None:
    rest = Chain(Affine(3.0, 1.0), Reshape((2, 2, 2), (8,)))
    x = rng.normal(size=(3, 2, 2, 4))
    z, log_det = FactorOut((2, 2, 4), rest).forward(x)
    np.testing.assert_array_equal(z.value[:, :8], x[..., :2].reshape(3, 8))
    np.testing.assert_array_equal(z.value[:, 8:], (3 * x[..., 2:] + 1).reshape(3, 8))
    np.testing.assert_allclose(log_det.value, 8 * np.log(3), rtol=1e-15)


def test_missing_log_det_of_factor_out_is_rejected(rng: np.random.Generator) -> None:
    class WithoutLogDet(FactorOut):
        def forward(self, x, context=None):  # type: ignore[no-untyped-def]
            z, log_det = super().forward(x, context)
            return z, 0 * log_det

    wrong = WithoutLogDet((2, 2, 2), Chain(Affine(3.0), Reshape((2, 2, 1), (4,))))
    with pytest.raises(AssertionError, match="log_det of forward"):
        check_log_det(wrong, rng.normal(size=(2, 2, 2, 2)), rng=rng)


def test_gradients_of_all_levels(rng: np.random.Generator) -> None:
    bijection, shape = random_levels(rng, 2)
    x, weights = rng.normal(size=(2, *shape)), rng.normal(size=16)

    def loss():  # type: ignore[no-untyped-def]
        z, log_det = bijection.forward(x)
        return (z * weights).sum(1) + log_det

    check_parameter_grads(loss, bijection.parameters(), rng=rng)


@pytest.mark.parametrize("shape", [(2, 3, 4, 1), (2, 4, 3, 1), (2, 4, 4)])
def test_squeeze_rejects_odd_sizes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^x: expected shape .* in Squeeze"):
        Squeeze().forward(np.zeros(shape))


def test_rejects_invalid_arguments() -> None:
    with pytest.raises(ValueError, match=r"^z: .* a multiple of 4 in Squeeze"):
        Squeeze().inverse(np.zeros((2, 3, 3, 2)))
    with pytest.raises(ValueError, match="shape: expected an even number of channels"):
        FactorOut((2, 2, 3), Affine(2.0))
    with pytest.raises(ValueError, match="stages and shapes: expected at least one"):
        multi_scale([], [])
    with pytest.raises(ValueError, match="and equally many, got 1 and 2"):
        multi_scale([Affine(2.0)], [(2,), (1,)])
