"""The convolution kernels against a literal loop over images, pixels and taps, and for unusual inputs."""

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, product
from typing import Any
from unittest.mock import patch

import numba
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.kernels import convolution, reference
from tinygen.kernels.convolution import conv, conv_transpose, conv_weight
from tinygen.kernels.plans import phases, plan, plan_across_images
from tinygen.kernels.product import product as matrix_product
from tinygen.kernels.reference import Taps
from tinygen.kernels.runtime.pool import get_num_threads, set_num_threads

Array = npt.NDArray[Any]


def pairs(taps: Taps, stride: int, size_x: tuple[int, ...], size_y: tuple[int, ...]) -> Any:
    """Yield all (t, p, q) with q = stride·p + o_t, for pixels p of y and q of x: the definition of the convolution."""
    for t, offset in enumerate(taps):
        for p in product(*map(range, size_y)):
            q = tuple(stride * a + o for a, o in zip(p, offset, strict=True))
            if all(0 <= a < size for a, size in zip(q, size_x, strict=True)):
                yield t, p, q


class Case:
    """Images x and y, weights w, and residuals and biases for both image shapes."""

    def __init__(
        self, seed: int, images: int, size_x: Any, size_y: Any, channels: Any, taps: Taps, stride: int, dtype: Any
    ):
        rng = np.random.default_rng(seed)

        def draw(*shape: int) -> Array:
            return np.asarray(rng.standard_normal(shape), dtype)

        self.taps, self.stride, self.size_x, self.size_y = taps, stride, tuple(size_x), tuple(size_y)
        self.x, self.y = draw(images, *size_x, channels[0]), draw(images, *size_y, channels[1])
        self.w = draw(len(taps), *channels)
        self.residual_x, self.bias_x = draw(*self.x.shape), draw(channels[0])
        self.residual_y, self.bias_y = draw(*self.y.shape), draw(channels[1])
        # float32 sums of a few hundred products of normal numbers: 1e-4 is 50 times the rounding error.
        self.tolerance = 1e-11 if dtype == np.float64 else 1e-4

    def close(self, ours: Array, oracle: Array) -> None:
        assert ours.dtype == self.x.dtype
        assert ours.shape == oracle.shape
        np.testing.assert_allclose(ours, oracle, rtol=self.tolerance, atol=self.tolerance * 10)


@st.composite
def cases(draw: Callable[..., Any]) -> Case:
    """Small random geometries: widths around the tile sizes, partial SIMD vectors, offsets far outside the image."""
    axes = draw(st.integers(1, 2))
    size = st.lists(st.integers(1, 10), min_size=axes, max_size=axes)
    offset = st.tuples(*[st.integers(-4, 4) | st.sampled_from([-100, 100])] * axes)
    # Neighbours in a row: the kernels read their inputs as one longer sequence.
    rows = st.builds(lambda first, n: [(*first[:-1], first[-1] + k) for k in range(n)], offset, st.integers(1, 4))
    channels = st.sampled_from([1, 2, 3, 5, 8, 16, 17, 35])
    return Case(
        draw(st.integers(0, 2**32 - 1)),
        draw(st.integers(0, 3)),
        draw(size),
        draw(size),
        (draw(channels), draw(channels)),
        tuple(chain.from_iterable(draw(st.lists(rows, max_size=3)))),
        draw(st.integers(1, 3) | st.sampled_from([4, 7, 1000])),
        draw(st.sampled_from([np.float64, np.float64, np.float32])),
    )


@given(cases())
def test_kernels_and_references_equal_the_literal_loop(case: Case) -> None:
    args = case.taps, case.stride
    connections = list(pairs(*args, case.size_x, case.size_y))
    for residual, bias, relu in product((False, True), repeat=3):
        y, x, w = np.zeros(case.y.shape), np.zeros(case.x.shape), np.zeros(case.w.shape)
        terms_y = case.residual_y if residual else None, case.bias_y if bias else None
        terms_x = case.residual_x if residual else None, case.bias_x if bias else None
        y += sum(term for term in terms_y if term is not None)
        x += sum(term for term in terms_x if term is not None)
        for n in range(len(x)):
            for t, p, q in connections:
                y[n, *p] += case.x[n, *q].astype(float) @ case.w[t]
                x[n, *q] += case.y[n, *p].astype(float) @ case.w[t].T
                w[t] += np.outer(case.x[n, *q], case.y[n, *p])
        y = np.maximum(y, 0) if relu else y
        case.close(conv(case.x, case.w, *args, case.size_y, *terms_y, relu), y)
        case.close(reference.conv(case.x, case.w, *args, case.size_y, *terms_y, relu), y)
        case.close(conv_transpose(case.y, case.w, *args, case.size_x, *terms_x), x)
        case.close(reference.conv_transpose(case.y, case.w, *args, case.size_x, *terms_x), x)
    case.close(conv_weight(case.x, case.y, *args), w)
    case.close(reference.conv_weight(case.x, case.y, *args), w)


