"""Every operation, by properties: its value is NumPy's, its derivatives are those of finite differences, and so on.

CASES has an entry for each operation: a strategy of inputs, and what NumPy would compute. The tests go through all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from helpers import oracle
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.strategies import DrawFn, SearchStrategy

import tinygen.autograd as ag
from tinygen.autograd import PRIMITIVES, Array, Tensor, grad
from tinygen.testing import check_grads
from tinygen.testing import strategies as draws
from tinygen.testing.strategies import Shape, Sides

Function = Callable[..., Any]
Values = Callable[[draws.ShapeLike], SearchStrategy[Array]]


@dataclass
class Example:
    """An operation with its options filled in, the same in NumPy, and inputs."""

    f: Callable[..., Tensor]
    numpy: Callable[..., Array]
    xs: tuple[Array, ...]


Case = Callable[[Sides], SearchStrategy[Example]]

# Composed of primitives, so they have no entry in PRIMITIVES; but they have derivatives all the same.
COMPOSED = {"lstm_cell", "slogdet", "split", "stack"}
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Function], Function]:
    """Enter a composite strategy (draw, sides) -> Example under an operation's name."""

    def enter(function: Function) -> Function:
        CASES[name] = st.composite(function)
        return function

    return enter


def unary(f: Function, numpy: Function, values: Values = draws.arrays) -> Case:
    return lambda sides: values(draws.shapes(sides=sides)).map(lambda x: Example(f, numpy, (x,)))


def binary(f: Function, numpy: Function, values: Values = draws.arrays, second: Values | None = None) -> Case:
    @st.composite
    def strategy(draw: DrawFn, sides: Sides) -> Example:
        a, b = draw(draws.broadcastable_shapes(sides=sides))
        return Example(f, numpy, (draw(values(a)), draw((second or values)(b))))

    return strategy


def reducing(f: Function, numpy: Function, values: Values = draws.arrays) -> Case:
    @st.composite
    def strategy(draw: DrawFn, sides: Sides) -> Example:
        x = draw(values(draws.shapes(sides=sides)))
        options = draw(draws.axes_of(x.ndim)), draw(st.booleans())
        return Example(lambda t: f(t, *options), lambda a: numpy(a, axis=options[0], keepdims=options[1]), (x,))

    return strategy


def along_axis(f: Function, numpy: Function) -> Case:
    @st.composite
    def strategy(draw: DrawFn, sides: Sides) -> Example:
        x = draw(draws.arrays(draws.shapes(1, sides=sides)))
        axis = draw(st.integers(-x.ndim, x.ndim - 1))
        return Example(lambda t: f(t, axis), lambda a: numpy(a, axis), (x,))

    return strategy


def matrices(f: Function, numpy: Function) -> Case:
    @st.composite
    def strategy(draw: DrawFn, sides: Sides) -> Example:
        n = draw(sides)
        return Example(f, numpy, (draw(draws.regular_matrices((*draw(draws.shapes(0, 1, sides)), n, n))),))

    return strategy


def positive(shape: draws.ShapeLike) -> SearchStrategy[Array]:
    return draws.arrays(shape, 0.5, 2.0)


def away_from_zero(shape: draws.ShapeLike) -> SearchStrategy[Array]:
    return draws.arrays(shape, 0.5, 2.0).flatmap(lambda x: draws.masks(x.shape).map(lambda m: np.where(m, x, -x)))


def np_logsumexp(x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    with np.errstate(divide="ignore"):  # an empty sum has the logarithm −inf
        return np.asarray(np.log(np.sum(np.exp(x), axis, keepdims=keepdims)))


def np_softmax(x: Array, axis: int) -> Array:
    return np.asarray(np.exp(x) / np.sum(np.exp(x), axis, keepdims=True))


def np_sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


np_ndtr, np_ndtri = (np.vectorize(f, otypes=[float]) for f in (NormalDist().cdf, NormalDist().inv_cdf))


np_tail = np.vectorize(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)), otypes=[float])  # Φ, precise where it is tiny


def np_gated_activation(x: Array) -> Array:
    a, b = np.split(x, 2, -1)
    return np.asarray(np.tanh(a) * np_sigmoid(b))


