"""A kernel called by address with a letter does what it does when Python calls it; what fits no letter is refused."""

from array import array
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numba
import numpy as np
import pytest

from tinygen.kernels.runtime.arrays import Array
from tinygen.kernels.runtime.native import call, described, entry, look, put, swap, write
from tinygen.kernels.runtime.tile import compiled


class Sizes(NamedTuple):
    rows: int
    columns: int


@compiled
def _kernel(shape: object, x: Array, flag: bool, sizes: Sizes, number: int, scale: float, y: Array) -> None:
    for i in range(sizes.rows):
        for j in range(sizes.columns):
            y[i, j] = len(shape) * x[i * sizes.columns + j] + number if flag else scale  # type: ignore[arg-type]


@compiled
def _call(function: int, letter: int) -> None:
    call(function, letter)


@compiled
def _try(numbers: Array, old: int, new: int) -> bool:
    return bool(swap(numbers, 1, old, new))


@compiled
def _copy(numbers: Array) -> None:
    put(numbers, 1, look(numbers, 0) + 1)


HALF = int(np.float64(2.5).view(np.int64))  # a number that is not whole, as a word


def letter_of(*arguments: object) -> Array:
    letter: Array = np.full(100, -1)
    told = array("q", described(arguments))
    at, size = told.buffer_info()
    end = (write(letter.ctypes.data, at, at + 8 * size) - letter.ctypes.data) // 8
    assert np.all(letter[end:] == -1)
    return letter[:end]


pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="there are no addresses without the JIT")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("shape", [(0,), (0, 0, 0)])
def test_an_entry_calls_its_kernel(dtype: type, flag: bool, shape: tuple[int, ...]) -> None:
    x: Array = np.arange(6, dtype=dtype)
    expected, y = np.empty_like(x, shape=(2, 3)), np.full_like(x, np.nan, shape=(2, 3))
    arguments = shape, x, flag, Sizes(2, 3), -7
    _kernel(*arguments, 2.5, expected)
    letter = letter_of(*arguments, HALF, y)
    _call(entry(_kernel, (*arguments, 2.5, y)), letter.ctypes.data)
    np.testing.assert_array_equal(y, expected)


def test_one_kernel_has_entries_for_all_that_ask_at_once_of_every_kind() -> None:
    def filled(kind: tuple[type, object]) -> bool:
        dtype, seven = kind
        x: Array = np.arange(6, dtype=dtype)
        y = np.zeros_like(x, shape=(2, 3))
        arguments = (0,) * 4, x, True, Sizes(2, 3), seven
        letter = letter_of(*arguments, HALF, y)
        _call(entry(_kernel, (*arguments, 2.5, y)), letter.ctypes.data)
        return bool((y.reshape(-1) == 4 * x + 7).all())

    with ThreadPoolExecutor(4) as users:
        assert all(users.map(filled, [(t, n(7)) for t in (np.float32, np.float64) for n in (int, np.int64)] * 4))


def test_an_array_that_another_kernel_would_be_for_is_refused() -> None:
    x, y = np.arange(12.0), np.zeros((2, 3))
    frozen = x.copy()
    frozen.flags.writeable = False
    for wrong_x, wrong_y in ((x[::2], y), (frozen, y), (x, np.asfortranarray(y)), (x.reshape(12, *(1,) * 9), y)):
        with pytest.raises(TypeError, match="C-contiguous, aligned and writable"):
            entry(_kernel, ((0,), wrong_x, True, Sizes(2, 3), 1, 1.0, wrong_y))


def test_look_put_and_swap() -> None:
    numbers = np.array([4, 0], np.int64)
    _copy(numbers)
    assert numbers.tolist() == [4, 5]
    assert not _try(numbers, 4, 9)
    assert numbers.tolist() == [4, 5]
    assert _try(numbers, 5, 9)
    assert numbers.tolist() == [4, 9]
