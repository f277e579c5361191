"""WaveNet: it sees its receptive field and no more, is normalised, drawn as it says, and both evaluators are equal."""

from typing import Any

import numpy as np
import pytest
from helpers.contract import check_step_by_step, randomised
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Array, grad, taps
from tinygen.models import WaveNet
from tinygen.nn import Conv
from tinygen.testing import (
    check_autoregressive,
    check_normalised,
    check_parameter_grads,
    check_sampler,
    enumerate_support,
    receptive_field,
)


def small(shape: tuple[int, ...] = (12,), levels: int = 3, seed: int = 0, **settings: Any) -> WaveNet:
    """A network in float64 whose every parameter is random, so that no term is hidden by a zero bias."""
    rng = np.random.default_rng(seed)
    return randomised(WaveNet(shape, levels, rng, **{"channels": 4, "dilations": (1, 2, 4), **settings}), rng)


def events(model: WaveNet, n: int, rng: np.random.Generator) -> Array:
    return rng.integers(0, model.output.levels, (n, *model.shape))


def promised(model: WaveNet) -> Array:
    """Work out the receptive field from the formula alone: the last so many variables before each."""
    before = np.subtract.outer(np.arange(model.shape[0]), np.arange(model.shape[0]))
    return (before >= 1) & (before <= model.receptive_field)


@pytest.mark.parametrize(
    ("dilations", "size", "reach"), [((1,), 2, 3), ((1, 2), 2, 5), ((1, 2, 1, 2), 2, 8), ((2,), 3, 7), ((1, 1), 1, 1)]
)
def test_it_sees_its_receptive_field_and_no_more(
    dilations: tuple[int, ...], size: int, reach: int, rng: np.random.Generator
) -> None:
    model = small(dilations=dilations, size=size, channels=8)
    assert model.receptive_field == reach
    layers = [model.first.taps, *(block.dilated.taps for block in model.blocks)]
    np.testing.assert_array_equal(promised(model), receptive_field(model.shape, *layers))
    check_autoregressive(model, events(model, 4, rng), receptive_field=promised(model), axes=1, rng=rng)


@pytest.mark.parametrize("coordinates", [False, True])
@pytest.mark.parametrize("shape", [(3, 4, 1), (2, 3, 2)])
def test_of_an_image_it_sees_every_earlier_channel(
    shape: tuple[int, ...], coordinates: bool, rng: np.random.Generator
) -> None:
    model = small(shape, dilations=(1, 2, 4, 8), coordinates=coordinates, channels=8)
    check_autoregressive(model, events(model, 4, rng), axes=3, rng=rng)


def test_the_present_in_the_first_layer_is_rejected(rng: np.random.Generator) -> None:
    model = small(channels=8)
    model.first = Conv(8, 8, taps.dilated(2), rng).astype(np.float64)
    with pytest.raises(AssertionError, match="own input"):
        check_autoregressive(model, events(model, 4, rng), receptive_field=promised(model), axes=1, rng=rng)


def test_a_dilation_that_is_ignored_is_rejected(rng: np.random.Generator) -> None:
    model = small(channels=8)
    for block in model.blocks:
        block.dilated.taps = taps.dilated(2)
    with pytest.raises(AssertionError, match="Fewer taps or layers than promised"):
        check_autoregressive(model, events(model, 4, rng), receptive_field=promised(model), axes=1, rng=rng)


@pytest.mark.parametrize(
    ("shape", "levels", "coordinates"),
    [((5,), 3, False), ((2, 3, 1), 2, True), ((2, 2, 1), 4, False), ((1,), 7, False), ((1, 1, 1), 5, True)],
)
def test_its_probabilities_sum_to_one(shape: tuple[int, ...], levels: int, coordinates: bool) -> None:
    check_normalised(small(shape, levels, coordinates=coordinates).log_prob, enumerate_support(levels, shape))


@pytest.mark.parametrize(("shape", "coordinates"), [((4,), False), ((2, 2, 1), True), ((2, 2, 1), False)])
def test_samples_follow_its_probabilities(shape: tuple[int, ...], coordinates: bool, rng: np.random.Generator) -> None:
    model = small(shape, coordinates=coordinates)
    check_sampler(model.sample, model.log_prob, enumerate_support(3, shape), rng=rng)


