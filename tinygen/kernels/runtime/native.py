"""What a thread needs to take a kernel over from another one without the GIL, in LLVM's own terms.

    look(numbers, i)              numbers[i] as it is in memory now, whoever wrote it
    put(numbers, i, value)        numbers[i] = value, seen by others only after all that was written before
    swap(numbers, i, old, new)    whether numbers[i] was `old`; if so it is `new` now, and nobody came in between
    call(function, letter)        function(letter), both of them addresses
    gemm(function, …)             c = a b by the function of a BLAS
    load(address)                 the word there; save(address, word) writes it
    numbers_at(address, …)        numbers there, as an array
    entry(kernel, arguments)      the address of a function of a letter, which calls a compiled kernel

A letter holds a kernel's arguments in memory, a 64-bit word after another, as `write` writes them: numbers as they are,
of a tuple its numbers, of an array what Numba knows of one. It takes Python 10 µs and the GIL to call a kernel, and a
thread 40 µs to get the GIL from another one; to call an entry takes nothing, and no GIL.

Checked by: tests/kernels/runtime/test_native.py
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic

from .arrays import Array
from .tile import compiled

_operation: Callable[[Callable[..., Any]], Any] = intrinsic  # Numba has no types: name one for its decorator

_WORD = ir.IntType(64)
_NUMBERS, _ARRAY = range(2)
_HEAD = object.__basicsize__
_ENTRY = ir.FunctionType(ir.VoidType(), [_WORD.as_pointer()])


def _place(context: Any, builder: Any, signature: Any, numbers: Any, index: Any) -> Any:
    return builder.gep(context.make_array(signature.args[0])(context, builder, numbers).data, [index])


@_operation
def look(typing: Any, numbers: Any, index: Any) -> Any:
    """Read numbers[index], of int64, from memory at each call, where a compiler would read it once and keep it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_place(context, builder, signature, *arguments), "acquire", 8)

    return types.int64(numbers, types.intp), generate


@_operation
def put(typing: Any, numbers: Any, index: Any, value: Any) -> Any:
    """Write numbers[index] = value, of int64, after everything that this thread has written before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        *place, value = arguments
        builder.store_atomic(value, _place(context, builder, signature, *place), "release", 8)
        return context.get_dummy_value()

    return types.void(numbers, types.intp, types.int64), generate


@_operation
def swap(typing: Any, numbers: Any, index: Any, old: Any, new: Any) -> Any:
    """If numbers[index] == old, write `new` there and return True; of several threads that try, one gets True."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        *place, old, new = arguments
        found = builder.cmpxchg(_place(context, builder, signature, *place), old, new, "acq_rel", "acquire")
        return builder.extract_value(found, 1)

    return types.boolean(numbers, types.intp, types.int64, types.int64), generate


@_operation
def call(typing: Any, function: Any, letter: Any) -> Any:
    """Call the function at one address with a letter at another."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function, letter = arguments
        builder.call(builder.inttoptr(function, _ENTRY.as_pointer()), [builder.inttoptr(letter, _WORD.as_pointer())])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@_operation
def gemm(
    typing: Any, function: Any, like: Any, flip_a: Any, flip_b: Any, m: Any, n: Any, k: Any,
    a: Any, step_a: Any, b: Any, step_b: Any, c: Any, step_c: Any,
) -> Any:  # fmt: skip
    """c (m, n) = a (m, k) b (k, n) by CBLAS's gemm of 64-bit sizes, for numbers like `like`; all others are addresses,
    111 for a matrix that lies as it is and 112 for a transposed one, and numbers from one row in memory to the next.
    """
    real, whole = (ir.FloatType() if like == types.float32 else ir.DoubleType()), ir.IntType(32)
    kinds = [whole, whole, whole, *[_WORD] * 3, real, *[_WORD] * 4, real, *[_WORD] * 2]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function, _, flip_a, flip_b, m, n, k, a, step_a, b, step_b, c, step_c = arguments
        flips = [builder.trunc(flip, whole) for flip in (flip_a, flip_b)]
        callee = builder.inttoptr(function, ir.FunctionType(ir.VoidType(), kinds).as_pointer())
        row_major, one, zero = whole(101), real(1), real(0)
        builder.call(callee, [row_major, *flips, m, n, k, one, a, step_a, b, step_b, zero, c, step_c])
        return context.get_dummy_value()

    return types.void(types.int64, like, *[types.int64] * 11), generate


@_operation
def _pointer(typing: Any, address: Any, first: Any, like: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start, first, like = arguments
        return builder.gep(builder.inttoptr(start, like.type.as_pointer()), [first])

    return types.CPointer(like)(types.int64, types.int64, like), generate  # type: ignore[attr-defined]


@compiled
def numbers_at(address: int, first: int, n: int, like: float) -> Array:
    """The n numbers like `like` that lie in memory from the first-th after an address on, as an array."""
    return numba.carray(_pointer(address, first, like), (n,))  # type: ignore[no-any-return]


@_operation
def load(typing: Any, address: Any) -> Any:
    """The word at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(arguments[0], _WORD.as_pointer()))

    return types.int64(types.int64), generate