CASES |= {
    "abs": unary(ag.abs, np.abs, away_from_zero),
    "add": binary(ag.add, np.add),
    "astype": unary(lambda x: ag.astype(x, x.dtype), np.array),  # test_astype_changes_the_type has the rest
    "clip": unary(lambda x: ag.clip(x, -0.4, 0.4), lambda x: np.clip(x, -0.4, 0.4), draws.separated),
    "cos": unary(ag.cos, np.cos),
    "divide": binary(ag.divide, np.divide, draws.arrays, away_from_zero),
    "exp": unary(ag.exp, np.exp),
    "inv": matrices(ag.inv, np.linalg.inv),
    "leaky_relu": unary(lambda x: ag.leaky_relu(x, 0.2), lambda x: np.where(x > 0, x, 0.2 * x), away_from_zero),
    "log": unary(ag.log, np.log, positive),
    "log_ndtr": unary(ag.log_ndtr, lambda x: np.log(np_ndtr(x))),
    "log_normal": unary(ag.log_normal, lambda x: -x * x / 2 - math.log(2 * math.pi) / 2),
    "log_sigmoid": unary(ag.log_sigmoid, lambda x: np.log(np_sigmoid(x))),
    "log_softmax": along_axis(ag.log_softmax, lambda x, axis: np.log(np_softmax(x, axis))),
    "logabsdet": matrices(ag.logabsdet, lambda x: np.linalg.slogdet(x)[1]),
    "logsumexp": reducing(ag.logsumexp, np_logsumexp),
    "max": reducing(ag.max, np.max, draws.separated),
    "mean": reducing(ag.mean, np.mean),
    "min": reducing(ag.min, np.min, draws.separated),
    "multiply": binary(ag.multiply, np.multiply),
    "ndtri_sigmoid": unary(ag.ndtri_sigmoid, lambda x: np_ndtri(np_sigmoid(x)), away_from_zero),
    "negative": unary(ag.negative, np.negative),
    # Twice, since the test of derivatives adds Σ x², which leaves nothing of it alone.
    "one_minus_square": unary(lambda x: 2 * ag.one_minus_square(x), lambda x: 2 - 2 * x**2),
    "power": binary(ag.power, np.power, positive, draws.arrays),
    "relu": unary(ag.relu, lambda x: np.maximum(x, 0), away_from_zero),
    "sigmoid": unary(ag.sigmoid, np_sigmoid),
    "sin": unary(ag.sin, np.sin),
    "slogdet": matrices(lambda x: ag.slogdet(x)[1], lambda x: np.linalg.slogdet(x)[1]),
    "softmax": along_axis(ag.softmax, np_softmax),
    "softplus": unary(ag.softplus, lambda x: np.log(1 + np.exp(x))),
    "sqrt": unary(ag.sqrt, np.sqrt, positive),
    "subtract": binary(ag.subtract, np.subtract),
    "sum": reducing(ag.sum, np.sum),
    "tanh": unary(ag.tanh, np.tanh),
}


def extremum(f: Function, numpy: Function) -> Case:
    @st.composite
    def strategy(draw: DrawFn, sides: Sides) -> Example:
        a, b = draw(draws.broadcastable_shapes(sides=sides))
        together = draw(draws.separated((math.prod(a) + math.prod(b),)))  # no two are near
        first, second = np.split(together, [math.prod(a)])
        return Example(f, numpy, (first.reshape(a), second.reshape(b)))

    return strategy


CASES["maximum"] = extremum(ag.maximum, np.maximum)
CASES["minimum"] = extremum(ag.minimum, np.minimum)


@case("where")
def _(draw: DrawFn, sides: Sides) -> Example:
    shapes = draw(draws.broadcastable_shapes(3, sides=sides))
    mask = draw(draws.masks(shapes[0]))
    xs = draw(draws.arrays(shapes[1])), draw(draws.arrays(shapes[2]))
    return Example(lambda a, b: ag.where(mask, a, b), lambda a, b: np.asarray(np.where(mask, a, b)), xs)


@case("gated_activation")
def _(draw: DrawFn, sides: Sides) -> Example:
    shape = draw(draws.shapes(0, 2, sides))
    return Example(ag.gated_activation, np_gated_activation, (draw(draws.arrays((*shape, 2 * draw(sides)))),))


@case("bernoulli_log_prob")
def _(draw: DrawFn, sides: Sides) -> Example:
    shape = (draw(sides), draw(sides))
    k = draw(draws.masks(shape)).astype(int)
    return Example(
        lambda x: ag.bernoulli_log_prob(x, k),
        lambda x: np.log(np_sigmoid(np.where(k, x, -x))).sum(1),
        (draw(draws.arrays(shape)),),
    )


@case("mixture_cdf")
def _(draw: DrawFn, sides: Sides) -> Example:
    size, kind = draw(st.integers(1, 3)), draw(st.sampled_from(["logistic", "normal"]))
    x = draw(draws.arrays(draw(draws.shapes(0, 2, sides))))
    own = draw(st.booleans())

    def numpy(x: Array, theta: Array) -> Array:
        logits, means, log_scales = np.split(theta, 3, -1)
        weights, a = np_softmax(logits, -1), (x[..., None] - means) / np.exp(log_scales)
        tail = np_sigmoid if kind == "logistic" else np_tail
        density = tail(a) * tail(-a) if kind == "logistic" else np.exp(-a * a / 2) / np.sqrt(2 * np.pi)
        logit = np.log(np.sum(weights * tail(a), -1)) - np.log(np.sum(weights * tail(-a), -1))
        return np.stack([logit, np.log(np.sum(weights * density / np.exp(log_scales), -1))])

    theta = draw(draws.arrays((*(x.shape if own else ()), 3 * size)))
    # A component of scale e⁻³ is an edge to finite differences, as second derivatives grow with its fourth power.
    theta = theta * np.repeat([1, 1, 0.3], size)
    return Example(lambda x, t: ag.mixture_cdf(x, t, kind), numpy, (x, theta))


def np_lstm_cell(a: Array, c: Array) -> tuple[Array, Array]:
    i, f, g, o = np.split(a, 4, -1)
    c = np_sigmoid(f) * c + np_sigmoid(i) * np.tanh(g)
    return np_sigmoid(o) * np.tanh(c), c