@given(
    images=st.integers(1, 20),
    size_y=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    size_x=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    channels=st.tuples(*[st.sampled_from([1, 3, 17, 35])] * 2),
    taps=st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=9),
    stride=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_narrow_images_equal_the_definition(
    images: int, size_y: Any, size_x: Any, channels: Any, taps: Any, stride: int, seed: int
) -> None:
    """If the work is large, they are computed one pixel of all images after another."""
    case = Case(seed, images, size_x, size_y, channels, tuple(taps), stride, np.float32)
    x, y, w = case.x.astype(float), case.y.astype(float), case.w
    terms_y, terms_x = (case.residual_y, case.bias_y, True), (case.residual_x, case.bias_x)
    with patch.object(convolution, "_LARGE", 0), patch.object(convolution, "GRAIN", 1):
        ours = conv(case.x, w, case.taps, stride, case.size_y, *terms_y)
        adjoint = conv_transpose(case.y, w, case.taps, stride, case.size_x, *terms_x)
    case.close(ours, reference.conv(x, w, case.taps, stride, case.size_y, *terms_y))
    case.close(adjoint, reference.conv_transpose(y, w, case.taps, stride, case.size_x, *terms_x))


def test_large_work_on_narrow_images_is_planned_across_them() -> None:
    case = Case(0, 65, (4, 4), (2, 2), (32, 64), tuple(product(range(-1, 3), repeat=2)), 2, np.float32)
    with patch.object(convolution, "plan_across_images", wraps=plan_across_images) as planned:
        ours = conv(case.x, case.w, case.taps, 2, case.size_y)
        adjoint = conv_transpose(case.y, case.w, case.taps, 2, case.size_x)
        conv(case.x[:8], case.w, case.taps, 2, case.size_y)  # little work
        conv_transpose(case.y[:8], case.w, case.taps, 2, case.size_x)
        conv(case.x, case.w, case.taps, 1, (4, 4))  # four columns
        matrix_product(np.zeros((2, 1024), np.float32), np.zeros((1024, 1024), np.float32))  # two rows of one image
    assert planned.call_count == 2 * (not numba.config.DISABLE_JIT)
    case.close(ours, reference.conv(case.x.astype(float), case.w, case.taps, 2, case.size_y))
    case.close(adjoint, reference.conv_transpose(case.y.astype(float), case.w, case.taps, 2, case.size_x))


@given(cases())
def test_convolutions_are_adjoint(case: Case) -> None:
    """⟨conv(x), y⟩ = ⟨x, conv_transpose(y)⟩ = ⟨conv_weight(x, y), w⟩."""
    args = case.taps, case.stride
    forms = (
        np.vdot(conv(case.x, case.w, *args, case.size_y), case.y),
        np.vdot(case.x, conv_transpose(case.y, case.w, *args, case.size_x)),
        np.vdot(conv_weight(case.x, case.y, *args), case.w),
    )
    scale = 1 + float(np.linalg.norm(case.x) * np.linalg.norm(case.y) * np.linalg.norm(case.w))
    assert np.ptp(forms) <= case.tolerance * scale


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    "channels", [(32, 19), (19, 32), (19, 21), (32, 48), (1, 32), (3, 19), (32, 1), (32, 3)], ids=str
)
def test_weights_whether_or_not_channels_fill_vectors_or_tiles(
    channels: tuple[int, int], stride: int, dtype: Any
) -> None:
    rng, taps = np.random.default_rng(0), ((1, 1), (0, -2), (0, -1), (0, 0), (-1, 2), (0, 1), (0, 9), (1, -1))
    x, y = (rng.normal(size=(3, 5, 4, n)).astype(dtype) for n in channels)
    # Sums of at most 60 products of order 1, in another order.
    tolerance = 200 * np.finfo(dtype).eps
    expected = reference.conv_weight(x, y, taps, stride)
    np.testing.assert_allclose(conv_weight(x, y, taps, stride), expected, atol=tolerance)


def test_phases_without_taps_are_left_out() -> None:
    """The cost of a transposed convolution then depends on the number of taps, not on the stride² phases."""
    found = phases(((-1, 0), (0, 1), (999, 1001)), 1000)
    assert [phase for phase, _, _ in found] == [(0, 1), (999, 0), (999, 1)]


