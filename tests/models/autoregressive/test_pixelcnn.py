"""The PixelCNN: what it sees and is blind to, in colour too; normalised, drawn as it says; both evaluators equal."""

from typing import Any

import numpy as np
import pytest
from helpers.contract import check_step_by_step, randomised
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


def small(shape: tuple[int, ...] = (3, 4, 1), levels: int = 3, seed: int = 0, **settings: Any) -> PixelCNN:
    """A network in float64 whose every parameter is random, so that no term is hidden by a zero bias."""
    rng = np.random.default_rng(seed)
    settings = {"channels": 6, "blocks": 2, "first_size": 3, **settings}
    return randomised(PixelCNN(shape, levels, rng, **settings), rng)


def images(model: PixelCNN, n: int, rng: np.random.Generator) -> Array:
    return rng.integers(0, model.output.levels, (n, *model.shape))


def seen_by(model: PixelCNN, *layers: taps.Taps) -> Array:
    """Which channel of which pixel, [output, input], is seen through these taps and by the order of the channels."""
    channels, pixels = model.shape[2], receptive_field(model.shape[:2], *layers)
    before = np.tril(np.ones((channels, channels)), -1) if model.ordered else np.zeros((channels, channels))
    seen = np.kron(pixels, np.ones((channels, channels))) + np.kron(np.eye(len(pixels)), before)
    return seen.astype(bool)


@pytest.mark.parametrize(
    "settings",
    [{}, {"shape": (2, 4, 3)}, {"shape": (2, 4, 2)}, {"output": DiscretizedLogistics(3, 2), "shape": (2, 2, 3)}],
)
def test_a_window_over_the_whole_image_sees_all_that_is_earlier(settings: Any, rng: np.random.Generator) -> None:
    model = small(**{"first_size": 7, "channels": 12, **settings})
    check_autoregressive(model, images(model, 6, rng), axes=3, rng=rng)


@pytest.mark.parametrize(
    "settings", [{}, {"shape": (3, 4, 3), "channels": 12}, {"shape": (3, 4, 3), "ordered": False}, {"size": 5}]
)
def test_it_has_a_blind_spot_which_is_that_of_its_taps(settings: Any, rng: np.random.Generator) -> None:
    # Deep enough to see the whole image if the blind spot were a matter of depth.
    model = small(**{"shape": (3, 6, 1), "blocks": 5, **settings})
    x = images(model, 6, rng)
    layers = [A3, *[taps.causal(settings.get("size", 3), centre=True)] * 5]
    check_autoregressive(model, x, axes=3, receptive_field=seen_by(model, *layers), rng=rng)
    if model.shape[2] == 1 or model.ordered:
        with pytest.raises(AssertionError, match="blind spot"):
            check_autoregressive(model, x, axes=3, rng=rng)


def test_independent_channels_are_told_nothing_of_each_other(rng: np.random.Generator) -> None:
    model = small((2, 3, 3), ordered=False, first_size=7)
    x = images(model, 6, rng)
    check_autoregressive(model, x, axes=3, receptive_field=seen_by(model, taps.causal(7), B3, B3), rng=rng)
    with pytest.raises(AssertionError, match="ignores"):
        check_autoregressive(model, x, axes=3, rng=rng)


def wrong(name: str, rng: np.random.Generator) -> PixelCNN:
    """Break a colour network with a window over the whole image in one way."""
    model = small((2, 2, 3), first_size=5, channels=12)
    a, *b = model.masks
    if name == "mask B in the first layer":
        model.masks[0] = np.repeat(np.triu(np.ones((3, 3), bool)), 8, axis=1)
    elif name == "A and B the wrong way round":
        model.masks[0] = np.repeat(np.triu(np.ones((3, 3), bool)), 8, axis=1)
        strictly = np.triu(np.ones((3, 3), bool), 1)
        model.masks[1:-1] = [np.kron(strictly, np.ones((len(m) // 3, m.shape[1] // 3), bool)) for m in b[:-1]]
    elif name == "G before R":
        swapped = [1, 0, 2]
        model.masks[0] = a[swapped]
        model.masks[-1] = b[-1].reshape(12, 3, -1)[:, swapped].reshape(12, -1)
    elif name == "no mask at the pixel":
        model.masks = [np.ones_like(mask) for mask in model.masks]
    elif name == "mask B among the taps":
        model.earlier = Conv(3, 24, taps.causal(5, centre=True), rng).astype(np.float64)
    return model


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mask B in the first layer", "own input"),
        ("A and B the wrong way round", "must not see|ignores"),
        ("G before R", r"\(0, 0, 0\) on \(0, 0, 1\)"),
        ("no mask at the pixel", "must not see"),
        ("mask B among the taps", "must not see"),
    ],
)
def test_wrong_masks_are_rejected(name: str, message: str, rng: np.random.Generator) -> None:
    right = small((2, 2, 3), first_size=5, channels=12)
    x = images(right, 6, rng)
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
def test_its_probabilities_sum_to_one(shape: tuple[int, ...], levels: int, settings: Any) -> None:
    check_normalised(small(shape, levels, **settings).log_prob, enumerate_support(levels, shape))


@pytest.mark.parametrize(
    "settings",
    [{}, {"shape": (1, 2, 2)}, {"shape": (1, 2, 2), "ordered": False}, {"output": DiscretizedLogistics(3, 2)}],
)
def test_samples_follow_its_probabilities(settings: Any, rng: np.random.Generator) -> None:
    model = small(**{"shape": (2, 2, 1), **settings})
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
def test_remembered_activations_equal_the_naive_sampler_step_by_step(
    shape: tuple[int, ...], levels: int, classes: int, logistics: bool, seed: int, **settings: Any
) -> None:
    output = DiscretizedLogistics(levels, 2) if logistics else Categorical(levels)
    model = small(shape, levels, seed, classes=classes, output=output, **settings)
    check_step_by_step(model, seed)


@pytest.mark.parametrize("shape", [(2, 3, 1), (2, 2, 3)])
def test_gradients(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    model = small(shape, classes=2)
    x, labels = images(model, 3, rng), np.array([0, 1, 1])
    # Biases that keep every relu away from its kink.
    for parameter in model.parameters():
        parameter.assign(np.full(parameter.shape, 30.0) if parameter.ndim == 1 else parameter.value * 0.1)
    check_parameter_grads(lambda: model.log_prob(x, labels), model.parameters(), rng=rng)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"levels": 1}, "levels: expected at least 2"),
        ({"blocks": -1}, "blocks: expected at least 0"),
        ({"channels": 0}, "channels: expected a multiple of the 1 groups"),
        ({"shape": (3, 4, 3), "channels": 4}, "channels: expected a multiple of the 3 groups"),
        ({"size": 1}, "size: expected an odd integer of at least 3, got 1"),
        ({"size": 4}, "size: expected an odd integer of at least 3, got 4"),
        ({"first_size": 1}, "first_size: expected an odd integer of at least 3, got 1"),
        ({"first_size": 4}, "first_size: expected an odd integer of at least 3, got 4"),
        ({"shape": (3, 4)}, r"shape: expected \(height, width, channels\)"),
        ({"dropout": 1.0}, "dropout: "),
        ({"classes": -1}, "classes: expected at least 0"),
        ({"output": Categorical(4)}, "output: expected one of 3 levels"),
    ],
)
def test_settings_that_make_no_network(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        small(**settings)
