"""Likelihoods of single variables and base distributions: normalisation, samples, gradients, errors."""

import math
from typing import Any

import numpy as np
import pytest
from helpers.midpoints import MidpointRule
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Array, Parameter, Tensor, TensorLike, grad
from tinygen.distributions import (
    Bernoulli,
    Categorical,
    DiscretizedLogistics,
    Gaussian,
    StandardNormal,
    StandardUniform,
    bits_per_dim,
    event_log_prob,
    sample_categorical,
)
from tinygen.distributions.discrete import sample_tempered
from tinygen.testing import check_grads, check_sampler


@given(levels=st.integers(2, 5), seed=st.integers(0, 2**32))
def test_categorical_log_prob_is_log_softmax(levels: int, seed: int) -> None:
    rng, output = np.random.default_rng(seed), Categorical(levels)
    logits = rng.normal(size=(2, 3, levels))
    log_probs = [output.log_prob(logits, np.full((2, 3), k)).value for k in range(levels)]
    np.testing.assert_allclose(np.exp(log_probs).sum(0), 1, rtol=1e-12)
    np.testing.assert_allclose(np.stack(log_probs, -1) - log_probs[0][..., None], logits - logits[..., :1], atol=1e-12)
    k = rng.integers(0, levels, (2, 3))
    check_grads(lambda z: output.log_prob(z, k), logits, rng=rng)


def test_categorical_samples_follow_the_softmax(rng: np.random.Generator) -> None:
    logits, output = np.array([1.0, -2.0, 0.5, -1e4]), Categorical(4)
    check_sampler(
        lambda n, rng: output.sample(np.broadcast_to(logits, (n, 1, 4)), rng),
        lambda k: output.log_prob(np.broadcast_to(logits, (len(k), 4)), k[:, 0]),
        np.arange(4)[:, None],
        20_000,
        rng=rng,
    )


@pytest.mark.parametrize(
    ("output", "parameters"), [(Categorical(4), [1.0, -2.0, 0.5, -9.0]), (Bernoulli(), [0.7]), (Bernoulli(), [-3.0])]
)
def test_samples_are_quantiles(output: Any, parameters: list[float]) -> None:
    """Levels are intervals of the uniform numbers, so their frequencies are exact, and any temperature but 1 fails."""
    n = 10_000
    k = output.sample(np.broadcast_to(parameters, (n, len(parameters))), MidpointRule())
    p = np.exp([output.log_prob(np.array(parameters), np.array(level)).item() for level in range(output.levels)])
    np.testing.assert_allclose(np.bincount(k, minlength=output.levels) / n, p, rtol=0, atol=1 / n)


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan])
def test_tempered_samples_need_a_positive_temperature(temperature: float, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="temperature: expected a positive number"):
        sample_tempered(Categorical(2), np.zeros((1, 2)), rng, temperature)


@pytest.mark.parametrize("temperature", [0.5, 1, 3.0])
@pytest.mark.parametrize(
    ("output", "parameters"),
    [
        (Categorical(4), [1.0, -2.0, 0.5, -9.0]),
        (Bernoulli(), [0.7]),
        (DiscretizedLogistics(5, 2), [0.5, -0.5, -0.8, 0.6, -1.0, 0.3]),
    ],
)
def test_tempered_samples_are_quantiles(output: Any, parameters: list[float], temperature: float) -> None:
    if temperature == 1 and not isinstance(output, Categorical | Bernoulli):
        pytest.skip("a sample of a mixture uses two random numbers")
    n = 10_000
    rng: Any = MidpointRule()
    k = sample_tempered(output, np.broadcast_to(parameters, (n, len(parameters))), rng, temperature)
    each = [output.log_prob(np.array(parameters), np.array(level)).item() for level in range(output.levels)]
    p = np.exp(np.array(each) / temperature)
    np.testing.assert_allclose(np.bincount(k, minlength=output.levels) / n, p / p.sum(), rtol=0, atol=1 / n)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_temperature_near_zero_gives_the_mode(dtype: Any, rng: np.random.Generator) -> None:
    logits = rng.normal(size=(50, 3)).astype(dtype) * 1e30
    np.testing.assert_array_equal(sample_tempered(Categorical(3), logits, rng, 5e-324), logits.argmax(-1))
    for wrong in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"^logits: expected a finite maximum"):
            sample_tempered(Categorical(2), np.array([0.0, wrong]), rng, 0.5)


