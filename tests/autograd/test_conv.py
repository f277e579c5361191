"""conv, conv_transpose and conv_weight: the relations between them, higher derivatives and options.

Values and first and second derivatives for random taps and strides are tested in test_primitives.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tinygen.autograd import Array, Tensor, conv, conv_transpose, conv_weight, grad, relu, tanh, taps
from tinygen.autograd.taps import Taps
from tinygen.testing import check_adjoint, check_grads
from tinygen.testing import strategies as draws


class Form(NamedTuple):
    """The geometry of a convolution, and arrays x, w and y that fit it."""

    taps: Taps
    stride: int
    x: Array
    w: Array
    y: Array

    @property
    def x_size(self) -> tuple[int, ...]:
        return self.x.shape[1:-1]

    @property
    def y_size(self) -> tuple[int, ...]:
        return self.y.shape[1:-1]

    def conv(self, x: Any, w: Any, residual: Any = 0.0, bias: Any = 0.0, relu: bool = False) -> Tensor:
        return conv(x, w, self.taps, self.stride, self.y_size, residual, bias, relu)

    def conv_transpose(self, y: Any, w: Any, residual: Any = 0.0, bias: Any = 0.0) -> Tensor:
        return conv_transpose(y, w, self.taps, self.stride, self.x_size, residual, bias)

    def conv_weight(self, x: Any, y: Any) -> Tensor:
        return conv_weight(x, y, self.taps, self.stride)


@st.composite
def forms(draw: DrawFn) -> Form:
    offsets, n, c, d = draw(draws.taps()), *(draw(st.integers(1, 3)) for _ in range(3))
    offsets = ((0,) * len(offsets[0]), *(tap for tap in offsets if any(tap)))  # the zero tap always connects x and y
    sizes = [draw(draws.shapes(len(offsets[0]), len(offsets[0]))) for _ in range(2)]
    shapes = (n, *sizes[0], c), (len(offsets), c, d), (n, *sizes[1], d)
    return Form(offsets, draw(st.integers(1, 3)), *(draw(draws.arrays(shape)) for shape in shapes))


@given(form=forms(), rng=draws.rngs())
def test_convolutions_are_adjoint_in_each_argument(form: Form, rng: np.random.Generator) -> None:
    x, w, y = form.x.shape, form.w.shape, form.y.shape
    check_adjoint(lambda u: form.conv(u, form.w), lambda v: form.conv_transpose(v, form.w), x, y, rng=rng)
    check_adjoint(lambda u: form.conv(form.x, u), lambda v: form.conv_weight(form.x, v), w, y, rng=rng)
    check_adjoint(lambda u: form.conv_transpose(form.y, u), lambda v: form.conv_weight(v, form.y), w, x, rng=rng)


@given(form=forms())
def test_convolutions_compute_one_trilinear_form(form: Form) -> None:
    """⟨conv(x, w), y⟩ = ⟨conv_transpose(y, w), x⟩ = ⟨conv_weight(x, y), w⟩."""
    x, w, y = form.x, form.w, form.y
    pairings = [
        np.sum(form.conv(x, w).value * y),
        np.sum(form.conv_transpose(y, w).value * x),
        np.sum(form.conv_weight(x, y).value * w),
    ]
    np.testing.assert_allclose(pairings, pairings[0], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    ("offsets", "stride", "x_size", "y_size"),
    [
        (taps.causal(3), 1, (3, 4), (3, 4)),
        (taps.square(2, 0), 2, (4, 3), (2, 2)),
        (taps.dilated(2, 2), 1, (5,), (5,)),
        (taps.point(), 1, (2, 2), (2, 2)),
    ],
)
def test_third_derivatives_are_correct(
    offsets: Taps, stride: int, x_size: tuple[int, ...], y_size: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    x, w, y = (rng.normal(size=s) for s in ((2, *x_size, 2), (len(offsets), 2, 3), (2, *y_size, 3)))
    form = Form(offsets, stride, x, w, y)
    # Quadratic in each argument, so that the third derivatives are not zero.
    check_grads(lambda x, w: form.conv(x * x, w * w), x, w, order=3, rng=rng, draws=1)
    check_grads(lambda y, w: form.conv_transpose(y * y, w * w), y, w, order=3, rng=rng, draws=1)
    check_grads(lambda x, y: form.conv_weight(x * x, y * y), x, y, order=3, rng=rng, draws=1)


@given(form=forms(), data=st.data(), rng=draws.rngs())
def test_residual_and_bias_are_added(form: Form, data: st.DataObject, rng: np.random.Generator) -> None:
    """The residual has the output's shape or broadcasts to it; both have correct derivatives."""
    cases: list[tuple[Callable[..., Tensor], Array, Array]] = [
        (form.conv, form.x, form.y),
        (form.conv_transpose, form.y, form.x),
    ]
    for f, u, like in cases:
        shape = data.draw(st.sampled_from([like.shape, like.shape[-1:], (len(like), *(1,) * (like.ndim - 1)), ()]))
        residual, bias = rng.normal(size=shape), rng.normal(size=like.shape[-1:])
        y = f(u, form.w, residual)
        np.testing.assert_allclose(y.value, f(u, form.w).value + residual, rtol=1e-12, atol=1e-13)
        check_grads(lambda p, f=f, u=u: f(u, form.w, p), residual, rng=rng, draws=1)
        np.testing.assert_allclose(f(u, form.w, residual, bias).value, y.value + bias, rtol=1e-12, atol=1e-13)
        check_grads(lambda p, b, f=f, u=u: f(u, form.w, p, b), residual, bias, rng=rng, draws=1)


