"""Gated PixelCNN: dependencies without a blind spot, normalisation, samples, incremental sampling, gradients."""

from typing import Any

import numpy as np
import pytest
from helpers.models import check_draw_matches_naive_sampler, random_examples, small_gated_pixelcnn
from helpers.networks import gated_pixelcnn
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import taps
from tinygen.nn import Conv
from tinygen.testing import (
    check_autoregressive,
    check_normalised,
    check_parameter_grads,
    check_sampler,
    enumerate_support,
)


def test_network_is_that_of_the_diagram(rng: np.random.Generator) -> None:
    model = small_gated_pixelcnn(classes=2)
    x, labels = random_examples(model, 2, rng), np.array([0, 1])
    np.testing.assert_allclose(model(x, labels).value, gated_pixelcnn(model, x, labels), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("settings", [{}, {"first_size": 7}, {"size": 5}, {"shape": (5, 3, 1), "layers": 5}])
def test_depends_on_exactly_the_earlier_pixels(settings: Any, rng: np.random.Generator) -> None:
    # Deep enough for the receptive field to cover the image: a missing pixel would be a blind spot.
    model = small_gated_pixelcnn(**{"layers": 6, "channels": 8, **settings})
    check_autoregressive(model, random_examples(model, 4, rng), axes=2, rng=rng)


def test_check_rejects_mask_b_in_first_layer(rng: np.random.Generator) -> None:
    model = small_gated_pixelcnn(layers=6)
    first = model.layers[0].horizontal
    centred = Conv(1, first.w.shape[2], taps.horizontal(3, centre=True), rng, bias=False).astype(np.float64)
    model.layers[0].horizontal = centred
    with pytest.raises(AssertionError, match="own input"):
        check_autoregressive(model, random_examples(model, 4, rng), axes=2, rng=rng)


def test_without_vertical_stack_there_is_a_blind_spot(rng: np.random.Generator) -> None:
    model = small_gated_pixelcnn(layers=6)
    for layer in model.layers:
        layer.to_horizontal.w.assign(np.zeros(layer.to_horizontal.w.shape))
    with pytest.raises(AssertionError, match="blind spot"):
        check_autoregressive(model, random_examples(model, 4, rng), axes=2, rng=rng)


@pytest.mark.parametrize(("shape", "levels"), [((2, 3, 1), 2), ((2, 2, 1), 4), ((1, 5, 1), 3), ((5, 1, 1), 3)])
def test_probabilities_sum_to_one(shape: tuple[int, ...], levels: int) -> None:
    model = small_gated_pixelcnn(shape, levels)
    check_normalised(model.log_prob, enumerate_support(levels, shape))


def test_samples_follow_log_prob(rng: np.random.Generator) -> None:
    model = small_gated_pixelcnn((2, 2, 1), 3)
    check_sampler(model.sample, model.log_prob, enumerate_support(3, (2, 2, 1)), 20_000, rng=rng)


@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(1)),
    levels=st.integers(2, 4),
    layers=st.integers(1, 4),
    first_size=st.sampled_from([3, 5]),
    size=st.sampled_from([1, 3]),
    classes=st.sampled_from([0, 2]),
    seed=st.integers(0, 2**32),
)
def test_draw_matches_naive_sampler(
    shape: tuple[int, ...], levels: int, layers: int, first_size: int, size: int, classes: int, seed: int
) -> None:
    settings = {"layers": layers, "first_size": first_size, "size": size, "classes": classes}
    check_draw_matches_naive_sampler(small_gated_pixelcnn(shape, levels, seed, **settings), seed)


def test_gradients_match_finite_differences(rng: np.random.Generator) -> None:
    model = small_gated_pixelcnn(classes=2)
    x, labels = random_examples(model, 3, rng), np.array([0, 1, 1])
    for head in (model.layers[0].skip, model.hidden):  # biases that keep every relu away from its kink
        assert head.b is not None
        head.b.assign(np.full(head.b.shape, 30.0))
    check_parameter_grads(lambda: model.log_prob(x, labels), model.parameters(), rng=rng)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"levels": 1}, "levels: expected at least 2"),
        ({"layers": 0}, "layers: expected at least 1"),
        ({"channels": 0}, "channels: expected at least 1"),
        ({"size": 2}, "size: expected an odd integer of at least 1, got 2"),
        ({"first_size": 2}, "first_size: expected an odd integer of at least 3, got 2"),
        ({"shape": (0, 3, 1)}, "shape: "),
        ({"shape": (3, 4)}, r"shape: expected \(height, width, 1\)"),
        ({"shape": (3, 4, 3)}, r"shape: expected \(height, width, 1\)"),
        ({"dropout": 1.0}, "dropout: "),
        ({"classes": -1}, "classes: expected at least 0"),
    ],
)
def test_rejects_invalid_settings(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        small_gated_pixelcnn(**settings)
