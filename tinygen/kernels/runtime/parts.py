"""Parts of a kernel: worker threads call the kernel again, with the same arguments, in native code.

    @compiled
    def _double(x, y, team, size):
        start, stop = part(team, size)       # of range(size); the first call opens the other parts to the workers
        for i in range(start, stop):
            y[i] = 2 * x[i]

`part` writes the address of the kernel and its arguments to the array `team`, where the workers find them (`work`). A
kernel whose part is empty does nothing. team.py starts the threads and calls the kernels.

Checked by: tests/kernels/runtime/test_team.py
"""

import platform
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .arrays import Array
from .compilation import compiled

# Words of a team's array. Those that several threads write are in cache lines of their own.
OPEN, NEXT, RUNNING, AWAKE, JOINED, FAILED, COUNT, FUNCTION, ARGUMENTS, WORDS = 0, 8, 16, 24, 32, 40, 48, 49, 56, 512
_PAUSE = "llvm.x86.sse2.pause" if platform.machine() in ("x86_64", "AMD64") else "llvm.donothing"

_operation: Callable[[Callable[..., Any]], Any] = intrinsic  # numba.extending.intrinsic is not typed


def new_team(count: int = 0) -> Array:
    """Return a team's array, for `count` parts. With one part, a kernel opens nothing."""
    words = np.zeros(WORDS, np.int64)
    words[COUNT] = count
    return words


def _data(context: Any, builder: Any, team: Any, words: Any) -> Any:
    return context.data_model_manager[team].get(builder, words, "data")


def _word(builder: Any, data: Any, index: int) -> Any:
    return builder.gep(data, [ir.IntType(64)(index)])


@_operation
def load(typing: Any, team: Any, index: Any) -> Any:
    """Return team[index], which another thread may have changed, and let the other hyperthread of the core run."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        none = ir.FunctionType(ir.VoidType(), [])
        builder.call(cgutils.get_or_insert_function(builder.module, none, _PAUSE), [])
        words = _data(context, builder, team, arguments[0])
        return builder.load_atomic(_word(builder, words, index.literal_value), "seq_cst", 8)

    if isinstance(index, types.IntegerLiteral):
        return types.int64(team, index), generate
    return None


@_operation
def add(typing: Any, team: Any, index: Any, n: Any) -> Any:
    """team[index] += n, atomically; return the value before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words = _data(context, builder, team, arguments[0])
        return builder.atomic_rmw(
            "add", _word(builder, words, index.literal_value), ir.IntType(64)(n.literal_value), "seq_cst"
        )

    if isinstance(index, types.IntegerLiteral) and isinstance(n, types.IntegerLiteral):
        return types.int64(team, index, n), generate
    return None


