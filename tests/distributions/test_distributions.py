"""The distributions over one variable that a network's numbers stand for."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Tensor
from tinygen.distributions import (
    Bernoulli,
    Categorical,
    Gaussian,
    StandardNormal,
    StandardUniform,
    categorical_log_prob,
    event_log_prob,
    sample_categorical,
)
from tinygen.testing import check_grads, check_sampler


@given(levels=st.integers(1, 5), seed=st.integers(0, 2**32))
def test_log_prob_is_a_normalised_softmax(levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(2, 3, levels))
    each = [categorical_log_prob(logits, np.full((2, 3), k)).value for k in range(levels)]
    np.testing.assert_allclose(np.exp(each).sum(0), 1, rtol=1e-12)
    np.testing.assert_allclose(np.stack(each, -1) - each[0][..., None], logits - logits[..., :1], atol=1e-12)
    k = rng.integers(0, levels, (2, 3))
    if levels > 1:
        check_grads(lambda z: categorical_log_prob(z, k), logits, rng=rng)


def test_samples_follow_the_softmax(rng: np.random.Generator) -> None:
    logits = np.array([1.0, -2.0, 0.5, -1e4])
    support = np.arange(4)[:, None]

    def sample(n: int, rng: np.random.Generator) -> np.ndarray:
        return sample_categorical(np.broadcast_to(logits, (n, 1, 4)), rng)

    check_sampler(
        sample, lambda k: categorical_log_prob(np.broadcast_to(logits, (len(k), 4)), k[:, 0]), support, 20_000, rng=rng
    )


def test_impossible_levels_are_never_drawn() -> None:
    class Extremes(np.random.Generator):
        """A generator whose numbers are the least and the greatest that random() can give."""

        def random(self, shape: Any) -> Any:  # type: ignore[override]
            return np.resize([0.0, 1 - 2.0**-53], shape)

    certain = np.full((4, 5), -1e4)
    certain[:, 2] = 1e4
    np.testing.assert_array_equal(sample_categorical(certain, Extremes(np.random.PCG64())), 2)


@pytest.mark.parametrize("k", [np.array([-1]), np.array([3]), np.array([1.0]), np.array([[1]]), np.array([True])])
def test_what_is_no_level(k: Any) -> None:
    with pytest.raises(ValueError, match="k: expected integers 0…2"):
        categorical_log_prob(np.zeros((1, 3)), k)


@pytest.mark.parametrize("logits", [[np.nan, 0.0], [np.inf, 0.0], [-np.inf, -np.inf]])
def test_nothing_is_drawn_from_what_is_no_distribution(logits: list[float], rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="diverged"):
        sample_categorical(np.array([logits]), rng)


@given(seed=st.integers(0, 2**32))
def test_bernoulli_is_the_softmax_of_zero_and_its_logit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, k = 3 * rng.normal(size=(2, 3, 1)), rng.integers(0, 2, (2, 3))
    both = np.concatenate([0 * logits, logits], -1)
    np.testing.assert_allclose(
        Bernoulli().log_prob(logits, k).value, Categorical(2).log_prob(both, k).value, rtol=1e-12, atol=1e-14
    )
    check_grads(lambda z: Bernoulli().log_prob(z, k), logits, rng=rng)


def test_bernoulli_is_stable_and_stays_in_float32() -> None:
    logits, k = np.array([[1e4], [1e4], [-1e4], [-1e4], [50.0]], np.float32), np.array([1, 0, 1, 0, 0])
    log_p = Bernoulli().log_prob(logits, k)
    assert log_p.dtype == np.float32
    np.testing.assert_array_equal(log_p.value, [0, -1e4, -1e4, 0, -50])


def test_bernoulli_samples_follow_their_logits(rng: np.random.Generator) -> None:
    logits = np.array([[1.0], [-2.0], [1e4], [-1e4]])
    support = np.stack(np.meshgrid(*[[0, 1]] * 4), -1).reshape(-1, 4)
    check_sampler(
        lambda n, rng: Bernoulli().sample(np.broadcast_to(logits, (n, 4, 1)), rng),
        lambda k: Bernoulli().log_prob(np.broadcast_to(logits, (len(k), 4, 1)), k).sum(1),
        support,
        rng=rng,
    )
    with pytest.raises(ValueError, match="diverged"):
        Bernoulli().sample(np.array([[np.nan]]), rng)


@pytest.mark.parametrize("k", [np.array([-1]), np.array([2]), np.array([1.0]), np.array([[1]]), np.array([True])])
def test_what_is_no_level_of_a_bernoulli_variable(k: Any) -> None:
    with pytest.raises(ValueError, match="k: expected integers 0…1"):
        Bernoulli().log_prob(np.zeros((1, 1)), k)


@pytest.mark.parametrize("output", [Bernoulli(), Categorical(3), Gaussian(), Gaussian(2.0)])
def test_parameters_of_another_number_or_none(output: Any, rng: np.random.Generator) -> None:
    for wrong in (np.zeros((2, output.width + 1)), np.zeros((2, output.width - 1))):
        said = rf"parameters: expected \(…, {output.width}\), got shape \(2, {wrong.shape[1]}\)"
        with pytest.raises(ValueError, match=said):
            output.sample(wrong, rng)
        with pytest.raises(ValueError, match=said):
            output.log_prob(wrong, np.zeros(2, int))
    with pytest.raises(ValueError, match="diverged"):
        output.sample(np.full((2, output.width), np.nan), rng)


@pytest.mark.parametrize("fixed", [None, 3.0])
def test_a_gaussian_has_the_mean_and_scale_that_it_is_given(fixed: float | None, rng: np.random.Generator) -> None:
    parameters = np.tile([2.0, np.log(3.0)][: 2 if fixed is None else 1], (20_000, 1))
    x = Gaussian(fixed).sample(parameters, rng)
    assert x.mean() == pytest.approx(2, abs=5 * 3 / np.sqrt(20_000))  # five standard errors
    assert x.std() == pytest.approx(3, rel=5 / np.sqrt(40_000))
    expected = -0.5 * ((x - 2) / 3) ** 2 - np.log(3) - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(Gaussian(fixed).log_prob(parameters, x).value, expected, rtol=1e-12)


def test_nothing_lies_beyond_the_unit_cube() -> None:
    x = np.array([[0.0, 1.0], [0.5, 0.5], [-1e-9, 0.5], [0.5, 1 + 1e-9], [np.nan, 0.5]])
    np.testing.assert_array_equal(StandardUniform((2,)).log_prob(x).value, [0, 0, -np.inf, -np.inf, -np.inf])


def test_noise_of_a_negative_number(rng: np.random.Generator) -> None:
    for noise in (StandardNormal((2,)), StandardUniform((2,))):
        with pytest.raises(ValueError, match="n: expected at least 0, got -1"):
            noise.sample(-1, rng)


@pytest.mark.parametrize("output", [Bernoulli(), Categorical(3), Gaussian()])
@pytest.mark.parametrize("shape", [(4,), (2, 3, 1), (0,)])
def test_of_an_example_the_variables_add_up(output: Any, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    for n in (0, 3):
        parameters = Tensor(rng.normal(size=(n, *shape, output.width)))
        x = output.sample(parameters, rng)
        each = output.log_prob(parameters, x).value
        np.testing.assert_allclose(event_log_prob(output, parameters, x).value, each.sum(tuple(range(1, each.ndim))))


def test_an_example_of_no_bits_is_refused(rng: np.random.Generator) -> None:
    for x in (np.full((2, 3), 2), np.zeros((2, 2), int), np.zeros((2, 3))):
        with pytest.raises(ValueError, match="k: expected integers"):
            event_log_prob(Bernoulli(), Tensor(rng.normal(size=(2, 3, 1))), x)
