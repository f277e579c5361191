"""What a table of faults consists of: right implementations of what a checker checks, and faults to put into them.

Every table applies each of its faults to two implementations, which are written once for NumPy and PyTorch: `xp` is the
module that they use. The key of a fault is what the checker must say of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

Right = Callable[[Any], dict[str, Any]]  # the arguments of a correct call, by name
Fault = Callable[[Any, SimpleNamespace], dict[str, Any]]  # (xp, the right arguments and `which`) to the changed ones


@dataclass(frozen=True)
class Table:
    """The faults that one checker names.

    Args:
        check: called with the arguments by name, rng and convert.
        right: two correct implementations.
        faults: what to change, by a part of the message.
        in_tinygen: the same for code that only tinygen can run, such as its modules.
    """

    check: Callable[..., None]
    right: tuple[Right, Right]
    faults: dict[str, Fault]
    in_tinygen: dict[str, Fault] = field(default_factory=dict)

    def message(self, said: str, which: int, xp: Any) -> str:
        """Return what the checker says of one fault in one implementation; '' if it accepts it."""
        arguments = self.right[which](xp)
        change = {**self.faults, **self.in_tinygen}[said]
        arguments |= change(xp, SimpleNamespace(which=which, **arguments))
        try:
            self.check(**arguments, rng=np.random.default_rng(0), **_convert(xp))
        except AssertionError as error:
            return str(error)
        return ""

    def accepts(self, which: int, xp: Any) -> None:
        """Raise an error if the checker rejects a correct implementation."""
        self.check(**self.right[which](xp), rng=np.random.default_rng(0), **_convert(xp))


def _convert(xp: Any) -> dict[str, Any]:
    return {} if xp is np else {"convert": xp.from_numpy}


def after(name: str, change: Callable[..., Any]) -> Fault:
    """A fault that replaces the result of the function called `name` by change(*results)."""

    def fault(xp: Any, a: SimpleNamespace) -> dict[str, Any]:
        def wrong(*arguments: Any) -> Any:
            result = getattr(a, name)(*arguments)
            return change(*result) if isinstance(result, tuple) else change(result)

        return {name: wrong}

    return fault


def before(name: str, change: Callable[..., Any]) -> Fault:
    """A fault that replaces the arguments of the function called `name` by change(*arguments)."""
    return lambda xp, a: {name: lambda *arguments: getattr(a, name)(*change(*arguments))}


def of(xp: Any, x: Any) -> Any:
    """Return a NumPy array as an array of xp."""
    return x if xp is np else xp.from_numpy(np.array(x))


def narrow(x: Any, name: str = "float32") -> Any:
    """Convert an array of NumPy or PyTorch to another dtype."""
    return x.astype(name) if isinstance(x, np.ndarray | np.generic) else x.to(getattr(__import__("torch"), name))


_NOISE = np.random.default_rng(3)


def noise() -> float:
    """Return another number in every call."""
    return float(_NOISE.normal())