def _without_count(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Return an argument whose arrays have no reference count, as the caller may free it before a part ends."""
    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder, value)
        array.meminfo, array.parent = array.meminfo.type(None), array.parent.type(None)
        return array._getvalue()
    if isinstance(kind, types.UniTuple):  # type: ignore[attr-defined]
        items = cgutils.unpack_tuple(builder, value, kind.count)
        items = [_without_count(context, builder, kind.dtype, item) for item in items]
        return context.make_tuple(builder, kind, items)
    if context.data_model_manager[kind].contains_nrt_meminfo():
        raise NotImplementedError(f"{builder.function.name}: expected arrays, numbers or tuples of them, got {kind}")
    return value


def _publish(context: Any, builder: Any, words: Any) -> None:
    """Write to `team` the arguments of the calling kernel and a function that calls it with them."""
    kernel, kinds, int32 = builder.function, context.fndesc.argtypes, ir.IntType(32)
    kernel.attributes.add("noinline")  # compiled once
    given = context.call_conv.decode_arguments(builder, kinds, kernel)
    given = [_without_count(context, builder, kind, value) for kind, value in zip(kinds, given, strict=True)]
    flat = context.get_arg_packer(kinds).as_arguments(builder, given)
    packed = ir.LiteralStructType([value.type for value in flat])
    if context.get_abi_sizeof(packed) > 8 * (WORDS - ARGUMENTS):
        raise NotImplementedError(f"{kernel.name}: its arguments do not fit into a team's array")
    call = ir.Function(builder.module, ir.FunctionType(int32, [packed.as_pointer()]), f"{kernel.name}.part")
    call.linkage = "internal"
    body = ir.IRBuilder(call.append_basic_block())
    results = [body.alloca(argument.type.pointee) for argument in kernel.args[:2]]  # the value and the exception
    read = [body.load(cgutils.gep_inbounds(body, call.args[0], 0, i)) for i in range(len(flat))]
    body.ret(body.call(kernel, results + read))
    at = builder.bitcast(_word(builder, words, ARGUMENTS), packed.as_pointer())
    for i, value in enumerate(flat):
        builder.store(value, cgutils.gep_inbounds(builder, at, 0, i))
    builder.store(builder.ptrtoint(call, ir.IntType(64)), _word(builder, words, FUNCTION))


@_operation
def _part(typing: Any, team: Any, size: Any) -> Any:
    """Return the next part (start, stop) of range(size), empty if all have started. The first call opens the others."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words, n, int64 = _data(context, builder, team, arguments[0]), arguments[1], ir.IntType(64)
        count = builder.load(_word(builder, words, COUNT))
        index = cgutils.alloca_once_value(builder, int64(0))
        with builder.if_then(builder.icmp_signed("!=", count, int64(1))):
            i = builder.atomic_rmw("add", _word(builder, words, NEXT), int64(1), "seq_cst")
            # If all have started, the part is range(size, size).
            builder.store(builder.select(builder.icmp_signed("<", i, count), i, count), index)
            with builder.if_then(builder.icmp_signed("==", i, int64(0))):
                _publish(context, builder, words)
                builder.atomic_rmw("add", _word(builder, words, OPEN), int64(1), "seq_cst")
        first = builder.load(index)
        following = builder.add(first, int64(1))
        last = builder.select(builder.icmp_signed("<", following, count), following, count)
        bounds = [builder.sdiv(builder.mul(i, n), count) for i in (first, last)]
        return context.make_tuple(builder, signature.return_type, bounds)

    return types.UniTuple(types.intp, 2)(team, types.intp), generate  # type: ignore[attr-defined]


@_operation
def _call(typing: Any, team: Any) -> Any:
    """Call the published kernel, which runs one part; return a number other than 0 if it failed."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words, byte = _data(context, builder, team, arguments[0]), ir.IntType(8).as_pointer()
        function = ir.FunctionType(ir.IntType(32), [byte]).as_pointer()
        address = builder.inttoptr(builder.load(_word(builder, words, FUNCTION)), function)
        return builder.call(address, [builder.bitcast(_word(builder, words, ARGUMENTS), byte)])

    return types.int32(team), generate


part = (lambda team, size: (0, size)) if numba.config.DISABLE_JIT else _part


@compiled
def work(team: Array, spins: int) -> None:
    """Run parts until a number of spins has passed without one."""
    idle = 0
    add(team, AWAKE, 1)
    while idle < spins:
        idle += 1
        if load(team, OPEN) and load(team, NEXT) < load(team, COUNT):
            add(team, RUNNING, 1)
            add(team, JOINED, 1)
            # Look again: the caller may have closed the team before it could see that this worker is running.
            while load(team, OPEN) and load(team, NEXT) < load(team, COUNT):
                if _call(team):
                    add(team, FAILED, 1)
                idle = 0
            add(team, RUNNING, -1)
    add(team, AWAKE, -1)


@compiled
def close(team: Array, spins: int) -> bool:
    """Open no more parts, and return whether the running ones have ended within a number of spins."""
    if load(team, OPEN):
        add(team, OPEN, -1)
    for _ in range(spins):  # noqa: SIM110 - Numba has no any()
        if load(team, RUNNING) == 0:
            return True
    return False
