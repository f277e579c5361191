"""The gated residual unit at one position, against its equations in NumPy, for any number of sequences and channels."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.kernels import AtPosition, GatedUnit, position
from tinygen.kernels.runtime.pool import get_num_threads, set_num_threads

# Two sums of up to 4 · 9 and 40 products of order 1, in different orders; tanh and σ in float32 have errors below 3e-7.
TOLERANCE: dict[Any, Any] = {np.float32: {"rtol": 1e-4, "atol": 2e-5}, np.float64: {"rtol": 1e-11, "atol": 1e-13}}


def case(n: int, taps: int, channels: int, skips: int, dtype: Any, seed: int) -> dict[str, Any]:
    """Return random weights and biases, and the arguments of a call."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return np.asarray(rng.standard_normal(shape), dtype)

    return {
        "w": draw(taps, channels, 2 * channels), "b": draw(2 * channels),
        "w_h": draw(1, channels, channels), "b_h": draw(channels),
        "w_skip": draw(1, channels, skips), "b_skip": draw(skips),
        "x": draw(2 * n + 3, channels), "starts": rng.integers(0, n + 4, taps),
        "context": draw(n, 2 * channels), "h": draw(n, channels), "skip": draw(n, skips),
    }  # fmt: skip


def unit_of(c: dict[str, Any], last: bool = False) -> GatedUnit:
    residual = None if last else AtPosition(c["w_h"], c["b_h"])
    return GatedUnit(AtPosition(c["w"], c["b"]), residual, AtPosition(c["w_skip"], c["b_skip"]))


def expected(c: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Compute h′ and skip′ in float64, one image and one tap at a time."""
    c = {name: value.astype(np.float64) if value.dtype.kind == "f" else value for name, value in c.items()}
    gates = c["context"] + c["b"]
    for i in range(len(gates)):
        for start, matrix in zip(c["starts"], c["w"], strict=True):
            gates[i] += c["x"][start + i] @ matrix
    a, b = np.split(gates, 2, axis=1)
    z = np.tanh(a) / (1 + np.exp(-b))
    return c["h"] + c["b_h"] + z @ c["w_h"][0], c["skip"] + c["b_skip"] + z @ c["w_skip"][0]


@given(
    n=st.integers(0, 19),
    taps=st.integers(1, 4),
    channels=st.integers(1, 40),  # one register, two, and several blocks of registers
    skips=st.integers(1, 40),
    dtype=st.sampled_from([np.float32, np.float64]),
    with_terms=st.booleans(),
    last=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_kernel_and_plain_form_match_the_equations(
    n: int, taps: int, channels: int, skips: int, dtype: Any, with_terms: bool, last: bool, seed: int
) -> None:
    c = case(n, taps, channels, skips, dtype, seed)
    if not with_terms:
        c["context"][...] = c["skip"][...] = 0
    context, skip = (c["context"], c["skip"]) if with_terms else (None, None)
    h, total = expected(c)
    unit = unit_of(c, last)
    for next_h, next_skip in (f(c["x"], c["starts"], n, context, c["h"], skip) for f in (unit, unit.plain)):
        assert next_h.dtype == next_skip.dtype == dtype
        np.testing.assert_allclose(next_h, c["h"] if last else h, **TOLERANCE[dtype])
        np.testing.assert_allclose(next_skip, total, **TOLERANCE[dtype])


def test_sequences_split_over_threads_match_the_equations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(position, "GRAIN", 1)
    before = get_num_threads()
    set_num_threads(3)
    try:
        for n in (2, 16, 25, 40):
            c = case(n, 2, 20, 40, np.float32, n)
            results = unit_of(c)(c["x"], c["starts"], n, c["context"], c["h"], c["skip"])
            for result, value in zip(results, expected(c), strict=True):
                np.testing.assert_allclose(result, value, **TOLERANCE[np.float32])
    finally:
        set_num_threads(before)


@pytest.mark.parametrize("name", ["x", "starts", "context", "h", "skip"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unsuitable_arguments_raise(name: str, dtype: Any) -> None:
    c = case(3, 2, 4, 5, dtype, 0)
    unit, right = unit_of(c), c[name]
    c[name] = right.astype(np.float16)
    with pytest.raises(TypeError, match=r"float(32|64)"):
        unit(c["x"], c["starts"], 3, c["context"], c["h"], c["skip"])
    c[name] = right[:, :-1] if right.ndim == 2 else right - 20
    with pytest.raises(ValueError, match="expected"):
        unit(c["x"], c["starts"], 3, c["context"], c["h"], c["skip"])


def test_layers_that_do_not_fit_raise() -> None:
    c = case(3, 2, 4, 5, np.float32, 0)
    c["w_skip"] = np.zeros((1, 3, 5), np.float32)
    with pytest.raises(ValueError, match="half of the 8 channels of the gate"):
        unit_of(c)
