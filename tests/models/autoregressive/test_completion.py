"""Completion samples from p(unknown | known), and temperature from the tempered conditionals, for every model."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from helpers.models import (
    random_examples,
    small_gated_pixelcnn,
    small_made,
    small_pixel_rnn,
    small_pixelcnn,
    small_wavenet,
)
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Array
from tinygen.models import MADE
from tinygen.models.autoregressive.base import Autoregressive
from tinygen.testing import check_sampler, enumerate_support

SMALL = (2, 2, 1)
MODELS: dict[str, Callable[..., Autoregressive]] = {
    "MADE": partial(small_made, hidden=(40, 40)),
    "MADE with another order": partial(small_made, orders=3, hidden=(40, 40)),
    "PixelRNN": partial(small_pixel_rnn, layers=2),
    "PixelCNN": small_pixelcnn,
    "PixelCNN of independent channels": partial(small_pixelcnn, ordered=False),
    "GatedPixelCNN": small_gated_pixelcnn,
    "WaveNet": small_wavenet,
    "WaveNet with coordinates": partial(small_wavenet, coordinates=True),
}
each_model = pytest.mark.parametrize("kind", MODELS)


def settings_of(kind: str) -> dict[str, Any]:
    """Return the arguments that choose one order of a model with several."""
    return {"order": 1} if kind == "MADE with another order" else {}


def order_of(model: Autoregressive, order: int = 0) -> Array:
    return model.net.order(order) if isinstance(model, MADE) else np.arange(np.prod(model.shape))


def prefix(order: Array, count: int, shape: tuple[int, ...]) -> Array:
    known = np.zeros(len(order), bool)
    known[order[:count]] = True
    return known.reshape(shape)


def conditional(
    model: Autoregressive, x: Array, known: Array, **settings: Any
) -> tuple[Array, Callable[[Array], Array]]:
    """Return all values that agree with x (1, *shape) where it is known, and ln p(unknown | known), by enumeration."""
    support = enumerate_support(3, model.shape)
    matching = support[(support == x)[:, known].all(1)]

    def log_prob(y: Array) -> Array:
        return np.asarray(model.log_prob(y, labels_of(model, len(y)), **settings).value)

    total = np.log(np.exp(log_prob(matching)).sum())
    return matching, lambda y: log_prob(y) - total


def labels_of(model: Autoregressive, n: int) -> Array | None:
    return np.ones(n, int) if model.classes else None


def check_completes(model: Autoregressive, x: Array, known: Array, rng: np.random.Generator, **settings: Any) -> None:
    """Compare completions of x (1, *shape) with the conditional distribution."""
    matching, log_prob = conditional(model, x, known, **settings)
    unfinished = np.where(known, x, -7)  # unknown values must be ignored

    def complete(n: int, rng: np.random.Generator) -> Array:
        return model.complete(unfinished.repeat(n, 0), known, rng, labels_of(model, n), **settings)

    check_sampler(complete, log_prob, matching, 4_000, rng=rng)


@each_model
def test_completion_is_conditioning(kind: str, rng: np.random.Generator) -> None:
    model, settings = MODELS[kind](SMALL, 3, classes=2), settings_of(kind)
    for count in (1, 2, 3):
        known = prefix(order_of(model, **settings), count, SMALL)
        check_completes(model, random_examples(model, 1, rng), known, rng, **settings)


def test_completion_of_a_mean_over_orders_is_conditioning(rng: np.random.Generator) -> None:
    def made(seed: int) -> MADE:
        return small_made((3,), 3, seed, orders=2, hidden=(60, 60))

    # Two orders that start with the same two variables, but not with the same variable.
    orders = ((seed, *made(seed).net.order(0)[:2], *made(seed).net.order(1)[:2]) for seed in range(100))
    model = made(next(seed for seed, a, b, c, d in orders if (a, b) == (d, c)))
    known, error = prefix(order_of(model), 2, (3,)), 0.0
    for values in enumerate_support(3, (2,)):
        x = np.zeros((1, 3), int)
        x[:, known] = values
        check_completes(model, x, known, rng)
        matching, log_prob = conditional(model, x, known)
        equal_weights = np.mean([np.exp(conditional(model, x, known, order=o)[1](matching)) for o in range(2)], 0)
        error = max(error, np.abs(np.exp(log_prob(matching)) - equal_weights).max())
    assert error > 0.1  # orders that are drawn with equal probabilities are rejected
    x[:], known = 0, prefix(order_of(model), 1, (3,))
    with pytest.raises(ValueError, match="prefix"):
        model.complete(x, known, rng)
    model.complete(x, known, rng, order=0)


@each_model
@given(count=st.integers(0, 18), classes=st.sampled_from([0, 2]), n=st.integers(0, 2), seed=st.integers(0, 2**32))
def test_cache_after_known_variables_is_that_of_full_evaluation(
    kind: str, count: int, classes: int, n: int, seed: int
) -> None:
    shape = (3, 3, 1) if kind == "GatedPixelCNN" else (3, 3, 2)
    model, settings = MODELS[kind](shape, 3, seed, classes=classes), settings_of(kind)
    rng, order = np.random.default_rng(seed), order_of(model, **settings)
    x, labels = random_examples(model, n, rng), np.arange(n) if classes else None
    known, filled = prefix(order, min(count, len(order)), shape), x.copy()
    steps = list(model.draw(filled, rng, labels, known=int(known.sum()), **settings))
    np.testing.assert_array_equal(filled[:, known], x[:, known])
    parameters = model(filled, labels, **settings).value.reshape(n, len(order), model.output.width)
    expected = parameters[:, order[known.sum() :]]
    assert len(steps) == expected.shape[1]
    for step, at in zip(steps, expected.swapaxes(0, 1), strict=True):
        np.testing.assert_allclose(step, at, rtol=1e-9, atol=1e-10)


@each_model
def test_nothing_known_is_sampling_and_all_known_is_the_identity(kind: str, rng: np.random.Generator) -> None:
    model, settings = MODELS[kind](SMALL, 3), settings_of(kind)
    x, none = random_examples(model, 5, rng), np.zeros(SMALL, bool)
    completed = model.complete(x, none, np.random.default_rng(0), **settings)
    drawn = np.zeros_like(x)
    list(model.draw(drawn, np.random.default_rng(0), **settings))
    np.testing.assert_array_equal(completed, drawn)
    np.testing.assert_array_equal(model.complete(x.astype(np.uint8), ~none, rng, **settings), x)


@each_model
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_divides_the_logits(kind: str, temperature: float, rng: np.random.Generator) -> None:
    model, settings = MODELS[kind](SMALL, 3), settings_of(kind)
    support, known = enumerate_support(3, SMALL), np.zeros(SMALL, bool)

    def log_prob(x: Array) -> Array:
        return np.asarray(model.output.log_prob(model(x, **settings).value / temperature, x).value.sum((1, 2, 3)))

    def sample(n: int, rng: np.random.Generator) -> Array:
        if not settings:
            return model.sample(n, rng, temperature=temperature)
        return model.complete(np.zeros((n, *SMALL), int), known, rng, temperature=temperature, **settings)

    check_sampler(sample, log_prob, support, 4_000, rng=rng)


@each_model
def test_temperature_near_zero_is_greedy(kind: str, rng: np.random.Generator) -> None:
    model, settings = MODELS[kind]((3, 3, 1), 3), settings_of(kind)
    x = np.zeros((2, 3, 3, 1), int)
    list(model.draw(x, rng, temperature=1e-300, **settings))
    np.testing.assert_array_equal(x, model(x, **settings).value.argmax(-1))


def test_completes_sequences_of_any_length(rng: np.random.Generator) -> None:
    model, x = small_wavenet((12,), 3), rng.integers(0, 3, (2, 30))
    known = np.arange(30) < 20
    completed = model.complete(x, known, rng)
    assert completed.shape == x.shape
    np.testing.assert_array_equal(completed[:, :20], x[:, :20])


GAP = prefix(np.arange(4), 2, SMALL)
GAP[1, 1, 0] = True  # (1, 0, 0) is unknown


@each_model
@pytest.mark.parametrize(
    ("x", "known", "message"),
    [
        (
            np.zeros((2, *SMALL), int),
            GAP,
            r"known: expected a prefix .* got \(1, 1, 0\), which comes after \(1, 0, 0\)",
        ),
        (np.zeros((2, *SMALL), int), np.ones(SMALL, int), r"known: expected booleans of shape \(2, 2, 1\), got int64"),
        (np.zeros((2, *SMALL), int), np.ones((2, *SMALL), bool), "known: expected booleans .*, got bool of shape"),
        (np.zeros((2, *SMALL), int), [True], "known: expected a NumPy array, got list"),
        (np.zeros((2, 2, 3, 1), int), np.ones(SMALL, bool), r"x: expected shape \(N, 2, 2, 1\), got"),
        (np.full((2, *SMALL), 3), np.ones(SMALL, bool), "x: expected integers 0…2"),
        (np.zeros((2, *SMALL)), np.ones(SMALL, bool), "x: expected integers 0…2"),
        (np.zeros((2, *SMALL)).tolist(), np.ones(SMALL, bool), "x: expected a NumPy array, got list"),
    ],
)
def test_completion_rejects_invalid_arguments(
    kind: str, x: Any, known: Any, message: str, rng: np.random.Generator
) -> None:
    if kind == "MADE with another order":
        pytest.skip("the prefix that is broken depends on the order")
    with pytest.raises(ValueError, match=f"^{message}"):
        MODELS[kind](SMALL, 3).complete(x, known, rng)


@each_model
def test_draw_rejects_invalid_known_values(kind: str, rng: np.random.Generator) -> None:
    model, x = MODELS[kind](SMALL, 3), np.full((2, *SMALL), 77)
    settings, labels = settings_of(kind), labels_of(model, 2)
    with pytest.raises(ValueError, match=r"^x: expected known values from 0 to 2, got some from 0 to 77"):
        next(model.draw(x, rng, labels, known=1, **settings))
    with pytest.raises(ValueError, match=r"^known: expected at most the 4 variables, got 5"):
        next(model.draw(x, rng, labels, known=5, **settings))
    assert (x == 77).all()
    x.reshape(2, -1)[:, order_of(model, **settings)[:2]] = 2
    next(model.draw(x, rng, labels, known=2, **settings))


def test_a_broken_prefix_is_named_in_the_order_of_the_model(rng: np.random.Generator) -> None:
    model = small_made((4,), 3, orders=3)
    a, b, *_ = (int(i) for i in model.net.order(1))
    known = np.arange(4) == b
    with pytest.raises(ValueError, match=rf"got \({b},\), which comes after \({a},\), which is unknown"):
        model.complete(np.zeros((1, 4), int), known, rng, order=1)


@each_model
@pytest.mark.parametrize("temperature", [0, -1.0, np.nan, np.inf])
def test_rejects_invalid_temperature(kind: str, temperature: float, rng: np.random.Generator) -> None:
    model, x = MODELS[kind](SMALL, 3), np.zeros((1, *SMALL), int)
    invalid = pytest.raises(ValueError, match=r"^temperature: expected a positive number")
    with invalid:
        model.sample(1, rng, temperature=temperature)
    with invalid:
        model.complete(x, np.zeros(SMALL, bool), rng, temperature=temperature)
    with invalid:
        next(model.draw(x, rng, temperature=temperature))
