"""Squeeze moves blocks into channels; what is factored out is noise as it is, and the rest goes on."""

from __future__ import annotations

import math

import numpy as np
import pytest
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
from tinygen.testing import check_invertible, check_log_det, check_parameter_grads


def test_a_block_becomes_the_channels_of_one_pixel() -> None:
    x = np.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    z, log_det = Squeeze().forward(x)
    assert z.shape == (2, 2, 3, 12)
    for i, j in np.ndindex(2, 3):
        np.testing.assert_array_equal(z.value[:, i, j], x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].reshape(2, 12))
    np.testing.assert_array_equal(log_det.value, [0, 0])


@given(h=st.integers(1, 3), w=st.integers(1, 3), c=st.integers(1, 3), seed=st.integers(0, 2**32))
def test_squeeze_is_invertible(h: int, w: int, c: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    squeeze = Chain(Affine(2.0, 1.0), Squeeze())  # of one pixel a block it would be the identity
    x = rng.normal(size=(2, 2 * h, 2 * w, c))
    check_invertible(squeeze, x, rng=rng)
    check_log_det(squeeze, x, rng=rng)


def scales(rng: np.random.Generator, levels: int) -> tuple[Chain, tuple[int, int, int]]:
    """Several levels over images of the smallest size, each a squeeze, a mixing of channels and a scaling."""
    size = 2**levels
    shapes = [(size // 2**level, size // 2**level, 2 ** (level + 1)) for level in range(1, levels + 1)]
    chains: list[Bijection] = [Chain(Squeeze(), InvertibleConv(c, rng), ActNorm(c)) for _, _, c in shapes]
    bijection = multi_scale(chains, shapes).astype(np.float64)
    for parameter in bijection.parameters():
        parameter.assign(parameter.value + 0.3 * rng.normal(size=parameter.shape))
    return bijection, (size, size, 1)


@given(levels=st.integers(1, 2), seed=st.integers(0, 2**32))
def test_several_scales_are_invertible(levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bijection, shape = scales(rng, levels)
    x = rng.normal(size=(2, *shape))
    assert bijection.forward(x)[0].shape == (2, math.prod(shape))
    check_invertible(bijection, x, rng=rng)
    check_log_det(bijection, x, rng=rng)


def test_what_is_factored_out_is_not_changed(rng: np.random.Generator) -> None:
    rest = Chain(Affine(3.0, 1.0), Reshape((2, 2, 2), (8,)))
    x = rng.normal(size=(3, 2, 2, 4))
    z, log_det = FactorOut((2, 2, 4), rest).forward(x)
    np.testing.assert_array_equal(z.value[:, :8], x[..., :2].reshape(3, 8))
    np.testing.assert_array_equal(z.value[:, 8:], (3 * x[..., 2:] + 1).reshape(3, 8))
    np.testing.assert_allclose(log_det.value, 8 * np.log(3), rtol=1e-15)


def test_a_half_left_out_of_the_log_det_is_rejected(rng: np.random.Generator) -> None:
    class Forgetful(FactorOut):
        def forward(self, x, context=None):  # type: ignore[no-untyped-def]
            z, log_det = super().forward(x, context)
            return z, 0 * log_det

    with pytest.raises(AssertionError, match="log_det of forward"):
        check_log_det(
            Forgetful((2, 2, 2), Chain(Affine(3.0), Reshape((2, 2, 1), (4,)))), rng.normal(size=(2, 2, 2, 2)), rng=rng
        )


def test_gradients_reach_every_level(rng: np.random.Generator) -> None:
    bijection, shape = scales(rng, 2)
    x = rng.normal(size=(2, *shape))
    weights = rng.normal(size=16)

    def loss():  # type: ignore[no-untyped-def]
        z, log_det = bijection.forward(x)
        return (z * weights).sum(1) + log_det

    # P is constant, so the entries on and above L's diagonal, and on and below U's, have no gradient; the rest has.
    check_parameter_grads(loss, [p for p in bijection.parameters() if p.size > 0], rng=rng)


@pytest.mark.parametrize("shape", [(2, 3, 4, 1), (2, 4, 3, 1), (2, 4, 4)])
def test_images_that_cannot_be_squeezed(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"^[xz]: expected .* by Squeeze"):
        Squeeze().forward(np.zeros(shape))


def test_noise_and_levels_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="a multiple of 4"):
        Squeeze().inverse(np.zeros((2, 3, 3, 2)))
    with pytest.raises(ValueError, match="even number of channels"):
        FactorOut((2, 2, 3), Affine(2.0))
    with pytest.raises(ValueError, match="stages: expected one or more"):
        multi_scale([], [])
    with pytest.raises(ValueError, match="a shape for each, got 1 and 2"):
        multi_scale([Affine(2.0)], [(2,), (1,)])
