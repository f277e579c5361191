"""Register tiles in LLVM's own terms: five operations, and `compiled`, which makes a kernel of a function.

A tile is rows × vectors SIMD registers: one row per pixel (or input channel), its columns consecutive output channels.
LLVM keeps a tile in registers because it is *one value* of a Numba type; a small ordinary array would live in memory
(5-23 GFLOP/s on a core that reaches 100 this way).

    acc = zeros(rows, vectors, y)                acc[r, c]  = 0, of y's dtype
    acc = fma(acc, x, p, stride, w, q)           acc[r, c] += x[p + r·stride] · w[q + c]
    acc = add(acc, y, q, stride, width)          acc[r, c] += y[q + r·stride + c]  where c < width
    acc = relu(acc)                              acc[r, c]  = 0 where acc[r, c] < 0
    store(y, q, stride, width, acc)              y[q + r·stride + c] = acc[r, c]   where c < width

`rows` and `vectors` are tuples whose *lengths* are the shape: lengths are types, so kernels stay at module level, where
Numba's cache finds them (a kernel that closes over an intrinsic is compiled anew in every process). Arrays are flat and
C-contiguous, float32 or float64; addresses are counted in elements and are not checked.

Numba's cache looks for changes only in the file of the kernel itself, which may call what stands in another; `compiled`
puts a digest of all files of this package and the width of a register into the kernel's name, which is part of the name
of its cache file, so that no change is answered by stale code.

Checked by: tests/kernels/runtime/test_tile.py, test_convolution.py
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model


def _bytes_per_vector() -> int:
    """The width of a SIMD register: TINYGEN_VECTOR_BYTES, else the widest of this CPU; LLVM splits what is too wide."""
    wanted = os.environ.get("TINYGEN_VECTOR_BYTES")
    if wanted is not None:
        if wanted not in ("16", "32", "64"):
            raise ValueError(f"TINYGEN_VECTOR_BYTES must be 16, 32 or 64, got {wanted!r}")
        return int(wanted)
    features = llvm.get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx2") else 16


VECTOR_BYTES = _bytes_per_vector()
_FILES = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.parent.rglob("*.py")))
_SOURCE = f"_{zlib.crc32(_FILES):08x}_{VECTOR_BYTES}"

_operation: Callable[[Callable[..., Any]], Any] = intrinsic  # Numba has no types: name one for its decorator

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a kernel: serial (threads.py shares out the work), without the GIL, cached on disk.

    error_model="numpy": a check for division by zero blocks vectorisation (ten times slower).
    fastmath stays below True: NaN and inf pass through.
    """
    function.__qualname__ += _SOURCE
    options = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
    return cast(Function, options(function))


def lanes(dtype: np.dtype[Any]) -> int:
    """Numbers of this dtype in one SIMD register."""
    return VECTOR_BYTES // dtype.itemsize


class Tile(types.Type):
    """The Numba type of rows × vectors registers of one dtype."""

    def __init__(self, rows: int, vectors: int, dtype: Any) -> None:
        self.rows, self.vectors, self.dtype = rows, vectors, dtype
        self.lanes = VECTOR_BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Tile({rows}, {vectors}, {dtype})")

    @property
    def scalar(self) -> Any:
        """The LLVM type of one number."""
        return ir.FloatType() if self.dtype == types.float32 else ir.DoubleType()

    @property
    def vector(self) -> Any:
        """The LLVM type of one register."""
        return ir.VectorType(self.scalar, self.lanes)

    def mangled(self, operation: str) -> str:
        """Name an LLVM intrinsic for this tile's registers, e.g. llvm.fmuladd.v16f32."""
        return f"llvm.{operation}.v{self.lanes}f{self.dtype.bitwidth}"


@register_model(Tile)
class TileModel(models.PrimitiveModel):  # type: ignore[misc]  # Numba has no types
    """A tile is passed around as one LLVM array of vectors, which LLVM takes apart into registers."""

    def __init__(self, manager: Any, tile: Tile) -> None:
        super().__init__(manager, tile, ir.ArrayType(tile.vector, tile.rows * tile.vectors))


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


def _register_address(context: Any, builder: Any, tile: Tile, array_type: Any, array: Any, index: Any) -> Any:
    return builder.bitcast(_address(context, builder, array_type, array, index), tile.vector.as_pointer())


def _registers(builder: Any, tile: Tile, base: Any, stride: Any) -> Any:
    """Yield (number, vector, element address) of every register of a tile that lies in memory at base."""
    for row in range(tile.rows):
        at = builder.add(base, builder.mul(stride, base.type(row)))
        for vector in range(tile.vectors):
            yield row * tile.vectors + vector, vector, builder.add(at, base.type(vector * tile.lanes))