@given(
    shape=st.sampled_from([(1,), (2,), (23,), (3, 4, 1), (2, 2, 3), (1, 5, 1)]),
    levels=st.integers(2, 4),
    dilations=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    size=st.integers(1, 3),
    classes=st.sampled_from([0, 2]),
    coordinates=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_remembered_activations_equal_the_naive_sampler_step_by_step(
    shape: tuple[int, ...], classes: int, coordinates: bool, seed: int, **settings: Any
) -> None:
    model = small(shape, seed=seed, classes=classes, coordinates=coordinates and len(shape) > 1, **settings)
    check_step_by_step(model, seed)


@pytest.mark.parametrize("length", [1, 5, 30])
def test_a_sequence_may_be_longer_or_shorter_than_those_it_was_made_for(length: int, rng: np.random.Generator) -> None:
    model = small()
    x = np.full((2, length), 2)  # what a canvas holds before it is drawn on must not matter
    logits = np.stack(list(model.draw(x, rng)), axis=1)
    np.testing.assert_allclose(model(x).value, logits, rtol=1e-9, atol=1e-10)
    each = model.output.log_prob(logits, x).value
    np.testing.assert_allclose(model.log_prob(x).value, each.sum(1), rtol=1e-12)
    beyond = np.concatenate([x, rng.integers(0, 3, (2, 4))], axis=1)
    np.testing.assert_allclose(model(beyond).value[:, :length], logits, rtol=1e-9, atol=1e-10)


def test_coordinates_tell_places_apart_and_labels_classes(rng: np.random.Generator) -> None:
    # Of a constant image, a network without coordinates sees the same everywhere but at the start.
    x = np.ones((2, 4, 4, 1), int)
    inner = slice(1, None), slice(4, None)
    plain = small((4, 4, 1), dilations=(1,))(x).value.reshape(2, 16, 3)[inner]
    assert np.ptp(plain, axis=1).max() < 1e-12
    placed = small((4, 4, 1), dilations=(1,), coordinates=True)(x).value.reshape(2, 16, 3)[inner]
    assert np.diff(placed, axis=1).any(-1).all()
    a, b = small(classes=2).log_prob(events(small(), 1, rng).repeat(2, 0), np.array([0, 1])).value
    assert abs(a - b) > 1e-3


@pytest.mark.parametrize("shape", [(3, 4, 1), (1, 5, 1), (2, 2, 3)])
def test_no_weight_of_a_coordinate_is_dead(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    model = small(shape, coordinates=True)
    gradients = grad(model.log_prob(events(model, 4, rng)).sum(), [of_place.w for of_place in model.of_place])
    assert [len(g.value) for g in gradients] == [sum(n > 1 for n in shape)] * len(model.blocks)
    assert all(g.value.any(axis=1).all() for g in gradients)


def test_gradients(rng: np.random.Generator) -> None:
    model = small((2, 3, 1), classes=2, coordinates=True)
    x, labels = events(model, 3, rng), np.array([0, 1, 1])
    for head in (model.blocks[0].skip, model.hidden):  # biases that keep every relu away from its kink
        assert head.b is not None
        head.b.assign(np.full(head.b.shape, 30.0))
    check_parameter_grads(lambda: model.log_prob(x, labels), model.parameters(), rng=rng)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"levels": 1}, "levels: expected at least 2"),
        ({"dilations": ()}, "dilations: expected one or more"),
        ({"dilations": (1, 0)}, "dilations: expected one or more integers"),
        ({"dilations": (1.5,)}, "dilations: expected one or more integers"),
        ({"dilations": (-2,)}, "dilations: "),
        ({"channels": 0}, "channels: expected at least 1"),
        ({"size": 0}, "size: expected at least 1"),
        ({"shape": ()}, "shape: "),
        ({"shape": (-3,)}, "shape: "),
        ({"classes": -1}, "classes: expected at least 0"),
        ({"coordinates": True}, "coordinates: "),
    ],
)
def test_settings_that_make_no_network(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        small(**settings)


@pytest.mark.parametrize(
    "x", [np.zeros((2, 0), int), np.zeros((2, 12, 1), int), np.zeros(12, int), np.full((1, 12), 3), np.zeros((2, 12))]
)
def test_sequences_that_are_none(x: Array, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="x: expected integers"):
        small().log_prob(x)
    if x.dtype.kind == "f" or x.shape != (1, 12):
        with pytest.raises(ValueError, match="x: expected integers"):
            next(small().draw(x, rng))


def test_an_image_has_the_size_it_was_made_for(rng: np.random.Generator) -> None:
    model = small((3, 4, 1))
    for x in (np.zeros((1, 3, 5, 1), int), np.zeros((1, 12), int)):
        with pytest.raises(ValueError, match=r"x: expected .*3, 4, 1"):
            model.log_prob(x)
        with pytest.raises(ValueError, match=r"x: expected .*3, 4, 1"):
            next(model.draw(x, rng))
