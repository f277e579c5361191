"""A table of all operations: for each, a strategy that draws inputs, and NumPy code for the expected value.

tests/autograd/test_primitives.py runs its property tests on every entry of CASES.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np
from helpers import oracle
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.strategies import DrawFn, SearchStrategy

import tinygen.autograd as ag
from tinygen.autograd import Array, Tensor
from tinygen.testing import strategies as draws
from tinygen.testing.strategies import Shape, Sides

Function = Callable[..., Any]
Values = Callable[[draws.ShapeLike], SearchStrategy[Array]]


@dataclass
class Example:
    """An operation with its options bound, the same function in NumPy, and inputs for both."""

    f: Callable[..., Tensor]
    numpy: Callable[..., Array]
    xs: tuple[Array, ...]


Case = Callable[[Sides], SearchStrategy[Example]]

# Functions that call primitives: differentiable, but not in PRIMITIVES.
COMPOSED = {"lstm_cell", "split", "stack"}
CASES: dict[str, Case] = {}


def case(name: str) -> Callable[[Function], Function]:
    """Register a composite strategy (draw, sides) -> Example as the case of an operation."""

    def register(function: Function) -> Function:
        CASES[name] = st.composite(function)
        return function

    return register


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


def with_zeros(shape: draws.ShapeLike) -> SearchStrategy[Array]:
    some = draws.arrays(shape).flatmap(lambda x: draws.masks(x.shape).map(lambda m: np.where(m, x, 0)))
    return draws.arrays(shape) | some


def distinct_magnitudes(shape: draws.ShapeLike) -> SearchStrategy[Array]:
    apart = draws.separated(shape).map(lambda x: x + 0.2 - np.min(x, initial=0))
    return apart.flatmap(lambda x: draws.masks(x.shape).map(lambda m: np.where(m, x, -x)))


def np_logsumexp(x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    with np.errstate(divide="ignore"):  # the logarithm of an empty sum is −inf
        return np.asarray(np.log(np.sum(np.exp(x), axis, keepdims=keepdims)))


def np_softmax(x: Array, axis: int) -> Array:
    return np.asarray(np.exp(x) / np.sum(np.exp(x), axis, keepdims=True))


def np_sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


np_erf = np.vectorize(math.erf, otypes=[float])
np_ndtr, np_ndtri = (np.vectorize(f, otypes=[float]) for f in (NormalDist().cdf, NormalDist().inv_cdf))


def np_gated_activation(x: Array) -> Array:
    a, b = np.split(x, 2, -1)
    return np.asarray(np.tanh(a) * np_sigmoid(b))


CASES |= {
    "abs": unary(ag.abs, np.abs, away_from_zero),
    "add": binary(ag.add, np.add),
    "astype": unary(lambda x: ag.astype(x, x.dtype), np.array),  # casts are tested in test_primitives.py
    "cos": unary(ag.cos, np.cos),
    "divide": binary(ag.divide, np.divide, draws.arrays, away_from_zero),
    "erf": unary(ag.erf, np_erf),
    "exp": unary(ag.exp, np.exp),
    "expm1": unary(ag.expm1, np.expm1),
    "inv": matrices(ag.inv, np.linalg.inv),
    "leaky_relu": unary(lambda x: ag.leaky_relu(x, 0.2), lambda x: np.where(x > 0, x, 0.2 * x), away_from_zero),
    "log": unary(ag.log, np.log, positive),
    "log1p": unary(ag.log1p, np.log1p, positive),
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
    # Doubled, because the derivative test adds Σ x², and (1 − x²) + x² would be constant.
    "one_minus_square": unary(lambda x: 2 * ag.one_minus_square(x), lambda x: 2 - 2 * x**2),
    "power": binary(ag.power, np.power, positive, draws.arrays),
    "prod": reducing(ag.prod, np.prod, with_zeros),
    "relu": unary(ag.relu, lambda x: np.maximum(x, 0), away_from_zero),
    "sigmoid": unary(ag.sigmoid, np_sigmoid),
    "sin": unary(ag.sin, np.sin),
    "softmax": along_axis(ag.softmax, np_softmax),
    "softplus": unary(ag.softplus, lambda x: np.log(1 + np.exp(x))),
    "sqrt": unary(ag.sqrt, np.sqrt, positive),
    "subtract": binary(ag.subtract, np.subtract),
    "sum": reducing(ag.sum, np.sum),
    "tanh": unary(ag.tanh, np.tanh),
}


def over_axis(f: Function, numpy: Function, values: Values = draws.arrays) -> Case:
    """Operations whose axis may be None: they flatten x."""

    @st.composite
    def strategy(draw: DrawFn, sides: Sides) -> Example:
        x = draw(values(draws.shapes(sides=sides)))
        axis = draw(st.none() | st.integers(-x.ndim, x.ndim - 1)) if x.ndim else None
        return Example(lambda t: f(t, axis), lambda a: np.asarray(numpy(a, axis)), (x,))

    return strategy


CASES |= {
    "cumprod": over_axis(ag.cumprod, np.cumprod, with_zeros),
    "cumsum": over_axis(ag.cumsum, np.cumsum),
    "sort": over_axis(ag.sort, np.sort, draws.separated),
}


def deviation(f: Function, numpy: Function) -> Case:
    @st.composite
    def strategy(draw: DrawFn, sides: Sides) -> Example:
        x = draw(draws.separated(draws.shapes(sides=sides)))
        axis, keepdims = draw(draws.axes_of(x.ndim)), draw(st.booleans())
        n = np.sum(np.ones(x.shape), axis).max(initial=0)
        ddof = draw(st.sampled_from([0, 1, 0.5])) if n > 1 else 0
        return Example(
            lambda t: f(t, axis, ddof, keepdims), lambda a: numpy(a, axis, ddof=ddof, keepdims=keepdims), (x,)
        )

    return strategy


CASES |= {"std": deviation(ag.std, np.std), "var": deviation(ag.var, np.var)}


@case("norm")
def _(draw: DrawFn, sides: Sides) -> Example:
    x = draw(distinct_magnitudes(draws.shapes(sides=sides)))
    axis, keepdims = draw(draws.axes_of(x.ndim)), draw(st.booleans())
    number = x.ndim if axis is None else np.size(axis)
    orders: dict[int, list[Any]] = {1: [None, 1, 2, 3, 0.5, np.inf, -np.inf], 2: [None, "fro"]}
    ord = draw(st.sampled_from(orders.get(number, [None])))

    def numpy(a: Array) -> Array:
        if ord is None:  # NumPy has norms over one or two axes only
            return np.asarray(np.sqrt(np.sum(np.square(a, dtype=np.float64), axis, keepdims=keepdims)))
        single = axis[0] if isinstance(axis, tuple) and len(axis) == 1 else axis
        return np.asarray(np.linalg.norm(a, ord, single, keepdims))

    return Example(lambda t: ag.norm(t, ord, axis, keepdims), numpy, (x,))


@case("cholesky")
def _(draw: DrawFn, sides: Sides) -> Example:
    n, upper = draw(sides), draw(st.booleans())
    shape = (*draw(draws.shapes(0, 1, sides)), n, n)
    root, other = draw(draws.regular_matrices(shape)), draw(draws.arrays(shape))
    x = root @ root.swapaxes(-1, -2) + other - other.swapaxes(-1, -2)  # only the symmetric part has an effect

    def numpy(a: Array) -> Array:
        y = np.linalg.cholesky((a + a.swapaxes(-1, -2)) / 2)
        return np.asarray(y.swapaxes(-1, -2) if upper else y)

    return Example(lambda t: ag.cholesky(t, upper), numpy, (x,))


@case("einsum")
def _(draw: DrawFn, sides: Sides) -> Example:
    """One to three operands with up to three letters each, repeated or not, and axes of an ellipsis."""
    number = draw(st.integers(1, 3))
    size = {letter: draw(sides) for letter in "abc"}
    lead = draw(draws.broadcastable_shapes(number, 2, sides)) if draw(st.booleans()) else [None] * number
    terms, xs = [], []
    for shape in lead:
        letters = draw(st.lists(st.sampled_from("abc"), max_size=3))
        at = draw(st.integers(0, len(letters)))
        dots, axes = ("", ()) if shape is None else ("...", shape)
        terms.append("".join([*letters[:at], dots, *letters[at:]]))
        sizes = [size[letter] for letter in letters]
        # Small enough that the rounding errors of the sums are below the tolerance.
        xs.append(draw(draws.arrays((*sizes[:at], *axes, *sizes[at:]), -0.5, 0.5)))
    subscripts = ",".join(terms)
    if draw(st.booleans()):
        used = sorted({*subscripts} & {*"abc"})
        output = draw(st.permutations(used))[: draw(st.integers(0, len(used)))]
        subscripts += "->" + "".join(output) + ("..." if "." in subscripts else "")
    return Example(partial(ag.einsum, subscripts), partial(np.einsum, subscripts), tuple(xs))


@case("squeeze")
def _(draw: DrawFn, sides: Sides) -> Example:
    x = draw(draws.arrays(draws.shapes(sides=sides | st.just(1))))
    ones = [i for i, n in enumerate(x.shape) if n == 1]
    axis = draw(st.none() | st.sets(st.sampled_from(ones)).map(tuple) | st.sampled_from(ones)) if ones else None
    return Example(lambda t: ag.squeeze(t, axis), lambda a: np.squeeze(a, axis), (x,))


@case("repeat")
def _(draw: DrawFn, sides: Sides) -> Example:
    x = draw(draws.arrays(draws.shapes(sides=sides)))
    axis = draw(st.none() | st.integers(-x.ndim, x.ndim - 1)) if x.ndim else None
    n = x.size if axis is None else x.shape[axis]
    numbers = st.integers(0, 3)
    repeats = draw(numbers | st.lists(numbers, min_size=n, max_size=n))
    return Example(lambda t: ag.repeat(t, repeats, axis), lambda a: np.repeat(a, repeats, axis), (x,))


def extremum(f: Function, numpy: Function) -> Case:
    @st.composite
    def strategy(draw: DrawFn, sides: Sides) -> Example:
        a, b = draw(draws.broadcastable_shapes(sides=sides))
        together = draw(draws.separated((math.prod(a) + math.prod(b),)))  # no two values are close
        first, second = np.split(together, [math.prod(a)])
        return Example(f, numpy, (first.reshape(a), second.reshape(b)))

    return strategy


CASES["maximum"] = extremum(ag.maximum, np.maximum)
CASES["minimum"] = extremum(ag.minimum, np.minimum)


@case("clip")
def _(draw: DrawFn, sides: Sides) -> Example:
    shapes = draw(draws.broadcastable_shapes(3, sides=sides))
    sizes = [math.prod(shape) for shape in shapes]
    apart = np.split(draw(draws.separated((sum(sizes),))), np.cumsum(sizes)[:-1])  # no two values are close
    xs = tuple(values.reshape(shape) for values, shape in zip(apart, shapes, strict=True))
    return Example(ag.clip, np.clip, xs)


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


@case("categorical_log_prob")
def _(draw: DrawFn, sides: Sides) -> Example:
    n, levels = draw(sides), draw(st.integers(1, 5))
    k = np.array(draw(st.lists(st.integers(0, levels - 1), min_size=n, max_size=n)), np.int64)
    return Example(
        lambda x: ag.categorical_log_prob(x, k),
        lambda x: np.log(np_softmax(x, -1))[np.arange(n), k],
        (draw(draws.arrays((n, levels))),),
    )


@case("mixture_cdf")
def _(draw: DrawFn, sides: Sides) -> Example:
    size = draw(st.integers(1, 3))
    x = draw(draws.arrays(draw(draws.shapes(0, 2, sides))))
    theta_per_entry = draw(st.booleans())

    def numpy(x: Array, theta: Array) -> Array:
        logits, means, log_scales = np.split(theta, 3, -1)
        weights, a = np_softmax(logits, -1), (x[..., None] - means) / np.exp(log_scales)
        density = np_sigmoid(a) * np_sigmoid(-a)
        logit = np.log(np.sum(weights * np_sigmoid(a), -1)) - np.log(np.sum(weights * np_sigmoid(-a), -1))
        return np.stack([logit, np.log(np.sum(weights * density / np.exp(log_scales), -1))])

    theta = draw(draws.arrays((*(x.shape if theta_per_entry else ()), 3 * size)))
    # Shrink the log-scales: narrow components are too sharp for finite differences.
    theta = theta * np.repeat([1, 1, 0.3], size)
    return Example(ag.mixture_cdf, numpy, (x, theta))


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


@case("mlp")
def _(draw: DrawFn, sides: Sides) -> Example:
    sizes = [draw(sides) for _ in range(draw(st.integers(2, 4)))]
    weights = [draw(draws.arrays(shape)) for shape in pairwise(sizes)]
    biases = [draw(draws.arrays((n,))) for n in sizes[1:]]
    n = len(weights)

    def numpy(x: Array, *parameters: Array) -> Array:
        for w, b in zip(parameters[: n - 1], parameters[n:-1], strict=True):
            x = np.tanh(x @ w + b)
        return np.asarray(x @ parameters[n - 1] + parameters[-1])

    x = draw(draws.arrays((*draw(draws.shapes(0, 2, sides)), sizes[0])))
    return Example(lambda x, *ts: ag.mlp(x, ts[:n], ts[n:]), numpy, (x, *weights, *biases))


@case("linear")
def _(draw: DrawFn, sides: Sides) -> Example:
    lead, n, m = draw(draws.shapes(0, 2, sides)), draw(sides), draw(sides)
    x, w, b = (draw(draws.arrays(shape)) for shape in ((*lead, n), (n, m), (m,)))
    kind = draw(st.sampled_from(["affine", "residual", "relu"]))
    if kind == "affine":
        return Example(ag.linear, lambda x, w, b: x @ w + b, (x, w, b))
    if kind == "residual":
        y_shape = (*lead, m)
        shape = draw(st.sampled_from([y_shape, (*[1] * len(lead), m), (m,), (*lead, 1), ()]))
        residual = draw(draws.arrays(shape))
        function = lambda x, w, b, residual: ag.linear(x, w, b, residual=residual)
        return Example(function, lambda x, w, b, residual: residual + x @ w + b, (x, w, b, residual))
    signs = np.where((np.arange(m) > 0) & (b < 0), -1, 1)  # the first unit stays active
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
    """Index expressions for an array of this shape: slices, integers, None, ...; integer arrays with repeats; masks."""
    basic: SearchStrategy[Any] = hnp.basic_indices(shape, allow_newaxis=True)
    if not shape or 0 in shape:
        return basic
    indices = hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=3))
    return basic | indices | draws.masks(shape)


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


def indices_in(draw: DrawFn, shape: Shape, axis: int) -> Array:
    """Draw indices along an axis, for take_along_axis and put_along_axis."""
    size = list(shape)
    size[axis] = draw(st.integers(1, 3)) if shape[axis] else 0
    return draw(draws.rngs()).integers(0, max(shape[axis], 1), size)


@case("take_along_axis")
def _(draw: DrawFn, sides: Sides) -> Example:
    x = draw(draws.arrays(draws.shapes(1, sides=sides)))
    axis = draw(st.integers(-x.ndim, x.ndim - 1))
    indices = indices_in(draw, x.shape, axis)
    return Example(lambda t: ag.take_along_axis(t, indices, axis), lambda a: np.take_along_axis(a, indices, axis), (x,))


@case("put_along_axis")
def _(draw: DrawFn, sides: Sides) -> Example:
    shape = draw(draws.shapes(1, sides=sides))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    indices = indices_in(draw, shape, axis)

    def numpy(a: Array) -> Array:
        y = np.zeros(shape)
        for index in np.ndindex(a.shape):
            target = list(index)
            target[axis] = indices[index]
            y[tuple(target)] += a[index]
        return y

    x = draw(draws.arrays(indices.shape))
    return Example(lambda t: ag.put_along_axis(t, indices, axis, shape), numpy, (x,))


@case("pad")
def _(draw: DrawFn, sides: Sides) -> Example:
    x = draw(draws.arrays(draws.shapes(1, 2, sides)))
    widths = [(draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in x.shape]
    return Example(lambda t: ag.pad(t, widths), lambda a: np.pad(a, widths), (x,))


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
    # Concatenate the parts with different weights, so that swapped parts change the result.
    return Example(
        lambda t: ag.concatenate([i * part for i, part in enumerate(ag.split(t, sections, -1), 1)], -1),
        lambda a: np.concatenate([i * part for i, part in enumerate(np.split(a, sections, -1), 1)], -1),
        (x,),
    )


def convolution(name: str) -> Case:
    """Return the case of a convolution: draw x, w and y of compatible shapes, and use the two that it takes."""

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
        }[name]

    return strategy


CASES |= {name: convolution(name) for name in ("conv", "conv_transpose", "conv_weight")}