def image_case(dtype: Any = np.float32) -> Case:
    """A 3×3 convolution of 64 images of 9×8 pixels, large enough to use two threads."""
    return Case(0, 64, (9, 8), (9, 8), (20, 33), tuple(product((-1, 0, 1), repeat=2)), 1, dtype)


def apply_all(case: Case, x: Array | None = None, y: Array | None = None, w: Array | None = None) -> list[Array]:
    """Apply the three convolutions to a case; x, y and w replace its arrays if given."""
    x, y, w = (case.x if x is None else x), (case.y if y is None else y), (case.w if w is None else w)
    args = case.taps, case.stride
    return [conv(x, w, *args, case.size_y), conv_transpose(y, w, *args, case.size_x), conv_weight(x, y, *args)]


@given(st.integers(1, 2000))
def test_strips_cover_a_row_and_two_differ_by_a_tile_at_most(columns: int) -> None:
    p = plan(((0, 0),), 1, (1, columns, 3), (1, columns, 3), (0, 0), 1, 8)
    assert p is not None
    strips, strip, tile = p.layout.strips, p.layout.strip, len(p.pixels)
    last = columns - (strips - 1) * strip
    assert 0 < last <= strip <= 8 * tile
    if strips == 2:
        assert strip - last <= tile + (-columns % tile)  # the last tile may be partly empty


def test_inputs_are_not_modified() -> None:
    case = image_case()
    before = [a.copy() for a in (case.x, case.y, case.w, case.residual_y)]
    conv(case.x, case.w, case.taps, 1, case.size_y, case.residual_y)
    apply_all(case)
    for now, was in zip((case.x, case.y, case.w, case.residual_y), before, strict=True):
        np.testing.assert_array_equal(now, was)


@pytest.mark.skipif(
    bool(numba.config.DISABLE_JIT), reason="without the JIT, the rounding of BLAS depends on the layout"
)
def test_strided_reversed_and_read_only_inputs() -> None:
    case = image_case()
    expected = apply_all(case)
    strided = [np.asfortranarray(a) for a in (case.x, case.y, case.w)]
    reversed_ = [a[::-1].copy()[::-1] for a in (case.x, case.y, case.w)]
    read_only = [a.copy() for a in (case.x, case.y, case.w)]
    for a in read_only:
        a.flags.writeable = False
    for x, y, w in (strided, reversed_, read_only):
        for ours, same in zip(apply_all(case, x, y, w), expected, strict=True):
            np.testing.assert_array_equal(ours, same)


@pytest.mark.parametrize(
    ("images", "size_x", "size_y"), [(0, (4, 4), (4, 4)), (2, (0, 4), (3, 3)), (2, (3, 3), (4, 0))]
)
def test_empty_images_give_the_bias(images: int, size_x: tuple[int, int], size_y: tuple[int, int]) -> None:
    case = Case(0, images, size_x, size_y, (3, 5), ((0, 0), (0, 1)), 1, np.float64)
    bias_y, bias_x = case.bias_y, case.bias_x
    np.testing.assert_array_equal(
        conv(case.x, case.w, case.taps, 1, size_y, None, bias_y), np.broadcast_to(bias_y, case.y.shape)
    )
    np.testing.assert_array_equal(
        conv_transpose(case.y, case.w, case.taps, 1, size_x, None, bias_x), np.broadcast_to(bias_x, case.x.shape)
    )
    np.testing.assert_array_equal(conv_weight(case.x, case.y, case.taps, 1), np.zeros_like(case.w))


def test_nan_propagates_to_exactly_the_pixels_that_see_it() -> None:
    case = image_case()
    case.x[0, 4, 4, 0] = np.nan
    seen = np.isnan(conv(case.x, case.w, case.taps, 1, case.size_y)).all(axis=-1)
    expected = np.zeros_like(seen)
    expected[0, 3:6, 3:6] = True
    np.testing.assert_array_equal(seen, expected)
    relu = conv(case.x, case.w, case.taps, 1, case.size_y, relu=True)
    np.testing.assert_array_equal(np.isnan(relu).all(axis=-1), expected)  # relu does not hide NaN
    assert np.isnan(conv_weight(case.x, case.y, case.taps, 1)[:, 0]).all()


