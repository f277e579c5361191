"""Packed weights are the weights in the order of the tiles, for every memory layout and number of threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen import get_num_threads, set_num_threads
from tinygen.kernels import packing
from tinygen.kernels.packing import pack

Array = np.ndarray[Any, Any]
SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40))
LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "contiguous": lambda w: w,
    "transposed": lambda w: np.ascontiguousarray(w.swapaxes(1, 2)).swapaxes(1, 2),
    "slice": lambda w: np.repeat(w, 2, 2)[:, :, ::2],
    "taps last": lambda w: np.ascontiguousarray(w.transpose(1, 2, 0)).transpose(2, 0, 1),
}


def plain_pack(w: Array, width: int) -> Array:
    taps, channels_in, channels = w.shape
    padded = np.pad(w, ((0, 0), (0, 0), (0, -channels % width)))
    return padded.reshape(taps * channels_in, -1, width).swapaxes(0, 1)


@pytest.mark.parametrize("layout", LAYOUTS)
@given(shape=SHAPES, width=st.sampled_from([4, 12, 16, 32, 35]), dtype=st.sampled_from([np.float32, np.float64]))
def test_equals_definition_for_any_memory_layout(layout: str, shape: tuple[int, ...], width: int, dtype: Any) -> None:
    w = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    packed = pack(LAYOUTS[layout](w), width)
    assert packed.dtype == dtype
    np.testing.assert_array_equal(packed, plain_pack(w, width))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_several_threads_pack_one_w(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_GRAIN", 0)
    rng, before = np.random.default_rng(0), get_num_threads()
    try:
        for threads in range(1, 7):
            set_num_threads(threads)
            w = LAYOUTS[layout](
                rng.standard_normal((2, 17, 70))
            )  # a new one, as memory may hold the result of the last
            np.testing.assert_array_equal(pack(w, 16), plain_pack(w, 16))
    finally:
        set_num_threads(before)