def test_levels_of_probability_zero_are_never_sampled() -> None:
    class ExtremeGenerator(np.random.Generator):
        """Returns the smallest and the largest value of random()."""

        def random(self, shape: Any) -> Any:  # type: ignore[override]
            return np.resize([0.0, 1 - 2.0**-53], shape)

    logits = np.full((4, 5), -1e4)
    logits[:, 2] = 1e4
    np.testing.assert_array_equal(sample_categorical(logits, ExtremeGenerator(np.random.PCG64())), 2)


@pytest.mark.parametrize("k", [np.array([-1]), np.array([3]), np.array([1.0]), np.array([[1]]), np.array([[True]])])
def test_categorical_rejects_invalid_levels(k: Any) -> None:
    with pytest.raises(ValueError, match="k: expected integers 0…2"):
        Categorical(3).log_prob(np.zeros((1, 3)), k)


@pytest.mark.parametrize("logits", [[np.nan, 0.0], [np.inf, 0.0], [-np.inf, -np.inf]])
def test_sampling_rejects_invalid_logits(logits: list[float], rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="diverged"):
        sample_categorical(np.array([logits]), rng)


@given(seed=st.integers(0, 2**32))
def test_bernoulli_equals_categorical_with_logits_zero_and_logit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, k = 3 * rng.normal(size=(2, 3, 1)), rng.integers(0, 2, (2, 3))
    both = np.concatenate([0 * logits, logits], -1)
    np.testing.assert_allclose(
        Bernoulli().log_prob(logits, k).value, Categorical(2).log_prob(both, k).value, rtol=1e-12, atol=1e-14
    )
    check_grads(lambda z: Bernoulli().log_prob(z, k), logits, rng=rng)


def test_bernoulli_is_stable_for_large_logits_and_preserves_float32() -> None:
    logits, k = np.array([[1e4], [1e4], [-1e4], [-1e4], [50.0]], np.float32), np.array([1, 0, 1, 0, 0])
    log_p = Bernoulli().log_prob(logits, k)
    assert log_p.dtype == np.float32
    np.testing.assert_array_equal(log_p.value, [0, -1e4, -1e4, 0, -50])


def test_bernoulli_samples_follow_the_sigmoid(rng: np.random.Generator) -> None:
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


@pytest.mark.parametrize("k", [np.array([-1]), np.array([2]), np.array([1.0]), np.array([[1]]), np.array([[True]])])
def test_bernoulli_rejects_invalid_levels(k: Any) -> None:
    with pytest.raises(ValueError, match="k: expected integers 0…1"):
        Bernoulli().log_prob(np.zeros((1, 1)), k)


@pytest.mark.parametrize("output", [Bernoulli(), Categorical(3), Gaussian(), Gaussian(2.0)])
def test_rejects_a_wrong_number_of_parameters_and_nan(output: Any, rng: np.random.Generator) -> None:
    for wrong in (np.zeros((2, output.width + 1)), np.zeros((2, output.width - 1))):
        message = rf"parameters: expected shape \(…, {output.width}\), got \(2, {wrong.shape[1]}\)"
        with pytest.raises(ValueError, match=message):
            output.sample(wrong, rng)
        with pytest.raises(ValueError, match=message):
            output.log_prob(wrong, np.zeros(2, int))
    with pytest.raises(ValueError, match="diverged"):
        output.sample(np.full((2, output.width), np.nan), rng)