@pytest.mark.parametrize("chunk", [50, 1000])
def test_weights_are_the_sum_over_chunks_of_pixels(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(convolution, "_CHUNK", chunk)
    case = image_case(np.float64)
    for x, y in ((case.x, case.y), (case.x.reshape(1, -1, 1, 20), case.y.reshape(1, -1, 1, 33))):
        taps = case.taps if x is case.x else ((0, 0),)
        case.close(conv_weight(x, y, taps, 1), reference.conv_weight(x, y, taps, 1))


@pytest.mark.parametrize("chunk", [130, 10000])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 5), (7, 9)], ids=str)
def test_weights_of_small_images_are_summed_over_several_at_a_time(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], chunk: int
) -> None:
    monkeypatch.setattr(convolution, "_CHUNK", chunk)
    taps = tuple(product(range(-1, 3), repeat=2))
    case = Case(0, 300, (2 * size[0], 2 * size[1]), size, (7, 19), taps, 2, np.float64)
    case.close(conv_weight(case.x, case.y, taps, 2), reference.conv_weight(case.x, case.y, taps, 2))


@pytest.mark.parametrize("channels", [(32, 32), (32, 19), (19, 21)], ids=str)
def test_weights_own_their_memory(channels: tuple[int, int]) -> None:
    """The backward pass copies gradients that are views, as two of them may share memory."""
    for pixels in (64, 9000):  # one sum, and chunks
        x, y = (np.ones((1, pixels, 1, n), np.float32) for n in channels)
        assert conv_weight(x, y, ((0, 0),), 1).base is None
        a, b = x[0, :, 0], y[0, :, 0]
        assert matrix_product(a.T, b).base is None


