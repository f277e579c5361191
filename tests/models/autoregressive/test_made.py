"""MADE: dependencies, normalisation and samples, under one order and averaged over orders."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
from helpers.models import check_draw_matches_naive_sampler, random_examples, small_made
from hypothesis import given
from hypothesis import strategies as st

from tinygen import grad
from tinygen.autograd import Array
from tinygen.distributions import Bernoulli, Categorical
from tinygen.models import MADE
from tinygen.testing import (
    check_autoregressive,
    check_normalised,
    check_parameter_grads,
    check_sampler,
    enumerate_support,
)


@pytest.mark.parametrize("settings", [{}, {"levels": 3}, {"hidden": (60, 60, 60)}, {"hidden": ()}, {"direct": True}])
@pytest.mark.parametrize("orders", [1, 3])
def test_depends_on_exactly_the_earlier_variables(settings: Any, orders: int, rng: np.random.Generator) -> None:
    model = small_made((2, 3), orders=orders, **{"hidden": (60, 60), **settings})
    for order in range(orders):
        x = random_examples(model, 4, rng)
        check_autoregressive(partial(model, order=order), x, axes=2, order=model.net.order(order), rng=rng)


def test_check_rejects_wrong_order(rng: np.random.Generator) -> None:
    model = small_made((2, 3), orders=3)
    with pytest.raises(AssertionError, match="must not see"):
        check_autoregressive(
            partial(model, order=1), random_examples(model, 4, rng), axes=2, order=model.net.order(0), rng=rng
        )


@pytest.mark.parametrize("orders", [1, 3])
@pytest.mark.parametrize(("shape", "levels"), [((4,), 2), ((2, 2, 1), 3), ((1,), 4), ((2, 3), 2)])
def test_probabilities_sum_to_one(shape: tuple[int, ...], levels: int, orders: int) -> None:
    model, support = small_made(shape, levels, orders=orders), enumerate_support(levels, shape)
    check_normalised(model.log_prob, support)
    for order in range(orders):
        check_normalised(partial(model.log_prob, order=order), support)


def test_probability_is_mean_over_orders() -> None:
    model, support = small_made(orders=3), enumerate_support(2, (2, 2))
    each = np.stack([model.log_prob(support, order=order).value for order in range(3)])
    np.testing.assert_allclose(np.exp(model.log_prob(support).value), np.exp(each).mean(0), rtol=1e-12)
    assert each.std(0).max() > 0.1


def test_check_rejects_mean_of_log_probs() -> None:
    model, support = small_made(orders=3), enumerate_support(2, (2, 2))
    with pytest.raises(AssertionError, match="should be 1"):
        check_normalised(lambda x: np.mean([model.log_prob(x, order=order).value for order in range(3)], 0), support)


@pytest.mark.parametrize(("levels", "orders"), [(3, 1), (2, 3), (3, 3)])
def test_samples_follow_log_prob(levels: int, orders: int, rng: np.random.Generator) -> None:
    model = small_made(levels=levels, orders=orders)
    check_sampler(model.sample, model.log_prob, enumerate_support(levels, (2, 2)), 20_000, rng=rng)


def test_check_rejects_samples_from_only_one_order(rng: np.random.Generator) -> None:
    model = small_made(orders=3)

    def sample_one_order(n: int, rng: np.random.Generator) -> Array:
        x = np.zeros((n, 2, 2), np.int64)
        list(model.draw(x, rng, order=1))
        return x

    support = enumerate_support(2, (2, 2))
    check_sampler(sample_one_order, partial(model.log_prob, order=1), support, rng=rng)
    with pytest.raises(AssertionError, match="χ²"):
        check_sampler(sample_one_order, model.log_prob, support, rng=rng)


def test_samples_follow_log_prob_of_their_labels(rng: np.random.Generator) -> None:
    model, support = small_made(orders=2, classes=2), enumerate_support(2, (2, 2))
    for label in range(2):
        check_sampler(
            lambda n, rng, k=label: model.sample(2 * n, rng, np.arange(2 * n) % 2)[k::2],
            lambda x, k=label: model.log_prob(x, np.full(len(x), k)),
            support,
            rng=rng,
        )


@given(
    shape=st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple),
    levels=st.integers(2, 4),
    hidden=st.lists(st.integers(1, 9), max_size=3),
    orders=st.integers(1, 2),
    classes=st.sampled_from([0, 2]),
    direct=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_draw_matches_naive_sampler(
    shape: tuple[int, ...], levels: int, hidden: list[int], orders: int, classes: int, direct: bool, seed: int
) -> None:
    model = small_made(shape, levels, seed, hidden=hidden, orders=orders, classes=classes, direct=direct)
    for order in range(orders):
        check_draw_matches_naive_sampler(model, seed, model.net.order(order), order=order)


def test_categorical_with_two_levels_matches_bernoulli() -> None:
    # Two logits (0, z) define the same distribution as one logit z.
    one, two = small_made(output=Bernoulli()), small_made(output=Categorical(2))
    for name, parameter in two.named_parameters().items():
        value = one.named_parameters()[name].value
        if name.startswith("net.layers.2"):
            value = np.stack([0 * value, value], -1).reshape(parameter.shape)
        parameter.assign(value)
    support = enumerate_support(2, (2, 2))
    np.testing.assert_allclose(one.log_prob(support).value, two.log_prob(support).value, rtol=1e-12)


@pytest.mark.parametrize(
    "settings", [{"levels": 3, "classes": 2}, {"orders": 2, "classes": 2}, {"hidden": (9, 9, 9), "classes": 2}]
)
def test_gradients_match_finite_differences(settings: Any, rng: np.random.Generator) -> None:
    model = small_made(**settings)
    x, labels = random_examples(model, 3, rng), np.array([0, 1, 1])
    for layer in model.net.layers[:-1]:  # biases that keep every relu away from its kink
        layer.b.assign(np.full(layer.b.shape, 30.0))  # type: ignore[union-attr]
    model.net.layers[-1].w.assign(model.net.layers[-1].w.value / 100)
    check_parameter_grads(lambda: model.log_prob(x, labels), model.parameters(), rng=rng)


def test_loss_with_rng_uses_random_order(rng: np.random.Generator) -> None:
    model = small_made(orders=3)
    x = random_examples(model, 5, rng)
    assert model.loss(x).item() == pytest.approx(-model.log_prob(x).value.mean(), rel=1e-12)
    each = [-model.log_prob(x, order=order).value.mean() for order in range(3)]
    seen = {model.loss(x, rng=rng).item() for _ in range(50)}
    np.testing.assert_allclose(sorted(seen), sorted(each), rtol=1e-12)
    assert model.loss(x).item() < np.mean(each)


def test_orders_share_all_weights(rng: np.random.Generator) -> None:
    one, many = small_made(), small_made(orders=5)
    assert [p.shape for p in one.parameters()] == [p.shape for p in many.parameters()]
    x = random_examples(many, 5, rng)
    for order in range(5):
        gradients = grad(many.log_prob(x, order=order).sum(), many.parameters())
        assert all(np.any(g.value) for g in gradients)


def test_load_restores_orders() -> None:
    one, other, x = small_made(orders=2, seed=0), small_made(orders=2, seed=1), enumerate_support(2, (2, 2))
    other.load(one.state())
    np.testing.assert_array_equal(other.log_prob(x).value, one.log_prob(x).value)


def test_untrained_model_is_nearly_uniform() -> None:
    model = MADE((28, 28), 2, np.random.default_rng(0))
    x = np.random.default_rng(1).integers(0, 2, (5, 28, 28))
    # Glorot initialisation gives logits of order 1, which cost about 1/8 nat per variable. Weights ten times as large
    # would fail.
    assert abs(-model.log_prob(x).value.mean() / (784 * math.log(2)) - 1) < 0.2


@pytest.mark.parametrize("order", [-1, 2])
def test_rejects_order_out_of_range(order: int) -> None:
    model, x = small_made(orders=2), np.zeros((1, 2, 2), int)
    for call in (model.log_prob, model, lambda x, order: next(model.draw(x, np.random.default_rng(0), order=order))):
        with pytest.raises(ValueError, match=r"order: expected (0…1|at least 0), got"):
            call(x, order=order)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"levels": 1}, "levels: "),
        ({"hidden": (3, 0)}, "hidden: "),
        ({"shape": ()}, "shape: "),
        ({"shape": (0, 3)}, "shape: "),
        ({"classes": -1}, "classes: "),
        ({"orders": 0}, "orders: "),
        ({"output": Categorical(3)}, "output: expected a distribution over 2 levels, got 3"),
    ],
)
def test_rejects_invalid_settings(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_made(**settings)
