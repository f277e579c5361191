"""Every operation with every dtype and memory layout: right, or refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.operations import CASES
from hypothesis import given
from hypothesis import strategies as st

import tinygen.autograd as ag
from tinygen.autograd import PRIMITIVES, Array, Tensor, grad
from tinygen.testing import strategies as draws

DTYPES = ["?", "u1", "i1", "u2", "i8", "f2", "f4", "f8", "g", ">f4", ">f8", ">i4", "c8", "c16"]
# Operations that compute in the dtype of their operands, as NumPy does: integers may wrap around.
ARITHMETIC = {
    "abs", "add", "broadcast_to", "clip", "concatenate", "cumprod", "cumsum", "einsum", "index", "linear", "matmul",
    "max", "maximum", "min", "minimum", "multiply", "negative", "pad", "power", "prod", "relu", "repeat", "reshape",
    "sort", "split", "squeeze", "stack", "subtract", "sum", "take_along_axis", "transpose", "where",
}  # fmt: skip
# Dtypes that an operation may refuse, by its name. All refuse complex numbers.
REFUSED = {
    "astype": "?uibg", "cholesky": "eg", "conv": "g", "conv_transpose": "g", "conv_weight": "g", "inv": "eg",
    "logabsdet": "eg", "mixture_cdf": "g", "negative": "?", "solve": "eg", "subtract": "?",
}  # fmt: skip
OPERANDS = ["a", "b", "c", "k", "logits", "operands", "parameters", "tensors", "u", "w", "x", "y"]
# Relative: a few roundings, and condition numbers up to 16.
TOLERANCES = {"e": 2e-2, "f": 1e-4}


def in_dtype(x: Array, dtype: np.dtype[Any]) -> Array:
    """Return x in this dtype; for integers, one or two, so that domains of functions are respected."""
    return np.asarray(x if dtype.kind in "fc" else 1 + (x > 0), dtype)


def refuses(name: str, dtype: np.dtype[Any], error: Exception) -> bool:
    """Return whether an error names an operation or an operand, and the operation may refuse the dtype."""
    # In floating point the matrices are regular; rounded to integers, they may be singular.
    inverts = name in ("cholesky", "inv", "solve", "logabsdet")
    singular = isinstance(error, ValueError) and inverts and dtype.kind != "f"
    allowed = "FD" + REFUSED.get(name, "")
    named = str(error).split(":")[0] in {*PRIMITIVES, *CASES, *OPERANDS}
    return named and (singular or dtype.char in allowed or dtype.kind in allowed)


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
@np.errstate(all="ignore")
def test_every_dtype_and_layout_is_right_or_refused_by_name(name: str, data: st.DataObject) -> None:
    example = data.draw(CASES[name](st.integers(1, 3)))
    dtype = np.dtype(data.draw(st.sampled_from(DTYPES)))
    xs = tuple(data.draw(draws.layouts(in_dtype(x, dtype))) for x in example.xs)
    tensors = [Tensor(x) for x in xs] if dtype.kind != "c" and data.draw(st.booleans()) else []
    try:
        y = example.f(*(tensors or xs))
    except (TypeError, ValueError) as error:
        if refuses(name, dtype, error):
            return
        raise
    assert dtype.kind != "c"
    native = dtype.newbyteorder("=")
    assert y.dtype.isnative
    if name in ARITHMETIC:
        assert y.dtype == np.asarray(example.numpy(*xs)).dtype.newbyteorder("=")
    if dtype.kind == "f":
        assert y.dtype in (native, np.result_type(native, np.float32))  # kernels compute at least in float32
    wide = [Tensor(x.astype(np.float64)) for x in xs]
    assert_close(y.value, example.numpy(*(xs if name in ARITHMETIC else [x.value for x in wide])), dtype)
    if tensors and dtype.kind == "f":
        expected = grad(example.f(*wide), wide, np.ones(y.shape))
        for got, right in zip(grad(y, tensors, np.ones(y.shape)), expected, strict=True):
            assert got.dtype == native
            assert_close(got.value, right.value, dtype)


def assert_close(got: Array, expected: Any, dtype: np.dtype[Any]) -> None:
    tolerance, right = TOLERANCES.get(dtype.char, 1e-10), np.asarray(expected, np.float64)
    scale = np.max(np.abs(right), initial=1, where=np.isfinite(right))
    assert got.shape == right.shape
    np.testing.assert_allclose(got.astype(np.float64), right, tolerance, tolerance * scale)


NUMPY: dict[str, tuple[Any, Any]] = {
    "cumprod": (ag.cumprod, np.cumprod),
    "cumsum": (ag.cumsum, np.cumsum),
    "einsum": (lambda x: ag.einsum("ij->j", x), lambda x: np.einsum("ij->j", x)),
    "norm": (ag.norm, np.linalg.norm),
    "prod": (ag.prod, np.prod),
    "repeat": (lambda x: ag.repeat(x, 2), lambda x: np.repeat(x, 2)),
    "sort": (ag.sort, np.sort),
    "squeeze": (ag.squeeze, np.squeeze),
    "std": (ag.std, np.std),
    "sum": (ag.sum, np.sum),
    "var": (ag.var, np.var),
}


@pytest.mark.parametrize("name", NUMPY)
@pytest.mark.parametrize("dtype", "?bBhHiIlLefdg")
def test_result_has_the_dtype_of_numpy(name: str, dtype: str) -> None:
    ours, numpy = NUMPY[name]
    x = np.ones((2, 3), dtype)
    assert ours(Tensor(x)).dtype == numpy(x).dtype
