"""Actnorm: normalises the batch it starts from, and is a scale and a shift ever after."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.bijections import ActNorm, Affine, Chain, FactorOut, Flow, Reshape
from tinygen.distributions import StandardNormal
from tinygen.testing import check_invertible, check_log_det, check_parameter_grads


def random(channels: int, rng: np.random.Generator) -> ActNorm:
    norm = ActNorm(channels).astype(np.float64)
    norm.m.assign(rng.normal(size=channels))
    norm.s.assign(rng.normal(size=channels))
    return norm


@given(shape=st.sampled_from([(1,), (4,), (2, 3), (2, 2, 3)]), seed=st.integers(0, 2**32))
def test_invertible_with_the_log_det_of_its_jacobian(shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, *shape))
    check_invertible(random(shape[-1], rng), x, rng=rng)
    check_log_det(random(shape[-1], rng), x, rng=rng)


def test_a_log_det_without_the_number_of_positions_is_rejected(rng: np.random.Generator) -> None:
    class Once(ActNorm):
        def _log_det(self, x):  # type: ignore[no-untyped-def]
            return super()._log_det(x[:, :1, :1])

    norm = Once(2).astype(np.float64)
    norm.s.assign([0.5, 0.7])
    with pytest.raises(AssertionError, match="log_det of forward"):
        check_log_det(norm, rng.normal(size=(2, 2, 2, 2)), rng=rng)


def test_the_first_batch_comes_out_normalised(rng: np.random.Generator) -> None:
    norm = ActNorm(3).astype(np.float64)
    x = rng.normal(size=(50, 4, 4, 3)) * [0.1, 1, 30] + [5, 0, -100]
    z = norm.initialise(x).value
    np.testing.assert_allclose(z.mean((0, 1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(z.std((0, 1, 2)), 1, rtol=1e-12)
    np.testing.assert_array_equal(norm.forward(x)[0].value, z)


@pytest.mark.parametrize("value", [7.0, 0.1])  # the mean of 0.1s is not 0.1 to the last bit
def test_a_constant_channel_is_only_shifted(value: float) -> None:
    norm = ActNorm(1)
    np.testing.assert_allclose(norm.initialise(np.full((3, 1), value)).value, np.zeros((3, 1)), atol=1e-8)
    assert norm.s.value[0] == 0


def test_within_a_flow_each_is_given_what_the_one_before_it_returns(rng: np.random.Generator) -> None:
    """Also behind a half that leaves; the state of the flow holds what was set."""
    first, second = ActNorm(4), ActNorm(2)
    chain = Chain(Affine(3.0, 1.0), first, FactorOut((4,), Chain(Affine(2.0, 5.0), second, Reshape((2,), (2,)))))
    flow = Flow(chain, StandardNormal((4,))).astype(np.float64)
    x = rng.normal(size=(20, 4))
    flow.initialise(x)
    z = chain.forward(x)[0].value
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(z.std(0), 1, rtol=1e-12)
    np.testing.assert_allclose(second.m.value, 5, rtol=1e-12)  # since it is behind the first, which took the mean away
    saved = flow.state()
    flow.initialise(5 * x)
    flow.load(saved)
    np.testing.assert_array_equal(chain.forward(x)[0].value, z)


def test_gradients(rng: np.random.Generator) -> None:
    norm, x = random(2, rng), rng.normal(size=(3, 2, 2, 2))
    check_parameter_grads(lambda: norm.forward(x)[0].sum((1, 2, 3)) + norm.forward(x)[1], norm.parameters(), rng=rng)


def test_inputs_that_are_none() -> None:
    with pytest.raises(ValueError, match="channels: expected at least 1"):
        ActNorm(0)
    with pytest.raises(ValueError, match=r"^x: expected \(N, …, 3\) by ActNorm"):
        ActNorm(3).forward(np.zeros((2, 1)))  # which NumPy would broadcast
    with pytest.raises(ValueError, match="x: expected two or more"):
        ActNorm(3).initialise(np.zeros((1, 3)))
