"""WaveNet: receptive field, normalisation, samples, incremental sampling, context, variable lengths, gradients."""

from typing import Any

import numpy as np
import pytest
from helpers.models import check_draw_matches_naive_sampler, random_examples, small_wavenet
from helpers.networks import wavenet
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


def test_network_is_that_of_the_diagram(rng: np.random.Generator) -> None:
    model = small_wavenet(classes=2)
    x, labels = random_examples(model, 2, rng), np.array([0, 1])
    np.testing.assert_allclose(model(x, labels).value, wavenet(model, x, labels), rtol=1e-11, atol=1e-12)


def expected_dependencies(model: WaveNet) -> Array:
    """Return which inputs each output should depend on, [output, input], given `model.receptive_field`."""
    distance = np.subtract.outer(np.arange(model.shape[0]), np.arange(model.shape[0]))
    return (distance >= 1) & (distance <= model.receptive_field)


def check_dependencies(model: WaveNet, rng: np.random.Generator) -> None:
    x = random_examples(model, 4, rng)
    check_autoregressive(model, x, receptive_field=expected_dependencies(model), axes=1, rng=rng)


@pytest.mark.parametrize(
    ("dilations", "size", "reach"), [((1,), 2, 3), ((1, 2), 2, 5), ((1, 2, 1, 2), 2, 8), ((2,), 3, 7), ((1, 1), 1, 1)]
)
def test_depends_on_exactly_the_receptive_field(
    dilations: tuple[int, ...], size: int, reach: int, rng: np.random.Generator
) -> None:
    model = small_wavenet(dilations=dilations, size=size, channels=8)
    assert model.receptive_field == reach
    layers = [model.first.taps, *(block.dilated.taps for block in model.blocks)]
    np.testing.assert_array_equal(expected_dependencies(model), receptive_field(model.shape, *layers))
    check_dependencies(model, rng)


@pytest.mark.parametrize("coordinates", [False, True])
@pytest.mark.parametrize("shape", [(3, 4, 1), (2, 3, 2)])
def test_image_values_depend_on_exactly_the_earlier_values(
    shape: tuple[int, ...], coordinates: bool, rng: np.random.Generator
) -> None:
    model = small_wavenet(shape, dilations=(1, 2, 4, 8), coordinates=coordinates, channels=8)
    check_autoregressive(model, random_examples(model, 4, rng), axes=3, rng=rng)


def test_check_rejects_first_layer_with_current_input(rng: np.random.Generator) -> None:
    model = small_wavenet(channels=8)
    model.first = Conv(8, 8, taps.dilated(2), rng).astype(np.float64)
    with pytest.raises(AssertionError, match="own input"):
        check_dependencies(model, rng)


def test_check_rejects_ignored_dilation(rng: np.random.Generator) -> None:
    model = small_wavenet(channels=8)
    for block in model.blocks:
        block.dilated.taps = taps.dilated(2)
    with pytest.raises(AssertionError, match="fewer taps or layers than expected"):
        check_dependencies(model, rng)


@pytest.mark.parametrize(
    ("shape", "levels", "coordinates"),
    [((5,), 3, False), ((2, 3, 1), 2, True), ((2, 2, 1), 4, False), ((1,), 7, False), ((1, 1, 1), 5, True)],
)
def test_probabilities_sum_to_one(shape: tuple[int, ...], levels: int, coordinates: bool) -> None:
    check_normalised(small_wavenet(shape, levels, coordinates=coordinates).log_prob, enumerate_support(levels, shape))


@pytest.mark.parametrize(("shape", "coordinates"), [((4,), False), ((2, 2, 1), True), ((2, 2, 1), False)])
def test_samples_follow_log_prob(shape: tuple[int, ...], coordinates: bool, rng: np.random.Generator) -> None:
    model = small_wavenet(shape, coordinates=coordinates)
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
def test_draw_matches_naive_sampler(
    shape: tuple[int, ...], classes: int, coordinates: bool, seed: int, **settings: Any
) -> None:
    model = small_wavenet(shape, seed=seed, classes=classes, coordinates=coordinates and len(shape) > 1, **settings)
    check_draw_matches_naive_sampler(model, seed)


@pytest.mark.parametrize("length", [1, 5, 30])
def test_evaluates_and_samples_sequences_of_any_length(length: int, rng: np.random.Generator) -> None:
    model = small_wavenet()
    x = np.full((2, length), 2)  # draw must ignore the values in its buffer
    logits = np.stack(list(model.draw(x, rng)), axis=1)
    np.testing.assert_allclose(model(x).value, logits, rtol=1e-9, atol=1e-10)
    each = model.output.log_prob(logits, x).value
    np.testing.assert_allclose(model.log_prob(x).value, each.sum(1), rtol=1e-12)
    longer = np.concatenate([x, rng.integers(0, 3, (2, 4))], axis=1)
    np.testing.assert_allclose(model(longer).value[:, :length], logits, rtol=1e-9, atol=1e-10)


def test_output_depends_on_coordinates_and_labels(rng: np.random.Generator) -> None:
    # In a constant image, a network without coordinates has the same inputs everywhere except near the start.
    x = np.ones((2, 4, 4, 1), int)
    inner = slice(1, None), slice(4, None)
    plain = small_wavenet((4, 4, 1), dilations=(1,))(x).value.reshape(2, 16, 3)[inner]
    assert np.ptp(plain, axis=1).max() < 1e-12
    located = small_wavenet((4, 4, 1), dilations=(1,), coordinates=True)(x).value.reshape(2, 16, 3)[inner]
    assert np.diff(located, axis=1).any(-1).all()
    conditional = small_wavenet(classes=2)
    a, b = conditional.log_prob(random_examples(conditional, 1, rng).repeat(2, 0), np.array([0, 1])).value
    assert abs(a - b) > 1e-3


@pytest.mark.parametrize("shape", [(3, 4, 1), (1, 5, 1), (2, 2, 3)])
def test_every_coordinate_weight_has_a_gradient(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    model = small_wavenet(shape, coordinates=True)
    weights = [layer.w for layer in model.coordinate_layers]
    gradients = grad(model.log_prob(random_examples(model, 4, rng)).sum(), weights)
    assert [len(g.value) for g in gradients] == [sum(n > 1 for n in shape)] * len(model.blocks)
    assert all(g.value.any(axis=1).all() for g in gradients)


def test_gradients_match_finite_differences(rng: np.random.Generator) -> None:
    model = small_wavenet((2, 3, 1), classes=2, coordinates=True)
    x, labels = random_examples(model, 3, rng), np.array([0, 1, 1])
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
def test_rejects_invalid_settings(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        small_wavenet(**settings)


@pytest.mark.parametrize(
    "x", [np.zeros((2, 0), int), np.zeros((2, 12, 1), int), np.zeros(12, int), np.full((1, 12), 3), np.zeros((2, 12))]
)
def test_rejects_invalid_sequences(x: Array, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="x: expected integers"):
        small_wavenet().log_prob(x)
    if x.dtype.kind == "f" or x.shape != (1, 12):  # draw ignores the values in its buffer
        with pytest.raises(ValueError, match="x: expected an integer array"):
            next(small_wavenet().draw(x, rng))


def test_rejects_images_of_another_size(rng: np.random.Generator) -> None:
    model = small_wavenet((3, 4, 1))
    for x in (np.zeros((1, 3, 5, 1), int), np.zeros((1, 12), int)):
        with pytest.raises(ValueError, match=r"x: expected .*3, 4, 1"):
            model.log_prob(x)
        with pytest.raises(ValueError, match=r"x: expected .*3, 4, 1"):
            next(model.draw(x, rng))
