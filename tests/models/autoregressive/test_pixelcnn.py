"""PixelCNN: dependencies and blind spot, channel order, normalisation, samples, incremental sampling, gradients."""

from typing import Any

import numpy as np
import pytest
from helpers.models import check_draw_matches_naive_sampler, random_examples, small_pixelcnn
from helpers.networks import pixelcnn
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Array, taps
from tinygen.distributions import Categorical, DiscretizedLogistics
from tinygen.models import PixelCNN
from tinygen.nn import Conv
from tinygen.testing import (
    check_autoregressive,
    check_normalised,
    check_parameter_grads,
    check_sampler,
    enumerate_support,
    receptive_field,
)

A3, B3 = taps.causal(3), taps.causal(3, centre=True)


@pytest.mark.parametrize("settings", [{}, {"shape": (3, 4, 3)}, {"shape": (3, 4, 3), "ordered": False}])
def test_network_is_that_of_the_equations(settings: Any, rng: np.random.Generator) -> None:
    model = small_pixelcnn(classes=2, **settings)
    x, labels = random_examples(model, 2, rng), np.array([0, 1])
    np.testing.assert_allclose(model(x, labels).value, pixelcnn(model, x, labels), rtol=1e-11, atol=1e-12)


def expected_dependencies(model: PixelCNN, *layers: taps.Taps) -> Array:
    """Return which inputs each output should depend on, [output, input], if the layers have these taps."""
    channels, pixels = model.shape[2], receptive_field(model.shape[:2], *layers)
    earlier = np.tril(np.ones((channels, channels)), -1) if model.ordered else np.zeros((channels, channels))
    dependencies = np.kron(pixels, np.ones((channels, channels))) + np.kron(np.eye(len(pixels)), earlier)
    return dependencies.astype(bool)


@pytest.mark.parametrize(
    "settings",
    [{}, {"shape": (2, 4, 3)}, {"shape": (2, 4, 2)}, {"output": DiscretizedLogistics(3, 2), "shape": (2, 2, 3)}],
)
def test_large_first_window_sees_exactly_the_earlier_values(settings: Any, rng: np.random.Generator) -> None:
    model = small_pixelcnn(**{"first_size": 7, "channels": 12, **settings})
    check_autoregressive(model, random_examples(model, 6, rng), axes=3, rng=rng)


@pytest.mark.parametrize(
    "settings", [{}, {"shape": (3, 4, 3), "channels": 12}, {"shape": (3, 4, 3), "ordered": False}, {"size": 5}]
)
def test_blind_spot_follows_from_the_taps(settings: Any, rng: np.random.Generator) -> None:
    # Deep enough for the receptive field to cover the image, so that only the blind spot is missing.
    model = small_pixelcnn(**{"shape": (3, 6, 1), "blocks": 5, **settings})
    x = random_examples(model, 6, rng)
    layers = [A3, *[taps.causal(settings.get("size", 3), centre=True)] * 5]
    check_autoregressive(model, x, axes=3, receptive_field=expected_dependencies(model, *layers), rng=rng)
    if model.shape[2] == 1 or model.ordered:
        with pytest.raises(AssertionError, match="blind spot"):
            check_autoregressive(model, x, axes=3, rng=rng)


def test_unordered_channels_do_not_depend_on_each_other(rng: np.random.Generator) -> None:
    model = small_pixelcnn((2, 3, 3), ordered=False, first_size=7)
    x = random_examples(model, 6, rng)
    expected = expected_dependencies(model, taps.causal(7), B3, B3)
    check_autoregressive(model, x, axes=3, receptive_field=expected, rng=rng)
    with pytest.raises(AssertionError, match="ignores"):
        check_autoregressive(model, x, axes=3, rng=rng)


