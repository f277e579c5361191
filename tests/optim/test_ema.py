"""Exponential moving averages of parameters, compared with the recursion in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.parameters import float64, gradients, parameters
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Parameter
from tinygen.nn import Linear
from tinygen.optim import EMA


def updated(decay: float, steps: int) -> tuple[list[Parameter], EMA]:
    """Return parameters after `steps` updates, and their moving average."""
    ps = parameters()
    ema = EMA(ps, decay)
    for step in range(steps):
        for p, g in zip(ps, gradients(step), strict=True):
            p.assign(g.value)
        ema.update()
    return ps, ema


@given(st.floats(0, 0.99), st.integers(0, 4))
def test_averages_follow_the_recursion(decay: float, steps: int) -> None:
    ps, ema = updated(decay, steps)
    expected = float64(parameters())
    for step in range(steps):
        expected = [decay * mean + (1 - decay) * g.value for mean, g in zip(expected, gradients(step), strict=True)]
    with ema.averaged():
        # Up to four float32 roundings, 6e-8 each, of numbers below 10.
        assert all(np.allclose(p.value, mean, rtol=0, atol=3e-6) for p, mean in zip(ps, expected, strict=True))
        assert all(p.dtype == np.float32 for p in ps)


def test_averaged_restores_the_parameters_even_after_an_exception() -> None:
    ps, ema = updated(0.5, 2)
    values = [p.value for p in ps]
    with ema.averaged():
        assert not any(p.value is value for p, value in zip(ps, values, strict=True))
    assert all(p.value is value for p, value in zip(ps, values, strict=True))
    with pytest.raises(KeyError), ema.averaged():
        raise KeyError
    assert all(p.value is value for p, value in zip(ps, values, strict=True))


def test_load_restores_the_state() -> None:
    _, ema = updated(0.5, 3)
    other = EMA(parameters(seed=1), 0.5)
    other.load(ema.state())
    assert all(np.array_equal(a, b) for a, b in zip(other.averages, ema.averages, strict=True))


def test_load_rejects_an_incomplete_state() -> None:
    ema = EMA(parameters(), 0.5)
    with pytest.raises(ValueError, match=r"EMA.*3 of shape"):
        ema.load({name: value for name, value in ema.state().items() if name != "3"})


def test_rejects_invalid_decay() -> None:
    with pytest.raises(ValueError, match=r"decay: expected .*, got 1.0"):
        EMA(parameters(), 1.0)


def test_averaged_parameters_have_the_dtype_of_the_module() -> None:
    layer = Linear(2, 3, np.random.default_rng(0))
    ema = EMA(layer.parameters(), 0.5)
    for dtype in (np.float64, np.float16, np.float32):
        layer.astype(dtype)
        ema.update()
        with ema.averaged():
            assert layer.dtype == dtype
        assert layer.dtype == dtype


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_averages_follow_small_changes(dtype: Any) -> None:
    """The first change of the average, 0.01 · 2⁻¹⁰, is below half a unit in the last place of 1 in float16."""
    start, end = 1.0, 1 + 2.0 ** (-10 if dtype == np.float16 else -18)
    p = Parameter([start], dtype)
    ema = EMA([p], 0.99)
    p.assign([end])
    for _ in range(100):
        ema.update()
    np.testing.assert_allclose(ema.averages[0] - start, (1 - 0.99**100) * (end - start), rtol=1e-9)


def test_changing_a_value_in_place_does_not_change_the_averages() -> None:
    for dtype in (np.float32, np.float64):
        p = Parameter([2.0], dtype)
        ema = EMA([p], 0.5)
        with ema.averaged():
            p.value[...] += 100
            p.assign(p.value)
        assert (p.item(), ema.averages[0].item()) == (2, 2)


def test_load_rejects_what_is_not_finite_and_changes_nothing() -> None:
    ema = EMA([Parameter([1.0])], 0.5)
    with pytest.raises(ValueError, match=r"EMA\.0: expected finite numbers"):
        ema.load({"0": np.array([np.nan])})
    assert ema.averages[0].tolist() == [1]
