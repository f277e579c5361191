"""The pixel RNN: no leak, normalised, drawn as it says, both evaluations equal; told where it is, if asked to be."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Array, Tensor
from tinygen.distributions import Distribution
from tinygen.models import PixelRNN
from tinygen.testing import (
    check_autoregressive,
    check_normalised,
    check_parameter_grads,
    check_sampler,
    draw_naively,
    enumerate_support,
)


def small(shape: tuple[int, ...] = (3, 4, 1), levels: int = 3, seed: int = 0, **settings: Any) -> PixelRNN:
    """A network in float64 whose every parameter is random, so that no term is hidden by a zero bias."""
    rng = np.random.default_rng(seed)
    model = PixelRNN(shape, levels, rng, **{"hidden": 5, **settings}).astype(np.float64)
    for parameter in model.parameters():
        parameter.assign(rng.normal(size=parameter.shape) * 0.7)
    return model


def images(model: PixelRNN, n: int, rng: np.random.Generator) -> Array:
    return rng.integers(0, model.output.levels, (n, *model.shape))


def test_it_is_a_distribution() -> None:
    assert isinstance(small(), Distribution)


@pytest.mark.parametrize(
    "settings", [{}, {"layers": 3}, {"coordinates": False}, {"shape": (2, 2, 3)}, {"shape": (5, 1, 1)}, {"labels": 2}]
)
def test_it_sees_every_earlier_variable_and_no_later_one(settings: Any, rng: np.random.Generator) -> None:
    model = small(**settings)
    f = partial(model, labels=np.array([0, 1, 0, 1]) if model.labels else None)
    check_autoregressive(f, images(model, 4, rng), axes=3, rng=rng)


class Peeking(PixelRNN):
    """Reads the value that it predicts, instead of the one before it."""

    def __call__(self, x: Array, labels: Array | None = None, rng: np.random.Generator | None = None) -> Tensor:
        return super().__call__(np.roll(x.reshape(len(x), -1), -1, axis=1).reshape(x.shape), labels)


class ByColumns(PixelRNN):
    """Goes down the columns, where raster order is promised."""

    def __call__(self, x: Array, labels: Array | None = None, rng: np.random.Generator | None = None) -> Tensor:
        return super().__call__(x.transpose(0, 2, 1, 3), labels).transpose(0, 2, 1, 3, 4)


@pytest.mark.parametrize(
    ("wrong", "said"), [(Peeking, "own input"), (ByColumns, "another order")]
)
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


def test_given_a_label_its_probabilities_sum_to_one() -> None:
    model, support = small((2, 2, 1), 3, labels=2), enumerate_support(3, (2, 2, 1))
    by_label = [model.log_prob(support, np.full(81, label)).value for label in range(2)]
    np.testing.assert_allclose(np.exp(by_label).sum(1), 1, rtol=0, atol=1e-12)
    assert np.abs(by_label[0] - by_label[1]).max() > 0.1


def test_samples_follow_its_probabilities(rng: np.random.Generator) -> None:
    model = small((2, 2, 1), 3)
    check_sampler(model.sample, model.log_prob, enumerate_support(3, (2, 2, 1)), 20_000, rng=rng)


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4), st.sampled_from([1, 3])),
    levels=st.integers(2, 4),
    layers=st.integers(1, 3),
    coordinates=st.booleans(),
    labels=st.sampled_from([0, 2]),
    seed=st.integers(0, 2**32),
)
def test_remembered_states_equal_the_naive_sampler_step_by_step(
    shape: tuple[int, ...], levels: int, layers: int, coordinates: bool, labels: int, seed: int
) -> None:
    model = small(shape, levels, seed, layers=layers, coordinates=coordinates, labels=labels)
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


def test_coordinates_are_those_of_the_variable_to_come() -> None:
    assert small((2, 3, 1)).coordinates.tolist() == [[-1, -1], [-1, 0], [-1, 1], [1, -1], [1, 0], [1, 1]]
    assert small((1, 1, 3)).coordinates.tolist() == [[-1], [0], [1]]  # no axis of length 1
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
    model = small((2, 2, 3), labels=2, layers=2)
    x, labels = images(model, 3, rng), np.array([0, 1, 1])
    check_parameter_grads(lambda: model.log_prob(x, labels), model.parameters(), rng=rng)


def test_same_seed_same_bits_and_float32_throughout() -> None:
    model = PixelRNN((4, 4, 1), 2, np.random.default_rng(0), hidden=4, layers=2, labels=3)
    labels = np.array([0, 1, 2])
    a, b = (model.sample(3, np.random.default_rng(1), labels) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert model.log_prob(a, labels).dtype == np.float32
    assert model.sample(0, np.random.default_rng(1), labels[:0]).shape == (0, 4, 4, 1)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 3, 4, 1)), "x: expected integers"),
        (np.zeros((2, 4, 3, 1), int), "shape"),
        (np.full((2, 3, 4, 1), 3), r"values 3…3"),
    ],
)
def test_images_that_are_none(x: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small().log_prob(x)


@pytest.mark.parametrize("labels", [None, np.array([0]), np.array([0, 2])])
def test_labels_that_are_none(labels: Any) -> None:
    model = small(labels=2)
    with pytest.raises(ValueError, match="labels: "):
        model.log_prob(np.zeros((2, 3, 4, 1), int), labels)
    with pytest.raises(ValueError, match="labels: "):
        model.sample(2, np.random.default_rng(0), labels)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"levels": 1}, "levels: "),
        ({"layers": 0}, "layers: "),
        ({"hidden": 0}, "hidden: "),
        ({"shape": (3, 4)}, r"shape: expected \(height, width, channels\)"),
        ({"shape": (0, 3, 1)}, "shape: "),
        ({"labels": -1}, "labels: "),
    ],
)
def test_settings_that_make_no_network(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(**settings)


def test_a_canvas_that_cannot_be_drawn_on(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="x: expected integers that hold 3 levels"):
        next(small().draw(np.zeros((1, 3, 5, 1), int), rng))
