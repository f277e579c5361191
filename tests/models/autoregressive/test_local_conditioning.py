"""WaveNet with features at every position: its equation, dependencies, samples, completion, gradients and errors."""

import math
from typing import Any

import numpy as np
import pytest
from helpers.models import check_draw_matches_naive_sampler, random_examples, small_wavenet
from helpers.networks import wavenet
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Array
from tinygen.distributions import Categorical
from tinygen.models.autoregressive.local_conditioning import LocallyConditioned
from tinygen.testing import (
    check_autoregressive,
    check_conditional,
    check_normalised,
    check_parameter_grads,
    check_sampler,
    enumerate_support,
    receptive_field,
)

SHAPE, FEATURES = (9,), 2


def random_features(n: int, rng: np.random.Generator, shape: tuple[int, ...] = SHAPE) -> Array:
    return rng.normal(size=(n, *shape, FEATURES))


def test_network_is_that_of_the_equation(rng: np.random.Generator) -> None:
    model = small_wavenet(SHAPE, classes=2, features=FEATURES)
    x, labels, features = random_examples(model, 3, rng), np.array([0, 1, 1]), random_features(3, rng)
    expected = wavenet(model, x, labels, features)
    np.testing.assert_allclose(model(x, labels, features).value, expected, rtol=1e-11, atol=1e-12)
    each = model.output.log_prob(expected, x).value.sum(1)
    np.testing.assert_allclose(model.log_prob(x, labels, features).value, each, rtol=1e-12)
    assert model.loss(x, labels, features).item() == pytest.approx(-each.mean(), rel=1e-12)


def test_depends_on_earlier_values_and_on_features_up_to_the_position(rng: np.random.Generator) -> None:
    model = small_wavenet(SHAPE, dilations=(1, 2), channels=8, features=FEATURES)
    x, features = random_examples(model, 4, rng), random_features(4, rng)
    layers = [model.first.taps, *(block.dilated.taps for block in model.blocks)]
    seen = receptive_field(SHAPE, *layers)
    check_autoregressive(lambda x: model(x, None, features), x, axes=1, receptive_field=seen, rng=rng)
    # Features enter after the convolution of a block, so those of the first block pass the second convolution only.
    seen = receptive_field(SHAPE, model.blocks[1].dilated.taps)
    check_autoregressive(
        lambda c: model(x, None, c), features, axes=1, inclusive=True, receptive_field=seen, rng=rng, draws=6
    )


def test_every_feature_of_an_example_changes_its_own_probability(rng: np.random.Generator) -> None:
    model = small_wavenet(SHAPE, features=FEATURES)
    check_conditional(
        lambda x, c: model.log_prob(x, features=c), random_examples(model, 4, rng), random_features(4, rng), rng=rng
    )


@pytest.mark.parametrize(("shape", "classes"), [((4,), 0), ((2, 2, 1), 2)])
def test_samples_and_completions_follow_log_prob(
    shape: tuple[int, ...], classes: int, rng: np.random.Generator
) -> None:
    model = small_wavenet(shape, classes=classes, features=FEATURES, coordinates=len(shape) > 1)
    support, one = enumerate_support(3, shape), random_features(1, rng, shape)

    def given_all(n: int) -> Any:
        return (np.ones(n, int) if classes else None), one.repeat(n, 0)

    def log_prob(x: Array) -> Array:
        return np.asarray(model.log_prob(x, *given_all(len(x))).value)

    check_normalised(log_prob, support)
    check_sampler(lambda n, rng: model.sample(n, rng, *given_all(n)), log_prob, support, 4_000, rng=rng)
    known, x = np.arange(4).reshape(shape) < 2, support[37]
    matching = support[(support == x)[:, known].all(1)]
    total = np.log(np.exp(log_prob(matching)).sum())
    check_sampler(
        lambda n, rng: model.complete(np.stack([x] * n), known, rng, *given_all(n)),
        lambda y: log_prob(y) - total,
        matching,
        4_000,
        rng=rng,
    )


