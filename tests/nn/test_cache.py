"""ActivationCache: a convolution evaluated position by position gives what it gives for the whole image."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import taps
from tinygen.autograd.taps import Taps
from tinygen.nn import Conv
from tinygen.nn.cache import ActivationCache, _Ring
from tinygen.nn.masks import MaskedConv, MaskedLinear

SIZES = st.tuples(st.integers(1, 5), st.integers(1, 5))
CAUSAL = st.sampled_from(
    [
        taps.causal(3, centre=True),
        taps.causal(5, centre=True),
        taps.horizontal(5, centre=True),
        taps.point(),
        ((-7, 2), (0, 0)),
    ]
)


def layer_of(offsets: Taps, rng: np.random.Generator, bias: bool = True) -> Any:
    layer = Conv(2, 3, offsets, rng, bias=bias).astype(np.float64)
    for parameter in layer.parameters():
        parameter.assign(rng.normal(size=parameter.shape))
    return layer


@given(size=SIZES, offsets=CAUSAL, bias=st.booleans(), seed=st.integers(0, 2**32))
def test_pixel_by_pixel(size: Any, offsets: Taps, bias: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer, x = layer_of(offsets, rng, bias), rng.normal(size=(2, *size, 2))
    residual, cache = rng.normal(size=(2, *size, 3)), ActivationCache(2, size)
    for i, j in np.ndindex(size):
        cache.position = i, j
        here = layer(x[:, i, j], cache, residual=residual[:, i, j])
        np.testing.assert_allclose(here.value, layer(x, residual=residual).value[:, i, j], rtol=1e-9, atol=1e-11)


@given(size=SIZES, width=st.sampled_from([3, 5]), seed=st.integers(0, 2**32))
def test_row_by_row(size: tuple[int, int], width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer, cache = layer_of(taps.vertical(width, centre=True), rng), ActivationCache(2, size)
    x = rng.normal(size=(2, *size, 2))
    for i in range(size[0]):
        cache.position = i, slice(None)
        np.testing.assert_allclose(layer(x[:, i], cache).value, layer(x).value[:, i], rtol=1e-9, atol=1e-11)


@given(
    size=SIZES,
    masked=st.booleans(),
    residual=st.sampled_from(["none", "one", "row", "all"]),
    seed=st.integers(0, 2**32),
)
def test_masked_layers_pixel_by_pixel(size: Any, masked: bool, residual: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    into, around = MaskedLinear(3, 4, rng, relu=True), MaskedConv(4, 4, taps.causal(3), rng)
    for parameter in [*into.astype(np.float64).parameters(), *around.astype(np.float64).parameters()]:
        parameter.assign(rng.normal(size=parameter.shape))
    masks = [rng.random(shape) < 0.5 if masked else None for shape in ((3, 4), (4, 4))]
    x = rng.normal(size=(2, *size, 3))
    shape = {"none": (), "one": (1, 1, 1, 4), "row": (2, 1, 1, 4), "all": (2, *size, 4)}[residual]
    added = np.broadcast_to(rng.normal(size=shape) if shape else 0.0, (2, *size, 4))
    given: Any = added if shape else 0.0
    whole = around(into(x, masks[0], residual=given), masks[1], residual=given).value
    cache = ActivationCache(2, size)
    for i, j in np.ndindex(size):
        cache.position = i, j
        here = added[:1, i, j] if residual == "one" else added[:, i, j] if shape else 0.0
        y = around(into(x[:, i, j], masks[0], cache, residual=here), masks[1], cache, residual=here)
        np.testing.assert_allclose(y.value, whole[:, i, j], rtol=1e-9, atol=1e-11)


def test_weights_are_those_of_the_first_position(rng: np.random.Generator) -> None:
    layer, x, cache = layer_of(taps.dilated(2), rng), rng.normal(size=(2, 3, 2)), ActivationCache(2, (3,))
    whole = layer(x).value
    for t in range(3):
        cache.position = (t,)
        np.testing.assert_allclose(layer(x[:, t], cache).value, whole[:, t], rtol=1e-9, atol=1e-11)
        layer.w.assign(layer.w.value + 1)


def test_a_pointwise_layer_that_is_given_nothing_is_refused(rng: np.random.Generator) -> None:
    layer, cache = Conv(1, 3, taps.point(), rng), ActivationCache(2, (3, 3))
    cache.position = (0, 0)
    with pytest.raises(ValueError, match=r"at position \(0, 0\) .* no input"):
        layer(None, cache)


def test_a_pointwise_layer_evaluates_a_row(rng: np.random.Generator) -> None:
    layer, x, residual = MaskedLinear(2, 3, rng, relu=True), rng.normal(size=(2, 5, 2)), rng.normal(size=(2, 5, 3))
    cache = ActivationCache(2, (4, 5))
    cache.position = (0, slice(None))
    y = layer.astype(np.float64)(x, None, cache, residual)
    np.testing.assert_allclose(y.value, layer(x, None, residual=residual).value, rtol=1e-12)
    with pytest.raises(ValueError, match=r"an input of shape \(2, 5, 3\)"):
        layer(residual, None, cache)


@given(length=st.integers(1, 9), size=st.integers(1, 3), dilation=st.integers(1, 4), seed=st.integers(0, 2**32))
def test_sequences(length: int, size: Any, dilation: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer, x = layer_of(taps.dilated(size, dilation), rng), rng.normal(size=(2, length, 2))
    cache = ActivationCache(2, (length,))
    for t in range(length):
        cache.position = (t,)
        np.testing.assert_allclose(layer(x[:, t], cache).value, layer(x).value[:, t], rtol=1e-9, atol=1e-11)


def test_mask_a_is_asked_before_its_input_is_drawn(rng: np.random.Generator) -> None:
    layer, x, cache = layer_of(taps.causal(3), rng), rng.normal(size=(2, 3, 3, 2)), ActivationCache(2, (3, 3))
    for i, j in np.ndindex(3, 3):
        cache.position = i, j
        np.testing.assert_allclose(layer(None, cache).value, layer(x).value[:, i, j], rtol=1e-9, atol=1e-11)
        cache.write(x[:, i, j])


@pytest.mark.parametrize(
    ("offsets", "stride", "position"),
    [
        (taps.square(3), 1, (0, 0)),
        (taps.vertical(3, centre=True), 1, (0, 0)),  # looks right in its own row: a row at a time, not a pixel
        (((1, 0),), 1, (0, slice(None))),
        (taps.causal(3), 2, (0, 0)),
    ],
)
def test_layers_that_look_ahead_are_refused(
    offsets: Taps, stride: int, position: Any, rng: np.random.Generator
) -> None:
    layer, cache = Conv(2, 3, offsets, rng, stride=stride), ActivationCache(2, (3, 3))
    cache.position = position
    with pytest.raises(ValueError, match="position by position"):
        layer(np.zeros((2, 3, 2) if isinstance(position[1], slice) else (2, 2)), cache)


def test_a_layer_that_stands_in_a_network_twice_is_refused(rng: np.random.Generator) -> None:
    layer, cache = layer_of(taps.dilated(2), rng), ActivationCache(1, (3,))
    cache.position = (0,)
    square = Conv(2, 2, taps.dilated(2), rng)
    once = square(np.zeros((1, 2)), cache)
    with pytest.raises(ValueError, match="second input at position"):
        square(once, cache)
    cache.position = (1,)
    with pytest.raises(ValueError, match=r"an input of shape \(3, 2\)"):
        layer(np.zeros((3, 2)), cache)


def test_what_was_never_given_is_not_taken_for_zero(rng: np.random.Generator) -> None:
    x = np.zeros((1, 2))
    layer, cache = layer_of(taps.dilated(2), rng), ActivationCache(1, (5,))
    with pytest.raises(ValueError, match="set it first"):
        layer(x, cache)
    cache.position = (0,)
    layer(x, cache)
    cache.position = (2,)
    with pytest.raises(ValueError, match="never given"):
        layer(x, cache)
    first, cache = layer_of(taps.dilated(2, centre=False), rng), ActivationCache(1, (5,))
    cache.position = (0,)
    first(None, cache)
    cache.position = (1,)
    with pytest.raises(ValueError, match="`write`"):
        first(None, cache)
    image = ActivationCache(1, (2, 2))
    image.position = (0, 0)
    with pytest.raises(ValueError, match="of 2 axes"):
        layer(x, image)


def test_again_at_one_position_the_last_input_counts(rng: np.random.Generator) -> None:
    layers = [layer_of(offsets, rng) for offsets in (taps.causal(3, centre=True), taps.causal(3))]
    x, cache = rng.normal(size=(2, 3, 3, 2)), ActivationCache(2, (3, 3), again=True)
    for i, j in np.ndindex(3, 3):
        cache.position = i, j
        for layer in layers:
            draft = x.copy()
            draft[:, i, j] = rng.normal(size=(2, 2))
            for image in (draft, x):
                here = layer(image[:, i, j], cache).value
                np.testing.assert_allclose(here, layer(image).value[:, i, j], rtol=1e-9, atol=1e-11)
    cache.position = 1, 1
    with pytest.raises(ValueError, match="second input at position"):  # it is no longer at this position
        layers[0](x[:, 1, 1], cache)


@given(offsets=st.sets(st.integers(-6, 0), min_size=1), again=st.booleans(), seed=st.integers(0, 2**32))
def test_any_taps_of_a_sequence_in_any_order(offsets: set[int], again: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    order = tuple((int(offset),) for offset in rng.permutation(sorted(offsets)))
    layer, x = layer_of(order, rng), rng.normal(size=(2, 17, 2))  # longer than any ring, which comes round twice
    cache = ActivationCache(2, (17,), again=again)
    for t in range(17):
        cache.position = (t,)
        for draft in (rng.normal(size=(2, 2)), x[:, t]) if again else (x[:, t],):
            here = layer(draft, cache)
        np.testing.assert_allclose(here.value, layer(x).value[:, t], rtol=1e-9, atol=1e-11)


def test_a_sequence_is_forgotten_beyond_the_reach_of_the_taps(rng: np.random.Generator) -> None:
    layer, kept = layer_of(taps.dilated(2, 4), rng), []
    for length in (10, 10**9):
        cache = ActivationCache(3, (length,))
        cache.position = (0,)
        layer(np.zeros((3, 2)), cache)
        kept.append(sum(layer.inputs.size for layer in cache._kept.values() if isinstance(layer, _Ring)))
    assert kept == [5 * 3 * 2] * 2


def test_a_sequence_goes_forward_one_moment_at_a_time(rng: np.random.Generator) -> None:
    x, layer = np.zeros((1, 2)), layer_of(taps.dilated(2, 2), rng)
    for second, message in (((0,), "second input at position"), ((3,), "never given")):
        cache = ActivationCache(1, (5,))
        cache.position = (0,)
        layer(x, cache)
        cache.position = second
        with pytest.raises(ValueError, match=message):
            layer(x, cache)
    first, cache = layer_of(taps.dilated(2, centre=False), rng), ActivationCache(1, (5,))
    for t in range(3):
        cache.position = (t,)
        first(None, cache)
        cache.write(x)
    cache.position = (1,)  # what came before it is no longer there
    with pytest.raises(ValueError, match="never given"):
        first(None, cache)


@pytest.mark.parametrize(
    ("size", "position"),
    [((5,), (5,)), ((5,), (-1,)), ((5,), (slice(None),)), ((5,), (0, 0)), ((2, 3), (2, 0)), ((2, 3), (0, slice(2)))],
)
def test_positions_that_are_none(size: tuple[int, ...], position: Any) -> None:
    with pytest.raises(ValueError, match="position: expected one within"):
        ActivationCache(1, size).position = position