@pytest.mark.parametrize("scale", [None, 3.0])
def test_gaussian_samples_and_log_prob_have_the_given_mean_and_scale(
    scale: float | None, rng: np.random.Generator
) -> None:
    parameters = np.tile([2.0, np.log(3.0)][: 2 if scale is None else 1], (20_000, 1))
    x = Gaussian(scale).sample(parameters, rng)
    assert x.mean() == pytest.approx(2, abs=5 * 3 / np.sqrt(20_000))  # five standard errors
    assert x.std() == pytest.approx(3, rel=5 / np.sqrt(40_000))
    expected = -0.5 * ((x - 2) / 3) ** 2 - np.log(3) - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(Gaussian(scale).log_prob(parameters, x).value, expected, rtol=1e-12)


def test_standard_uniform_is_zero_outside_the_unit_cube() -> None:
    x = np.array([[0.0, 1.0], [0.5, 0.5], [-1e-9, 0.5], [0.5, 1 + 1e-9], [np.nan, 0.5]])
    np.testing.assert_array_equal(StandardUniform((2,)).log_prob(x).value, [0, 0, -np.inf, -np.inf, -np.inf])


@pytest.mark.parametrize("base", [StandardNormal((2,)), StandardUniform((2,))])
def test_base_distributions_reject_negative_n(base: Any, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="n: expected at least 0, got -1"):
        base.sample(-1, rng)