@given(form=forms(), rng=draws.rngs())
def test_relu_option_applies_relu_to_the_output(form: Form, rng: np.random.Generator) -> None:
    far_from_kink = 1 + 2 * np.abs(form.conv(form.x, form.w).value)
    residual = rng.choice([-1, 1], form.y.shape) * far_from_kink
    args = form.x, form.w, residual
    np.testing.assert_allclose(form.conv(*args, relu=True).value, relu(form.conv(*args)).value, rtol=1e-12)
    # The second term depends on all arguments even if relu's output is 0 everywhere.
    check_grads(lambda x, w, p: form.conv(x, w, p, relu=True) + form.conv(x, w, p), *args, order=2, rng=rng, draws=1)


def test_default_output_sizes() -> None:
    x, w = np.ones((1, 5, 4, 1)), np.ones((9, 1, 1))
    assert conv(x, w, taps.square(3)).shape == (1, 5, 4, 1)
    assert conv(x, w, taps.square(3), stride=2).shape == (1, 3, 2, 1)
    assert conv_transpose(x, w, taps.square(3), stride=2).shape == (1, 10, 8, 1)
    assert conv(np.ones((1, 7, 1)), np.ones((2, 1, 1)), taps.dilated(2), 3).shape == (1, 3, 1)


def test_causal_convolution_computed_by_hand() -> None:
    x = np.array([1.0, 10, 100, 1000]).reshape(1, 4, 1)
    w = np.array([2.0, 3]).reshape(2, 1, 1)
    np.testing.assert_array_equal(conv(x, w, taps.dilated(2)).value.ravel(), [3, 32, 320, 3200])
    np.testing.assert_array_equal(conv(x, w, taps.dilated(2, 2)).value.ravel(), [3, 30, 302, 3020])
    np.testing.assert_array_equal(conv(x, w, taps.dilated(2, centre=False)).value.ravel(), [0, 3, 32, 320])


def test_dtypes_follow_numpy_except_for_integers() -> None:
    x, w = np.ones((1, 3, 1), np.float32), np.ones((1, 1, 1))
    assert conv(x, w, taps.point(1)).dtype == np.float64
    assert conv(x, w.astype(np.float32), taps.point(1)).dtype == np.float32
    assert conv(x.astype(np.uint8), w.astype(np.float32), taps.point(1)).dtype == np.float32
    single = w.astype(np.float32)
    for whole in (np.int64, np.bool_):
        assert conv(x.astype(whole), single, taps.point(1)).dtype == np.float32
    third = np.full(1, 1 / 3)
    assert conv(x, single, taps.point(1), residual=third).value[0, 0, 0] == 1 + 1 / 3  # computed in float64
    assert conv_transpose(x, single, taps.point(1), residual=third).dtype == np.float64
    for weak in (2, 2.5, third.astype(np.float32)):
        assert conv(x, single, taps.point(1), residual=weak).dtype == np.float32
    narrow, wide = Tensor(x), Tensor(w)
    gradients = grad(conv(narrow, wide, taps.point(1)).sum(), [narrow, wide])
    assert [g.dtype for g in gradients] == [np.float32, np.float64]


