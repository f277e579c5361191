"""The LSTM kernels: VJP, threads, NaN, and inputs. tests/autograd/test_fused.py compares them with a composition."""

import numba
import numpy as np
import pytest

from tinygen.kernels.lstm import lstm, lstm_vjp
from tinygen.kernels.runtime.pool import get_num_threads, set_num_threads
from tinygen.testing import check_vjp

pytestmark = pytest.mark.skipif(
    bool(numba.config.DISABLE_JIT), reason="without the JIT, autograd does not call these kernels"
)


def inputs(n: int = 21, length: int = 3, size: int = 10) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = (n, length, 4 * size), (size, 4 * size), (n, length, size)
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def test_vjp_matches_finite_differences(rng: np.random.Generator) -> None:
    x, u, _ = inputs(n=3, length=5, size=4)
    check_vjp(lambda x: lstm(x, u)[0], lambda dh, x: lstm_vjp(dh, u, *lstm(x, u)[1:]), x, rng=rng)


def test_results_do_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygen.kernels.lstm._grain", lambda length, u: 1)  # this batch is too small to be divided
    x, u, g = inputs()
    before, results = get_num_threads(), []
    try:
        for number in (1, 2, 3):
            set_num_threads(number)
            h, c, gates = lstm(x, u)
            results.append([h, c, gates, lstm_vjp(g, u, c, gates)])
    finally:
        set_num_threads(before)
    for other in results[1:]:
        for one, another in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, another)


def test_nan_stays_in_its_example_and_propagates_to_later_steps() -> None:
    x, u, g = inputs()
    x[4, 1, 0] = np.nan
    h, c, gates = lstm(x, u)
    dx = lstm_vjp(g, u, c, gates)
    has_nan = np.arange(21) == 4
    assert np.isnan(h[4, 2]).all()
    assert np.isfinite(h[4, 0]).all()
    for result in (h, c, gates, dx):
        assert np.isfinite(result[~has_nan]).all()
        assert np.isnan(result[has_nan]).any()


def test_inputs_are_not_modified_and_gates_saturate() -> None:
    x, u, g = inputs()
    x[0] = np.inf
    before = [each.copy() for each in (x, u, g)]
    _, c, gates = lstm(x, u)
    lstm_vjp(g, u, c, gates)
    for now, then in zip((x, u, g), before, strict=True):
        np.testing.assert_array_equal(now, then)
    np.testing.assert_array_equal(gates[0], 1)
    np.testing.assert_array_equal(c[0], np.arange(4)[:, None] * np.ones(10))
