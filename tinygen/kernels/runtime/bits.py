"""An intrinsic for kernels that reads a float32 as its bits.

Checked by: tests/kernels/test_likelihood.py
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

_operation: Callable[[Callable[..., Any]], Any] = intrinsic  # numba.extending.intrinsic is not typed


@_operation
def power_of_two(typing: Any, shifted: Any) -> Any:
    """2ⁿ in float32, for shifted = n + 1.5 · 2²³ with −127 ≤ n ≤ 128: 0 for n = −127, and inf for n = 128.

    The last bits of `shifted` are n, which becomes the exponent.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        i32 = ir.IntType(32)
        bits = builder.shl(builder.bitcast(arguments[0], i32), i32(23))
        return builder.bitcast(builder.add(bits, i32(127 << 23)), ir.FloatType())

    return types.float32(types.float32), generate
