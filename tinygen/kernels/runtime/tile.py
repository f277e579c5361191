"""SIMD register tiles: eight operations for kernels.

A tile is rows × vectors SIMD registers: one row per pixel (or input channel), its columns consecutive output channels.
LLVM keeps a tile in registers because it is *one value* of a Numba type; a small array would stay in memory (5–23
GFLOP/s on a core that reaches 100 with tiles).

    acc = zeros(rows, vectors, y)                acc[r, c]  = 0, in the dtype of y
    acc = fma(acc, x, p, stride, w, q)           acc[r, c] += x[p + r·stride] · w[q + c]
    acc = add(acc, y, q, stride, width)          acc[r, c] += y[q + r·stride + c]  where c < width
    acc = subtract(acc, y, q, stride, width)     acc[r, c] −= y[q + r·stride + c]  where c < width
    acc = relu(acc)                              acc[r, c]  = max(acc[r, c], 0)
    store(y, q, stride, width, acc)              y[q + r·stride + c] = acc[r, c]   where c < width
    transpose(y, q, step, x, p, stride)          y[q + c·step + r]   = x[p + r·stride + c] for r, c < n
    prefetch(x, p)                               starts to load the cache line of x[p]

`rows` and `vectors` are tuples whose *lengths* are the shape. Lengths are types, so kernels stay at module level, where
Numba's cache finds them; a kernel that closes over an intrinsic would be compiled again in every process. Arrays are
flat and C-contiguous, float32 or float64; addresses count elements and are not checked.

Checked by: tests/kernels/runtime/test_tile.py and the tests of convolution, gemm, winograd and packing in tests/kernels
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model

from .registers import SQUARE_BYTES, VECTOR_BYTES

ONE = (0,)  # the length of a tile with one row, or with one vector

_operation: Callable[[Callable[..., Any]], Any] = intrinsic  # numba.extending.intrinsic is not typed


class Tile(types.Type):
    """The Numba type of a tile: rows × vectors registers of one dtype."""

    def __init__(self, rows: int, vectors: int, dtype: Any) -> None:
        self.rows, self.vectors, self.dtype = rows, vectors, dtype
        self.lanes = VECTOR_BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Tile({rows}, {vectors}, {dtype})")

    @property
    def scalar(self) -> Any:
        """The LLVM type of one element."""
        return ir.FloatType() if self.dtype == types.float32 else ir.DoubleType()

    @property
    def vector(self) -> Any:
        """The LLVM type of one register."""
        return ir.VectorType(self.scalar, self.lanes)

    def mangled(self, operation: str) -> str:
        """Return the name of an LLVM intrinsic for this tile's registers, such as llvm.fmuladd.v16f32."""
        return f"llvm.{operation}.v{self.lanes}f{self.dtype.bitwidth}"


@register_model(Tile)
class TileModel(models.PrimitiveModel):  # type: ignore[misc]  # numba is not typed
    """The data model of a tile: one LLVM array of vectors, which LLVM splits into registers."""

    def __init__(self, manager: Any, tile: Tile) -> None:
        super().__init__(manager, tile, ir.ArrayType(tile.vector, tile.rows * tile.vectors))


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    # context.make_array would copy the array struct to the stack once per register, and LLVM would have to remove it.
    return builder.gep(context.data_model_manager[array_type].get(builder, array, "data"), [index])


def _register_address(context: Any, builder: Any, tile: Tile, array_type: Any, array: Any, index: Any) -> Any:
    return builder.bitcast(_address(context, builder, array_type, array, index), tile.vector.as_pointer())


def _registers(builder: Any, tile: Tile, base: Any, stride: Any) -> Any:
    """Yield (index, vector, element address) of every register of a tile stored at base."""
    for row in range(tile.rows):
        at = builder.add(base, builder.mul(stride, base.type(row)))
        for vector in range(tile.vectors):
            yield row * tile.vectors + vector, vector, builder.add(at, base.type(vector * tile.lanes))


