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
from tinygen.kernels.runtime.registers import TILE_ROWS

pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="there is no kernel")

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
    sizes=st.lists(st.sampled_from([1, 2, 3, 8, 15, 16, 17, 33, 70, 100]), min_size=3, max_size=5),
    n=st.integers(TILE_ROWS[0], 70),
    activation=st.sampled_from(["tanh", "relu"]),
    lowest=st.integers(-1, 3),
    chunk=st.sampled_from([1 << 10, 1 << 17]),
    seed=st.integers(0, 2**32),
)
def test_kernel_matches_numpy(sizes: list[int], n: int, activation: str, lowest: int, chunk: int, seed: int) -> None:
    x, ws, bs, g = case(sizes, n, seed)
    assert mlp.applies(x, ws, bs)
    lowest = min(lowest, len(ws) - 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlp, "_CHUNK", chunk)
        hs = mlp.forward(x, ws, bs, activation)
        cs = mlp.backward(g, [x, *hs[:-1]], ws, activation, lowest)
    expected_hs, expected_cs = reference(x, ws, bs, g, activation, hs)
    for ours, theirs in zip([*hs, *cs], [*expected_hs, *expected_cs[lowest + 1 :]], strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, **BOUND)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_a_row_depends_neither_on_the_others_nor_on_the_threads(
    activation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, ws, bs, g = case([40, 33, 100, 5], 400, 0)
    before, results = get_num_threads(), []
    monkeypatch.setattr(mlp, "GRAIN", 1)
    try:
        for threads, rows in ((1, 400), (2, 400), (3, 400), (1, 37)):
            set_num_threads(threads)
            hs = mlp.forward(x[:rows], ws, bs, activation)
            results.append([*hs, *mlp.backward(g[:rows], [x[:rows], *hs[:-1]], ws, activation, -1)])
    finally:
        set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a[: len(b)], b)


def test_eight_layers_and_arrays_of_any_layout() -> None:
    x, ws, bs, g = case([5, 6, 7, 8, 9, 8, 7, 6, 5], 30, 1)
    x, g = np.repeat(x, 2, 0)[::2], np.broadcast_to(g[:1], g.shape)
    ws = [np.asfortranarray(w) for w in ws]
    hs = mlp.forward(x, ws, bs, "tanh")
    cs = mlp.backward(g, [x, *hs[:-1]], ws, "tanh", -1)
    expected_hs, expected_cs = reference(x, ws, bs, g, "tanh", hs)
    for ours, theirs in zip([*hs, *cs], [*expected_hs, *expected_cs], strict=True):
        np.testing.assert_allclose(ours, theirs, **BOUND)


def test_the_kernel_is_for_some_rows_of_float32_and_two_to_eight_layers() -> None:
    x, ws, bs, _ = case([4] * 4, 64, 0)
    assert mlp.applies(x, ws, bs)
    assert mlp.applies(x[: TILE_ROWS[0]], ws, bs)
    few, large, double = x[: TILE_ROWS[0] - 1], np.zeros((1 << 19, 4), np.float32), x.astype(np.float64)
    assert not any(mlp.applies(other, ws, bs) for other in (few, large, double, x[0], x[None]))
    assert not mlp.applies(x, ws[:1], bs[:1])
    assert mlp.applies(x, ws[:1] * 8, bs[:1] * 8)
    assert not mlp.applies(x, ws[:1] * 9, bs[:1] * 9)


def test_rejects_shapes_that_do_not_match() -> None:
    x, ws, bs, g = case([3, 4, 2], 9, 0)
    with pytest.raises(ValueError, match=r"ws\[1\]: expected shape \(4, 4\), got \(3, 4\)"):
        mlp.forward(x, [ws[0], ws[0]], bs, "tanh")
    with pytest.raises(ValueError, match=r"bs\[1\]: expected shape \(2,\)"):
        mlp.forward(x, ws, [bs[0], bs[0]], "tanh")
    with pytest.raises(ValueError, match=r"g: expected shape \(9, 2\)"):
        mlp.backward(g[:, :1], [x, x], ws, "tanh")
    with pytest.raises(ValueError, match=r"hs\[1\]: expected shape \(9, 4\)"):
        mlp.backward(g, [x, x], ws, "tanh")
