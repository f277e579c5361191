"""Activation cache: position-by-position evaluation of a layer matches full evaluation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from helpers.modules import randomised
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import gated_activation, relu, taps
from tinygen.autograd.taps import Taps
from tinygen.autograd.tensor import array_of
from tinygen.nn import ActivationCache, Conv, MaskedConv, MaskedLinear
from tinygen.nn.cached_layers import CachedConv

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
TOLERANCE: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-11}  # float64 sums in another order


def random_conv(offsets: Taps, rng: np.random.Generator, bias: bool = True) -> Conv:
    return randomised(Conv(2, 3, offsets, rng, bias=bias), rng)


@given(size=SIZES, offsets=CAUSAL, bias=st.booleans(), seed=st.integers(0, 2**32))
def test_conv_pixel_by_pixel(size: Any, offsets: Taps, bias: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer, x = random_conv(offsets, rng, bias), rng.normal(size=(2, *size, 2))
    residual, cache = rng.normal(size=(2, *size, 3)), ActivationCache(2, size)
    expected = layer(x, residual=residual).value
    for i, j in np.ndindex(size):
        cache.position = i, j
        y = layer(x[:, i, j], cache, residual=residual[:, i, j])
        np.testing.assert_allclose(y.value, expected[:, i, j], **TOLERANCE)


@given(size=SIZES, width=st.sampled_from([3, 5]), seed=st.integers(0, 2**32))
def test_conv_row_by_row(size: tuple[int, int], width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer, cache = random_conv(taps.vertical(width, centre=True), rng), ActivationCache(2, size)
    x = rng.normal(size=(2, *size, 2))
    expected = layer(x).value
    for i in range(size[0]):
        cache.position = i, slice(None)
        np.testing.assert_allclose(layer(x[:, i], cache).value, expected[:, i], **TOLERANCE)


@given(
    size=SIZES,
    masked=st.booleans(),
    residual_shape=st.sampled_from(["none", "vector", "per image", "full"]),
    seed=st.integers(0, 2**32),
)
def test_masked_layers_pixel_by_pixel(size: Any, masked: bool, residual_shape: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    linear = randomised(MaskedLinear(3, 4, rng, relu=True), rng)
    conv = randomised(MaskedConv(4, 4, taps.causal(3), rng), rng)
    linear_mask, conv_mask = (rng.random(shape) < 0.5 if masked else None for shape in ((3, 4), (4, 4)))
    x = rng.normal(size=(2, *size, 3))
    shape = {"none": (), "vector": (1, 1, 1, 4), "per image": (2, 1, 1, 4), "full": (2, *size, 4)}[residual_shape]
    residual: Any = rng.normal(size=shape) if shape else 0.0
    expected = conv(linear(x, linear_mask, residual=residual), conv_mask, residual=residual).value
    residuals = np.broadcast_to(residual, (2, *size, 4))
    cache = ActivationCache(2, size)
    for i, j in np.ndindex(size):
        cache.position = i, j
        at_pixel: Any = residuals[: 1 if residual_shape == "vector" else 2, i, j] if shape else 0.0
        h = linear(x[:, i, j], linear_mask, cache, residual=at_pixel)
        y = conv(h, conv_mask, cache, residual=at_pixel)
        np.testing.assert_allclose(y.value, expected[:, i, j], **TOLERANCE)


@given(size=SIZES, known=st.integers(1, 25), sequence=st.booleans(), seed=st.integers(0, 2**32))
def test_positions_after_filling(size: Any, known: int, sequence: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = (math.prod(size),) if sequence else size
    known = min(known, math.prod(size))
    conv = random_conv(taps.dilated(3, 2) if sequence else taps.causal(3, centre=True), rng)
    x, cache = rng.normal(size=(2, *size, 2)), ActivationCache(2, size)
    expected = conv(x).value
    with cache.filling(known):
        last = known if sequence else -(-known // size[1])  # the last row of known pixels
        np.testing.assert_array_equal(conv(x[:, :last], cache).value, conv(x[:, :last]).value)
    for position in list(np.ndindex(size))[known:]:
        cache.position = position
        np.testing.assert_allclose(conv(x[:, *position], cache).value, expected[:, *position], **TOLERANCE)


@given(
    size=st.one_of(SIZES, st.tuples(st.integers(1, 20))),
    count=st.integers(1, 3),
    last=st.booleans(),
    known=st.integers(0, 25),
    overwrite=st.booleans(),
    with_terms=st.booleans(),
    n=st.sampled_from([1, 2, 9]),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 2**32),
)
def test_gated_units_equal_their_layers_one_by_one(
    size: Any, count: int, last: bool, known: int, overwrite: bool, with_terms: bool, n: int, dtype: Any, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    offsets = [taps.dilated(3, 2**u) for u in range(count)] if len(size) == 1 else [taps.horizontal(5)] * count
    point = taps.point(len(size))
    units = [
        (
            randomised(Conv(3, 8, (*offset[:2], point[0]), rng), rng).astype(dtype),
            None if last and u == count - 1 else randomised(Conv(4, 3, point, rng), rng).astype(dtype),
            randomised(Conv(4, 5, point, rng, bias=False), rng).astype(dtype),
        )
        for u, offset in enumerate(offsets)
    ]
    x = rng.normal(size=(n, *size, 3)).astype(dtype)
    total, context = (rng.normal(size=(n, *size, width)).astype(dtype) for width in (5, 8))
    # A context per image, one for all images, and none.
    contexts = [(context, context[:1] + 0 * context, 0.0)[u] if with_terms else 0.0 for u in range(count)]
    at = [(slice(None), slice(None, 1), slice(None))[u] for u in range(count)]

    def one_by_one(length: int | None, cache: ActivationCache | None = None) -> Any:
        h: Any = x[:, :length]
        sum_: Any = total[:, :length] if with_terms else 0.0
        for (gate, residual, skip), c in zip(units, contexts, strict=True):
            z = gated_activation(gate(h, cache, residual=c if isinstance(c, float) else c[:, :length]))
            h, sum_ = h if residual is None else residual(z, residual=h), skip(z, residual=sum_)
        return array_of(h), sum_.value

    expected_h, expected_total = one_by_one(None)
    cache, known = ActivationCache(n, size, overwrite), min(known, math.prod(size))
    if known:
        with cache.filling(known):
            one_by_one(known if len(size) == 1 else -(-known // size[1]), cache)
    tolerance = TOLERANCE if dtype == np.float64 else {"rtol": 1e-4, "atol": 1e-4}
    for position in list(np.ndindex(size))[known:]:
        cache.position = position
        before = total[:, *position] if with_terms else 0.0
        here = [c if isinstance(c, float) else c[rows, *position] for c, rows in zip(contexts, at, strict=True)]
        if overwrite:
            cache.gated_units(units, rng.normal(size=(n, 3)), before, here)
        h, after = cache.gated_units(units, x[:, *position], before, here)
        assert h.dtype == after.dtype == dtype
        np.testing.assert_allclose(h.value, expected_h[:, *position], **tolerance)
        np.testing.assert_allclose(after.value, expected_total[:, *position], **tolerance)


@given(
    size=SIZES,
    count=st.integers(1, 3),
    known=st.integers(0, 25),
    masked=st.booleans(),
    with_context=st.booleans(),
    overwrite=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 2**32),
)
def test_bottleneck_blocks_equal_their_layers_one_by_one(
    size: Any, count: int, known: int, masked: bool, with_context: bool, overwrite: bool, dtype: Any, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    blocks = [
        (
            randomised(MaskedLinear(4, 3, rng, relu=True), rng).astype(dtype),
            randomised(MaskedConv(3, 5, taps.causal(3), rng), rng).astype(dtype),
            randomised(MaskedLinear(5, 4, rng), rng).astype(dtype),
        )
        for _ in range(count)
    ]
    masks = [rng.random(shape) < 0.5 if masked else None for shape in ((4, 3), (3, 5), (5, 4))]
    x, context = rng.normal(size=(2, *size, 4)).astype(dtype), rng.normal(size=(2, *size, 5)).astype(dtype)

    def one_by_one(length: int | None, cache: ActivationCache | None = None) -> Any:
        h: Any = x[:, :length]
        for reduce, conv, expand in blocks:
            f = reduce(relu(h), masks[0], cache)
            f = conv(f, masks[1], cache, residual=context[:, :length] if with_context else 0.0)
            h = expand(f, masks[2], cache, residual=h)
        return h.value

    expected = one_by_one(None)
    cache, known = ActivationCache(2, size, overwrite), min(known, math.prod(size))
    if known:
        with cache.filling(known):
            one_by_one(-(-known // size[1]), cache)
    for position in list(np.ndindex(size))[known:]:
        cache.position = position
        here: Any = [context[:, *position] if with_context else 0.0] * count
        if overwrite:
            cache.bottleneck_blocks(blocks, masks, rng.normal(size=(2, 4)), here)
        h = cache.bottleneck_blocks(blocks, masks, x[:, *position], here)
        assert h.dtype == dtype
        tolerance = TOLERANCE if dtype == np.float64 else {"rtol": 1e-4, "atol": 1e-4}
        np.testing.assert_allclose(h.value, expected[:, *position], **tolerance)


def test_gated_units_check_their_use(rng: np.random.Generator) -> None:
    gates = [Conv(3, 8, taps.dilated(2, 2**u), rng) for u in range(2)]
    layer, x, cache = Conv(4, 3, taps.point(1), rng), np.zeros((2, 3)), ActivationCache(2, (5,))
    units, none = [(gate, layer, layer) for gate in gates], [0.0, 0.0]
    cache.position = (0,)

    def fails(message: str, units: Any = units, h: Any = x, total: Any = 0.0, context: Any = none) -> None:
        with pytest.raises(ValueError, match=message):
            cache.gated_units(units, h, total, context)

    fails("units: expected one or more tuples of three layers, got 0 elements", units=[])
    fails("units: expected a residual layer in all but the last", units=[(gates[0], None, layer), units[1]])
    fails("units: residuals: expected layers with 4 inputs", units=[(gates[0], Conv(5, 3, taps.point(1), rng), layer)])
    fails(
        "units: expected pointwise layers", units=[(gates[0], Conv(2, 3, taps.dilated(2), rng), layer)], context=[0.0]
    )
    fails("expected a layer of stride 1 whose taps", units=[(Conv(3, 8, ((1,),), rng), layer, layer)])
    fails("context: expected one per unit", context=[0.0])
    fails(r"h: expected shape \(2, 3\) at position \(0,\), got \(1, 3\)", h=x[:1])
    fails(r"context: expected a shape that broadcasts to \(2, 8\), got \(3, 8\)", context=[np.zeros((3, 8)), 0.0])
    fails(r"total: expected a shape that broadcasts to \(2, 3\), got \(2, 4\)", total=np.zeros((2, 4)))
    with cache.filling(1):  # the failed calls have stored nothing
        fails("outside `filling`")
    cache.gated_units(units, x, 0.0, none)
    fails(r"second input at \(0,\)")
    for gate in gates:
        with pytest.raises(ValueError, match="layer: expected one that is used once in a network"):
            gate(x, cache)
    cache.position = (1,)
    fails("units: expected the same layers at every position", units=units[:1], context=[0.0])
    fails(
        "units: expected the same layers at every position", units=[(*units[0][:2], Conv(4, 3, taps.point(1), rng))] * 2
    )
    cache.position = (2,)
    fails("visit every position")


def test_a_failed_call_of_units_changes_nothing(rng: np.random.Generator) -> None:
    gates = [randomised(Conv(3, 8, taps.horizontal(3, centre=True), rng), rng) for _ in range(2)]
    layer, x = randomised(Conv(4, 3, taps.point(), rng), rng), rng.normal(size=(2, 3, 4, 3))
    units: Any = [(gate, layer, layer) for gate in gates]

    def evaluate(cache: ActivationCache, failing: bool) -> np.ndarray[Any, Any]:
        with cache.filling(5):
            for gate in gates:
                gate(x[:, :2], cache)
        wrong = [(gates[0], layer, Conv(5, 3, taps.point(), rng)), units[1]]
        for i, j in list(np.ndindex(3, 4))[5:]:
            if failing:
                cache.position = i, slice(None)
                with pytest.raises(ValueError, match=r"position: expected one pixel|missing"):
                    cache.gated_units(units, x[:, i], 0.0, [0.0, 0.0])
            cache.position = i, j
            if failing and (i, j) == (1, 1):
                with pytest.raises(ValueError, match="units: skips: expected layers"):
                    cache.gated_units(wrong, x[:, i, j], 0.0, [0.0, 0.0])
            h, _ = cache.gated_units(units, x[:, i, j], 0.0, [0.0, 0.0])
        return h.value

    expected, result = (evaluate(ActivationCache(2, (3, 4)), failing) for failing in (False, True))
    np.testing.assert_array_equal(result, expected)


def test_units_need_the_inputs_of_all_known_positions(rng: np.random.Generator) -> None:
    gates = [Conv(3, 8, taps.dilated(2), rng) for _ in range(2)]
    layer, x, cache = Conv(4, 3, taps.point(1), rng), np.zeros((2, 5, 3)), ActivationCache(2, (5,))
    with cache.filling(3):
        gates[0](x[:, :3], cache)
    cache.position = (3,)
    with pytest.raises(ValueError, match=r"filling: expected inputs of all units, got \[3, 0\]"):
        cache.gated_units([(gate, layer, layer) for gate in gates], x[:, 3], 0.0, [0.0, 0.0])


def test_bottleneck_blocks_check_their_masks(rng: np.random.Generator) -> None:
    ends = MaskedLinear(4, 3, rng, relu=True), MaskedLinear(5, 4, rng)
    blocks, cache = [(ends[0], MaskedConv(3, 5, taps.causal(3), rng), ends[1])], ActivationCache(2, (3, 3))
    cache.position = (0, 0)
    with pytest.raises(ValueError, match="masks: expected one for each layer of a block, 3, got 2"):
        cache.bottleneck_blocks(blocks, [None, None], np.zeros((2, 4)), [0.0])


def test_filling_is_required_to_come_first_and_to_reach_the_position(rng: np.random.Generator) -> None:
    conv, x = random_conv(taps.dilated(2), rng), rng.normal(size=(2, 5, 2))
    cache = ActivationCache(2, (5,))
    with cache.filling(3), pytest.raises(ValueError, match=r"expected an input \(2, …, C\), got \(2, 3\)"):
        conv(x[:, :3, 0], cache)
    with cache.filling(3):
        conv(x[:, :2], cache)  # one time step is missing
    cache.position = (3,)
    with pytest.raises(ValueError, match="got 2 inputs in raster order"):
        conv(x[:, 3], cache)
    with pytest.raises(ValueError, match="filling: expected a cache without evaluated positions"), cache.filling(3):
        pass


def test_an_error_in_filling_leaves_the_cache_empty(rng: np.random.Generator) -> None:
    conv, x, cache = random_conv(taps.dilated(2), rng), rng.normal(size=(2, 3, 2)), ActivationCache(2, (3,))
    with pytest.raises(KeyError), cache.filling(2):
        raise KeyError
    cache.position = (0,)
    np.testing.assert_allclose(conv(x[:, 0], cache).value, conv(x).value[:, 0], **TOLERANCE)


def test_a_float16_network_is_evaluated_in_float32(rng: np.random.Generator) -> None:
    layer = randomised(Conv(2, 3, taps.causal(3, centre=True), rng), rng).astype(np.float16)
    x = rng.normal(size=(2, 3, 3, 2)).astype(np.float16)
    cache, expected = ActivationCache(2, (3, 3)), layer(x).value
    for i, j in np.ndindex(3, 3):
        cache.position = i, j
        y = layer(x[:, i, j], cache).value
        assert y.dtype == expected.dtype == np.float32
        np.testing.assert_allclose(y, expected[:, i, j], rtol=1e-5, atol=1e-5)


def test_weights_are_fixed_at_the_first_position(rng: np.random.Generator) -> None:
    layer, x, cache = random_conv(taps.dilated(2), rng), rng.normal(size=(2, 3, 2)), ActivationCache(2, (3,))
    expected = layer(x).value
    for t in range(3):
        cache.position = (t,)
        np.testing.assert_allclose(layer(x[:, t], cache).value, expected[:, t], **TOLERANCE)
        layer.w.assign(layer.w.value + 1)


def test_pointwise_layer_requires_an_input(rng: np.random.Generator) -> None:
    layer, cache = Conv(1, 3, taps.point(), rng), ActivationCache(2, (3, 3))
    cache.position = (0, 0)
    with pytest.raises(ValueError, match=r"input of a pointwise layer at \(0, 0\), got None"):
        layer(None, cache)


def test_pointwise_layer_evaluates_a_row(rng: np.random.Generator) -> None:
    layer, x, residual = MaskedLinear(2, 3, rng, relu=True), rng.normal(size=(2, 5, 2)), rng.normal(size=(2, 5, 3))
    cache = ActivationCache(2, (4, 5))
    cache.position = (0, slice(None))
    y = layer.astype(np.float64)(x, None, cache, residual)
    np.testing.assert_allclose(y.value, layer(x, None, residual=residual).value, rtol=1e-12)
    with pytest.raises(ValueError, match=r"x: expected shape \(2, 5, 2\) .* got \(2, 5, 3\)"):
        layer(residual, None, cache)


@given(length=st.integers(1, 9), size=st.integers(1, 3), dilation=st.integers(1, 4), seed=st.integers(0, 2**32))
def test_dilated_conv_step_by_step(length: int, size: int, dilation: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    layer, x = random_conv(taps.dilated(size, dilation), rng), rng.normal(size=(2, length, 2))
    expected, cache = layer(x).value, ActivationCache(2, (length,))
    for t in range(length):
        cache.position = (t,)
        np.testing.assert_allclose(layer(x[:, t], cache).value, expected[:, t], **TOLERANCE)


def test_mask_a_is_evaluated_before_its_pixel_is_written(rng: np.random.Generator) -> None:
    layer, x, cache = random_conv(taps.causal(3), rng), rng.normal(size=(2, 3, 3, 2)), ActivationCache(2, (3, 3))
    expected = layer(x).value
    for i, j in np.ndindex(3, 3):
        cache.position = i, j
        np.testing.assert_allclose(layer(None, cache).value, expected[:, i, j], **TOLERANCE)
        cache.write(x[:, i, j])


@pytest.mark.parametrize(
    ("offsets", "stride", "position"),
    [
        (taps.square(3), 1, (0, 0)),
        (taps.vertical(3, centre=True), 1, (0, 0)),  # reads to the right in its own row: possible only row by row
        (((1, 0),), 1, (0, slice(None))),
        (taps.causal(3), 2, (0, 0)),
    ],
)
def test_rejects_layers_that_read_later_positions(
    offsets: Taps, stride: int, position: Any, rng: np.random.Generator
) -> None:
    layer, cache = Conv(2, 3, offsets, rng, stride=stride), ActivationCache(2, (3, 3))
    cache.position = position
    with pytest.raises(ValueError, match=f"evaluated later, got stride {stride}"):
        layer(np.zeros((2, 3, 2) if isinstance(position[1], slice) else (2, 2)), cache)


def test_rejects_a_layer_that_is_used_twice(rng: np.random.Generator) -> None:
    layer, cache = Conv(2, 2, taps.dilated(2), rng), ActivationCache(1, (3,))
    cache.position = (0,)
    y = layer(np.zeros((1, 2)), cache)
    with pytest.raises(ValueError, match=r"second input at \(0,\)"):
        layer(y, cache)


def test_rejects_a_wrong_batch_size(rng: np.random.Generator) -> None:
    layer, cache = random_conv(taps.dilated(2), rng), ActivationCache(1, (3,))
    cache.position = (0,)
    with pytest.raises(ValueError, match=r"x: expected shape \(1, 2\) at position \(0,\), got \(3, 2\)"):
        layer(np.zeros((3, 2)), cache)


def test_rejects_missing_inputs(rng: np.random.Generator) -> None:
    x = np.zeros((1, 2))
    layer, cache = random_conv(taps.dilated(2), rng), ActivationCache(1, (5,))
    with pytest.raises(ValueError, match=r"set cache\.position first"):
        layer(x, cache)
    cache.position = (0,)
    layer(x, cache)
    cache.position = (2,)
    with pytest.raises(ValueError, match="visit every position"):
        layer(x, cache)
    first, cache = random_conv(taps.dilated(2, centre=False), rng), ActivationCache(1, (5,))
    cache.position = (0,)
    first(None, cache)
    cache.position = (1,)
    with pytest.raises(ValueError, match="pass every sampled pixel to `write`"):
        first(None, cache)


def test_rejects_taps_of_the_wrong_dimension(rng: np.random.Generator) -> None:
    layer, cache = random_conv(taps.dilated(2), rng), ActivationCache(1, (2, 2))
    cache.position = (0, 0)
    with pytest.raises(ValueError, match="taps have 2 axes"):
        layer(np.zeros((1, 2)), cache)


def test_overwrite_uses_the_last_input_at_a_position(rng: np.random.Generator) -> None:
    layers = [random_conv(offsets, rng) for offsets in (taps.causal(3, centre=True), taps.causal(3))]
    x, cache = rng.normal(size=(2, 3, 3, 2)), ActivationCache(2, (3, 3), overwrite=True)
    for i, j in np.ndindex(3, 3):
        cache.position = i, j
        for layer in layers:
            draft = x.copy()
            draft[:, i, j] = rng.normal(size=(2, 2))
            for image in (draft, x):
                y = layer(image[:, i, j], cache).value
                np.testing.assert_allclose(y, layer(image).value[:, i, j], **TOLERANCE)
    cache.position = 1, 1
    with pytest.raises(ValueError, match=r"second input at \(1, 1\)"):  # only the current position can be overwritten
        layers[0](x[:, 1, 1], cache)


@given(offsets=st.sets(st.integers(-6, 0), min_size=1), overwrite=st.booleans(), seed=st.integers(0, 2**32))
def test_ring_buffer_with_arbitrary_taps(offsets: set[int], overwrite: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shuffled = tuple((int(offset),) for offset in rng.permutation(sorted(offsets)))
    layer, x = random_conv(shuffled, rng), rng.normal(size=(2, 17, 2))  # every ring buffer wraps around at least twice
    expected, cache = layer(x).value, ActivationCache(2, (17,), overwrite=overwrite)
    for t in range(17):
        cache.position = (t,)
        for draft in (rng.normal(size=(2, 2)), x[:, t]) if overwrite else (x[:, t],):
            y = layer(draft, cache)
        np.testing.assert_allclose(y.value, expected[:, t], **TOLERANCE)


def test_ring_buffer_does_not_grow_with_the_length(rng: np.random.Generator) -> None:
    layer, sizes = random_conv(taps.dilated(2, 4), rng), []
    for length in (10, 10**9):
        cache = ActivationCache(3, (length,))
        cache.position = (0,)
        layer(np.zeros((3, 2)), cache)
        (cached,) = cache._layers.values()
        assert isinstance(cached, CachedConv)
        sizes.append(cached.stored.buffer.size)
    assert sizes == [5 * 3 * 2] * 2


def test_rejects_time_steps_out_of_order(rng: np.random.Generator) -> None:
    x, layer = np.zeros((1, 2)), random_conv(taps.dilated(2, 2), rng)
    for second, message in (((0,), "second input at"), ((3,), "visit every position")):
        cache = ActivationCache(1, (5,))
        cache.position = (0,)
        layer(x, cache)
        cache.position = second
        with pytest.raises(ValueError, match=message):
            layer(x, cache)
    first, cache = random_conv(taps.dilated(2, centre=False), rng), ActivationCache(1, (5,))
    for t in range(3):
        cache.position = (t,)
        first(None, cache)
        cache.write(x)
    cache.position = (1,)  # the inputs before it have been overwritten
    with pytest.raises(ValueError, match="visit every position"):
        first(None, cache)


@pytest.mark.parametrize(
    ("size", "position"),
    [((5,), (5,)), ((5,), (-1,)), ((5,), (slice(None),)), ((5,), (0, 0)), ((2, 3), (2, 0)), ((2, 3), (0, slice(2)))],
)
def test_rejects_invalid_positions(size: tuple[int, ...], position: Any) -> None:
    with pytest.raises(ValueError, match="position: expected a position within"):
        ActivationCache(1, size).position = position