def _masks(builder: Any, tile: Tile, width: Any) -> list[Any]:
    """Return one mask per vector of a row: which of its lanes are columns below width."""
    wide = ir.VectorType(width.type, tile.lanes)
    empty, first = ir.Constant(wide, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), tile.lanes), None)
    limit = builder.shuffle_vector(builder.insert_element(empty, width, ir.IntType(32)(0)), empty, first)
    columns = (range(vector * tile.lanes, (vector + 1) * tile.lanes) for vector in range(tile.vectors))
    return [builder.icmp_signed("<", ir.Constant(wide, list(column)), limit) for column in columns]


def _masked(builder: Any, tile: Tile, operation: str, result: Any, arguments: list[Any]) -> Any:
    signature = ir.FunctionType(result, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(builder.module, signature, tile.mangled(operation) + ".p0")
    return builder.call(function, arguments)


def _if_full(builder: Any, tile: Tile, width: Any) -> Any:
    """Branch on whether all columns of a tile are below width: a masked store takes tens of cycles on AVX2."""
    return builder.if_else(builder.icmp_signed(">=", width, width.type(tile.lanes * tile.vectors)), likely=True)


def _keep_rolled(builder: Any) -> None:
    """Keep LLVM from unrolling the loop around this code at run time, as a second step may spill registers.

    LLVM does not do so if the loop has a convergent call. The call is empty, and has side effects so that it is not
    removed.
    """
    empty = ir.InlineAsm(ir.FunctionType(ir.VoidType(), []), "", "", side_effect=True)
    attributes = builder.call(empty, []).attributes
    attributes.add("convergent")
    attributes.add("nounwind")


@_operation
def zeros(typing: Any, rows: Any, vectors: Any, like: Any) -> Any:
    """acc[r, c] = 0, in the dtype of an array."""
    tile = Tile(rows.count, vectors.count, like.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(context.get_value_type(tile), None)

    return tile(rows, vectors, like), generate


def _accumulate(tile: Any, y: Any, combine: str) -> tuple[Any, Callable[..., Any]]:
    """Return the signature and the code generator of `add` ("fadd") or `subtract` ("fsub")."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        acc, array, q, stride, width = arguments
        align = tile.dtype.bitwidth // 8
        addresses = [
            _register_address(context, builder, tile, y, array, at) for _, _, at in _registers(builder, tile, q, stride)
        ]
        with _if_full(builder, tile, width) as (full, partial):
            with full:
                loaded = [builder.load(pointer, align=align) for pointer in addresses]
                after_full = builder.block
            with partial:
                masks, zero = _masks(builder, tile, width), ir.Constant(tile.vector, None)
                some = [
                    _masked(builder, tile, "masked.load", tile.vector, [pointer, ir.IntType(32)(align), mask, zero])
                    for pointer, mask in zip(addresses, masks * tile.rows, strict=True)
                ]
                after_partial = builder.block
        for i, (value, other) in enumerate(zip(loaded, some, strict=True)):
            either = builder.phi(tile.vector)
            either.add_incoming(value, after_full)
            either.add_incoming(other, after_partial)
            loaded[i] = either
        for i, value in enumerate(loaded):
            combined = getattr(builder, combine)(builder.extract_value(acc, i), value)
            acc = builder.insert_value(acc, combined, i)
        return acc

    return tile(tile, y, types.intp, types.intp, types.intp), generate


@_operation
def add(typing: Any, acc: Any, y: Any, q: Any, stride: Any, width: Any) -> Any:
    """acc[r, c] += y[q + r·stride + c] where c < width; elements beyond width are not read."""
    return _accumulate(acc, y, "fadd")


@_operation
def subtract(typing: Any, acc: Any, y: Any, q: Any, stride: Any, width: Any) -> Any:
    """acc[r, c] −= y[q + r·stride + c] where c < width; elements beyond width are not read."""
    return _accumulate(acc, y, "fsub")


@_operation
def relu(typing: Any, acc: Any) -> Any:
    """acc[r, c] = max(acc[r, c], 0); NaN propagates."""
    tile = acc

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        acc, zero = arguments[0], ir.Constant(tile.vector, None)
        for i in range(tile.rows * tile.vectors):
            value = builder.extract_value(acc, i)
            kept = builder.select(builder.fcmp_ordered("<", value, zero), zero, value)
            acc = builder.insert_value(acc, kept, i)
        return acc

    return tile(tile), generate


@_operation
def store(typing: Any, y: Any, q: Any, stride: Any, width: Any, acc: Any) -> Any:
    """y[q + r·stride + c] = acc[r, c] where c < width; elements beyond width are not written."""
    tile = acc

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, q, stride, width, acc = arguments
        align = tile.dtype.bitwidth // 8
        registers = [
            (builder.extract_value(acc, i), _register_address(context, builder, tile, y, array, at))
            for i, _, at in _registers(builder, tile, q, stride)
        ]
        with _if_full(builder, tile, width) as (full, partial):
            with full:
                for value, pointer in registers:
                    builder.store(value, pointer, align=align)
            with partial:
                masks = _masks(builder, tile, width) * tile.rows
                for (value, pointer), mask in zip(registers, masks, strict=True):
                    _masked(builder, tile, "masked.store", ir.VoidType(), [value, pointer, ir.IntType(32)(align), mask])
        return context.get_dummy_value()

    return types.void(y, types.intp, types.intp, types.intp, tile), generate


@_operation
def fma(typing: Any, acc: Any, x: Any, p: Any, stride: Any, w: Any, q: Any) -> Any:
    """acc[r, c] += x[p + r·stride] · w[q + c]; w is read in whole registers."""
    tile = acc

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _keep_rolled(builder)
        acc, scalars, p, stride, vectors, q = arguments
        # fmuladd, not fma: a CPU without the instruction then multiplies and adds instead of calling the C library.
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
            scalar = builder.load(_address(context, builder, x, scalars, at))
            lane = builder.insert_element(empty, scalar, ir.IntType(32)(0))
            broadcast = builder.shuffle_vector(lane, empty, first)
            for vector, column in enumerate(columns):
                register = row * tile.vectors + vector
                summed = builder.call(fused, [broadcast, column, builder.extract_value(acc, register)])
                acc = builder.insert_value(acc, summed, register)
        return acc

    return tile(tile, x, types.intp, types.intp, w, types.intp), generate


@_operation
def transpose(typing: Any, y: Any, q: Any, step: Any, x: Any, p: Any, stride: Any) -> Any:
    """y[q + c·step + r] = x[p + r·stride + c] for r and c below n, the number of elements in SQUARE_BYTES."""
    n, align = SQUARE_BYTES * 8 // y.dtype.bitwidth, y.dtype.bitwidth // 8

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, q, step, source, p, stride = arguments
        vector = ir.VectorType(Tile(1, 1, y.dtype).scalar, n)

        def pointer(array_type: Any, array: Any, base: Any, step: Any, row: int) -> Any:
            at = builder.add(base, builder.mul(step, base.type(row)))
            return builder.bitcast(_address(context, builder, array_type, array, at), vector.as_pointer())

        rows = [builder.load(pointer(x, source, p, stride, row), align=align) for row in range(n)]
        bit = 1
        while bit < n:  # exchange lane c + bit of row r with lane c of row r + bit, where r and c lack this bit
            kept = [c - bit + n if c & bit else c for c in range(n)]
            moved = [c + n if c & bit else c + bit for c in range(n)]
            orders = [ir.Constant(ir.VectorType(ir.IntType(32), n), order) for order in (kept, moved)]
            rows = [builder.shuffle_vector(rows[r & ~bit], rows[r | bit], orders[r & bit > 0]) for r in range(n)]
            bit *= 2
        for row, value in enumerate(rows):
            builder.store(value, pointer(y, target, q, step, row), align=align)
        return context.get_dummy_value()

    return types.void(y, types.intp, types.intp, x, types.intp, types.intp), generate


@_operation
def prefetch(typing: Any, x: Any, p: Any) -> Any:
    """Start to load the cache line of x[p]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _keep_rolled(builder)
        i32 = ir.IntType(32)
        byte = ir.IntType(8).as_pointer()
        operation = ir.FunctionType(ir.VoidType(), [byte, i32, i32, i32])
        function = cgutils.get_or_insert_function(builder.module, operation, "llvm.prefetch.p0")
        pointer = builder.bitcast(_address(context, builder, x, *arguments), byte)
        builder.call(function, [pointer, i32(0), i32(3), i32(1)])
        return context.get_dummy_value()

    return types.void(x, types.intp), generate
