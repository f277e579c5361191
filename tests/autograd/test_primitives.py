"""Property tests of every operation in helpers/operations.py, and the conventions and errors of single operations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.operations import CASES, COMPOSED, Example, Function
from hypothesis import assume, given
from hypothesis import strategies as st

import tinygen.autograd as ag
from tinygen.autograd import PRIMITIVES, Array, Tensor, grad
from tinygen.testing import check_grads
from tinygen.testing import strategies as draws

SIDES = st.integers(1, 3)
every_case = pytest.mark.parametrize("name", CASES)


def gradients_of(example: Example, xs: tuple[Array, ...], cotangent: Array) -> list[Array]:
    tensors = [Tensor(x) for x in xs]
    return [g.value for g in grad(example.f(*tensors), tensors, cotangent)]


def test_every_operation_has_a_case() -> None:
    assert set(CASES) == set(PRIMITIVES) | COMPOSED


@every_case
@given(data=st.data())
def test_value_matches_numpy(name: str, data: st.DataObject) -> None:
    example = data.draw(CASES[name](SIDES))
    y, expected = example.f(*map(Tensor, example.xs)), example.numpy(*example.xs)
    assert type(y.value) is np.ndarray
    assert y.dtype == np.float64
    assert y.shape == np.shape(expected)
    np.testing.assert_allclose(y.value, expected, rtol=1e-12, atol=1e-14)


@every_case
@given(data=st.data(), rng=draws.rngs())
def test_first_and_second_derivatives_are_correct(name: str, data: st.DataObject, rng: np.random.Generator) -> None:
    example = data.draw(CASES[name](SIDES))
    assume(example.numpy(*example.xs).size and all(x.size for x in example.xs))

    def f(*xs: Tensor) -> Tensor:
        # check_grads rejects functions that do not depend on their inputs; the squares make every case depend on them,
        # such as softmax of one entry, which is constant.
        return example.f(*xs) + ag.stack([(x * x).sum() for x in xs]).sum()

    check_grads(f, *example.xs, order=2, rng=rng, draws=1)


@every_case
@given(data=st.data(), rng=draws.rngs())
def test_float32_stays_float32(name: str, data: st.DataObject, rng: np.random.Generator) -> None:
    """Derivatives too, within 1e-4 of float64: a few rounding errors of 6e-8 and condition numbers up to 16."""
    example = data.draw(CASES[name](SIDES))
    single = tuple(x.astype(np.float32) for x in example.xs)
    y = example.f(*map(Tensor, single))
    assert y.dtype == np.float32
    cotangent = rng.normal(size=y.shape).astype(np.float32)
    # Each VJP returns float32, so no intermediate gradient is up-cast.
    assert all(vjp(Tensor(cotangent), y).dtype == np.float32 for _, vjp in y.edges)
    narrow = gradients_of(example, single, cotangent)
    wide = gradients_of(example, tuple(x.astype(np.float64) for x in single), cotangent.astype(np.float64))
    for x, g, expected in zip(single, narrow, wide, strict=True):
        assert g.dtype == np.float32
        assert g.shape == x.shape
        np.testing.assert_allclose(g, expected, rtol=1e-4, atol=1e-4 * np.max(np.abs(expected), initial=0.01))


@every_case
@given(data=st.data(), rng=draws.rngs())
def test_result_does_not_depend_on_memory_layout(name: str, data: st.DataObject, rng: np.random.Generator) -> None:
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


# Operations that, like NumPy's, are undefined for some empty inputs.
REJECTS_EMPTY = {"max", "mean", "min", "norm", "std", "var"}


@every_case
@given(data=st.data())
def test_empty_inputs_match_numpy(name: str, data: st.DataObject) -> None:
    example = data.draw(CASES[name](st.sampled_from([0, 0, 2])))
    try:
        y = example.f(*map(Tensor, example.xs))
    except ValueError:
        assert name in REJECTS_EMPTY
        return
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(y.value, example.numpy(*example.xs), rtol=1e-12, atol=1e-14)
    for x, g in zip(example.xs, gradients_of(example, example.xs, np.ones(y.shape)), strict=True):
        assert g.shape == x.shape


def assert_near(actual: Any, expected: Any, rtol: float) -> None:
    np.testing.assert_allclose(np.asarray(actual), np.asarray(expected), rtol=rtol)


def derivative(f: Callable[[Tensor], Tensor], at: Any) -> Array:
    """Return f′ at each entry of x, for an elementwise operation or a reduction f."""
    x = Tensor(np.array(at, np.float64))
    return grad(f(x).sum(), [x])[0].value


def test_astype_casts_the_cotangent_back() -> None:
    x = Tensor(np.array([1.5, 2.5], np.float32))
    y = ag.astype(x, np.float64)
    assert y.dtype == np.float64
    assert grad(y.sum(), [x])[0].dtype == np.float32


@pytest.mark.parametrize("n", [2, 300])  # by NumPy, and by a kernel
def test_a_python_float_as_residual_keeps_float32(n: int) -> None:
    x = np.ones((n, n), np.float32)
    y = ag.linear(x, x, x[0], residual=0.5)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.value, n + 1.5)


def test_derivatives_at_kinks() -> None:
    np.testing.assert_array_equal(derivative(ag.relu, [-1, 0, 1]), [0, 0, 1])
    np.testing.assert_array_equal(derivative(lambda x: ag.leaky_relu(x, 0.2), [-1, 0, 1]), [0.2, 0.2, 1])
    np.testing.assert_array_equal(derivative(ag.abs, [-2, 0, 2]), [-1, 0, 1])
    np.testing.assert_array_equal(derivative(lambda x: ag.clip(x, -1, 1), [-2, -1, 0, 1, 2]), [0, 1, 1, 1, 0])


@pytest.mark.parametrize("f", [ag.maximum, ag.minimum])
def test_maximum_and_minimum_split_ties_equally(f: Function) -> None:
    a, b = Tensor(np.array([1.0, 2.0])), Tensor(np.array([1.0, 2.0]))
    for g in grad(f(a, b).sum(), [a, b]):
        np.testing.assert_array_equal(g.value, [0.5, 0.5])


def test_a_bound_of_clip_has_the_derivative_where_it_is_the_result() -> None:
    x, low, high = Tensor([-1.0, 0.5, 2.0, 2.0]), Tensor([0.0, 0.0, 0.0, 3.0]), Tensor([1.0, 1.0, 1.0, 1.0])
    y = ag.clip(x, low, high)  # of the last bounds, the lower is above the upper, which wins
    np.testing.assert_array_equal(y.value, [0, 0.5, 1, 1])
    by_x, by_low, by_high = (g.value.tolist() for g in grad(y.sum(), [x, low, high]))
    assert (by_x, by_low, by_high) == ([0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1])


@pytest.mark.parametrize("bounds", [(None, 1.5), (-1.5, None), (np.array([-1.0, 0, 1]), None)])
def test_clip_without_a_bound(bounds: Any) -> None:
    x = np.array([-2.0, 0.25, 2.0])
    np.testing.assert_array_equal(ag.clip(x, *bounds).value, np.clip(x, *bounds))
    inside = np.clip(x, *bounds) == x
    np.testing.assert_array_equal(derivative(lambda t: ag.clip(t, *bounds), x), inside)


NAN_TO_NAN: dict[str, Function] = {
    "abs": ag.abs,
    "clip": lambda x: ag.clip(x, 0.0, 1.0),
    "clip's bound": lambda x: ag.clip(0.5, 0.0, x),
    "leaky_relu": ag.leaky_relu,
    "max": lambda x: ag.max(x, 0),
    "maximum": lambda x: ag.maximum(x, 1.0),
    "maximum of two NaN": lambda x: ag.maximum(np.nan, x),
    "min": lambda x: ag.min(x, 0),
    "minimum": lambda x: ag.minimum(1.0, x),
    "relu": ag.relu,
    "where": lambda x: ag.where(True, x, 0.0),
}


@pytest.mark.parametrize("name", NAN_TO_NAN)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_cotangent_of_nan_reaches_the_nan(name: str, dtype: type) -> None:
    x = Tensor(np.array([np.nan, 2.0], dtype))
    y = NAN_TO_NAN[name](x)
    assert np.isnan(y.value.flat[0])
    assert grad(y.reshape(-1)[0], [x])[0].value[0] != 0


@pytest.mark.parametrize(
    "widths",
    [0, 1, (1,), (1, 2), [(1, 2)], [[1, 2], [0, 3]], np.array([[1, 2], [0, 3]]), {0: (1, 2)}, {-1: 1, 0: (0, 2)}],
)
def test_pad_takes_the_widths_of_numpy(widths: Any) -> None:
    x, weights = np.arange(6.0).reshape(2, 3), np.random.default_rng(0)
    full = widths
    if isinstance(widths, dict):  # np.pad accepts a dict since NumPy 2.2
        full = [(0, 0), (0, 0)]
        for axis, width in widths.items():
            full[axis] = (width, width) if isinstance(width, int) else width
    expected = np.pad(x, full)
    np.testing.assert_array_equal(ag.pad(x, widths).value, expected)
    g = weights.standard_normal(expected.shape)
    t = Tensor(x)
    by_x = grad(ag.pad(t, widths), [t], g)[0].value
    assert np.sum(by_x * x) == pytest.approx(np.sum(g * expected), rel=1e-14)  # the adjoint of a linear map


@pytest.mark.parametrize("widths", [0, 1, (1, 2)])
def test_pad_of_a_scalar_is_the_scalar(widths: Any) -> None:
    x = Tensor(2.0)
    assert ag.pad(x, widths).item() == 2
    assert grad(ag.pad(x, widths), [x])[0].item() == 1


@pytest.mark.parametrize("number", [3e38, 1e-44])
def test_cholesky_of_the_largest_and_smallest_numbers(number: float) -> None:
    x = np.array([[number]], np.float32)
    np.testing.assert_allclose(ag.cholesky(x).value, np.sqrt(x), rtol=1e-6)


@pytest.mark.parametrize("widths", [-1, 0.5, (1, 2, 3), None, {2: 1}, Tensor([1.0, 2.0])])
def test_pad_rejects_other_widths_by_name(widths: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r"^pad: "):
        ag.pad(np.zeros((2, 3)), widths)


@pytest.mark.parametrize("join", [ag.concatenate, ag.stack])
def test_a_generator_of_tensors_is_joined(join: Function) -> None:
    tensors = [Tensor([1.0, 2.0]), Tensor([3.0, 4.0])]
    y = join(t for t in tensors)
    np.testing.assert_array_equal(y.value, join(tensors).value)
    assert [g.value.tolist() for g in grad((y * y).sum(), tensors)] == [[2, 4], [6, 8]]


MANY = 3 << 23  # a sequential float32 sum of ones stops at 2²⁴
LEADING_SUMS: dict[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda x: ag.sum(x, 0) / MANY,
    "mean": lambda x: ag.mean(x, 0),
    "softmax": lambda x: ag.softmax(x, 0).sum(),
    "logsumexp": lambda x: ag.exp(ag.logsumexp(x, 0) - (1 + math.log(MANY))),
    "log_softmax": lambda x: ag.exp(ag.log_softmax(x, 0)[0] + math.log(MANY)),
    "sum_to": lambda x: ag.sum_to(x, (1, 1)) / MANY,
    "scatter_add": lambda x: ag.scatter_add(x[:, 0], np.zeros(MANY, int), (1,)) / MANY,
}


@pytest.mark.parametrize("name", LEADING_SUMS)
def test_float32_sums_over_the_leading_axis_keep_small_terms(name: str) -> None:
    assert_near(LEADING_SUMS[name](Tensor(np.ones((MANY, 1), np.float32))).value, 1, rtol=1e-5)


def test_float16_mean_and_softmax_of_more_elements_than_float16_counts() -> None:
    x = Tensor(np.ones((70_000, 1), np.float16))
    assert ag.mean(x).item() == 1
    assert_near(grad(ag.mean(x), [x])[0].value, np.float16(1 / 70_000), rtol=0)
    assert_near(ag.softmax(x, 0).value, np.float16(1 / 70_000), rtol=0)
    assert_near(ag.logsumexp(x).item(), 1 + math.log(70_000), rtol=1e-3)  # float16 rounding


def test_max_splits_ties_equally() -> None:
    np.testing.assert_array_equal(derivative(ag.max, [3, 1, 3, 3]), np.array([1, 0, 1, 1]) / 3)
    np.testing.assert_array_equal(derivative(lambda x: ag.max(x, 1), [[2, 2], [0, 1]]), [[0.5, 0.5], [0, 1]])


def test_min_splits_ties_equally() -> None:
    x = Tensor([1.0, 3.0, 1.0])
    np.testing.assert_array_equal(grad(x.min(), [x])[0].value, [0.5, 0, 0.5])


POWERS = [  # a, b, aᵇ, b aᵇ⁻¹, aᵇ ln a; the last is 0 by convention where a = 0
    (0.0, 0.0, 1.0, 0.0, 0.0),
    (0.0, 1.0, 0.0, 1.0, 0.0),
    (0.0, 2.0, 0.0, 0.0, 0.0),
    (2.0, 3.0, 8.0, 12.0, 8 * math.log(2)),
    (2.0, -1.0, 0.5, -0.25, 0.5 * math.log(2)),
    (4.0, 0.5, 2.0, 0.25, 2 * math.log(4)),
]


@pytest.mark.parametrize(("a", "b", "y", "by_a", "by_b"), POWERS)
def test_power_and_its_derivatives(a: float, b: float, y: float, by_a: float, by_b: float) -> None:
    base, exponent = Tensor(a), Tensor(b)
    result = base**exponent
    gradients = [g.item() for g in grad(result, [base, exponent])]
    assert_near([result.item(), *gradients], [y, by_a, by_b], rtol=1e-15)
    # With a plain number as the base or the exponent.
    assert_near([(base**b).item(), derivative(lambda x: x**b, a)], [y, by_a], rtol=1e-15)
    if float(b).is_integer():
        assert_near(derivative(lambda x: x ** int(b), a), by_a, rtol=1e-15)
    if a:
        assert_near([(a**exponent).item(), derivative(lambda x: a**x, b)], [y, by_b], rtol=1e-15)


@pytest.mark.parametrize("dtype", ["?", "u1", "i1", "u8", "i8", "f4"])
def test_power_with_exponents_of_any_dtype(dtype: str) -> None:
    a, b = Tensor(np.array([3, 0, -2, 0.5], np.float32)), np.array([0, 0, 1, 1], dtype)
    first = grad((a**b).sum(), [a], create_graph=True)[0]
    np.testing.assert_array_equal(first.value, [0, 0, 1, 1])
    np.testing.assert_array_equal(grad(first.sum(), [a])[0].value, 0)
    for zero in (b[0], b[:1]):
        np.testing.assert_array_equal(grad((a**zero).sum(), [a])[0].value, 0)


def test_power_of_negative_base() -> None:
    np.testing.assert_array_equal(derivative(lambda x: x**2, [-3, 0, 3]), [-6, 0, 6])
    np.testing.assert_array_equal(derivative(lambda x: x**3, [-2]), [12])
    np.testing.assert_array_equal(derivative(lambda x: x ** np.array([2.0, 3.0]), [-2, -2]), [-4, 12])


def test_power_mixed_derivative_at_exponent_zero() -> None:
    """∂²(aᵇ)/∂a∂b = aᵇ⁻¹ (1 + b ln a) is 1/a at b = 0; the first derivative is 0 there, also at a = 0."""
    a, b = Tensor([2.0, 0.0]), Tensor([0.0, 0.0])
    (by_a,) = grad(a**b, [a], np.ones(2), create_graph=True)
    np.testing.assert_array_equal(by_a.value, [0, 0])
    assert grad(by_a[0], [b])[0].value[0] == 0.5


STABLE: dict[str, tuple[Any, ...]] = {  # f, f(−10⁴), f(10⁴), f′(−10⁴), f′(10⁴)
    "sigmoid": (ag.sigmoid, 0.0, 1.0, 0.0, 0.0),
    "softplus": (ag.softplus, 0.0, 1e4, 0.0, 1.0),
    "log_sigmoid": (ag.log_sigmoid, -1e4, 0.0, 1.0, 0.0),
    "tanh": (ag.tanh, -1.0, 1.0, 0.0, 0.0),
}


@pytest.mark.parametrize("name", STABLE)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_overflow_for_large_inputs(name: str, dtype: type) -> None:
    """Pytest turns warnings into errors, so an intermediate overflow fails the test too."""
    f: Function = STABLE[name][0]
    expected = STABLE[name][1:]
    x = Tensor(np.array([-1e4, 1e4], dtype))
    y = f(x)
    assert_near([*y.value, *grad(y.sum(), [x])[0].value], expected, rtol=1e-6)  # float32 rounding


def test_tails_keep_relative_precision() -> None:
    """Computing 1 − σ or log(1 + small) would lose the relative precision of small results."""
    assert_near(ag.sigmoid(Tensor(-40.0)).item(), math.exp(-40), rtol=1e-14)
    assert_near(ag.softplus(Tensor(-40.0)).item(), math.exp(-40), rtol=1e-14)
    assert_near(ag.log_sigmoid(Tensor(40.0)).item(), -math.exp(-40), rtol=1e-14)


def test_sigmoid_derivatives_keep_relative_precision_in_both_tails() -> None:
    """For large |x|, σ′(x) = e^−|x| and σ″(x) = −sign(x) e^−|x|, also where σ rounds to 1 in float32."""
    x = Tensor(np.array([-20.0, 20.0], np.float32))
    (first,) = grad(ag.sigmoid(x).sum(), [x], create_graph=True)
    assert_near(first.value, [math.exp(-20)] * 2, rtol=1e-6)  # float32 rounding
    assert_near(grad(first.sum(), [x])[0].value, [math.exp(-20), -math.exp(-20)], rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_family_is_stable_for_large_inputs(dtype: type) -> None:
    x = Tensor(np.array([[-1e4, 0, 1e4], [1e4, 1e4, -1e4]], dtype))
    half = math.log(2)
    assert_near(ag.logsumexp(x, 1).value, [1e4, 1e4 + half], rtol=1e-6)  # float32 rounding
    assert_near(ag.softmax(x).value, [[0, 0, 1], [0.5, 0.5, 0]], rtol=1e-6)  # float32 rounding
    assert_near(ag.log_softmax(x).value, [[-2e4, -1e4, 0], [-half, -half, -2e4 - half]], rtol=1e-6)
    assert_near(grad(ag.logsumexp(x, 1).sum(), [x])[0].value, [[0, 0, 1], [0.5, 0.5, 0]], rtol=1e-6)
    for f in (ag.softmax, ag.log_softmax):
        assert np.all(np.isfinite(grad(f(x)[:, 0].sum(), [x])[0].value))


def test_minus_infinity_logit_is_probability_zero() -> None:
    x = Tensor(np.array([0.0, -np.inf]))
    np.testing.assert_array_equal(derivative(ag.logsumexp, x.value), [1, 0])
    np.testing.assert_array_equal(ag.softmax(x).value, [1, 0])
    np.testing.assert_array_equal(ag.log_softmax(x).value, [0, -np.inf])
    assert ag.logsumexp(Tensor(np.array([-np.inf, -np.inf]))).item() == -np.inf
    assert ag.logsumexp(Tensor(np.array([np.inf, 0.0]))).item() == np.inf
    nothing = np.full((1, 2), -np.inf)
    for f in (ag.logsumexp, lambda x: ag.logsumexp(x, 1), ag.softmax):
        np.testing.assert_array_equal(derivative(f, nothing), [[0, 0]])


@pytest.mark.parametrize("f", [ag.softmax, ag.log_softmax, ag.logsumexp])
def test_softmax_family_promotes_integers(f: Function) -> None:
    x = np.array([[1, 2, 3]])
    np.testing.assert_array_equal(f(Tensor(x)).value, f(Tensor(x.astype(np.float64))).value)


@pytest.mark.parametrize("name", sorted(set(CASES) - {"cholesky", "inv", "solve", "logabsdet"}))
@given(data=st.data())
def test_nan_propagates_as_in_numpy(name: str, data: st.DataObject) -> None:
    """Matrix decompositions are excluded: for NaN, LAPACK may raise or return NaN in any entry."""
    example = data.draw(CASES[name](SIDES))
    x = example.xs[0]
    assume(x.size)
    x.flat[data.draw(st.integers(0, x.size - 1))] = np.nan
    with np.errstate(invalid="ignore"):
        y, expected = example.f(*map(Tensor, example.xs)).value, example.numpy(*example.xs)
    if not name.startswith("conv"):
        np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    else:  # the oracle's dense sum also multiplies NaN by 0 at positions that the taps do not reach
        assert np.isnan(y).sum() <= np.isnan(expected).sum()


ZEROS, INDICES = np.zeros, np.zeros((3, 1), int)
ERRORS: dict[str, Callable[[], object]] = {
    "add: got shapes (2,) and (3,): ": lambda: Tensor(ZEROS(2)) + ZEROS(3),
    "maximum: got shapes (2,) and (3,): ": lambda: ag.maximum(Tensor(ZEROS(2)), ZEROS(3)),
    "power: got shapes (2,) and (3,): ": lambda: Tensor(ZEROS(2)) ** ZEROS(3),
    "where: got shapes (2,) and (3,) and (): ": lambda: ag.where(ZEROS(2) > 0, Tensor(ZEROS(3)), 0.0),
    "matmul: expected shapes (…, n, k) and (…, k, m), got (2, 3) and (2, 3)": lambda: (
        Tensor(ZEROS((2, 3))) @ ZEROS((2, 3))
    ),
    "matmul: got shapes (2, 3, 3) and (4, 3, 3): ": lambda: Tensor(ZEROS((2, 3, 3))) @ ZEROS((4, 3, 3)),
    "linear: x: expected shapes (…, n), (n, m) and (m,) of x, w and b, got (2, 3), (4, 5) and (5,)": lambda: ag.linear(
        Tensor(ZEROS((2, 3))), ZEROS((4, 5)), ZEROS(5)
    ),
    "inv: got shape (2, 3): ": lambda: ag.inv(Tensor(ZEROS((2, 3)))),
    "solve: expected shapes (…, n, n) and (…, n, m), got (2, 2) and (3, 1)": lambda: ag.solve(
        Tensor(ZEROS((2, 2))), ZEROS((3, 1))
    ),
    "solve: got shapes (2, 2) and (2, 1): Singular": lambda: ag.solve(Tensor(ZEROS((2, 2))), ZEROS((2, 1))),
    "logabsdet: expected invertible matrices, got a singular one in x (2, 2)": lambda: ag.logabsdet(ZEROS((2, 2))),
    "cholesky: expected shape (…, n, n), got (2, 3)": lambda: ag.cholesky(ZEROS((2, 3))),
    "cholesky: got shape (2, 2): Matrix is not positive definite": lambda: ag.cholesky(ZEROS((2, 2))),
    "squeeze: got shape (2, 1) with (0,): ": lambda: Tensor(ZEROS((2, 1))).squeeze(0),
    "repeat: got shape (3,) with [1, 2]: ": lambda: Tensor(ZEROS(3)).repeat([1, 2], 0),
    "repeat: got shape (3,) with -1: ": lambda: Tensor(ZEROS(3)).repeat(-1),
    "var: expected more than ddof = 2 elements along axis 0, got shape (2, 3)": lambda: Tensor(ZEROS((2, 3))).var(0, 2),
    "std: expected more than ddof = 0 elements along axis None, got shape (0,)": lambda: Tensor(ZEROS(0)).std(),
    "above 0 or −inf over one axis, got 2 over 2 axes": lambda: ag.norm(ZEROS((2, 2)), 2),
    "above 0 or −inf over one axis, got 0 over 1 axes": lambda: ag.norm(ZEROS(2), 0),
    "above 0 or −inf over one axis, got 'nuc' over 2 axes": lambda: ag.norm(ZEROS((2, 2)), "nuc"),
    "reshape: got shape (6,) with (4, 2): ": lambda: Tensor(ZEROS(6)).reshape(4, 2),
    "transpose: got shape (2, 3) with (0, 0): ": lambda: Tensor(ZEROS((2, 3))).transpose(0, 0),
    "transpose: got shape (2, 3) with (0, 2): ": lambda: Tensor(ZEROS((2, 3))).transpose(0, 2),
    "broadcast_to: got shape (2,) with (3,): ": lambda: ag.broadcast_to(Tensor(ZEROS(2)), (3,)),
    "clip: got shapes (2,) and () and (3,): ": lambda: ag.clip(Tensor(ZEROS(2)), 0.0, ZEROS(3)),
    "pad: widths: got shape (3, 2) with (1, 2): ": lambda: ag.pad(Tensor(ZEROS(2)), [(1, 2), (3, 4), (5, 6)]),
    "take_along_axis: indices: expected shape (1, 4) except along axis 1, got (3, 1)": lambda: ag.take_along_axis(
        Tensor(ZEROS((1, 4))), INDICES, 1
    ),
    "put_along_axis: indices: expected shape (1, 4) except along axis 1, got (3, 1)": lambda: ag.put_along_axis(
        Tensor(ZEROS((3, 1))), INDICES, 1, (1, 4)
    ),
    "put_along_axis: x: expected the shape of indices, (3, 1), got (1, 1)": lambda: ag.put_along_axis(
        Tensor(ZEROS((1, 1))), INDICES, 1, (3, 4)
    ),
    "sum_to: shape: expected one that broadcasts to that of x, (2,), got (3,)": lambda: ag.sum_to(
        Tensor(ZEROS(2)), (3,)
    ),
    "concatenate: got shapes (2, 1) and (3, 2): ": lambda: ag.concatenate([Tensor(ZEROS((2, 1))), ZEROS((3, 2))]),
    "stack: tensors: expected one or more of equal shape, got": lambda: ag.stack([Tensor(ZEROS(2)), ZEROS(3)]),
    "split: sections: expected a divisor of 5, the length of axis 0, got 2": lambda: ag.split(Tensor(ZEROS(5)), 2),
    "split: sections: expected ascending indices from 0 to 5, got [4, 2]": lambda: ag.split(Tensor(ZEROS(5)), [4, 2]),
    "mean: expected at least one element along axis 0, got shape (0, 2)": lambda: ag.mean(Tensor(ZEROS((0, 2))), 0),
    "bernoulli_log_prob: expected logits (N, D) and k (N, D), got (2, 3) and (3,)": lambda: ag.bernoulli_log_prob(
        Tensor(ZEROS((2, 3))), ZEROS(3)
    ),
    "categorical_log_prob: expected logits (N, K), K ≥ 1, and k (N,), got (2, 3) and (3,)": lambda: (
        ag.categorical_log_prob(Tensor(ZEROS((2, 3))), ZEROS(3))
    ),
    "categorical_log_prob: expected logits (N, K), K ≥ 1, and k (N,), got (0, 0) and (0,)": lambda: (
        ag.categorical_log_prob(ZEROS((0, 0)), ZEROS(0))
    ),
    "categorical_log_prob: k: expected integers 0…2, got int64 from 1 to 3": lambda: ag.categorical_log_prob(
        Tensor(ZEROS((2, 3))), np.array([1, 3])
    ),
    "gated_activation: expected an even last axis, got shape (3,)": lambda: ag.gated_activation(Tensor(ZEROS(3))),
    "mlp: x: expected shape (…, 4) for weights (4, 5), got (2, 3)": lambda: ag.mlp(
        Tensor(ZEROS((2, 3))), [ZEROS((4, 5))], [ZEROS(5)]
    ),
    "mlp: weights[1]: expected shape (5, m), got (4, 3)": lambda: ag.mlp(
        ZEROS((2, 4)), [ZEROS((4, 5)), ZEROS((4, 3))], [ZEROS(5), ZEROS(3)]
    ),
    "mlp: biases[0]: expected shape (5,), got (4,)": lambda: ag.mlp(ZEROS((2, 4)), [ZEROS((4, 5))], [ZEROS(4)]),
    "mlp: weights and biases: expected the same number, at least one, got 1 and 0": lambda: ag.mlp(
        ZEROS((2, 4)), [ZEROS((4, 5))], []
    ),
    "lstm: expected x (N, T, 4H) and u (H, 4H), got (2, 3, 4) and (2, 8)": lambda: ag.lstm(
        ZEROS((2, 3, 4)), ZEROS((2, 8))
    ),
}


@pytest.mark.parametrize("message", ERRORS)
def test_errors_name_the_operation_and_the_shapes(message: str) -> None:
    with pytest.raises(ValueError) as caught:
        ERRORS[message]()
    assert message in str(caught.value)


def test_index_out_of_bounds_raises_index_error() -> None:
    with pytest.raises(IndexError, match=r"index: key: got shape \(3,\) with 5: index 5 is out of bounds"):
        Tensor(np.zeros(3))[5]


def test_indexing_with_a_tensor_raises() -> None:
    with pytest.raises(TypeError, match=r"^index: key: expected integers or arrays, got a Tensor"):
        Tensor(np.zeros(3))[Tensor(np.array([0]))]


def test_astype_rejects_integer_dtypes() -> None:
    with pytest.raises(TypeError, match=r"expected a floating-point dtype, got int64; use x\.value\.astype"):
        ag.astype(Tensor([1.5]), np.int64)


def test_scatter_add_rejects_x_of_the_wrong_shape() -> None:
    for key in (0, slice(2), [0, 1, 1]):
        with pytest.raises(ValueError, match=r"scatter_add: x and key: expected .* and \(1,\)$"):
            ag.scatter_add(Tensor([1.0]), key, (4, 3))


@given(slope=st.floats(-2, 2) | st.floats(0, 1), dtype=st.sampled_from([np.float16, np.float32, np.float64]))
def test_leaky_relu_keeps_positive_numbers_exactly(slope: float, dtype: Any) -> None:
    x = np.array([-3, -0.7, -0.0, 0, 0.7, 3], dtype)
    t = Tensor(x)
    y = ag.leaky_relu(t, slope)
    np.testing.assert_array_equal(y.value, np.where(x > 0, x, x * dtype(slope)), strict=True)
    np.testing.assert_array_equal(grad(y.sum(), [t])[0].value, np.where(x > 0, dtype(1), dtype(slope)), strict=True)
    with pytest.raises(TypeError):
        ag.leaky_relu(t, None)  # type: ignore[arg-type]
