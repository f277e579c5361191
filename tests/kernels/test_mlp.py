"""All layers of a perceptron in one kernel, against the layers one by one in float64."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.kernels import mlp
from tinygen.kernels.runtime.pool import get_num_threads, set_num_threads
from tinygen.kernels.runtime.tile import TILE_ROWS

# Sums of up to 100 products of order 1, in another order, and tanh with an error of 5 units in the last place
BOUND: Any = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = get_num_threads()
    set_num_threads(3)
    monkeypatch.setattr(mlp, "GRAIN", 1)  # as many parts as there are tiles
    yield
    set_num_threads(before)


def case(sizes: list[int], n: int, seed: int) -> Any:
    """Return random x, weights, biases and the cotangent of the output, in float32."""
    rng = np.random.default_rng(seed)
    x, g = (rng.standard_normal((n, m), np.float32) for m in (sizes[0], sizes[-1]))
    ws = [rng.normal(0, a**-0.5, (a, b)).astype(np.float32) for a, b in pairwise(sizes)]
    return x, ws, [rng.standard_normal(m, np.float32) for m in sizes[1:]], g


def reference(x: Any, ws: Any, bs: Any, g: Any, activation: str, kept: Any) -> tuple[list[Any], list[Any]]:
    """Return the outputs of all layers and the cotangents of the outputs, from that of x on, in float64.

    `kept` are the outputs whose signs decide between the two derivatives of relu.
    """
    hs, cs = [x.astype(np.float64)], [g.astype(np.float64)]
    for i, (w, b) in enumerate(zip(ws, bs, strict=True)):
        h = hs[-1] @ w.astype(np.float64) + b
        if i + 1 < len(ws):
            h = np.tanh(h) if activation == "tanh" else np.maximum(h, 0)
        hs.append(h)
    for i in range(len(ws) - 1, -1, -1):
        c = cs[0] @ ws[i].astype(np.float64).T
        cs.insert(0, c if i == 0 else c * (1 - hs[i] ** 2 if activation == "tanh" else kept[i - 1] > 0))
    return hs[1:], cs


@pytest.mark.usefixtures("three_threads")
@given(
    sizes=st.lists(st.sampled_from([1, 2, 3, 8, 15, 16, 17, 33, 70, 100]), min_size=2, max_size=5),
    n=st.integers(1, 70),
    activation=st.sampled_from(["tanh", "relu"]),
    lowest=st.sampled_from([-1, 0]),
    chunk=st.sampled_from([1 << 10, 1 << 17]),
    seed=st.integers(0, 2**32),
)
def test_kernel_and_plain_form_match_numpy(
    sizes: list[int], n: int, activation: str, lowest: int, chunk: int, seed: int
) -> None:
    x, ws, bs, g = case(sizes, n, seed)
    for applies in (mlp._applies, lambda *_: False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mlp, "_applies", applies)
            patch.setattr(mlp, "_CHUNK", chunk)
            hs = mlp.forward(x, ws, bs, activation)
            cs = mlp.backward(g, [x, *hs[:-1]], ws, activation, lowest)
        expected_hs, expected_cs = reference(x, ws, bs, g, activation, hs)
        assert len(hs) == len(ws)
        assert len(cs) == len(ws) - lowest
        for ours, theirs in zip([*hs, *cs], [*expected_hs, *expected_cs[lowest + 1 :]], strict=True):
            assert ours.dtype == np.float32
            np.testing.assert_allclose(ours, theirs, **BOUND)


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="there is no kernel")
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_a_row_depends_neither_on_the_others_nor_on_the_threads(activation: str) -> None:
    x, ws, bs, g = case([40, 33, 100, 5], 400, 0)
    before, results = get_num_threads(), []
    try:
        for threads, rows in ((1, 400), (2, 400), (3, 400), (1, 37)):
            set_num_threads(threads)
            assert mlp._applies([100], x[:rows])
            hs = mlp.forward(x[:rows], ws, bs, activation)
            results.append([*hs, *mlp.backward(g[:rows], [x[:rows], *hs[:-1]], ws, activation, -1)])
    finally:
        set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a[: len(b)], b)


def test_few_rows_large_batches_other_dtypes_and_deep_networks_are_computed_layer_by_layer() -> None:
    x, w = np.zeros((64, 4), np.float32), np.zeros((4, 4), np.float32)
    assert mlp._applies([4, 4], x, w) is not bool(numba.config.DISABLE_JIT)
    few, large, double = x[: TILE_ROWS[0] - 1], np.zeros((1 << 19, 1), np.float32), x.astype(np.float64)
    cases: list[Any] = [([4, 4], (few, w)), ([4, 4], (large, w)), ([4, 4], (double, w)), ([4] * 10, (x, w))]
    for sizes, arrays in cases:
        assert not mlp._applies(sizes, *arrays)


def test_rejects_shapes_that_do_not_match() -> None:
    x, ws, bs, g = case([3, 4, 2], 9, 0)
    with pytest.raises(ValueError, match=r"ws\[1\]: expected shape \(4, 2\)"):
        mlp.forward(x, [ws[0], ws[0]], bs, "tanh")
    with pytest.raises(ValueError, match=r"g: expected shape \(9, 2\)"):
        mlp.backward(g[:, :1], [x, x], ws, "tanh")
    with pytest.raises(ValueError, match=r"hs\[1\]: expected shape \(9, 4\)"):
        mlp.backward(g, [x, x], ws, "tanh")