@case("lstm_cell")
def _(draw: DrawFn, sides: Sides) -> Example:
    lead, n = draw(draws.shapes(0, 2, sides)), draw(sides)
    xs = draw(draws.arrays((*lead, 4 * n))), draw(draws.arrays((*lead, n)))
    return Example(
        lambda a, c: ag.concatenate(ag.lstm_cell(a, c), -1), lambda a, c: np.concatenate(np_lstm_cell(a, c), -1), xs
    )


@case("lstm")
def _(draw: DrawFn, sides: Sides) -> Example:
    n, length, size = draw(sides), draw(sides), draw(sides)

    def numpy(x: Array, u: Array) -> Array:
        hs, h, c = np.zeros((n, length, size)), *np.zeros((2, n, size))
        for t in range(length):
            h, c = np_lstm_cell(x[:, t] + h @ u, c)
            hs[:, t] = h
        return hs

    return Example(ag.lstm, numpy, (draw(draws.arrays((n, length, 4 * size))), draw(draws.arrays((size, 4 * size)))))


@case("linear")
def _(draw: DrawFn, sides: Sides) -> Example:
    lead, n, m = draw(draws.shapes(0, 2, sides)), draw(sides), draw(sides)
    x, w, b = (draw(draws.arrays(shape)) for shape in ((*lead, n), (n, m), (m,)))
    if not draw(st.booleans()):
        return Example(ag.linear, lambda x, w, b: x @ w + b, (x, w, b))
    signs = np.where((np.arange(m) > 0) & (b < 0), -1, 1)  # the first unit is not cut off: something must move
    b = signs * (1 + np.abs(b)) * (1 + np.abs(x @ w).max(initial=0))  # far from relu's kink
    return Example(partial(ag.linear, relu=True), lambda x, w, b: np.maximum(x @ w + b, 0), (x, w, b))


@case("matmul")
def _(draw: DrawFn, sides: Sides) -> Example:
    n, k, m = (draw(sides) for _ in range(3))
    lead = draw(draws.broadcastable_shapes(2, 2, sides))
    left = draw(st.sampled_from([(k,), (*lead[0], n, k)]))
    right = draw(st.sampled_from([(k,), (k, m), (*lead[1], k, m)]))
    return Example(ag.matmul, np.matmul, (draw(draws.arrays(left)), draw(draws.arrays(right))))


@case("solve")
def _(draw: DrawFn, sides: Sides) -> Example:
    n, m = draw(sides), draw(sides)
    lead = draw(draws.broadcastable_shapes(2, 1, sides))
    a, b = draw(draws.regular_matrices((*lead[0], n, n))), draw(draws.arrays((*lead[1], n, m)))
    return Example(ag.solve, np.linalg.solve, (a, b))


@case("reshape")
def _(draw: DrawFn, sides: Sides) -> Example:
    x = draw(draws.arrays(draws.shapes(sides=sides)))
    shape = draw(st.permutations([*x.shape, 1]))
    if x.size:
        shape[draw(st.integers(0, len(shape) - 1))] = -1
    return Example(lambda t: ag.reshape(t, shape), lambda a: a.reshape(shape), (x,))


@case("transpose")
def _(draw: DrawFn, sides: Sides) -> Example:
    x = draw(draws.arrays(draws.shapes(sides=sides)))
    axes = draw(st.none() | st.permutations(range(-x.ndim, 0)))
    return Example(lambda t: ag.transpose(t, axes), lambda a: np.transpose(a, axes), (x,))


@case("flip")
def _(draw: DrawFn, sides: Sides) -> Example:
    x = draw(draws.arrays(draws.shapes(sides=sides)))
    axis = draw(draws.axes_of(x.ndim))
    return Example(lambda t: ag.flip(t, axis), lambda a: np.flip(a, axis), (x,))


@case("broadcast_to")
def _(draw: DrawFn, sides: Sides) -> Example:
    small, large = draw(draws.broadcastable_shapes(sides=sides))
    large = np.broadcast_shapes(small, large)
    x = draw(draws.arrays(small))
    return Example(lambda t: ag.broadcast_to(t, large), lambda a: np.broadcast_to(a, large), (x,))


@case("sum_to")
def _(draw: DrawFn, sides: Sides) -> Example:
    small, large = draw(draws.broadcastable_shapes(sides=sides))
    x = draw(draws.arrays(np.broadcast_shapes(small, large)))

    def numpy(a: Array) -> Array:
        ones = (1,) * (a.ndim - len(small)) + small
        return np.asarray(np.sum(a, tuple(i for i, n in enumerate(ones) if n == 1))).reshape(small)

    return Example(lambda t: ag.sum_to(t, small), numpy, (x,))


def keys(shape: Shape) -> SearchStrategy[Any]:
    """Draw what indexes such an array: slices, integers, None and …; arrays of positions, some twice; a mask."""
    basic: SearchStrategy[Any] = hnp.basic_indices(shape, allow_newaxis=True)
    if not shape or 0 in shape:
        return basic
    positions = hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=3))
    return basic | positions | draws.masks(shape)


@case("index")
def _(draw: DrawFn, sides: Sides) -> Example:
    x = draw(draws.arrays(draws.shapes(sides=sides)))
    key = draw(keys(x.shape))
    return Example(lambda t: ag.index(t, key), lambda a: np.array(a[key]), (x,))


