"""The decorator `compiled`: serial kernels in Numba, cached on disk where a folder is writable.

Numba's cache looks for changes only in the file of the kernel itself. `compiled` therefore adds a digest of all files
of this package and the register width to the kernel's name, and with it to the name of its cache file.

Checked by: tests/kernels/runtime/test_compilation.py
"""

import warnings
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numba
from numba.core.caching import FunctionCache, NullCache

from .registers import VECTOR_BYTES

_FILES = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.parent.rglob("*.py")))
_SOURCE = f"_{zlib.crc32(_FILES):08x}_{VECTOR_BYTES}"
_has_warned = False

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(
    function: Function,
    fastmath: frozenset[str] = frozenset(("reassoc", "contract", "nsz")),
    inline: Literal["never", "always"] = "never",
) -> Function:
    """Compile a serial kernel that releases the GIL and is cached on disk.

    error_model="numpy", because a check for division by zero prevents vectorisation (ten times slower). The fastmath
    flags allow reordering and contraction only, so NaN and inf propagate.
    """
    function.__qualname__ += _SOURCE
    kernel = numba.njit(nogil=True, error_model="numpy", fastmath=set(fastmath), inline=inline)(function)
    if not numba.config.DISABLE_JIT:
        kernel._cache = _Cache(function)
    return cast(Function, kernel)


# For helpers with one call site in a kernel: Numba copies them into it, which compiles faster than a separate function.
inlined = partial(compiled, inline="always")


class _Cache(NullCache):  # type: ignore[misc]  # numba is not typed
    """Numba's cache of one kernel, opened at its first compilation. Where it fails, the kernel is compiled again.

    With njit(cache=True), a kernel cannot even be defined where no folder is writable, and a full disk or a damaged
    file makes the call fail.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.disk: Any = None

    @property
    def cache_path(self) -> Any:
        return self.disk and self.disk.cache_path

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            self.disk = self.disk or FunctionCache(self.function)
        except (OSError, RuntimeError) as error:  # no folder is writable
            return _warn(error)
        try:
            found = self.disk.load_overload(sig, target_context)
            # Two processes that compile at the same time may write two kernels to one file.
            return found if found is None or found.signature.args == tuple(sig) else None
        except Exception:  # a damaged file may raise any exception: replace it
            return self.flush()

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            if self.disk:
                self.disk.save_overload(sig, data)
        except OSError as error:
            _warn(error)

    def flush(self) -> None:
        try:
            if self.disk:
                self.disk.flush()
        except OSError as error:
            _warn(error)


def _warn(error: Exception) -> None:
    """Warn once per process."""
    global _has_warned
    if not _has_warned:
        _has_warned = True
        warnings.warn(
            f"tinygen: compiled kernels cannot be cached, so every process compiles them again ({error}); set the "
            "environment variable NUMBA_CACHE_DIR to a writable folder",
            stacklevel=2,
        )
