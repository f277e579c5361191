"""A module is plain data: whatever stands in its attributes is what it is made of.

    Parameters are learned, arrays are constants, tensors are computed.

Parameters and modules are found by walking `vars(self)` through modules, lists, tuples and dicts, in the order in which
they were put there, each once. There is nothing to register and nothing to inherit but the methods below.

Checked by: tests/nn/test_module.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from ..autograd import Array, Parameter
from .state import State, check_fit

Holder: TypeAlias = dict[Any, Any] | list[Any] | tuple[Any, ...]


class Module:
    """What has parameters. A subclass assigns its parts to attributes and computes with them; that is all.

    An attribute that holds a Parameter takes only another one: `layer.w = layer.w * 0.5` raises TypeError, for w would
    be a computed tensor from then on, neither trained nor saved. `layer.w.assign(…)` gives it a value.
    """

    if not TYPE_CHECKING:  # a type checker that sees it believes that every module has every attribute

        def __setattr__(self, name: str, value: Any) -> None:
            if isinstance(vars(self).get(name), Parameter) and not isinstance(value, Parameter):
                raise TypeError(
                    f"{type(self).__name__}.{name}: expected a Parameter in place of one, got {type(value).__name__}; "
                    f"change its value by .{name}.assign(…), or del it first"
                )
            super().__setattr__(name, value)

    def named_parameters(self) -> dict[str, Parameter]:
        """Return every parameter by its path, such as `layers.0.w`; one that stands in two places has the first name.

        Raises ValueError if two have one path.
        """
        return _by_name((part.name, part.value) for part in _parts(self) if isinstance(part.value, Parameter))

    def parameters(self) -> list[Parameter]:
        """Return every parameter once, in the order of `named_parameters`."""
        return list(self.named_parameters().values())

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of its first parameter, which `astype` gives to all of them; without any, float64."""
        first = _first_parameter(vars(self), {id(self)})
        return np.dtype(np.float64) if first is None else first.dtype

    def astype(self, dtype: DTypeLike) -> Self:
        """Give every parameter this dtype, in place, and return the module.

        Constants stay: they are to be float32 (or integers), which every computation promotes to its parameters' dtype.
        Raises TypeError if the dtype is not a floating-point one.
        """
        if np.dtype(dtype).kind != "f":
            raise TypeError(
                f"astype: dtype {np.dtype(dtype)} is not a floating-point dtype, parameters could not learn"
            )
        for parameter in self.parameters():
            parameter.assign(parameter.value, dtype)
        return self

    def state(self) -> State:
        """Return copies of every parameter and every constant by their paths.

        Constants belong to it since many are drawn at random, such as a permutation: parameters alone would be
        loaded into another model than they were learned in.
        """
        return {name: value.copy() for name, value in self._arrays().items()}

    def load(self, state: Mapping[str, Array]) -> None:
        """Restore what `state` returned, into the parameters' own dtypes.

        Raises ValueError, having changed nothing, if a name is missing or unknown or a shape differs; also if a
        constant differs that stands in a tuple, where it cannot be replaced.
        """
        own = self._arrays()
        check_fit(type(self).__name__, own, state)
        parts = [part for part in _parts(self) if part.name in own]
        for part in parts:
            if isinstance(part.holder, tuple) and not np.array_equal(own[part.name], state[part.name]):
                raise ValueError(
                    f"{type(self).__name__}: constant {part.name} differs and, in a tuple, cannot be replaced"
                )
        for part in parts:
            value = np.array(state[part.name], own[part.name].dtype)
            if isinstance(part.value, Parameter):
                part.value.assign(value)
            elif not isinstance(part.holder, tuple):
                part.holder[part.key] = value

    def _arrays(self) -> State:
        leaves = (part for part in _parts(self) if not isinstance(part.value, Module))
        return _by_name((p.name, p.value.value if isinstance(p.value, Parameter) else p.value) for p in leaves)

    def __repr__(self) -> str:
        return "\n".join(_tree(self, ""))


class _Part(NamedTuple):
    """Where something stands: holder[key] is value. The holder of a module's attribute is the dict `vars(module)`."""

    name: str
    holder: Holder
    key: Any
    value: Parameter | Module | Array


def _parts(module: Module) -> Iterator[_Part]:
    """Walk through everything below a module: parameters, modules and containers once, constants wherever they are."""
    return _walk(vars(module), "", {id(module)}, into_modules=True)


def _walk(holder: Holder, prefix: str, seen: set[int], into_modules: bool) -> Iterator[_Part]:
    for key, value in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
        name = f"{prefix}{key}"
        if isinstance(value, np.ndarray):
            if value.dtype.kind in "fiub":
                yield _Part(name, holder, key, value)
        elif isinstance(value, Parameter | Module | dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            if isinstance(value, Parameter | Module):
                yield _Part(name, holder, key, value)
            if isinstance(value, Module) and into_modules:
                yield from _walk(vars(value), f"{name}.", seen, into_modules)
            elif isinstance(value, dict | list | tuple):
                yield from _walk(value, f"{name}.", seen, into_modules)


def _first_parameter(holder: Holder, seen: set[int]) -> Parameter | None:
    """The first that `_parts` comes to, without a walk through the rest: samplers ask for its dtype at each call."""
    for value in holder.values() if isinstance(holder, dict) else holder:
        if isinstance(value, Parameter):
            return value
        below = vars(value) if isinstance(value, Module) else value
        if isinstance(below, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            if (found := _first_parameter(below, seen)) is not None:
                return found
    return None


def _by_name(named: Iterator[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in named:
        if name in found:
            raise ValueError(f"Module: two parts have the path {name!r}; give one another attribute or key")
        found[name] = value
    return found


def _tree(module: Module, name: str) -> Iterator[str]:
    """Lines of a repr: a module with its own shapes, then, indented, the modules directly below it."""
    parts = list(_walk(vars(module), "", {id(module)}, into_modules=False))
    shapes = ", ".join(f"{part.name} {part.value.shape}" for part in parts if not isinstance(part.value, Module))
    count = sum(parameter.size for parameter in module.parameters())
    yield f"{name}{type(module).__name__} [{count:,} parameters]{': ' if shapes else ''}{shapes}"
    for part in parts:
        if isinstance(part.value, Module):
            yield from (f"  {line}" for line in _tree(part.value, f"{part.name}: "))