@_operation
def save(typing: Any, address: Any, word: Any) -> Any:
    """Write a word to an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[1], builder.inttoptr(arguments[0], _WORD.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def described(arguments: tuple[Any, ...]) -> list[int]:
    """Describe a kernel's arguments, C-contiguous arrays, whole numbers and tuples of such, for `write` to write."""
    told: list[int] = []
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            told += (_ARRAY, id(argument), argument.itemsize)
        elif isinstance(argument, tuple):
            told += (_NUMBERS, len(argument), *argument)
        else:
            told += (_NUMBERS, 1, argument)
    return told


@compiled
def write(letter: int, told: int, end: int) -> int:
    """Write into a letter the arguments that are described between two addresses, and return where the letter ends.

    The arrays must outlive the letter; the kernel does not count its references to them. Where an array lies stands in
    it, as every compiled extension reads it: to ask for that in Python takes 1 µs.
    """
    while told < end:
        if load(told) == _ARRAY:
            # After an object's head come NumPy's `char *data; int nd; npy_intp *dimensions, *strides;`.
            array, stride, size = load(told + 8) + _HEAD, load(told + 16), 1
            ndim, shape = load(array + 8) & 0xFFFFFFFF, load(array + 16)
            sizes, strides = letter + 40, letter + 40 + 8 * ndim
            for axis in range(ndim):
                size *= load(shape + 8 * axis)
                save(sizes + 8 * axis, load(shape + 8 * axis))
            save(letter, 0)  # meminfo and parent are nobody's
            save(letter + 8, 0)
            save(letter + 16, size)
            save(letter + 24, stride)
            save(letter + 32, load(array))
            for axis in range(ndim):
                last = ndim - 1 - axis
                save(strides + 8 * last, stride)
                stride *= load(shape + 8 * last)
            letter, told = strides + 8 * ndim, told + 24
        else:
            words = load(told + 8)
            for word in range(words):
                save(letter + 8 * word, load(told + 16 + 8 * word))
            letter, told = letter + 8 * words, told + 16 + 8 * words
    return letter


_entries: dict[tuple[Any, ...], tuple[int, Any]] = {}
_numbers = itertools.count()


def entry(kernel: Any, arguments: tuple[Any, ...]) -> int:
    """Address of a function of a letter that calls this kernel for arguments of these types; compiled at need.

    Raises TypeError if an array is not C-contiguous, aligned and writable, for which the kernel would be another, or if
    it has more axes than a letter has room for.
    """
    kinds = tuple([(a.dtype.char, a.ndim, a.flags.carray) if isinstance(a, np.ndarray) else type(a) for a in arguments])
    lengths = tuple([len(a) for a in arguments if isinstance(a, tuple)])
    known = _entries.get((kernel, kinds, lengths))
    if known is None:
        if any(isinstance(a, np.ndarray) and not (a.flags.carray and a.ndim < 10) for a in arguments):
            raise TypeError("entry: expected arrays that are C-contiguous, aligned and writable, of at most 9 axes")
        known = _entries[kernel, kinds, lengths] = _compile(kernel, tuple(map(numba.typeof, arguments)))
    return known[0]


@global_compiler_lock  # type: ignore[untyped-decorator]
def compiled_for(kernel: Any, signature: tuple[Any, ...]) -> Callable[..., Any]:
    """A kernel for arguments of just these types, one for arrays in any order in memory: it does not look at theirs."""
    kernel.compile(signature)
    function: Callable[..., Any] = kernel.overloads[signature].entry_point
    return function


@global_compiler_lock  # type: ignore[untyped-decorator]
def _compile(kernel: Any, signature: tuple[Any, ...]) -> tuple[int, Any]:
    """The entry's address, and the library that it lives in, which must be kept."""
    kernel.compile(signature)
    compiled = kernel.overloads[signature]
    context, convention, described = compiled.target_context, compiled.target_context.call_conv, compiled.fndesc
    library = context.codegen().create_library("entry")
    module = library.create_ir_module("entry")
    function = ir.Function(module, _ENTRY, f"entry_{next(_numbers)}")  # a name for each: two threads may ask at once
    builder = ir.IRBuilder(function.append_basic_block())
    arguments, at = [], 0
    for kind in described.argtypes:
        value = context.get_value_type(kind)
        address = builder.bitcast(builder.gep(function.args[0], [_WORD(at)]), value.as_pointer())
        arguments.append(builder.load(address))
        at += -(-context.get_abi_sizeof(value) // 8)
    native = convention.get_function_type(described.restype, described.argtypes)
    address = compiled.library.get_pointer_to_function(described.llvm_func_name)
    callee = builder.inttoptr(_WORD(address), native.as_pointer())
    convention.call_function(builder, callee, described.restype, described.argtypes, arguments)
    builder.ret_void()
    library.add_ir_module(module)
    library.finalize()
    return library.get_pointer_to_function(function.name), library
