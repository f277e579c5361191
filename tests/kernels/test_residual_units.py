"""Residual units at one position, against their equations in NumPy, for any number of units, images and channels."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.kernels import AtPosition, BottleneckBlocks, GatedUnits, residual_units
from tinygen.kernels.runtime.pool import count_parts, get_num_threads, set_num_threads

Array = np.ndarray[Any, Any]
# Up to three units, each with two sums of up to 4 · 40 products in another order; fast tanh has errors below 3e-7.
TOLERANCE: dict[Any, Any] = {np.float32: {"rtol": 1e-4, "atol": 1e-4}, np.float64: {"rtol": 1e-10, "atol": 1e-11}}


class Case:
    """Weights of order 1/√n, and the arguments of a call. The rows that units write to do not overlap."""

    def __init__(
        self, kind: str, n: int, units: int, taps: int, sizes: tuple[int, int, int], dtype: Any, seed: int,
        last: bool = False, per_image: bool = True,
    ) -> None:  # fmt: skip
        self.rng, self.dtype, self.kind, self.units, self.n = np.random.default_rng(seed), dtype, kind, units, n
        width, inner, other = sizes
        if kind == "gated":
            f, context = width, 2 * inner
            shapes = [(taps, width, 2 * inner), (1, inner, width), (1, inner, other)]
        else:
            f, context = other, inner
            shapes = [(taps, other, inner), (1, width, other), (1, inner, width)]
        counts = [units, units - (last and kind == "gated"), units]
        self.weights = [
            [(self.draw(*shape) / np.sqrt(shape[0] * shape[1], dtype=dtype), self.draw(shape[2])) for _ in range(count)]
            for shape, count in zip(shapes, counts, strict=True)
        ]
        rows = 2 * n + 3
        self.inputs = self.draw(rows + n * units, f)
        self.places = np.column_stack([self.rng.integers(0, rows - n + 1, (units, taps)), rows + n * np.arange(units)])
        self.places[:, taps // 2] = self.places[:, -1]  # one tap reads the current position
        self.context = self.draw(units, n if per_image else 1, context)
        self.state = [self.draw(n, width)] + ([self.draw(n, other)] if kind == "gated" else [])
        relu = (kind != "gated", kind != "gated", False)
        layers = [[AtPosition(w, b, r) for w, b in group] for group, r in zip(self.weights, relu, strict=True)]
        make: Any = GatedUnits if kind == "gated" else BottleneckBlocks
        self.kernel = make(*layers, taps)

    def draw(self, *shape: int) -> Array:
        return np.asarray(self.rng.standard_normal(shape), self.dtype)

    def call(self, plain: bool = False) -> list[Array]:
        """Return the results and the inputs that were written."""
        inputs, before = self.inputs.copy(), [x.copy() for x in self.state]
        function = self.kernel.plain if plain else self.kernel
        results = function(inputs, self.places, self.n, self.context, *self.state)
        for x, old in zip(self.state, before, strict=True):
            np.testing.assert_array_equal(x, old)  # not modified
        return [*(results if self.kind == "gated" else [results]), inputs]

    def expected(self) -> list[Array]:
        """Compute the same in float64, one image and one tap at a time."""
        inputs, h, *skip = (np.asarray(x, np.float64) for x in (self.inputs, *self.state))
        conv, second, third = ([(w.astype(np.float64), b) for w, b in group] for group in self.weights)
        for u in range(self.units):
            f = h
            if self.kind != "gated":
                f = np.maximum(np.maximum(h, 0) @ second[u][0][0] + second[u][1], 0)
            *reads, write = self.places[u]
            for i in range(self.n):
                inputs[write + i] = f[i]
            y = np.broadcast_to(self.context[u], (self.n, self.context.shape[2])) + conv[u][1]
            y = np.array(
                [
                    y[i] + sum(inputs[read + i] @ w for read, w in zip(reads, conv[u][0], strict=True))
                    for i in range(self.n)
                ]
            ).reshape(y.shape)
            if self.kind != "gated":
                h = h + np.maximum(y, 0) @ third[u][0][0] + third[u][1]
                continue
            a, b = np.split(y, 2, axis=1)
            z = np.tanh(a) / (1 + np.exp(-b))
            skip = [skip[0] + z @ third[u][0][0] + third[u][1]]
            if u < len(second):
                h = h + z @ second[u][0][0] + second[u][1]
        return [h, *skip, inputs]


@given(
    kind=st.sampled_from(["gated", "bottleneck"]),
    n=st.integers(0, 19),
    units=st.integers(1, 3),
    taps=st.integers(1, 4),
    sizes=st.tuples(*[st.integers(1, 40)] * 3),  # one register, two, and several blocks of registers
    dtype=st.sampled_from([np.float32, np.float64]),
    last=st.booleans(),
    per_image=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_kernels_and_plain_forms_match_the_equations(**settings: Any) -> None:
    case = Case(**settings)
    expected = case.expected()
    for results in (case.call(), case.call(plain=True)):
        for result, value in zip(results, expected, strict=True):
            assert result.dtype == case.dtype
            np.testing.assert_allclose(result, value, **TOLERANCE[settings["dtype"]])


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(residual_units, "GRAIN", 1)
    before = get_num_threads()
    set_num_threads(3)
    yield
    set_num_threads(before)


@pytest.mark.parametrize("kind", ["gated", "bottleneck"])
@pytest.mark.parametrize("n", [2, 16, 25, 40])
@pytest.mark.parametrize("per_image", [False, True])
def test_images_split_over_threads_match_the_equations(three_threads: None, kind: str, n: int, per_image: bool) -> None:
    case = Case(kind, n, 3, 2, (20, 24, 40), np.float32, n, last=n == 25, per_image=per_image)
    assert count_parts(n, case.kernel.grain) == {2: 1, 16: 2, 25: 3, 40: 3}[n]
    for result, value in zip(case.call(), case.expected(), strict=True):
        np.testing.assert_allclose(result, value, **TOLERANCE[np.float32])


@pytest.mark.parametrize("kind", ["gated", "bottleneck"])
def test_nan_propagates(kind: str) -> None:
    case = Case(kind, 3, 2, 2, (4, 5, 6), np.float32, 0)
    case.state[0][1, 2] = np.nan
    h = case.call()[0]
    assert np.isnan(h).any(1).tolist() == [False, True, False]


@pytest.mark.parametrize("kind", ["gated", "bottleneck"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arguments_that_do_not_fit_raise(kind: str, dtype: Any) -> None:
    case = Case(kind, 3, 2, 2, (4, 5, 6), dtype, 0)
    arrays = {"inputs": case.inputs, "places": case.places, "context": case.context, "h": case.state[0]}
    if kind == "gated":
        arrays["skip"] = case.state[1]

    def call(name: str, wrong: Array) -> None:
        case.kernel(n=3, **{**arrays, name: wrong})

    for name, right in arrays.items():
        with pytest.raises(TypeError, match=f"{name}: expected (float|int)"):
            call(name, right.astype(np.float16))
        with pytest.raises(ValueError, match=f"{name}: expected shape"):
            call(name, right[..., :-1].copy())
        if name != "inputs":  # which may have more rows
            with pytest.raises(ValueError, match=f"{name}: expected shape"):
                call(name, np.concatenate([right, right]))
    with pytest.raises(ValueError, match="inputs: expected a C-contiguous, aligned and writeable array"):
        call("inputs", np.asfortranarray(case.inputs))
    for shift in (1 + case.places.min(), 3 + case.places.min(), 100):
        wrong = case.places - shift
        assert wrong.min() < 0
        with pytest.raises(ValueError, match=r"places: expected rows 0…12 of inputs"):
            call("places", wrong)
    for wrong in (case.places + 1, case.places + 100):
        with pytest.raises(ValueError, match=r"places: expected rows 0…12 of inputs"):
            call("places", wrong)


def test_layers_that_do_not_fit_raise() -> None:
    def layer(n_in: int, n_out: int, dtype: Any = np.float32, relu: bool = False) -> AtPosition:
        return AtPosition(np.zeros((1, n_in, n_out), dtype), None, relu)

    gate, residual, skip = layer(4, 10), layer(5, 4), layer(5, 6)
    empty: list[AtPosition] = []
    for gates, skips in (([gate], empty), (empty, empty)):
        with pytest.raises(ValueError, match="gates and skips: expected one layer per unit"):
            GatedUnits(gates, empty, skips, 1)
    for count in (0, 3):
        with pytest.raises(ValueError, match=f"residuals: expected 2, or one less, got {count}"):
            GatedUnits([gate] * 2, [residual] * count, [skip] * 2, 1)
    with pytest.raises(ValueError, match="residuals: expected layers with 5 inputs, 4 outputs, relu=False in float32"):
        GatedUnits([gate], [layer(5, 5)], [skip], 1)
    with pytest.raises(ValueError, match="skips: expected layers with 5 inputs, 6 outputs, relu=False in float32"):
        GatedUnits([gate], [residual], [layer(5, 6, np.float64)], 1)
    with pytest.raises(ValueError, match="gates: expected layers with 3 inputs, 10 outputs"):
        GatedUnits([gate], [residual], [skip], 3)
    reduce, conv, expand = layer(4, 6, relu=True), layer(6, 5, relu=True), layer(5, 4)
    with pytest.raises(ValueError, match="expands: expected layers with 5 inputs, 4 outputs"):
        BottleneckBlocks([conv] * 2, [reduce] * 2, [expand, layer(6, 4)], 1)
    with pytest.raises(ValueError, match="convs: expected layers with 6 inputs, 5 outputs, relu=True"):
        BottleneckBlocks([layer(6, 5)], [reduce], [expand], 1)
    with pytest.raises(ValueError, match="reduces: expected layers with 4 inputs, 6 outputs, relu=True"):
        BottleneckBlocks([conv], [layer(4, 6)], [expand], 1)
    with pytest.raises(ValueError, match="convs and reduces and expands: expected one layer per unit"):
        BottleneckBlocks([conv], [reduce], [expand] * 2, 1)
    with pytest.raises(ValueError, match="expands: expected layers with 5 inputs, 4 outputs, relu=False"):
        BottleneckBlocks([conv], [reduce], [layer(5, 4, relu=True)], 1)