@pytest.mark.parametrize("chunk", [50, 1 << 20])
def test_results_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(convolution, "_CHUNK", chunk)
    monkeypatch.setattr(convolution, "GRAIN", 1 << 16)
    case, before = image_case(), get_num_threads()
    try:
        set_num_threads(1)
        alone = apply_all(case)
        set_num_threads(2)
        together, again = apply_all(case), apply_all(case)
    finally:
        set_num_threads(before)
    for a, b in zip(together, again, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(alone, together, strict=True):  # each sum has a fixed order
        np.testing.assert_array_equal(a, b)


def test_concurrent_calls_from_several_threads() -> None:
    case = image_case()
    expected = apply_all(case)
    with ThreadPoolExecutor(4) as executor:
        for results in executor.map(lambda _: apply_all(case), range(24)):
            for ours, same in zip(results, expected, strict=True):
                np.testing.assert_array_equal(ours, same)


def test_rejects_wrong_dtypes_and_shapes() -> None:
    x, w = np.zeros((1, 4, 4, 3)), np.zeros((1, 3, 5))
    with pytest.raises(TypeError, match=r"^conv: .*float32"):
        conv(x.astype(np.float32), w, ((0, 0),), 1, (4, 4))
    with pytest.raises(TypeError, match="int64"):
        conv(x.astype(np.int64), w.astype(np.int64), ((0, 0),), 1, (4, 4))
    with pytest.raises(ValueError, match=r"^conv: w: expected shape \(2, 3, C_out\)"):
        conv(x, w, ((0, 0), (0, 1)), 1, (4, 4))
    with pytest.raises(ValueError, match=r"^conv_transpose: w: expected shape"):
        conv_transpose(x, w, ((0, 0),), 1, (4, 4))
    with pytest.raises(ValueError, match="residual"):
        conv(x, w, ((0, 0),), 1, (4, 4), np.zeros(4))
    with pytest.raises(ValueError, match="bias"):
        conv(x, w, ((0, 0),), 1, (4, 4), None, np.zeros(4))
    with pytest.raises(ValueError, match=r"^conv_weight: x and y: expected"):
        conv_weight(x, x[0], ((0, 0),), 1)


def run_in_new_process(code: str, **environment: str) -> str:
    """Run code in a new Python process and return its output."""
    run = [sys.executable, "-c", code]
    result = subprocess.run(run, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


_CHECKSUM = """
import numpy as np
from tinygen.kernels import conv, conv_transpose, conv_weight, gated_activation, gated_activation_vjp
rng = np.random.default_rng(0)
x, y, w = rng.standard_normal((2, 5, 6, 3)), rng.standard_normal((2, 5, 6, 4)), rng.standard_normal((2, 3, 4))
taps = ((0, -1), (-1, 2))
z = gated_activation_vjp(y, gated_activation(y))
print([round(float((a * np.cos(np.arange(a.size)).reshape(a.shape)).sum()), 9) for a in
    (conv(x, w, taps, 1, (5, 6)), conv_transpose(y, w, taps, 1, (5, 6)), conv_weight(x, y, taps, 1), z)])
"""


def test_results_are_the_same_without_the_jit() -> None:
    interpreted = run_in_new_process(_CHECKSUM, NUMBA_DISABLE_JIT="1")
    assert interpreted
    assert interpreted == run_in_new_process(_CHECKSUM, NUMBA_DISABLE_JIT="0")


_CACHE = """
import numpy as np
from tinygen.kernels import convolution, tile_loops
x, w = np.ones((1, 4, 4, 8), np.float32), np.ones((1, 8, 8), np.float32)
convolution.conv(x, w, ((0, 1),), 1, (4, 4)), convolution.conv_weight(x, x, ((0, 0),), 1)
stats = [kernel.stats for kernel in (tile_loops.convolve, tile_loops.correlate)]
print(sum(sum(s.cache_hits.values()) for s in stats), sum(sum(s.cache_misses.values()) for s in stats))
"""


def test_second_process_loads_kernels_from_the_cache(tmp_path: Any) -> None:
    environment = {"NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_DISABLE_JIT": "0"}
    assert run_in_new_process(_CACHE, **environment) == "0 2"
    assert run_in_new_process(_CACHE, **environment) == "2 0"


@pytest.mark.parametrize("taps", [((0.0, 0),), ((0.5, 0),), ((float("nan"), 0),), [(0, 0)], ([0, 0],), ((True, 0),)])
def test_rejects_taps_that_are_not_tuples_of_integers(taps: Any) -> None:
    x, w = np.ones((1, 3, 3, 9)), np.ones((1, 9, 9))
    for function, arguments in ((conv, (x, w, taps, 1, (3, 3))), (conv_weight, (x, x, taps, 1))):
        with pytest.raises(TypeError, match="taps: expected a tuple of tuples of integers"):
            function(*arguments)
    np.testing.assert_array_equal(conv(x, w, ((0, 0),), 1, (3, 3)), 9)  # the plan of these taps is not affected


@pytest.mark.parametrize("stride", [1.0, 1.5, float("nan"), True, "1"])
def test_rejects_strides_that_are_not_integers(stride: Any) -> None:
    x, w = np.ones((1, 3, 3, 9)), np.ones((1, 9, 9))
    with pytest.raises(TypeError, match="stride: expected an integer"):
        conv(x, w, ((0, 0),), stride, (3, 3))


def test_taps_far_outside_the_image_add_nothing() -> None:
    x, w, taps = np.ones((1, 3, 3, 9)), np.ones((2, 9, 9)), ((0, 0), (2**70, -(2**70)))
    np.testing.assert_array_equal(conv(x, w, taps, 1, (3, 3)), conv(x, w[:1], taps[:1], 1, (3, 3)))
    np.testing.assert_array_equal(conv_transpose(x, w, taps, 1, (3, 3)), 9)
    np.testing.assert_array_equal(conv_weight(x, x, taps, 1)[1], 0)


@pytest.mark.parametrize(("offset", "stride"), [(0, (1 << 31) - 1), (-10_000, 10_000)])
def test_zeros_beside_few_channels_do_not_grow_with_strides_and_offsets(offset: int, stride: int) -> None:
    rng = np.random.default_rng(0)
    x, y, taps = rng.normal(size=(2, 3, 1)), rng.normal(size=(2, 2, 16)), ((offset,),)
    conv_weight(x, y, taps, stride)  # fills caches
    tracemalloc.start()
    try:
        w = conv_weight(x, y, taps, stride)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_allclose(w, reference.conv_weight(x, y, taps, stride), atol=1e-13)
    assert peak < 20_000


@pytest.mark.parametrize("one", [np.uint8(1), np.int64(1), True, 1.0], ids=lambda one: type(one).__name__)
def test_taps_and_strides_are_python_integers(one: Any) -> None:
    """−np.uint8(1) is 255, and as a key of a cache it is equal to 1."""
    x, w, taps = np.ones((1, 5, 5, 4)), np.ones((2, 4, 8)), ((0, 0), (one, one))
    y = np.ones((1, 5, 5, 8))
    calls: list[Callable[[Any, Any], npt.NDArray[Any]]] = [
        lambda taps, stride: conv(x, w, taps, stride, (5, 5)),
        lambda taps, stride: conv_transpose(y, w, taps, stride, (5, 5)),
        lambda taps, stride: conv_weight(x, y, taps, stride),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="taps: expected a tuple of tuples of integers"):
            call(taps, 1)
        with pytest.raises(TypeError, match="stride: expected an integer"):
            call(((0, 0), (1, 1)), one)
    expected = reference.conv(x, w, ((0, 0), (1, 1)), 1, (5, 5))
    np.testing.assert_allclose(conv(x, w, ((0, 0), (1, 1)), 1, (5, 5)), expected)
