"""Pixel RNN: dependencies, normalisation, samples, incremental sampling, coordinates, gradients."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from helpers.models import check_draw_matches_naive_sampler, random_examples, small_pixel_rnn
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Array, Tensor
from tinygen.models import PixelRNN
from tinygen.models.autoregressive.coordinates import raster_coordinates
from tinygen.testing import (
    check_autoregressive,
    check_normalised,
    check_parameter_grads,
    check_sampler,
    enumerate_support,
)


@pytest.mark.parametrize(
    "settings", [{}, {"layers": 3}, {"coordinates": False}, {"shape": (2, 2, 3)}, {"shape": (5, 1, 1)}, {"classes": 2}]
)
def test_depends_on_exactly_the_earlier_values(settings: Any, rng: np.random.Generator) -> None:
    model = small_pixel_rnn(**settings)
    f = partial(model, labels=np.array([0, 1, 0, 1]) if model.classes else None)
    check_autoregressive(f, random_examples(model, 4, rng), axes=3, rng=rng)


class WithoutShift(PixelRNN):
    """A PixelRNN whose input is the value to predict instead of the previous one."""

    def __call__(self, x: Array, labels: Array | None = None) -> Tensor:
        return super().__call__(np.roll(x.reshape(len(x), -1), -1, axis=1).reshape(x.shape), labels)


class ColumnMajor(PixelRNN):
    """A PixelRNN that reads the image column by column instead of in raster order."""

    def __call__(self, x: Array, labels: Array | None = None) -> Tensor:
        return super().__call__(x.transpose(0, 2, 1, 3), labels).transpose(0, 2, 1, 3, 4)


@pytest.mark.parametrize(("wrong", "message"), [(WithoutShift, "own input"), (ColumnMajor, "another order")])
def test_check_rejects_wrong_dependencies(wrong: type[PixelRNN], message: str, rng: np.random.Generator) -> None:
    model = wrong((3, 3, 1), 2, rng).astype(np.float64)
    with pytest.raises(AssertionError, match=message):
        check_autoregressive(model, random_examples(model, 4, rng), axes=3, rng=rng)


@pytest.mark.parametrize("coordinates", [True, False])
@pytest.mark.parametrize(("shape", "levels"), [((2, 3, 1), 2), ((2, 2, 1), 4), ((1, 2, 3), 2), ((1, 1, 1), 3)])
def test_probabilities_sum_to_one(shape: tuple[int, ...], levels: int, coordinates: bool) -> None:
    model = small_pixel_rnn(shape, levels, coordinates=coordinates, layers=2)
    support = enumerate_support(levels, shape)
    check_normalised(model.log_prob, support)
    assert np.exp(model.log_prob(support).value).sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("coordinates", [True, False])
def test_samples_follow_log_prob(coordinates: bool, rng: np.random.Generator) -> None:
    model = small_pixel_rnn((2, 2, 1), 3, coordinates=coordinates)
    check_sampler(model.sample, model.log_prob, enumerate_support(3, (2, 2, 1)), 20_000, rng=rng)


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 3])),
    levels=st.integers(2, 4),
    layers=st.integers(1, 3),
    coordinates=st.booleans(),
    classes=st.sampled_from([0, 2]),
    seed=st.integers(0, 2**32),
)
def test_draw_matches_naive_sampler(
    shape: tuple[int, ...], levels: int, layers: int, coordinates: bool, classes: int, seed: int
) -> None:
    model = small_pixel_rnn(shape, levels, seed, layers=layers, coordinates=coordinates, classes=classes)
    check_draw_matches_naive_sampler(model, seed)


def test_coordinates_are_those_of_the_value_to_predict() -> None:
    np.testing.assert_array_equal(small_pixel_rnn((2, 3, 1)).coordinates, raster_coordinates((2, 3, 1)))
    assert small_pixel_rnn((2, 3, 1), coordinates=False).coordinates.shape == (6, 0)


def test_without_state_only_coordinates_distinguish_positions() -> None:
    """With u = 0 and closed forget gates there is no state: in a constant image only the coordinates differ."""
    spread = {}
    for coordinates in (True, False):
        model = small_pixel_rnn(coordinates=coordinates)
        (lstm,) = model.lstms
        lstm.u.assign(np.zeros(lstm.u.shape))
        lstm.b.assign(np.repeat([0.0, -100.0, 0.0, 0.0], 5))
        logits = model(np.ones((1, 3, 4, 1), int)).value.reshape(12, 3)[1:]
        spread[coordinates] = np.ptp(logits, axis=0).max()
    assert spread[True] > 0.1
    assert spread[False] == 0


def test_gradients_match_finite_differences(rng: np.random.Generator) -> None:
    model = small_pixel_rnn((2, 2, 3), classes=2, layers=2)
    x, labels = random_examples(model, 3, rng), np.array([0, 1, 1])
    check_parameter_grads(lambda: model.log_prob(x, labels), model.parameters(), rng=rng)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"levels": 1}, "levels: "),
        ({"layers": 0}, "layers: "),
        ({"hidden": 0}, "hidden: "),
        ({"shape": (3, 4)}, r"shape: expected \(height, width, channels\)"),
        ({"shape": (0, 3, 1)}, "shape: "),
        ({"classes": -1}, "classes: "),
    ],
)
def test_rejects_invalid_settings(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_pixel_rnn(**settings)