@case("scatter_add")
def _(draw: DrawFn, sides: Sides) -> Example:
    shape = draw(draws.shapes(sides=sides))
    key = draw(keys(shape))
    picked = np.shape(np.zeros(shape)[key])

    def numpy(a: Array) -> Array:
        y = np.zeros(shape)
        np.add.at(y, key, a)
        return y

    return Example(lambda t: ag.scatter_add(t, key, shape), numpy, (draw(draws.arrays(picked)),))


def positions_in(draw: DrawFn, shape: Shape, axis: int) -> Array:
    """Draw positions along an axis of an array, one or more for each row."""
    size = list(shape)
    size[axis] = draw(st.integers(1, 3)) if shape[axis] else 0
    return draw(draws.rngs()).integers(0, max(shape[axis], 1), size)


@case("take_along_axis")
def _(draw: DrawFn, sides: Sides) -> Example:
    x = draw(draws.arrays(draws.shapes(1, sides=sides)))
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    positions = positions_in(draw, x.shape, axis)
    return Example(
        lambda t: ag.take_along_axis(t, positions, axis), lambda a: np.take_along_axis(a, positions, axis), (x,)
    )


@case("put_along_axis")
def _(draw: DrawFn, sides: Sides) -> Example:
    shape = draw(draws.shapes(1, sides=sides))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    positions = positions_in(draw, shape, axis)

    def numpy(a: Array) -> Array:
        y = np.zeros(shape)
        for place in np.ndindex(a.shape):
            target = list(place)
            target[axis] = positions[place]
            y[tuple(target)] += a[place]
        return y

    x = draw(draws.arrays(positions.shape))
    return Example(lambda t: ag.put_along_axis(t, positions, axis, shape), numpy, (x,))


