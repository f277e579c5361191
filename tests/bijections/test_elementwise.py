"""Affine and Logit: inverse, log-determinant, densities and domains."""

import numpy as np
import pytest
from helpers.flows import check_bijection
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Parameter
from tinygen.bijections import Affine, Flow, Logit
from tinygen.distributions import StandardNormal
from tinygen.testing import check_grads, check_normalised_density
from tinygen.testing.strategies import rngs, shapes


@given(event=shapes(1, 2), rng=rngs(), learned=st.booleans())
def test_affine(event: tuple[int, ...], rng: np.random.Generator, learned: bool) -> None:
    scale = rng.uniform(0.5, 2, event) * rng.choice([-1, 1], event)
    shift = rng.normal(size=event[-1:]) + 3
    affine = Affine(Parameter(scale, np.float64) if learned else scale, shift)
    x = rng.normal(size=(3, *event))
    check_bijection(affine, x, rng=rng)
    np.testing.assert_allclose(affine.forward(x)[0].value, scale * x + shift, rtol=1e-14)
    np.testing.assert_allclose(affine.forward(x)[1].value, np.log(np.abs(scale)).sum(), atol=1e-13)


@given(event=shapes(1, 2), rng=rngs(), margin=st.sampled_from([0.0, 1e-6, 0.05, 0.4]))
def test_logit(event: tuple[int, ...], rng: np.random.Generator, margin: float) -> None:
    x = rng.uniform(0.01, 0.99, (3, *event))
    check_bijection(Logit(margin), x, rng=rng)
    u = margin + (1 - 2 * margin) * x
    np.testing.assert_allclose(Logit(margin).forward(x)[0].value, np.log(u / (1 - u)), atol=1e-12)


def test_gradients(rng: np.random.Generator) -> None:
    x, scale, shift = rng.uniform(0.1, 0.9, (2, 3)), rng.uniform(1, 2, 3), rng.normal(size=3)
    for direction in ("forward", "inverse"):
        for part in (0, 1):
            check_grads(lambda x, d=direction, i=part: getattr(Logit(0.1), d)(x)[i], x, rng=rng)
        check_grads(lambda x, a, b, d=direction: getattr(Affine(a, b), d)(x)[0], x, scale, shift, rng=rng)
        check_grads(lambda a, d=direction: getattr(Affine(a), d)(x)[1], scale, rng=rng)


def test_logit_normal_density_integrates_to_one() -> None:
    """The density of σ(z), z normal, vanishes at 0 and 1; with a margin it extends slightly beyond [0, 1]."""
    flow = Flow(Logit(), StandardNormal((1,)))
    check_normalised_density(lambda x: flow.log_prob(np.clip(x, 1e-9, 1 - 1e-9)), [0], [1], tolerance=1e-9)
    margin = 0.05
    low, high = -margin / (1 - 2 * margin) + 1e-9, (1 - margin) / (1 - 2 * margin) - 1e-9
    check_normalised_density(Flow(Logit(margin), StandardNormal((1,))).log_prob, [low], [high], tolerance=1e-8)


def test_logit_inverse_does_not_overflow() -> None:
    x, log_det = Logit().inverse(np.array([[-800.0], [800.0]]))
    np.testing.assert_array_equal(x.value[:, 0], [0, 1])
    np.testing.assert_array_equal(log_det.value, [-800, -800])


def test_logit_inverse_of_unsigned_integers() -> None:
    z = np.array([[0, 1, 5]], np.uint8)
    for got, expected in zip(Logit().inverse(z), Logit().inverse(z.astype(np.float64)), strict=True):
        np.testing.assert_array_equal(got.value, expected.value)


def test_constants_take_dtype_of_data() -> None:
    x = np.zeros((3, 2), np.float32)
    for result in (*Affine([2.0, 0.5], 0.1).forward(x), *Logit(0.1).inverse(x)):
        assert result.dtype == np.float32


def test_zero_examples() -> None:
    for bijection in (Affine(2.0), Logit(0.1)):
        z, log_det = bijection.forward(np.zeros((0, 3)))
        assert (z.shape, log_det.shape) == ((0, 3), (0,))


@pytest.mark.parametrize("x", [1.2, -0.1, 0.0, 1.0, np.nan])
def test_logit_rejects_data_outside_open_unit_interval(x: float) -> None:
    with pytest.raises(ValueError, match=r"x: expected values with 0 < u < 1 in Logit.*set a margin"):
        Logit().forward(np.array([[0.5, x]]))


def test_logit_with_margin_accepts_zero_and_one() -> None:
    assert np.all(np.isfinite(Logit(0.05).forward(np.array([[0.0, 1.0]]))[0].value))
    with pytest.raises(ValueError, match="0 < u < 1"):
        Logit(0.05).forward(np.array([[1.2]]))


def test_rejects_invalid_settings_and_shapes() -> None:
    for margin in (-0.1, 0.5, np.nan):
        with pytest.raises(ValueError, match="margin: expected at least 0"):
            Logit(margin)
    with pytest.raises(ValueError, match="scale: expected nonzero numbers"):
        Affine(np.array([1.0, 0.0]))
    with pytest.raises(ValueError, match="shift: expected finite"):
        Affine(1.0, np.inf)
    for scale in (np.ones(2), np.ones((2, 3)), np.ones((2, 1))):  # the last two would broadcast over the batch
        for direction in ("forward", "inverse"):
            with pytest.raises(ValueError, match=r"^[xz]: expected events that scale and shift"):
                getattr(Affine(scale), direction)(np.ones((2, 3)))


def test_affine_rejects_scale_that_became_zero() -> None:
    scale = Parameter([1.0])
    affine = Affine(scale)
    scale.assign([0.0])
    with pytest.raises(ValueError, match="scale: expected nonzero numbers"):
        affine.forward(np.ones((2, 1), np.float32))


def test_affine_copies_its_arrays() -> None:
    scale, shift = np.ones(2), np.zeros(2)
    affine = Affine(scale, shift)
    scale[:] = shift[:] = 5
    np.testing.assert_array_equal(affine.forward(np.ones((1, 2)))[0].value, np.ones((1, 2)))