@given(
    shape=st.sampled_from([(1,), (12,), (2, 2, 3)]),
    classes=st.sampled_from([0, 2]),
    coordinates=st.booleans(),
    count=st.integers(0, 12),
    seed=st.integers(0, 2**32),
)
def test_draw_matches_naive_sampler(
    shape: tuple[int, ...], classes: int, coordinates: bool, count: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    settings = {"classes": classes, "coordinates": coordinates and len(shape) > 1}
    model = small_wavenet(shape, seed=seed, features=FEATURES, **settings)
    features = random_features(2, rng, shape)
    check_draw_matches_naive_sampler(model, seed, features=features)
    x, labels, known = (
        random_examples(model, 2, rng),
        np.array([0, 1]) if classes else None,
        min(count, math.prod(shape)),
    )
    steps = list(model.draw(x, rng, labels, features, known=known))
    expected = model(x, labels, features).value.reshape(2, -1, 3)[:, known:]
    assert len(steps) == expected.shape[1]
    for step, at in zip(steps, expected.swapaxes(0, 1), strict=True):
        np.testing.assert_allclose(step, at, rtol=1e-9, atol=1e-10)


def test_sequences_may_have_any_length(rng: np.random.Generator) -> None:
    model, x = small_wavenet(SHAPE, features=FEATURES), rng.integers(0, 3, (2, 20))
    features = random_features(2, rng, (20,))
    longer = model(x, None, features).value
    np.testing.assert_allclose(model(x[:, :5], None, features[:, :5]).value, longer[:, :5], rtol=1e-9, atol=1e-10)
    completed = model.complete(x, np.arange(20) < 7, rng, features=features)
    np.testing.assert_array_equal(completed[:, :7], x[:, :7])


def test_gradients_match_finite_differences(rng: np.random.Generator) -> None:
    model = small_wavenet((5,), classes=2, features=FEATURES)
    x, labels, features = random_examples(model, 3, rng), np.array([0, 1, 1]), random_features(3, rng, (5,))
    for head in (model.blocks[0].skip, model.hidden):  # biases that keep every relu away from its kink
        assert head.b is not None
        head.b.assign(np.full(head.b.shape, 30.0))
    weights = [layer.w for layer in model.feature_layers]
    check_parameter_grads(lambda: model.log_prob(x, labels, features), weights, rng=rng)


def test_features_of_a_float32_model_may_be_integers_or_float64(rng: np.random.Generator) -> None:
    model = small_wavenet(SHAPE, features=FEATURES).astype(np.float32)
    x, features = random_examples(model, 2, rng), rng.integers(0, 2, (2, *SHAPE, FEATURES))
    results = [model.log_prob(x, None, features.astype(dtype)).value for dtype in (bool, int, np.float32, float)]
    assert all(each.dtype == np.float32 for each in results)
    assert all(np.array_equal(each, results[0]) for each in results)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (None, "expected 2 at each position of x, got none"),
        (np.zeros((2, 9)), r"expected shape \(N, 9, 2\), got \(2, 9\)"),
        (np.zeros((2, 9, 3)), r"expected shape \(N, 9, 2\)"),
        (np.zeros((2, 8, 2)), r"expected shape \(N, 9, 2\)"),
        (np.zeros((1, 9, 2)), "expected those of 2 examples, got 1"),
        (np.full((2, 9, 2), np.nan), "expected finite numbers"),
        (np.zeros((2, 9, 2)).tolist(), "expected a NumPy array, got list"),
        (np.zeros((2, 9, 2), complex), "expected real numbers"),
    ],
)
def test_rejects_invalid_features(features: Any, message: str, rng: np.random.Generator) -> None:
    model, x = small_wavenet(SHAPE, features=FEATURES), np.zeros((2, *SHAPE), int)
    invalid = pytest.raises(ValueError, match=f"^features: {message}")
    with invalid:
        model(x, None, features)
    with invalid:
        model.log_prob(x, None, features)
    with invalid:
        model.loss(x, None, features)
    with invalid:
        model.sample(2, rng, None, features)
    with invalid:
        model.complete(x, np.ones(SHAPE, bool), rng, None, features)


def test_rejects_features_of_a_model_without_them_and_a_negative_number(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=r"^features: expected none for a model without features, got some"):
        small_wavenet(SHAPE).sample(2, rng, features=random_features(2, rng))
    with pytest.raises(ValueError, match=r"^features: expected at least 0"):
        small_wavenet(SHAPE, features=-1)


def test_base_class_raises_not_implemented_error(rng: np.random.Generator) -> None:
    model = LocallyConditioned((3,), Categorical(2))
    with pytest.raises(NotImplementedError):
        model(np.zeros((1, 3), int))
    with pytest.raises(NotImplementedError):
        model.sample(1, rng)