@case("pad")
def _(draw: DrawFn, sides: Sides) -> Example:
    x = draw(draws.arrays(draws.shapes(1, 2, sides)))
    widths = [(draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in x.shape]
    return Example(lambda t: ag.pad(t, widths), lambda a: np.pad(a, widths), (x,))


@case("crop")
def _(draw: DrawFn, sides: Sides) -> Example:
    inside = draw(draws.shapes(1, 2, sides))
    widths = [(draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in inside]
    x = draw(draws.arrays(tuple(before + n + after for n, (before, after) in zip(inside, widths, strict=True))))

    def numpy(a: Array) -> Array:
        for axis, (before, after) in enumerate(widths):
            a = np.delete(a, [*range(before), *range(a.shape[axis] - after, a.shape[axis])], axis)
        return a

    return Example(lambda t: ag.crop(t, widths), numpy, (x,))


@case("concatenate")
def _(draw: DrawFn, sides: Sides) -> Example:
    shape = draw(draws.shapes(1, sides=sides))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        size = list(shape)
        size[axis] = draw(sides)
        parts.append(draw(draws.arrays(tuple(size))))
    return Example(lambda *ts: ag.concatenate(ts, axis), lambda *xs: np.concatenate(xs, axis), tuple(parts))


@case("stack")
def _(draw: DrawFn, sides: Sides) -> Example:
    shape = draw(draws.shapes(sides=sides))
    axis = draw(st.integers(-len(shape) - 1, len(shape)))
    xs = tuple(draw(draws.arrays(shape)) for _ in range(draw(st.integers(1, 3))))
    return Example(lambda *ts: ag.stack(ts, axis), lambda *xs: np.stack(xs, axis), xs)


@case("split")
def _(draw: DrawFn, sides: Sides) -> Example:
    lead, side, number = draw(draws.shapes(0, 2, sides)), draw(sides), draw(st.integers(1, 3))
    x = draw(draws.arrays((*lead, side * number)))
    cuts = sorted(draw(st.lists(st.integers(0, side * number), max_size=2)))
    sections: Any = draw(st.sampled_from([number, cuts]))
    # One output of all parts, each with a weight of its own.
    return Example(
        lambda t: ag.concatenate([i * part for i, part in enumerate(ag.split(t, sections, -1), 1)], -1),
        lambda a: np.concatenate([i * part for i, part in enumerate(np.split(a, sections, -1), 1)], -1),
        (x,),
    )


def convolution(which: str) -> Case:
    """Draw x, W and y of one trilinear form, and take the two which this member of the family is given."""

    @st.composite
    def strategy(draw: DrawFn, sides: Sides) -> Example:
        taps, stride, n = draw(draws.taps()), draw(st.integers(1, 2)), draw(st.integers(1, 2))
        x_size, y_size = (draw(draws.shapes(len(taps[0]), len(taps[0]), sides)) for _ in range(2))
        c, d = draw(sides), draw(sides)
        x, w, y = (draw(draws.arrays(s)) for s in ((n, *x_size, c), (len(taps), c, d), (n, *y_size, d)))
        return {
            "conv": Example(
                lambda a, b: ag.conv(a, b, taps, stride, y_size),
                lambda a, b: oracle.conv(a, b, taps, stride, y_size),
                (x, w),
            ),
            "conv_transpose": Example(
                lambda a, b: ag.conv_transpose(a, b, taps, stride, x_size),
                lambda a, b: oracle.conv_transpose(a, b, taps, stride, x_size),
                (y, w),
            ),
            "conv_weight": Example(
                lambda a, b: ag.conv_weight(a, b, taps, stride),
                lambda a, b: oracle.conv_weight(a, b, taps, stride),
                (x, y),
            ),
        }[which]

    return strategy


CASES |= {name: convolution(name) for name in ("conv", "conv_transpose", "conv_weight")}


SIDES = st.integers(1, 3)
every_case = pytest.mark.parametrize("name", CASES)


def gradients_of(example: Example, xs: tuple[Array, ...], cotangent: Array) -> list[Array]:
    tensors = [Tensor(x) for x in xs]
    return [g.value for g in grad(example.f(*tensors), tensors, cotangent)]


def test_every_operation_has_a_case() -> None:
    assert set(CASES) == set(PRIMITIVES) | COMPOSED


@every_case
@given(data=st.data())
def test_value_is_numpys(name: str, data: st.DataObject) -> None:
    example = data.draw(CASES[name](SIDES))
    y, expected = example.f(*map(Tensor, example.xs)), example.numpy(*example.xs)
    assert type(y.value) is np.ndarray
    assert y.dtype == np.float64
    assert y.shape == np.shape(expected)
    np.testing.assert_allclose(y.value, expected, rtol=1e-12, atol=1e-14)


@every_case
@given(data=st.data(), rng=draws.rngs())
def test_derivatives_of_first_and_second_order(name: str, data: st.DataObject, rng: np.random.Generator) -> None:
    example = data.draw(CASES[name](SIDES))
    assume(example.numpy(*example.xs).size and all(x.size for x in example.xs))

    def f(*xs: Tensor) -> Tensor:
        # The squares keep an operation that is constant just here (softmax of one entry) from being refused as such.
        return example.f(*xs) + ag.stack([(x * x).sum() for x in xs]).sum()

    check_grads(f, *example.xs, order=2, rng=rng, draws=1)


@every_case
@given(data=st.data(), rng=draws.rngs())
def test_float32_stays_float32(name: str, data: st.DataObject, rng: np.random.Generator) -> None:
    """The derivative too; and it is that of float64 to the 10⁻⁴ that a few float32 roundings leave (condition ≤ 16)."""
    example = data.draw(CASES[name](SIDES))
    single = tuple(x.astype(np.float32) for x in example.xs)
    y = example.f(*map(Tensor, single))
    assert y.dtype == np.float32
    cotangent = rng.normal(size=y.shape).astype(np.float32)
    # Already what a rule returns, not only what grad makes of it: nothing is widened on the way.
    assert all(vjp(Tensor(cotangent), y).dtype == np.float32 for _, vjp in y.edges)
    narrow = gradients_of(example, single, cotangent)
    wide = gradients_of(example, tuple(x.astype(np.float64) for x in single), cotangent.astype(np.float64))
    for x, g, expected in zip(single, narrow, wide, strict=True):
        assert g.dtype == np.float32
        assert g.shape == x.shape
        np.testing.assert_allclose(g, expected, rtol=1e-4, atol=1e-4 * np.max(np.abs(expected), initial=0.01))


@every_case
@given(data=st.data(), rng=draws.rngs())
def test_memory_layout_does_not_matter(name: str, data: st.DataObject, rng: np.random.Generator) -> None:
    example = data.draw(CASES[name](SIDES))
    laid_out = tuple(data.draw(draws.layouts(x)) for x in example.xs)
    y, again = example.f(*map(Tensor, example.xs)), example.f(*map(Tensor, laid_out))
    np.testing.assert_allclose(again.value, y.value, rtol=1e-12, atol=1e-14)
    plain = rng.normal(size=y.shape)
    cotangent = data.draw(draws.layouts(plain))
    for g, expected in zip(
        gradients_of(example, laid_out, cotangent), gradients_of(example, example.xs, plain), strict=True
    ):
        np.testing.assert_allclose(g, expected, rtol=1e-12, atol=1e-13)


# Operations that NumPy too refuses on some empty inputs.
REFUSES_EMPTY = {"max": "no largest among none", "mean": "0 / 0", "min": "no smallest among none"}


@every_case
@given(data=st.data())
def test_empty_arrays(name: str, data: st.DataObject) -> None:
    example = data.draw(CASES[name](st.sampled_from([0, 0, 2])))
    try:
        y = example.f(*map(Tensor, example.xs))
    except ValueError:
        assert name in REFUSES_EMPTY
        return
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(y.value, example.numpy(*example.xs), rtol=1e-12, atol=1e-14)
    for x, g in zip(example.xs, gradients_of(example, example.xs, np.ones(y.shape)), strict=True):
        assert g.shape == x.shape


def near(actual: Any, expected: Any, rtol: float) -> None:
    np.testing.assert_allclose(np.asarray(actual), np.asarray(expected), rtol=rtol)


def slope(f: Callable[[Tensor], Tensor], at: Any) -> Array:
    """Give f′, elementwise."""
    x = Tensor(np.array(at, np.float64))
    return grad(f(x).sum(), [x])[0].value


def test_astype_changes_the_type_and_the_cotangent_back() -> None:
    x = Tensor(np.array([1.5, 2.5], np.float32))
    y = ag.astype(x, np.float64)
    assert y.dtype == np.float64
    assert grad(y.sum(), [x])[0].dtype == np.float32


def test_kinks() -> None:
    np.testing.assert_array_equal(slope(ag.relu, [-1, 0, 1]), [0, 0, 1])
    np.testing.assert_array_equal(slope(lambda x: ag.leaky_relu(x, 0.2), [-1, 0, 1]), [0.2, 0.2, 1])
    np.testing.assert_array_equal(slope(ag.abs, [-2, 0, 2]), [-1, 0, 1])
    np.testing.assert_array_equal(slope(lambda x: ag.clip(x, -1, 1), [-2, -1, 0, 1, 2]), [0, 1, 1, 1, 0])


@pytest.mark.parametrize("f", [ag.maximum, ag.minimum])
def test_a_tie_of_two_is_halved(f: Function) -> None:
    a, b = Tensor(np.array([1.0, 2.0])), Tensor(np.array([1.0, 2.0]))
    for g in grad(f(a, b).sum(), [a, b]):
        np.testing.assert_array_equal(g.value, [0.5, 0.5])


def test_ties_of_max_share_equally() -> None:
    np.testing.assert_array_equal(slope(ag.max, [3, 1, 3, 3]), np.array([1, 0, 1, 1]) / 3)
    np.testing.assert_array_equal(slope(lambda x: ag.max(x, 1), [[2, 2], [0, 1]]), [[0.5, 0.5], [0, 1]])


POWERS = [  # a, b, aᵇ, b aᵇ⁻¹, aᵇ ln a; where a = 0 the last is 0 by convention
    (0.0, 0.0, 1.0, 0.0, 0.0),
    (0.0, 1.0, 0.0, 1.0, 0.0),
    (0.0, 2.0, 0.0, 0.0, 0.0),
    (2.0, 3.0, 8.0, 12.0, 8 * math.log(2)),
    (2.0, -1.0, 0.5, -0.25, 0.5 * math.log(2)),
    (4.0, 0.5, 2.0, 0.25, 2 * math.log(4)),
]


@pytest.mark.parametrize(("a", "b", "y", "by_a", "by_b"), POWERS)
def test_powers(a: float, b: float, y: float, by_a: float, by_b: float) -> None:
    base, exponent = Tensor(a), Tensor(b)
    result = base**exponent
    gradients = [g.item() for g in grad(result, [base, exponent])]
    near([result.item(), *gradients], [y, by_a, by_b], rtol=1e-15)
    # The same with a plain number on either side.
    near([(base**b).item(), slope(lambda x: x**b, a)], [y, by_a], rtol=1e-15)
    if float(b).is_integer():
        near(slope(lambda x: x ** int(b), a), by_a, rtol=1e-15)
    if a:
        near([(a**exponent).item(), slope(lambda x: a**x, b)], [y, by_b], rtol=1e-15)


def test_powers_of_negative_numbers() -> None:
    np.testing.assert_array_equal(slope(lambda x: x**2, [-3, 0, 3]), [-6, 0, 6])
    np.testing.assert_array_equal(slope(lambda x: x**3, [-2]), [12])
    np.testing.assert_array_equal(slope(lambda x: x ** np.array([2.0, 3.0]), [-2, -2]), [-4, 12])


STABLE: dict[str, tuple[Any, ...]] = {  # f, f(−10⁴), f(10⁴), f′(−10⁴), f′(10⁴)
    "sigmoid": (ag.sigmoid, 0.0, 1.0, 0.0, 0.0),
    "softplus": (ag.softplus, 0.0, 1e4, 0.0, 1.0),
    "log_sigmoid": (ag.log_sigmoid, -1e4, 0.0, 1.0, 0.0),
    "tanh": (ag.tanh, -1.0, 1.0, 0.0, 0.0),
}


@pytest.mark.parametrize("name", STABLE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_stable_far_out(name: str, dtype: type) -> None:
    """Warnings are errors here, so an overflow on the way fails too."""
    f: Function = STABLE[name][0]
    expected = STABLE[name][1:]
    x = Tensor(np.array([-1e4, 1e4], dtype))
    y = f(x)
    near([*y.value, *grad(y.sum(), [x])[0].value], expected, rtol=1e-6)  # float32


def test_precise_where_it_is_tiny() -> None:
    """No 1 − σ, no log of a sum with 1: the small numbers keep their relative precision."""
    near(ag.sigmoid(Tensor(-40.0)).item(), math.exp(-40), rtol=1e-14)
    near(ag.softplus(Tensor(-40.0)).item(), math.exp(-40), rtol=1e-14)
    near(ag.log_sigmoid(Tensor(40.0)).item(), -math.exp(-40), rtol=1e-14)


def test_the_slope_of_sigmoid_is_precise_at_both_ends() -> None:
    """σ′(x) = σ″(−x) = e^−|x| to first order, also where σ is 1 in float32."""
    x = Tensor(np.array([-20.0, 20.0], np.float32))
    (first,) = grad(ag.sigmoid(x).sum(), [x], create_graph=True)
    near(first.value, [math.exp(-20)] * 2, rtol=1e-6)  # float32
    near(grad(first.sum(), [x])[0].value, [math.exp(-20), -math.exp(-20)], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_family_far_out(dtype: type) -> None:
    x = Tensor(np.array([[-1e4, 0, 1e4], [1e4, 1e4, -1e4]], dtype))
    half = math.log(2)
    near(ag.logsumexp(x, 1).value, [1e4, 1e4 + half], rtol=1e-6)  # float32
    near(ag.softmax(x).value, [[0, 0, 1], [0.5, 0.5, 0]], rtol=1e-6)  # float32
    near(ag.log_softmax(x).value, [[-2e4, -1e4, 0], [-half, -half, -2e4 - half]], rtol=1e-6)
    near(grad(ag.logsumexp(x, 1).sum(), [x])[0].value, [[0, 0, 1], [0.5, 0.5, 0]], rtol=1e-6)
    for f in (ag.softmax, ag.log_softmax):
        assert np.all(np.isfinite(grad(f(x)[:, 0].sum(), [x])[0].value))


def test_minus_infinity_is_a_probability_of_zero() -> None:
    x = Tensor(np.array([0.0, -np.inf]))
    np.testing.assert_array_equal(slope(ag.logsumexp, x.value), [1, 0])
    np.testing.assert_array_equal(ag.softmax(x).value, [1, 0])
    np.testing.assert_array_equal(ag.log_softmax(x).value, [0, -np.inf])
    assert ag.logsumexp(Tensor(np.array([-np.inf, -np.inf]))).item() == -np.inf
    assert ag.logsumexp(Tensor(np.array([np.inf, 0.0]))).item() == np.inf
    nothing = np.full((1, 2), -np.inf)
    for f in (ag.logsumexp, lambda x: ag.logsumexp(x, 1), ag.softmax):
        np.testing.assert_array_equal(slope(f, nothing), [[0, 0]])


@pytest.mark.parametrize("name", sorted(set(CASES) - {"inv", "solve", "logabsdet", "slogdet"}))
@given(data=st.data())
def test_nan_passes_through(name: str, data: st.DataObject) -> None:
    """A NaN in an input that reaches an output is a NaN there: exactly where it is in NumPy."""
    # Decompositions are left out: LAPACK may raise, or spread the NaN, as it likes.
    example = data.draw(CASES[name](SIDES))
    x = example.xs[0]
    assume(x.size)
    x.flat[data.draw(st.integers(0, x.size - 1))] = np.nan
    with np.errstate(invalid="ignore"):
        y, expected = example.f(*map(Tensor, example.xs)).value, example.numpy(*example.xs)
    if not name.startswith("conv"):  # a dense sum multiplies the NaN by 0 where the taps do not reach
        np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    else:
        assert np.isnan(y).sum() <= np.isnan(expected).sum()


ZEROS, POSITIONS = np.zeros, np.zeros((3, 1), int)
ERRORS: dict[str, Callable[[], object]] = {
    "add: shapes (2,) and (3,)": lambda: Tensor(ZEROS(2)) + ZEROS(3),
    "maximum: shapes (2,) and (3,)": lambda: ag.maximum(Tensor(ZEROS(2)), ZEROS(3)),
    "power: shapes (2,) and (3,)": lambda: Tensor(ZEROS(2)) ** ZEROS(3),
    "where: shapes (2,) and (3,) and ()": lambda: ag.where(ZEROS(2) > 0, Tensor(ZEROS(3)), 0.0),
    "matmul: shapes (2, 3) and (2, 3)": lambda: Tensor(ZEROS((2, 3))) @ ZEROS((2, 3)),
    "matmul: shapes (2, 3, 3) and (4, 3, 3): ": lambda: Tensor(ZEROS((2, 3, 3))) @ ZEROS((4, 3, 3)),
    "linear: x (2, 3), w (4, 5) and b (5,)": lambda: ag.linear(Tensor(ZEROS((2, 3))), ZEROS((4, 5)), ZEROS(5)),
    "inv: ": lambda: ag.inv(Tensor(ZEROS((2, 3)))),
    "solve: shapes (2, 2) and (3, 1)": lambda: ag.solve(Tensor(ZEROS((2, 2))), ZEROS((3, 1))),
    "solve: shapes (2, 2) and (2, 1): Singular": lambda: ag.solve(Tensor(ZEROS((2, 2))), ZEROS((2, 1))),
    "slogdet: a matrix of x, shape (2, 2), is singular": lambda: ag.slogdet(Tensor(ZEROS((2, 2)))),
    "logabsdet: a matrix of x, shape (2, 2), is singular": lambda: ag.logabsdet(Tensor(ZEROS((2, 2)))),
    "reshape: shape (6,) with (4, 2): ": lambda: Tensor(ZEROS(6)).reshape(4, 2),
    "transpose: shape (2, 3) with (0, 0): ": lambda: Tensor(ZEROS((2, 3))).transpose(0, 0),
    "transpose: shape (2, 3) with (0, 2): ": lambda: Tensor(ZEROS((2, 3))).transpose(0, 2),
    "flip: shape (2,) with 1: ": lambda: ag.flip(Tensor(ZEROS(2)), 1),
    "broadcast_to: shape (2,) with (3,): ": lambda: ag.broadcast_to(Tensor(ZEROS(2)), (3,)),
    "clip: shapes (2,) and () and (3,): ": lambda: ag.clip(Tensor(ZEROS(2)), 0.0, ZEROS(3)),
    "pad: shape (2,) with [(1, 2), (3, 4), (5, 6)]: ": lambda: ag.pad(Tensor(ZEROS(2)), [(1, 2), (3, 4), (5, 6)]),
    "crop: shape (2,) with [(1, 1), (0, 0)]: ": lambda: ag.crop(Tensor(ZEROS(2)), [(1, 1), (0, 0)]),
    "crop: shape (2,) with [(2, 1)]: ": lambda: ag.crop(Tensor(ZEROS(2)), [(2, 1)]),
    "take_along_axis: positions (3, 1) and shape (1, 4) must be equal outside axis 1": lambda: ag.take_along_axis(
        Tensor(ZEROS((1, 4))), POSITIONS, 1
    ),
    "put_along_axis: positions (3, 1) and shape (1, 4) must be equal outside axis 1": lambda: ag.put_along_axis(
        Tensor(ZEROS((3, 1))), POSITIONS, 1, (1, 4)
    ),
    "put_along_axis: x of shape (1, 1) and positions of shape (3, 1)": lambda: ag.put_along_axis(
        Tensor(ZEROS((1, 1))), POSITIONS, 1, (3, 4)
    ),
    "sum_to: shape (3,) does not broadcast to (2,)": lambda: ag.sum_to(Tensor(ZEROS(2)), (3,)),
    "concatenate: shapes (2, 1) and (3, 2)": lambda: ag.concatenate([Tensor(ZEROS((2, 1))), ZEROS((3, 2))]),
    "stack: needs one or more tensors of one shape": lambda: ag.stack([Tensor(ZEROS(2)), ZEROS(3)]),
    "split: axis 0 of shape (5,) has 5 entries": lambda: ag.split(Tensor(ZEROS(5)), 2),
    "split: positions [4, 2] do not ascend": lambda: ag.split(Tensor(ZEROS(5)), [4, 2]),
    "mean: nothing to take the mean of": lambda: ag.mean(Tensor(ZEROS((0, 2))), 0),
    "bernoulli_log_prob: logits (2, 3) and k (3,) are not": lambda: ag.bernoulli_log_prob(
        Tensor(ZEROS((2, 3))), ZEROS(3)
    ),
    "gated_activation: the last axis of shape (3,) must be even": lambda: ag.gated_activation(Tensor(ZEROS(3))),
    "lstm: x (2, 3, 4) and u (2, 8) are not": lambda: ag.lstm(ZEROS((2, 3, 4)), ZEROS((2, 8))),
}


@pytest.mark.parametrize("message", ERRORS)
def test_errors_name_the_operation_and_the_shapes(message: str) -> None:
    with pytest.raises(ValueError) as caught:
        ERRORS[message]()
    assert message in str(caught.value)


def test_an_index_out_of_bounds_stays_an_index_error() -> None:
    with pytest.raises(IndexError, match=r"index: shape \(3,\) with 5: index 5 is out of bounds"):
        Tensor(np.zeros(3))[5]


def test_a_tensor_is_no_index() -> None:
    with pytest.raises(TypeError, match="positions have no derivative"):
        Tensor(np.zeros(3))[Tensor(np.array([0]))]


def test_astype_to_integers_is_refused() -> None:
    with pytest.raises(TypeError, match=r"int64 is not floating-point.*use x\.value\.astype"):
        ag.astype(Tensor([1.5]), np.int64)


def test_power_at_exponent_zero_keeps_its_mixed_derivative() -> None:
    """∂²(aᵇ)/∂a∂b = aᵇ⁻¹ (1 + b ln a), which is 1/a at b = 0; and at a = 0 the first derivative is 0 still."""
    a, b = Tensor([2.0, 0.0]), Tensor([0.0, 0.0])
    (by_a,) = grad(a**b, [a], np.ones(2), create_graph=True)
    np.testing.assert_array_equal(by_a.value, [0, 0])
    assert grad(by_a[0], [b])[0].value[0] == 0.5


@pytest.mark.parametrize("f", [ag.softmax, ag.log_softmax, ag.logsumexp])
def test_integers_are_promoted(f: Function) -> None:
    x = np.array([[1, 2, 3]])
    np.testing.assert_array_equal(f(Tensor(x)).value, f(Tensor(x.astype(np.float64))).value)


def test_what_would_wrap_or_spread_is_refused() -> None:
    x = Tensor(np.ones((2, 3)))
    for widths in ([(-1, 0), (0, 0)], [(0, 3), (0, 0)], [(0, 0), (5, -4)]):
        with pytest.raises(ValueError, match=r"crop: shape \(2, 3\)"):
            ag.crop(x, widths)
    for key in (0, slice(2), [0, 1, 1]):
        with pytest.raises(ValueError, match=r"scatter_add: x has shape \(1,\)"):
            ag.scatter_add(Tensor([1.0]), key, (4, 3))


def test_ties_of_min_share() -> None:
    x = Tensor([1.0, 3.0, 1.0])
    np.testing.assert_array_equal(grad(x.min(), [x])[0].value, [0.5, 0, 0.5])