IMAGE, WEIGHT = np.zeros((1, 4, 4, 2)), np.zeros((9, 2, 3))
ERRORS: dict[str, Callable[[], Tensor]] = {
    "conv: w: expected shape (9, 2, C_out) for x (1, 4, 4, 2), got (8, 2, 3)": lambda: conv(
        IMAGE, WEIGHT[1:], taps.square(3)
    ),
    "conv: w: expected shape (9, 2, C_out) for x (1, 4, 4, 2), got (9, 1, 3)": lambda: conv(
        IMAGE, WEIGHT[:, :1], taps.square(3)
    ),
    "conv_transpose: w: expected shape (9, C_in, 2) for y (1, 4, 4, 2), got (9, 2, 3)": lambda: conv_transpose(
        IMAGE, WEIGHT, taps.square(3)
    ),
    "conv: x and taps: expected images (N, H, W, C) and (dy, dx), or": lambda: conv(IMAGE, WEIGHT, taps.dilated(2)),
    "conv: stride: expected an integer from 1 to 2**31, got 0": lambda: conv(IMAGE, WEIGHT, taps.square(3), stride=0),
    "conv: size: expected 2 integers of at least 0, got (4,)": lambda: conv(IMAGE, WEIGHT, taps.square(3), size=(4,)),
    "conv: size: expected 2 integers of at least 0, got (4, -1)": lambda: conv(
        IMAGE, WEIGHT, taps.square(3), size=(4, -1)
    ),
    "residual: expected a shape broadcastable to (1, 4, 4, 3), got (2,)": lambda: conv(
        IMAGE, WEIGHT, taps.square(3), residual=np.zeros(2)
    ),
    "bias: expected shape (3,)": lambda: conv(IMAGE, WEIGHT, taps.square(3), bias=np.zeros(2)),
    "bias: expected shape (3,) and float64, got ()": lambda: conv(IMAGE, WEIGHT, taps.square(3), bias=2.0),
    "conv_weight: x and y: expected the same N and number of axes, got (1, 4, 4, 2) and (2, 4, 4, 3)": lambda: (
        conv_weight(IMAGE, np.zeros((2, 4, 4, 3)), taps.point())
    ),
}


@pytest.mark.parametrize("message", ERRORS)
def test_errors_name_the_operation_and_the_shapes(message: str) -> None:
    with pytest.raises(ValueError) as caught:
        ERRORS[message]()
    assert message in str(caught.value)


def test_rejects_taps_of_unequal_length() -> None:
    x, w = np.ones((1, 5, 2)), np.ones((2, 2, 3))
    with pytest.raises(ValueError, match="taps: expected"):
        conv(x, w, ((0,), (1, 1)))
    with pytest.raises(ValueError, match="taps: expected"):
        conv_weight(x, x, ((0,), (1, 1)))


@pytest.mark.parametrize("last", [conv, conv_transpose, lambda x, w, offsets: x * 3])
def test_gradients_of_several_convolutions_add_up(last: Any, rng: np.random.Generator) -> None:
    offsets, w = taps.causal(3, centre=True), rng.normal(size=(5, 2, 2))

    def f(x: Tensor) -> Tensor:
        # The backward pass reaches the last use of x first; the VJPs of the others accumulate into its gradient.
        first, second = conv(x, w, offsets), conv_transpose(x, w * 2, offsets)
        third: Tensor = last(x, w, offsets)
        return tanh(first) * second + third

    check_grads(f, rng.normal(size=(2, 3, 3, 2)), rng=rng)


@pytest.mark.parametrize("stride", [0.5, 1.0, np.nan, 2**70, None, Tensor(1.0)])
def test_strides_are_integers(stride: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^conv: stride: expected an integer"):
        conv(np.ones((1, 4, 1)), np.ones((1, 1, 1)), ((0,),), stride)


def test_float_taps_are_rejected_and_do_not_reach_the_cache_of_plans() -> None:
    x, w = np.ones((1, 11, 1)), np.ones((2, 1, 1))  # a shape that no other test uses
    floats: Any = ((-1.0,), (0.0,))
    lists: Any = [[-1], [0]]
    with pytest.raises(TypeError, match=r"^conv: taps: expected tuples of integers"):
        conv(x, w, floats)
    np.testing.assert_array_equal(conv(x, w, ((-1,), (0,))).value, conv(x, w, lists).value)
