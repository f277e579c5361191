"""Denormal numbers as zeros, while a kernel multiplies and adds.

    state = flush_denormals()
    …
    restore(state)

Denormal numbers are below 1.2e-38 in float32, and below 2.2e-308 in float64. Intel's CPUs compute with them in
microcode, many times as slowly. They occur in training: in an IWAE, the cotangents of samples with small weights are
denormal. Replacing one by zero changes a product by less than the smallest normal number times max(1, |other factor|).

The mode belongs to the thread, so a kernel restores it before it returns. It exists on x86; elsewhere nothing changes.

Checked by: tests/kernels/runtime/test_denormals.py
"""

import platform
from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_MODE = 0x8040  # of the register MXCSR: results (0x8000) and operands (0x0040) that are denormal are zeros
HAS_MODE = platform.machine() in ("x86_64", "AMD64") and not numba.config.DISABLE_JIT

_operation: Callable[[Callable[..., Any]], Any] = intrinsic  # numba.extending.intrinsic is not typed


def _call(builder: Any, name: str, address: Any) -> None:
    byte = ir.IntType(8).as_pointer()
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), [byte]), name)
    builder.call(function, [builder.bitcast(address, byte)])


def _load(builder: Any, value: Any) -> None:
    _call(builder, "llvm.x86.sse.ldmxcsr", cgutils.alloca_once_value(builder, value))


@_operation
def flush_denormals(typing: Any) -> Any:
    """Treat denormal numbers as zeros in this thread; return the mode before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if not HAS_MODE:
            return ir.IntType(32)(0)
        place = cgutils.alloca_once(builder, ir.IntType(32))
        _call(builder, "llvm.x86.sse.stmxcsr", place)
        before = builder.load(place)
        _load(builder, builder.or_(before, ir.IntType(32)(_MODE)))
        return before

    return types.int32(), generate


@_operation
def restore(typing: Any, state: Any) -> Any:
    """Return to the mode that `flush_denormals` returned."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if HAS_MODE:
            _load(builder, arguments[0])
        return context.get_dummy_value()

    return types.void(types.int32), generate


if numba.config.DISABLE_JIT:
    flush_denormals, restore = (lambda: 0), (lambda state: None)