def wrong(name: str, rng: np.random.Generator) -> PixelCNN:
    """Return a model of colour images with one wrong mask; its first window covers the image."""
    model = small_pixelcnn((2, 2, 3), first_size=5, channels=12)
    a, *b = model.masks
    if name == "mask B in the first layer":
        model.masks[0] = np.repeat(np.triu(np.ones((3, 3), bool)), 8, axis=1)
    elif name == "A and B swapped":
        model.masks[0] = np.repeat(np.triu(np.ones((3, 3), bool)), 8, axis=1)
        strictly = np.triu(np.ones((3, 3), bool), 1)
        model.masks[1:-1] = [np.kron(strictly, np.ones((len(m) // 3, m.shape[1] // 3), bool)) for m in b[:-1]]
    elif name == "G before R":
        swapped = [1, 0, 2]
        model.masks[0] = a[swapped]
        model.masks[-1] = b[-1].reshape(12, 3, -1)[:, swapped].reshape(12, -1)
    elif name == "no mask at the pixel":
        model.masks = [np.ones_like(mask) for mask in model.masks]
    elif name == "mask B in the taps":
        model.earlier = Conv(3, 24, taps.causal(5, centre=True), rng).astype(np.float64)
    return model


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mask B in the first layer", "own input"),
        ("A and B swapped", "must not see|ignores"),
        ("G before R", r"output \(0, 0, 0\), input \(0, 0, 1\)"),
        ("no mask at the pixel", "must not see"),
        ("mask B in the taps", "must not see"),
    ],
)
def test_check_rejects_wrong_masks(name: str, message: str, rng: np.random.Generator) -> None:
    right = small_pixelcnn((2, 2, 3), first_size=5, channels=12)
    x = random_examples(right, 6, rng)
    check_autoregressive(right, x, axes=3, rng=rng)
    with pytest.raises(AssertionError, match=message):
        check_autoregressive(wrong(name, rng), x, axes=3, rng=rng)


CONFIGURATIONS: list[tuple[tuple[int, ...], int, dict[str, Any]]] = [
    ((2, 3, 1), 3, {}),
    ((1, 5, 1), 3, {}),
    ((5, 1, 1), 3, {}),
    ((2, 2, 2), 3, {}),
    ((2, 2, 2), 3, {"ordered": False}),
    ((1, 3, 3), 2, {"blocks": 0}),
    ((2, 2, 1), 4, {"output": DiscretizedLogistics(4, 2)}),
    ((1, 2, 3), 4, {"output": DiscretizedLogistics(4, 2)}),
    ((1, 2, 3), 4, {"output": DiscretizedLogistics(4, 2), "ordered": False}),
]


@pytest.mark.parametrize(("shape", "levels", "settings"), CONFIGURATIONS)
def test_probabilities_sum_to_one(shape: tuple[int, ...], levels: int, settings: Any) -> None:
    check_normalised(small_pixelcnn(shape, levels, **settings).log_prob, enumerate_support(levels, shape))


@pytest.mark.parametrize(
    "settings",
    [{}, {"shape": (1, 2, 2)}, {"shape": (1, 2, 2), "ordered": False}, {"output": DiscretizedLogistics(3, 2)}],
)
def test_samples_follow_log_prob(settings: Any, rng: np.random.Generator) -> None:
    model = small_pixelcnn(**{"shape": (2, 2, 1), **settings})
    check_sampler(model.sample, model.log_prob, enumerate_support(3, model.shape), 20_000, rng=rng)


@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3)),
    levels=st.integers(2, 4),
    blocks=st.integers(0, 3),
    first_size=st.sampled_from([3, 5]),
    size=st.sampled_from([3, 5]),
    classes=st.sampled_from([0, 2]),
    ordered=st.booleans(),
    logistics=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_draw_matches_naive_sampler(
    shape: tuple[int, ...], levels: int, classes: int, logistics: bool, seed: int, **settings: Any
) -> None:
    output = DiscretizedLogistics(levels, 2) if logistics else Categorical(levels)
    model = small_pixelcnn(shape, levels, seed, classes=classes, output=output, **settings)
    check_draw_matches_naive_sampler(model, seed)


@pytest.mark.parametrize("shape", [(2, 3, 1), (2, 2, 3)])
def test_gradients_match_finite_differences(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    model = small_pixelcnn(shape, classes=2)
    x, labels = random_examples(model, 3, rng), np.array([0, 1, 1])
    # Biases that keep every relu away from its kink.
    for parameter in model.parameters():
        parameter.assign(np.full(parameter.shape, 30.0) if parameter.ndim == 1 else parameter.value * 0.1)
    check_parameter_grads(lambda: model.log_prob(x, labels), model.parameters(), rng=rng)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"levels": 1}, "levels: expected at least 2"),
        ({"blocks": -1}, "blocks: expected at least 0"),
        ({"channels": 0}, "channels: expected a positive multiple of 1, got 0"),
        ({"shape": (3, 4, 3), "channels": 4}, "channels: expected a positive multiple of 3, got 4"),
        ({"size": 1}, "size: expected an odd integer of at least 3, got 1"),
        ({"size": 4}, "size: expected an odd integer of at least 3, got 4"),
        ({"first_size": 1}, "first_size: expected an odd integer of at least 3, got 1"),
        ({"first_size": 4}, "first_size: expected an odd integer of at least 3, got 4"),
        ({"shape": (3, 4)}, r"shape: expected \(height, width, channels\)"),
        ({"dropout": 1.0}, "dropout: "),
        ({"classes": -1}, "classes: expected at least 0"),
        ({"output": Categorical(4)}, "output: expected a distribution over 3 levels, got 4"),
    ],
)
def test_rejects_invalid_settings(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        small_pixelcnn(**settings)
