"""ActNorm: inverse and log-determinant, and initialisation from a batch."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.flows import check_bijection, randomised
from hypothesis import given
from hypothesis import strategies as st

from tinygen.bijections import ActNorm, Affine, Chain, FactorOut, Flow, Reshape
from tinygen.distributions import StandardNormal
from tinygen.testing import check_log_det, check_parameter_grads


@given(shape=st.sampled_from([(1,), (4,), (2, 3), (2, 2, 3)]), seed=st.integers(0, 2**32))
def test_inverse_and_log_det(shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    check_bijection(randomised(ActNorm(shape[-1]), rng, 1), rng.normal(size=(3, *shape)), rng=rng)


def test_log_det_without_number_of_positions_is_rejected(rng: np.random.Generator) -> None:
    class OnePosition(ActNorm):
        def _log_det(self, name, x):  # type: ignore[no-untyped-def]
            return super()._log_det(name, x[:, :1, :1])

    norm = OnePosition(2).astype(np.float64)
    norm.s.assign([0.5, 0.7])
    with pytest.raises(AssertionError, match="log_det of forward"):
        check_log_det(norm, rng.normal(size=(2, 2, 2, 2)), rng=rng)


def test_initialise_normalises_first_batch(rng: np.random.Generator) -> None:
    norm = ActNorm(3).astype(np.float64)
    x = rng.normal(size=(50, 4, 4, 3)) * [0.1, 1, 30] + [5, 0, -100]
    z = norm.initialise(x).value
    np.testing.assert_allclose(z.mean((0, 1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(z.std((0, 1, 2)), 1, rtol=1e-12)
    np.testing.assert_array_equal(norm.forward(x)[0].value, z)


@pytest.mark.parametrize("value", [7.0, 0.1])  # the computed mean of equal 0.1s differs from 0.1 by rounding
def test_initialise_only_shifts_constant_channel(value: float) -> None:
    norm = ActNorm(1)
    np.testing.assert_allclose(norm.initialise(np.full((3, 1), value)).value, np.zeros((3, 1)), atol=1e-8)
    assert norm.s.value[0] == 0


def test_initialise_passes_each_layer_the_output_of_the_previous_one(rng: np.random.Generator) -> None:
    """Also check a layer after FactorOut, and that the initialised values are part of the flow's state."""
    first, second = ActNorm(4), ActNorm(2)
    chain = Chain(Affine(3.0, 1.0), first, FactorOut((4,), Chain(Affine(2.0, 5.0), second, Reshape((2,), (2,)))))
    flow = Flow(chain, StandardNormal((4,))).astype(np.float64)
    x = rng.normal(size=(20, 4))
    flow.initialise(x)
    z = chain.forward(x)[0].value
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(z.std(0), 1, rtol=1e-12)
    np.testing.assert_allclose(second.m.value, 5, rtol=1e-12)  # the input of Affine(2.0, 5.0) has mean 0
    saved = flow.state()
    flow.initialise(5 * x)
    flow.load(saved)
    np.testing.assert_array_equal(chain.forward(x)[0].value, z)


def test_gradients(rng: np.random.Generator) -> None:
    norm, x = randomised(ActNorm(2), rng, 1), rng.normal(size=(3, 2, 2, 2))
    check_parameter_grads(lambda: norm.forward(x)[0].sum((1, 2, 3)) + norm.forward(x)[1], norm.parameters(), rng=rng)


def test_rejects_invalid_arguments() -> None:
    with pytest.raises(ValueError, match="channels: expected at least 1"):
        ActNorm(0)
    with pytest.raises(ValueError, match=r"^x: expected shape \(N, …, 3\) in ActNorm, got \(2, 1\)"):
        ActNorm(3).forward(np.zeros((2, 1)))  # NumPy would broadcast this shape
    with pytest.raises(ValueError, match="x: expected at least two values per channel"):
        ActNorm(3).initialise(np.zeros((1, 3)))
