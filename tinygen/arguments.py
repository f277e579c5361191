"""Errors that name the argument: a call that failed is explained from the signature of the function.

    sigmoid("half")  →  TypeError: x: expected numbers, got 'half'

Only `rng` is checked before a call. If the call raises an error that does not name an argument, or if it is a
constructor, the arguments are compared with their annotations. Values of the right type that are wrong are checked
where they are used, with checks.py.

Checked by: tests/test_arguments.py, tests/test_public_api.py
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import numbers
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

Function = TypeVar("Function", bound=Callable[..., Any])

_SCALARS = {int: "an integer", float: "a number", bool: "a bool", str: "a string"}


def plain(value: Any) -> Any:
    """Return NumPy numbers, also in tuples, as Python's: small integers overflow, and np.int64 promotes float32."""
    value = value.item() if isinstance(value, np.generic) else value
    return tuple(map(plain, value)) if type(value) is tuple else value


def explained(function: Function) -> Function:
    """Decorate a public function: an error in a call with an argument of a wrong type names this argument.

    `rng` is compared before the call: a function may not use it, and the module np.random has a generator's methods.
    """
    check_rng, generates = _rng_check(function), inspect.isgeneratorfunction(function)

    def generate(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
        try:
            yield from function(*args, **kwargs)
        except Exception as error:
            if fault := _fault(function, args, kwargs, error):
                raise TypeError(fault) from error
            raise

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if check_rng is not None:
            check_rng(args, kwargs)
        if generates:
            return generate(args, kwargs)
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if fault := _fault(function, args, kwargs, error):
                raise TypeError(fault) from error
            raise

    return typing.cast(Function, call)


def checked(function: Function) -> Function:
    """Decorate a function that stores its arguments for later: they are compared with their annotations in any case."""
    explained_function = explained(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        result = explained_function(*args, **kwargs)  # first, as its own errors say more
        if fault := _fault(function, args, kwargs):
            raise TypeError(fault)
        return result

    return typing.cast(Function, call)


def _checked_fields(post_init: Callable[[Any], None]) -> Callable[[Any], None]:
    """Decorate the `__post_init__` of a dataclass, whose constructor does not exist yet, as `checked` would."""

    @functools.wraps(post_init)
    def call(self: Any) -> None:
        error = None
        try:
            post_init(self)
        except Exception as caught:
            error = caught
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.init}
        if fault := _fault(type(self).__init__, (self,), fields, error):
            raise TypeError(fault) from error
        if error is not None:
            raise error

    return call


class Explained:
    """Base class whose subclasses have `checked` constructors and `explained` public methods."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, method in list(vars(cls).items()):
            if name == "__init__":
                setattr(cls, name, checked(method))
            elif name == "__post_init__":
                setattr(cls, name, _checked_fields(method))
            elif inspect.isfunction(method) and (name == "__call__" or not name.startswith("_")):
                setattr(cls, name, explained(method))


def _rng_check(function: Callable[..., Any]) -> Callable[[tuple[Any, ...], dict[str, Any]], None] | None:
    """Return a check of `rng` among the arguments of a call, or None if the function takes no generator."""
    parameters = inspect.signature(function).parameters
    hint = _hint(function, parameters["rng"].annotation) if "rng" in parameters else Any
    if _mismatch(hint, 0) is None:
        return None
    positional = parameters["rng"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    position = list(parameters).index("rng") if positional else sys.maxsize
    optional = _mismatch(hint, None) is None

    def check(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if "rng" in kwargs:
            rng = kwargs["rng"]
        elif position < len(args):
            rng = args[position]
        else:
            return
        if not isinstance(rng, np.random.Generator) and not (optional and rng is None):
            raise TypeError(f"rng: expected {_mismatch(hint, rng)}, got {_short(rng)}")

    return check


def _fault(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception | None = None
) -> str | None:
    """Return a message about the first argument of a wrong type, or None if there is none or the error names one."""
    signature = inspect.signature(function)
    try:
        given = signature.bind(*args, **kwargs).arguments
    except TypeError:  # Python's own error names the argument
        return None
    faults: dict[str, str] = {}
    for name, value in given.items():
        kind = signature.parameters[name].kind
        hint = _hint(function, signature.parameters[name].annotation)
        for item in value if kind is kind.VAR_POSITIONAL else value.values() if kind is kind.VAR_KEYWORD else (value,):
            if expected := _mismatch(hint, item):
                faults.setdefault(name, f"{name}: expected {expected}, got {_short(item)}")
    explained_already = any(re.search(rf"\b{name}(\[\w+\])?: expected", str(error)) for name in faults)
    return None if explained_already else next(iter(faults.values()), None)


def _hint(function: Callable[..., Any], annotation: Any) -> Any:
    """Evaluate an annotation; Any if there is none, or if its names are imported for type checkers only."""
    if annotation is inspect.Parameter.empty:
        return Any
    try:
        return eval(annotation, function.__globals__) if isinstance(annotation, str) else annotation
    except (NameError, AttributeError):
        return Any


def _mismatch(hint: Any, value: Any) -> str | None:
    """Return a description of the expected type if the value does not match. Anything matches an unknown type."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return None
    if origin is typing.Literal:
        fits = isinstance(value, type(options[0])) and value in options
        return None if fits else f"one of {', '.join(map(repr, options))}"
    if _includes(options, DTypeLike):
        return None if _succeeds(np.dtype, value) and np.dtype(value).kind in "fiub" else "a dtype"
    if hint == ArrayLike or _includes(options, ArrayLike):
        optional = value is None and type(None) in options
        return None if optional or (_succeeds(np.asarray, value) and _is_numeric(value)) else "numbers, not a Tensor"
    if float in options and any(typing.get_origin(option) is np.ndarray for option in options):
        optional = value is None and type(None) in options
        return None if optional or _is_numeric(value) else "numbers"
    if origin in (typing.Union, types.UnionType):
        found = [_mismatch(option, value) for option in options]
        return None if None in found else " or ".join(dict.fromkeys(str(text) for text in found))
    if hint is None or hint is type(None):
        return None if value is None else "None"
    if hint in _SCALARS:
        limit = " below 2⁶³" if type(value) is int and hint in (int, float) else ""
        return None if _is_scalar(hint, value) else _SCALARS[hint] + limit
    if origin is np.ndarray or hint is np.ndarray:
        return None if isinstance(value, np.ndarray) and value.dtype.kind in "fiub" else "an array of numbers"
    if origin is tuple and options[-1:] != (...,):
        fits = isinstance(value, tuple | list) and len(value) == len(options)
        return None if fits and not any(map(_mismatch, options, value)) else f"a tuple of {len(options)}"
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return None if isinstance(value, Mapping) else "a mapping"
    if inspect.isclass(origin) and issubclass(origin, Iterable):
        scalar = getattr(value, "shape", None) == ()
        if not isinstance(value, Iterable) or isinstance(value, str | bytes | dict) or scalar:
            return f"a sequence, not {type(value).__name__}"
        items = value if options and not isinstance(value, Iterator) else ()  # an iterator can be read only once
        fault = next(filter(None, (_mismatch(options[0], item) for item in items)), None)
        return f"a sequence in which every item is {fault}" if fault else None
    if origin is Callable or hint is Callable:
        return None if callable(value) else "a function"
    if hint is np.random.Generator:
        return None if isinstance(value, hint) else "a np.random.Generator, such as np.random.default_rng(seed)"
    hint = origin if inspect.isclass(origin) else hint  # such as Protocol[T]
    if inspect.isclass(hint):
        fits = _follows(hint, value) if getattr(hint, "_is_protocol", False) else isinstance(value, hint)
        return None if fits else f"a {hint.__name__}"
    return None


def _includes(options: tuple[Any, ...], union: Any) -> bool:
    """Return whether a union contains another one."""
    return all(option in options for option in typing.get_args(union) or [union])


def _follows(protocol: type, value: Any) -> bool:
    """Return whether a value has the methods and attributes of a protocol."""
    parts = [part for part in protocol.__mro__ if getattr(part, "_is_protocol", False) and part is not typing.Protocol]
    names = {name for part in parts for name in (*vars(part), *inspect.get_annotations(part))}
    return all(hasattr(value, name) for name in names if not name.startswith("_") or name == "__call__")


def _is_numeric(value: Any) -> bool:
    """Return whether a value is a tensor, or can be converted to an array of real numbers."""
    array = getattr(value, "value", value)
    return _succeeds(np.asarray, array) and np.asarray(array).dtype.kind in "fiub"


def _succeeds(convert: Callable[[Any], object], value: Any) -> bool:
    try:
        convert(value)
    except Exception:
        return False
    return True


def _is_scalar(hint: type, value: Any) -> bool:
    types: dict[type, tuple[type, ...]] = {bool: (bool, np.bool_), str: (str,), int: (numbers.Integral,)}
    fits = isinstance(value, types.get(hint, (numbers.Real,)))
    if hint is int or hint is float:
        return fits and not isinstance(value, bool | np.bool_) and (isinstance(value, float) or abs(value) < 2**63)
    return fits


def _short(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} of shape {value.shape}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
