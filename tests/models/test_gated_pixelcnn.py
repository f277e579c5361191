"""The Gated PixelCNN: no leak and no blind spot, normalised, drawn as it says, and both evaluators equal."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen import no_grad
from tinygen.autograd import Array, taps
from tinygen.distributions import Distribution
from tinygen.models import GatedPixelCNN
from tinygen.nn import Conv
from tinygen.testing import (
    check_autoregressive,
    check_normalised,
    check_parameter_grads,
    check_sampler,
    draw_naively,
    enumerate_support,
)


def small(shape: tuple[int, ...] = (3, 4, 1), levels: int = 3, seed: int = 0, **settings: Any) -> GatedPixelCNN:
    """A network in float64 whose every parameter is random, so that no term is hidden by a zero bias."""
    rng = np.random.default_rng(seed)
    settings = {"channels": 4, "layers": 3, "first_size": 3, **settings}
    model = GatedPixelCNN(shape, levels, rng, **settings).astype(np.float64)
    for parameter in model.parameters():
        parameter.assign(rng.normal(size=parameter.shape) * 0.5)
    return model


def images(model: GatedPixelCNN, n: int, rng: np.random.Generator) -> Array:
    return rng.integers(0, model.output.levels, (n, *model.shape))


def test_it_is_a_distribution() -> None:
    assert isinstance(small(), Distribution)


@pytest.mark.parametrize("settings", [{}, {"first_size": 7}, {"size": 5}, {"shape": (5, 3, 1), "layers": 5}])
def test_it_sees_every_earlier_pixel_and_no_later_one(settings: Any, rng: np.random.Generator) -> None:
    # Deep enough for its window to cover the image, so a blind spot would be a pixel that is missing.
    model = small(**{"layers": 6, "channels": 8, **settings})
    check_autoregressive(model, images(model, 4, rng), axes=2, rng=rng)


def test_mask_b_in_the_first_layer_is_rejected(rng: np.random.Generator) -> None:
    model = small(layers=6)
    first = model.layers[0].horizontal
    centred = Conv(1, first.w.shape[2], taps.horizontal(3, centre=True), rng, bias=False).astype(np.float64)
    model.layers[0].horizontal = centred
    with pytest.raises(AssertionError, match="own input"):
        check_autoregressive(model, images(model, 4, rng), axes=2, rng=rng)


def test_without_the_vertical_stack_it_is_blind(rng: np.random.Generator) -> None:
    model = small(layers=6)
    for layer in model.layers:
        layer.across.w.assign(np.zeros(layer.across.w.shape))
    with pytest.raises(AssertionError, match="blind spot"):
        check_autoregressive(model, images(model, 4, rng), axes=2, rng=rng)


@pytest.mark.parametrize(("shape", "levels"), [((2, 3, 1), 2), ((2, 2, 1), 4), ((1, 5, 1), 3), ((5, 1, 1), 3)])
def test_its_probabilities_sum_to_one(shape: tuple[int, ...], levels: int) -> None:
    model = small(shape, levels)
    check_normalised(model.log_prob, enumerate_support(levels, shape))


def test_given_a_label_its_probabilities_sum_to_one() -> None:
    model, support = small((2, 2, 1), 3, labels=2), enumerate_support(3, (2, 2, 1))
    for label in range(2):
        check_normalised(lambda x, k=label: model.log_prob(x, np.full(len(x), k)), support)  # type: ignore[misc]
    apart = model.log_prob(support, np.zeros(81, int)).value - model.log_prob(support, np.ones(81, int)).value
    assert np.abs(apart).max() > 0.1


def test_samples_follow_its_probabilities(rng: np.random.Generator) -> None:
    model = small((2, 2, 1), 3)
    check_sampler(model.sample, model.log_prob, enumerate_support(3, (2, 2, 1)), 20_000, rng=rng)


@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(1)),
    levels=st.integers(2, 4),
    layers=st.integers(1, 4),
    first_size=st.sampled_from([3, 5]),
    size=st.sampled_from([1, 3]),
    labels=st.sampled_from([0, 2]),
    seed=st.integers(0, 2**32),
)
def test_remembered_activations_equal_the_naive_sampler_step_by_step(
    shape: tuple[int, ...], levels: int, layers: int, first_size: int, size: int, labels: int, seed: int
) -> None:
    model = small(shape, levels, seed, layers=layers, first_size=first_size, size=size, labels=labels)
    given = np.array([0, 1]) if labels else None
    fast, slow = np.zeros((2, 2, *shape), np.int64)
    remembering = model.draw(fast, np.random.default_rng(seed), given)
    naive = draw_naively(partial(model, labels=given), model.output, slow, np.random.default_rng(seed))
    for remembered, anew in zip(remembering, naive, strict=True):
        np.testing.assert_allclose(remembered, anew, rtol=1e-9, atol=1e-10)
        np.testing.assert_array_equal(fast, slow)


def test_drawing_restarts_from_nothing(rng: np.random.Generator) -> None:
    # What a canvas holds before it is drawn on must not matter.
    model = small()
    dirty, clean = images(model, 2, rng), np.zeros((2, *model.shape), np.int64)
    for x in (dirty, clean):
        list(model.draw(x, np.random.default_rng(3)))
    np.testing.assert_array_equal(dirty, clean)


def test_gradients(rng: np.random.Generator) -> None:
    model = small(labels=2)
    x, labels = images(model, 3, rng), np.array([0, 1, 1])
    for head in (model.layers[0].skip, model.hidden):  # biases that keep every relu away from its kink
        assert head.b is not None
        head.b.assign(np.full(head.b.shape, 30.0))
    check_parameter_grads(lambda: model.log_prob(x, labels), model.parameters(), rng=rng)


def test_boolean_images_are_images_of_two_levels(rng: np.random.Generator) -> None:
    model = small(levels=2)
    x = images(model, 3, rng)
    np.testing.assert_array_equal(model.log_prob(x.astype(bool)).value, model.log_prob(x.astype(np.uint8)).value)


def test_loss_is_minus_the_mean_log_prob_and_dropout_needs_a_generator(rng: np.random.Generator) -> None:
    model = small(dropout=0.5)
    x = images(model, 5, rng)
    plain = -model.log_prob(x).value.mean()
    assert model.loss(x).item() == pytest.approx(plain, rel=1e-12)
    assert abs(model.loss(x, rng=rng).item() - plain) > 1e-3


def test_same_seed_same_bits_and_float32_throughout() -> None:
    model = GatedPixelCNN((4, 4, 1), 2, np.random.default_rng(0), channels=4, layers=2)
    a, b = (model.sample(3, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    with no_grad():
        assert model.log_prob(a).dtype == np.float32
        assert model.sample(0, np.random.default_rng(1)).shape == (0, 4, 4, 1)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 3, 4, 1)), "x: expected integers"),
        (np.zeros((2, 4, 3, 1), int), "shape"),
        (np.zeros((2, 3, 4), int), "shape"),
        (np.full((2, 3, 4, 1), 3), r"values 3…3"),
        (np.full((2, 3, 4, 1), -1), r"values -1…-1"),
    ],
)
def test_images_that_are_none(x: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small().log_prob(x)


@pytest.mark.parametrize(
    ("labels", "message"),
    [(None, "labels"), (np.array([0.0, 1.0]), "float64"), (np.array([0]), "shape"), (np.array([0, 2]), "values 0…2")],
)
def test_labels_that_are_none(labels: Any, message: str) -> None:
    model = small(labels=2)
    with pytest.raises(ValueError, match=message):
        model.log_prob(np.zeros((2, 3, 4, 1), int), labels)
    with pytest.raises(ValueError, match=message):
        model.sample(2, np.random.default_rng(0), labels)


def test_labels_where_there_are_no_classes() -> None:
    with pytest.raises(ValueError, match="labels: expected none"):
        small().log_prob(np.zeros((1, 3, 4, 1), int), np.array([0]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"levels": 1}, "levels: expected at least 2"),
        ({"layers": 0}, "layers: expected at least 1"),
        ({"channels": 0}, "channels: expected at least 1"),
        ({"size": 2}, "size: expected an odd number of at least 1, got 2"),
        ({"first_size": 2}, "first_size: expected an odd number of at least 3, got 2"),
        ({"shape": (0, 3, 1)}, "shape: "),
        ({"shape": (3, 4)}, r"shape: expected \(height, width, 1\)"),
        ({"shape": (3, 4, 3)}, r"shape: expected \(height, width, 1\)"),
        ({"dropout": 1.0}, "dropout: "),
        ({"labels": -1}, "labels: expected at least 0"),
    ],
)
def test_settings_that_make_no_network(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        small(**settings)


@pytest.mark.parametrize(
    "canvas", [np.zeros((1, 3, 5, 1), int), np.zeros((1, 3, 4, 1)), np.zeros((1, 3, 4, 1), np.int8)]
)
def test_canvases_that_cannot_be_drawn_on(canvas: Array, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="x: expected integers that hold 300 levels"):
        next(small(levels=300).draw(canvas, rng))


def test_fewer_than_no_samples() -> None:
    with pytest.raises(ValueError, match="n: "):
        small().sample(-1, np.random.default_rng(0))
