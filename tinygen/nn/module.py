"""Modules: objects whose parameters and constants are found by walking through their attributes.

    Parameter       learned by an optimiser
    NumPy array     constant, saved with the parameters
    Tensor          computed, not saved

The walk goes through `vars(self)` and through nested modules, lists, tuples and dicts, in insertion order, and visits
every parameter, module and container once. Nothing has to be registered.

Checked by: tests/nn/test_module.py, tests/optim/test_optimizers.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from ..autograd import Array, Parameter
from ..autograd.parameter import adopt, cast
from ..recorded import Recorded

State: TypeAlias = dict[str, Array]  # named arrays, for saving
Holder: TypeAlias = dict[Any, Any] | list[Any] | tuple[Any, ...]


class Module(Recorded):
    """Base class of everything that has parameters. A subclass assigns them to attributes and defines `__call__`.

    An attribute that holds a Parameter can only be replaced by another Parameter: `layer.w = layer.w * 0.5` raises
    TypeError, since w would become a computed tensor that is neither trained nor saved. Use `layer.w.assign(…)`.

    Example:
        >>> class Scale(Module):
        ...     def __init__(self, dim):
        ...         self.w = Parameter(np.ones(dim))
        >>> Scale(3).named_parameters().keys()
        dict_keys(['w'])
    """

    if not TYPE_CHECKING:  # a type checker that sees __setattr__ accepts every attribute

        def __setattr__(self, name: str, value: Any) -> None:
            old = vars(self).get(name)
            if isinstance(old, np.ndarray) and isinstance(value, np.generic):
                value = np.asarray(value)  # arithmetic on 0-d arrays returns scalars, which `state` leaves out
            if isinstance(old, Parameter) and not isinstance(value, Parameter):
                raise TypeError(
                    f"{type(self).__name__}.{name}: expected a Parameter, got {type(value).__name__}; "
                    f"call .{name}.assign(…) to change the value, or delete the attribute first"
                )
            super().__setattr__(name, value)

    def named_parameters(self) -> dict[str, Parameter]:
        """Return all parameters by path, for example `layers.0.w`. A shared one is listed once, by its first path.

        Raises: ValueError if two parameters have the same path.
        """
        return _by_name((part.name, part.value) for part in _parts(self) if isinstance(part.value, Parameter))

    def parameters(self) -> list[Parameter]:
        """Return all parameters, each once, in the order of `named_parameters`."""
        return list(self.named_parameters().values())

    def named_modules(self) -> dict[str, Module]:
        """Return all modules in this one by path, each once."""
        return _by_name((part.name, part.value) for part in _parts(self) if isinstance(part.value, Module))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the first parameter; float64 if there are no parameters."""
        first = next((part.value for part in _parts(self) if isinstance(part.value, Parameter)), None)
        return np.dtype(np.float64) if first is None else first.dtype

    def astype(self, dtype: DTypeLike) -> Self:
        """Convert all parameters to a floating-point dtype, in place, and return the module.

        Constants keep their dtype. They should be float32 or integers, which are promoted to the parameters' dtype.

        Raises: TypeError if the dtype is not a floating-point dtype; ValueError, before anything changes, if a finite
        number overflows in it.
        """
        if np.dtype(dtype).kind != "f":
            raise TypeError(f"dtype: expected a floating-point dtype, got {np.dtype(dtype)}")
        parameters = self.named_parameters()
        converted = [cast(name, parameter.value, dtype) for name, parameter in parameters.items()]
        for parameter, value in zip(parameters.values(), converted, strict=True):
            adopt(parameter, value)
        return self

    def state(self) -> State:
        """Return copies of all parameters and constants by path.

        Constants are included because some are random, for example permutations: a trained model cannot be restored
        without them.
        """
        return {name: value.copy() for name, value in self._arrays().items()}

    def load(self, state: Mapping[str, Array]) -> None:
        """Load what `state` returned, cast to the dtypes of this module. If this raises, the module is unchanged.

        Raises: ValueError if a name is missing or unknown, if a shape or kind of dtype differs, if a finite number
            overflows in the dtype of this module, or if a constant in a tuple differs, since it cannot be replaced.
        """
        own = self._arrays()
        check_fit(type(self).__name__, own, state)
        parts = [part for part in _parts(self) if part.name in own]
        for part in parts:
            if isinstance(part.holder, tuple) and not np.array_equal(own[part.name], state[part.name]):
                raise ValueError(
                    f"{type(self).__name__}: constant {part.name} differs from the state and cannot be replaced, since "
                    f"it is in a tuple; store it in a list"
                )
        values = [cast(part.name, state[part.name], own[part.name].dtype) for part in parts]
        for part, value in zip(parts, values, strict=True):
            if isinstance(part.value, Parameter):
                adopt(part.value, value)
            elif not isinstance(part.holder, tuple):
                part.holder[part.key] = value

    def _arrays(self) -> State:
        leaves = (part for part in _parts(self) if not isinstance(part.value, Module))
        return _by_name((p.name, p.value.value if isinstance(p.value, Parameter) else p.value) for p in leaves)

    def __repr__(self) -> str:
        return "\n".join(_tree(self, ""))


class _Part(NamedTuple):
    """One step of the walk: holder[key] is value. The holder of a module's attributes is the dict `vars(module)`."""

    name: str
    holder: Holder
    key: Any
    value: Parameter | Module | Array


def _parts(module: Module) -> Iterator[_Part]:
    """Walk through everything below a module: parameters and modules once, constants at every occurrence."""
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


def _by_name(named: Iterator[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in named:
        if name in found:
            raise ValueError(f"Module: expected distinct paths, got {name!r} twice; rename an attribute or a key")
        found[name] = value
    return found


def _tree(module: Module, name: str) -> Iterator[str]:
    """Yield the lines of a repr: the module with the shapes of its arrays, then its submodules, indented."""
    parts = list(_walk(vars(module), "", {id(module)}, into_modules=False))
    shapes = ", ".join(f"{part.name} {part.value.shape}" for part in parts if not isinstance(part.value, Module))
    count = sum(parameter.size for parameter in module.parameters())
    yield f"{name}{type(module).__name__} [{count:,} parameters]{': ' if shapes else ''}{shapes}"
    for part in parts:
        if isinstance(part.value, Module):
            yield from (f"  {line}" for line in _tree(part.value, f"{part.name}: "))


def check_fit(owner: str, own: Mapping[str, Array], state: Mapping[str, Array]) -> None:
    """Check that `state` has the names, shapes and kinds of dtype of `own`.

    Raises: ValueError listing every array that is missing, unknown or of the wrong shape or kind of dtype.
    """
    faults = [f"{name} of shape {own[name].shape} is missing" for name in own if name not in state]
    faults += [f"{name} is unknown" for name in state if name not in own]
    for name in own.keys() & state.keys():
        expected, got = own[name], np.asarray(state[name])
        if got.shape != expected.shape:
            faults.append(f"{name}: expected shape {expected.shape}, got {got.shape}")
        elif not np.can_cast(got.dtype, expected.dtype, "same_kind") or (got.dtype.kind != "f" == expected.dtype.kind):
            faults.append(f"{name}: expected dtype {expected.dtype}, got {got.dtype}")
    if faults:
        raise ValueError(f"{owner}: state: does not match and was not loaded: " + "; ".join(sorted(faults)))