@pytest.mark.parametrize("output", [Bernoulli(), Categorical(3), Gaussian()])
@pytest.mark.parametrize("shape", [(4,), (2, 3, 1), (0,)])
def test_event_log_prob_sums_over_variables(output: Any, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    for n in (0, 3):
        parameters = Tensor(rng.normal(size=(n, *shape, output.width)))
        x = output.sample(parameters, rng)
        each = output.log_prob(parameters, x).value
        np.testing.assert_allclose(event_log_prob(output, parameters, x).value, each.sum(tuple(range(1, each.ndim))))


@pytest.mark.parametrize(("dims", "bits"), [(1, 1), (5, 8), (784, 3)])
def test_bits_per_dim_of_uniform_levels(dims: int, bits: int) -> None:
    """2^bits equally likely levels per variable need that many bits per variable."""
    nats = -StandardUniform((dims,)).log_prob(np.full((1, dims), 0.5)).item() + dims * np.log(2.0**bits)
    assert bits_per_dim(nats, dims) == pytest.approx(bits, rel=1e-14)


@pytest.mark.parametrize("x", [np.full((2, 3), 2), np.zeros((2, 2), int), np.zeros((2, 3))])
def test_event_log_prob_rejects_invalid_bits(x: Any, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=r"^x: expected integers 0…1 of shape \(2, 3\), got "):
        event_log_prob(Bernoulli(), Tensor(rng.normal(size=(2, 3, 1))), x)


@pytest.mark.parametrize("x", [np.float64(0.4), np.float64(-1.3)])
def test_gaussian_log_prob_is_differentiable_in_its_scale(x: np.float64, rng: np.random.Generator) -> None:
    k = np.array([x, 3.0])

    def log_prob(scale: Tensor, mean: Tensor) -> Tensor:
        return Gaussian(scale).log_prob(mean, k)

    check_grads(log_prob, np.array(1.7), np.array([[0.2], [-0.1]]), order=2, rng=rng)
    np.testing.assert_allclose(
        log_prob(Tensor(1.7), Tensor(np.zeros((2, 1)))).value, Gaussian(1.7).log_prob(np.zeros((2, 1)), k).value
    )


@pytest.mark.parametrize("scale", [Tensor(-1.0), Tensor([1.0]), np.ones(2), "1", np.nan, 1j])
def test_gaussian_rejects_other_scales(scale: Any) -> None:
    with pytest.raises(ValueError, match=r"^scale: expected a positive number or None"):
        Gaussian(scale)


@pytest.mark.parametrize("dtype", ["u1", "i1", "i8", "f2", "f4"])
def test_gaussian_of_integers_does_not_wrap_around(dtype: str) -> None:
    parameters, k = np.array([[100]], dtype), np.array([101], dtype)
    np.testing.assert_allclose(Gaussian(1.0).log_prob(parameters, k).value, -0.5 - 0.5 * np.log(2 * np.pi), rtol=1e-3)
    log_prob = Gaussian(1.0).log_prob(Tensor(np.array([[100]], np.float32)), np.array([101], dtype))
    assert log_prob.dtype == np.float32  # integers do not promote a network


def test_scale_that_becomes_negative_raises() -> None:
    scale = Parameter(1.0)
    gaussian = Gaussian(scale)
    scale.assign(np.array(-1.0))
    with pytest.raises(ValueError, match=r"^scale: expected a positive number, got Parameter\(-1\."):
        gaussian.log_prob(np.zeros((1, 1)), np.zeros(1))


@pytest.mark.parametrize(
    "output", [Bernoulli(), Categorical(2), DiscretizedLogistics(2, 1)], ids=lambda output: type(output).__name__
)
@pytest.mark.parametrize("dtype", ["?", "u1", "i1", ">i4", "u8"])
def test_booleans_and_integers_of_any_dtype_are_levels(output: Any, dtype: str) -> None:
    k, parameters = np.array([[0, 1, 1]]), np.random.default_rng(0).normal(size=(1, 3, output.width))
    expected = output.log_prob(parameters, k).value
    np.testing.assert_array_equal(output.log_prob(parameters, k.astype(dtype)).value, expected)
    np.testing.assert_allclose(
        event_log_prob(output, Tensor(parameters), k.astype(dtype)).value, expected.sum(1), rtol=1e-14
    )


@pytest.mark.parametrize("dtype", ["?", "u1", "i1", "u2"])
def test_integer_parameters_are_computed_in_float64(dtype: str) -> None:
    logits, k = np.array([[[1], [0], [1]]]).astype(dtype), np.array([[0, 1, 1]])
    for output in (Bernoulli(), Gaussian(1.0)):
        expected = output.log_prob(logits.astype(np.float64), k).value
        np.testing.assert_array_equal(output.log_prob(logits, k).value, expected)


def test_standard_uniform_has_derivative_zero() -> None:
    x = Tensor(np.array([[0.5, 0.1]]))
    np.testing.assert_array_equal(grad(StandardUniform((2,)).log_prob(x).sum(), [x])[0].value, [[0, 0]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gaussian_is_finite_at_its_mean_for_any_scale(dtype: Any) -> None:
    for log_scale in (-90.0, -700.0, -1000.0, 1000.0):
        log_p = Gaussian().log_prob(np.array([[0.5, log_scale]], dtype), np.full(1, 0.5, dtype))
        np.testing.assert_allclose(log_p.value, -log_scale - 0.5 * math.log(2 * math.pi), rtol=1e-6)
    log_p = Gaussian(scale=1e-60).log_prob(np.zeros((1, 1), dtype), np.zeros(1, dtype))
    np.testing.assert_allclose(log_p.value, 60 * math.log(10) - 0.5 * math.log(2 * math.pi), rtol=1e-6)


def test_a_subclass_may_define_another_log_prob() -> None:
    """The fused kernels are those of Bernoulli and Categorical."""

    class Half(Bernoulli):
        def log_prob(self, parameters: TensorLike, k: Array) -> Tensor:
            return super().log_prob(parameters, k) * 0.5

    parameters, k = Tensor(np.ones((2, 3, 1))), np.zeros((2, 3), int)
    expected = event_log_prob(Bernoulli(), parameters, k).value / 2
    np.testing.assert_allclose(event_log_prob(Half(), parameters, k).value, expected, rtol=1e-14)