def _masks(builder: Any, tile: Tile, width: Any) -> list[Any]:
    """One mask per vector of a row: which of its lanes are columns below width."""
    wide = ir.VectorType(width.type, tile.lanes)
    empty, first = ir.Constant(wide, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), tile.lanes), None)
    limit = builder.shuffle_vector(builder.insert_element(empty, width, ir.IntType(32)(0)), empty, first)
    columns = (range(vector * tile.lanes, (vector + 1) * tile.lanes) for vector in range(tile.vectors))
    return [builder.icmp_signed("<", ir.Constant(wide, list(column)), limit) for column in columns]


def _masked(builder: Any, tile: Tile, operation: str, result: Any, arguments: list[Any]) -> Any:
    signature = ir.FunctionType(result, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(builder.module, signature, tile.mangled(operation) + ".p0")
    return builder.call(function, arguments)


@_operation
def zeros(typing: Any, rows: Any, vectors: Any, like: Any) -> Any:
    """acc[r, c] = 0, of the dtype of an array."""
    tile = Tile(rows.count, vectors.count, like.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(context.get_value_type(tile), None)

    return tile(rows, vectors, like), generate


@_operation
def add(typing: Any, acc: Any, y: Any, q: Any, stride: Any, width: Any) -> Any:
    """acc[r, c] += y[q + r·stride + c] where c < width; what lies beyond width is not read."""
    tile = acc

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        acc, array, q, stride, width = arguments
        masks, nothing = _masks(builder, tile, width), ir.Constant(tile.vector, None)
        for number, vector, at in _registers(builder, tile, q, stride):
            pointer = _register_address(context, builder, tile, y, array, at)
            align = ir.IntType(32)(tile.dtype.bitwidth // 8)
            value = _masked(builder, tile, "masked.load", tile.vector, [pointer, align, masks[vector], nothing])
            acc = builder.insert_value(acc, builder.fadd(builder.extract_value(acc, number), value), number)
        return acc

    return tile(tile, y, types.intp, types.intp, types.intp), generate


@_operation
def relu(typing: Any, acc: Any) -> Any:
    """acc[r, c] = 0 where acc[r, c] < 0; NaN passes."""
    tile = acc

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        acc, nothing = arguments[0], ir.Constant(tile.vector, None)
        for number in range(tile.rows * tile.vectors):
            value = builder.extract_value(acc, number)
            kept = builder.select(builder.fcmp_ordered("<", value, nothing), nothing, value)
            acc = builder.insert_value(acc, kept, number)
        return acc

    return tile(tile), generate


@_operation
def store(typing: Any, y: Any, q: Any, stride: Any, width: Any, acc: Any) -> Any:
    """y[q + r·stride + c] = acc[r, c] where c < width; what lies beyond width is not touched."""
    tile = acc

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, q, stride, width, acc = arguments
        masks = _masks(builder, tile, width)
        for number, vector, at in _registers(builder, tile, q, stride):
            pointer = _register_address(context, builder, tile, y, array, at)
            align, value = ir.IntType(32)(tile.dtype.bitwidth // 8), builder.extract_value(acc, number)
            _masked(builder, tile, "masked.store", ir.VoidType(), [value, pointer, align, masks[vector]])
        return context.get_dummy_value()

    return types.void(y, types.intp, types.intp, types.intp, tile), generate


@_operation
def fma(typing: Any, acc: Any, x: Any, p: Any, stride: Any, w: Any, q: Any) -> Any:
    """acc[r, c] += x[p + r·stride] · w[q + c]; w is read a whole register at a time."""
    tile = acc

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        acc, scalars, p, stride, vectors, q = arguments
        # fmuladd, not fma: a CPU without the instruction multiplies and adds instead of calling the C library.
        operation = ir.FunctionType(tile.vector, [tile.vector] * 3)
        fused = cgutils.get_or_insert_function(builder.module, operation, tile.mangled("fmuladd"))
        empty = ir.Constant(tile.vector, ir.Undefined)
        first = ir.Constant(ir.VectorType(ir.IntType(32), tile.lanes), None)
        columns = []
        for vector in range(tile.vectors):
            at = builder.add(q, q.type(vector * tile.lanes))
            pointer = _register_address(context, builder, tile, w, vectors, at)
            columns.append(builder.load(pointer, align=tile.dtype.bitwidth // 8))
        for row in range(tile.rows):
            at = builder.add(p, builder.mul(stride, p.type(row)))
            number = builder.load(_address(context, builder, x, scalars, at))
            spread = builder.insert_element(empty, number, ir.IntType(32)(0))
            spread = builder.shuffle_vector(spread, empty, first)  # the same number in every lane
            for vector, column in enumerate(columns):
                register = row * tile.vectors + vector
                summed = builder.call(fused, [spread, column, builder.extract_value(acc, register)])
                acc = builder.insert_value(acc, summed, register)
        return acc

    return tile(tile, x, types.intp, types.intp, w, types.intp), generate
