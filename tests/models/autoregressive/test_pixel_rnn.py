"""The pixel RNN: no leak, normalised, drawn as it says, both evaluations equal; told where it is, if asked to be."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from helpers.contract import check_step_by_step, randomised
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


def small(shape: tuple[int, ...] = (3, 4, 1), levels: int = 3, seed: int = 0, **settings: Any) -> PixelRNN:
    """A network in float64 whose every parameter is random, so that no term is hidden by a zero bias."""
    rng = np.random.default_rng(seed)
    return randomised(PixelRNN(shape, levels, rng, **{"hidden": 5, **settings}), rng, 0.7)


def images(model: PixelRNN, n: int, rng: np.random.Generator) -> Array:
    return rng.integers(0, model.output.levels, (n, *model.shape))


@pytest.mark.parametrize(
    "settings", [{}, {"layers": 3}, {"coordinates": False}, {"shape": (2, 2, 3)}, {"shape": (5, 1, 1)}, {"classes": 2}]
)
def test_it_sees_every_earlier_variable_and_no_later_one(settings: Any, rng: np.random.Generator) -> None:
    model = small(**settings)
    f = partial(model, labels=np.array([0, 1, 0, 1]) if model.classes else None)
    check_autoregressive(f, images(model, 4, rng), axes=3, rng=rng)


class Peeking(PixelRNN):
    """Reads the value that it predicts, instead of the one before it."""

    def __call__(self, x: Array, labels: Array | None = None) -> Tensor:
        return super().__call__(np.roll(x.reshape(len(x), -1), -1, axis=1).reshape(x.shape), labels)


class ByColumns(PixelRNN):
    """Goes down the columns, where raster order is promised."""

    def __call__(self, x: Array, labels: Array | None = None) -> Tensor:
        return super().__call__(x.transpose(0, 2, 1, 3), labels).transpose(0, 2, 1, 3, 4)


@pytest.mark.parametrize(("wrong", "said"), [(Peeking, "own input"), (ByColumns, "another order")])
def test_wrong_ones_are_rejected(wrong: type[PixelRNN], said: str, rng: np.random.Generator) -> None:
    model = wrong((3, 3, 1), 2, rng).astype(np.float64)
    with pytest.raises(AssertionError, match=said):
        check_autoregressive(model, images(model, 4, rng), axes=3, rng=rng)


@pytest.mark.parametrize("coordinates", [True, False])
@pytest.mark.parametrize(("shape", "levels"), [((2, 3, 1), 2), ((2, 2, 1), 4), ((1, 2, 3), 2), ((1, 1, 1), 3)])
def test_its_probabilities_sum_to_one(shape: tuple[int, ...], levels: int, coordinates: bool) -> None:
    model = small(shape, levels, coordinates=coordinates, layers=2)
    support = enumerate_support(levels, shape)
    check_normalised(model.log_prob, support)
    assert np.exp(model.log_prob(support).value).sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("coordinates", [True, False])
def test_samples_follow_its_probabilities(coordinates: bool, rng: np.random.Generator) -> None:
    model = small((2, 2, 1), 3, coordinates=coordinates)
    check_sampler(model.sample, model.log_prob, enumerate_support(3, (2, 2, 1)), 20_000, rng=rng)


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 3])),
    levels=st.integers(2, 4),
    layers=st.integers(1, 3),
    coordinates=st.booleans(),
    classes=st.sampled_from([0, 2]),
    seed=st.integers(0, 2**32),
)
def test_remembered_states_equal_the_naive_sampler_step_by_step(
    shape: tuple[int, ...], levels: int, layers: int, coordinates: bool, classes: int, seed: int
) -> None:
    model = small(shape, levels, seed, layers=layers, coordinates=coordinates, classes=classes)
    check_step_by_step(model, seed)


def test_coordinates_are_those_of_the_variable_to_come() -> None:
    np.testing.assert_array_equal(small((2, 3, 1)).coordinates, raster_coordinates((2, 3, 1)))
    assert small((2, 3, 1), coordinates=False).coordinates.shape == (6, 0)


def test_with_coordinates_the_place_matters_without_a_state() -> None:
    """With u = 0 and forget gates closed nothing is carried along: only what is read at a variable tells it apart."""
    spread = {}
    for coordinates in (True, False):
        model = small(coordinates=coordinates)
        (lstm,) = model.lstms
        lstm.u.assign(np.zeros(lstm.u.shape))
        lstm.b.assign(np.repeat([0.0, -100.0, 0.0, 0.0], 5))
        logits = model(np.ones((1, 3, 4, 1), int)).value.reshape(12, 3)[1:]
        spread[coordinates] = np.ptp(logits, axis=0).max()
    assert spread[True] > 0.1
    assert spread[False] == 0


def test_gradients(rng: np.random.Generator) -> None:
    model = small((2, 2, 3), classes=2, layers=2)
    x, labels = images(model, 3, rng), np.array([0, 1, 1])
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
def test_settings_that_make_no_network(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**settings)
