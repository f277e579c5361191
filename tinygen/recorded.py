"""Constructor arguments, recorded so that models can be compared, saved and rebuilt without pickle.

    describe(model)       the class and its arguments as JSON, recursively: a description
    build(description)    a new object: calls the class with these arguments
    settings(description) the numbers, strings and classes in it by path, for messages and comparisons

A description contains numbers, strings, arrays, containers, registered functions and Recorded objects. A random
generator is described only as one: `build` passes a new generator, so random values must be restored from elsewhere.
Classes and functions are looked up by name in REGISTRY, so reading a description imports nothing.

Checked by: tests/test_recorded.py
"""

from __future__ import annotations

import ast
import base64
import dataclasses
import functools
import inspect
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from . import autograd
from .arguments import Explained, explained, plain
from .autograd import Array, Parameter

T = TypeVar("T", bound=Callable[..., Any])

REGISTRY: dict[str, Callable[..., Any]] = {  # classes and functions by name
    name: getattr(autograd, name) for name in autograd.__all__ if inspect.isfunction(getattr(autograd, name))
}


class Recorded(Explained):
    """Base class of objects that record their constructor's arguments: modules, distributions, masks and solvers.

    Arguments are recorded by value when the constructor is called. Changes to attributes are not recorded.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            cls.__init__ = _recording(cls.__init__)  # type: ignore[method-assign]
        if cls.__module__.startswith("tinygen."):
            REGISTRY[cls.__name__] = cls


def _recording(init: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(init)
    def recording_init(self: Recorded, *args: Any, **kwargs: Any) -> None:
        # The constructor of the object's own class is called before those of its base classes.
        vars(self).setdefault("_call", _Call(_snapshot(args), _snapshot(kwargs)))
        init(self, *map(plain, args), **{name: plain(value) for name, value in kwargs.items()})

    return recording_init


@dataclasses.dataclass(frozen=True, eq=False)
class _Call:
    """The arguments of a constructor. Not a container, so that a walk through a module's attributes ignores it."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def _snapshot(value: Any) -> Any:
    """Copy containers and arrays, which the caller may modify later. Replace generators by their class."""
    if isinstance(value, np.random.Generator):
        return np.random.Generator
    if isinstance(value, np.ndarray):
        return value.copy()
    if type(value) in (list, tuple):
        return type(value)(map(_snapshot, value))
    return {key: _snapshot(item) for key, item in value.items()} if type(value) is dict else value


def register(thing: T) -> T:
    """Allow a class or function of yours in files of `tinygen.save`. Use it as a decorator.

    The class must be a `Module`, or a subclass of another class of tinygen whose arguments are recorded.

    Raises: TypeError for other classes; ValueError if the name belongs to another class or function.

    Example:
        >>> from tinygen.autograd import sigmoid
        >>> @register
        ... def swish(x):
        ...     return x * sigmoid(x)
    """
    if not inspect.isfunction(thing) and Recorded not in getattr(thing, "__mro__", ()):
        raise TypeError(f"register: expected a subclass of Module or a function, got {thing!r}")
    name, taken = thing.__name__, REGISTRY.get(thing.__name__, thing)
    if (taken.__module__, taken.__qualname__) != (thing.__module__, thing.__qualname__):
        raise ValueError(f"register: {name} is already a name of {taken.__module__}; choose another name")
    REGISTRY[name] = thing
    return thing


def arguments(thing: Recorded) -> dict[str, Any]:
    """Return the arguments of the constructor by name, including defaults."""
    fields = getattr(thing, "__dataclass_fields__", None)
    if fields is not None:
        return {name: getattr(thing, name) for name, field in fields.items() if field.init}
    call: _Call | None = vars(thing).get("_call")
    if call is None:
        return {}  # the class has no constructor
    signature = inspect.signature(type(thing))
    bound = signature.bind(*call.args, **call.kwargs)
    bound.apply_defaults()
    extra = bound.arguments.pop(_extra_keywords(signature), {})
    return {**bound.arguments, **extra}


def _extra_keywords(signature: inspect.Signature) -> str:
    """Return the name of the parameter **name, or "" if there is none."""
    return next((p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD), "")


def describe(value: Any) -> Any:
    """Return a description of a value. What cannot be rebuilt is described by {"unknown": its name}."""
    return _describe(value, {})


def _describe(value: Any, seen: dict[int, int]) -> Any:
    """Describe a value. Objects that occur repeatedly are described once: `seen` has their numbers, by id."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if id(value) in seen:
        return {"same": seen[id(value)]}
    if isinstance(value, list):
        return [_describe(item, seen) for item in value]
    if type(value) is tuple:
        return {"tuple": [_describe(item, seen) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[_describe(key, seen), _describe(item, seen)] for key, item in value.items()]}
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        content = base64.b64encode(np.ascontiguousarray(value).data).decode()
        return {"array": content, "dtype": value.dtype.str, "shape": list(value.shape)}
    if value is np.random.Generator:
        return {"generator": None}
    if isinstance(value, functools.partial):
        parts = _describe(list(value.args), seen), _describe(value.keywords, seen)
        return {"partial": _describe(value.func, seen), "args": parts[0], "keywords": parts[1]}
    if isinstance(value, Parameter):  # its value is part of a module's state
        description: Any = {"parameter": value.dtype.str, "shape": list(value.shape)}
    elif isinstance(value, Recorded):
        name = type(value).__name__
        kind = "class" if REGISTRY.get(name) is type(value) else "unregistered"
        given = {key: _describe(argument, seen) for key, argument in arguments(value).items()}
        description = {kind: name, "arguments": given}
    elif inspect.isfunction(value) and REGISTRY.get(value.__name__) is value:
        return {"function": value.__name__}
    else:
        return {"unknown": getattr(value, "__qualname__", type(value).__qualname__)}
    seen[id(value)] = len(seen)
    return description


def build(description: Any) -> Any:
    """Return a new object with this description.

    Raises: ValueError naming the part that cannot be rebuilt.
    """
    try:
        return _build(description, "model", [])
    except (LookupError, MemoryError, RecursionError, TypeError) as error:
        raise ValueError(f"model: the description is damaged ({type(error).__name__}: {error})") from error


def _build(description: Any, path: str, made: list[Any]) -> Any:
    """Build a value. `made` has the objects built so far, in the order in which `_describe` numbers them."""
    match description:
        case None | bool() | int() | float() | str():
            return description
        case list(items):
            return [_build(item, f"{path}.{i}", made) for i, item in enumerate(items)]
        case {"tuple": list(items)}:
            return tuple(_build(items, path, made))
        case {"dict": list(items)}:
            return {_build(key, path, made): _build(item, f"{path}.{key}", made) for key, item in items}
        case {"array": str(content), "dtype": str(dtype), "shape": list(shape)}:
            return np.frombuffer(base64.b64decode(content), dtype).reshape(shape).copy()
        case {"generator": None}:
            return np.random.default_rng(0)
        case {"partial": function, "args": list(args), "keywords": keywords}:
            args, keywords, function = (_build(part, path, made) for part in (args, keywords, function))
            return functools.partial(function, *args, **keywords)
        case {"function": str(name)}:
            return _registered(name, path, inspect.isfunction)
        case {"same": int(number)}:
            return made[number]
        case {"parameter": str(dtype), "shape": list(shape)}:
            made.append(Parameter(np.zeros(shape), dtype))
            return made[-1]
        case {"class": str(name), "arguments": dict(given)}:
            cls = _registered(name, path, inspect.isclass)
            values = {key: _build(value, f"{path}.{key}", made) for key, value in given.items()}
            made.append(_construct(cls, path, values))
            return made[-1]
        case {"unregistered": str(name)} | {"unknown": str(name)}:
            raise ValueError(f"{path}: {name} is not registered; decorate its definition with @tinygen.register")
    raise ValueError(f"{path}: the description is damaged")


def _registered(name: str, path: str, fits: Callable[[Any], bool]) -> Any:
    if name not in REGISTRY or not fits(REGISTRY[name]):
        raise ValueError(f"{path}: {name} is not known; import the module that registers it, or update tinygen")
    return REGISTRY[name]


def _construct(cls: Any, path: str, values: dict[str, Any]) -> Any:
    signature = inspect.signature(cls)
    unknown = {key: values.pop(key) for key in values.keys() - signature.parameters.keys()}
    if extra := _extra_keywords(signature):
        values[extra] = unknown
    elif unknown:
        raise ValueError(f"{path}: this version of {cls.__name__} has no argument {', '.join(sorted(unknown))}")
    bound = inspect.BoundArguments(signature, OrderedDict(values))
    try:
        return cls(*bound.args, **bound.kwargs)
    except Exception as error:  # the class checks its arguments
        raise ValueError(f"{path}: {cls.__name__} rejects its arguments ({type(error).__name__}: {error})") from error


def fingerprint(array: Array) -> str:
    """Return the dtype, shape and checksum of an array, for messages and comparisons."""
    return f"{array.dtype} {array.shape} crc32 {zlib.crc32(np.ascontiguousarray(array).data):08x}"


@explained
def generator_fingerprint(rng: np.random.Generator) -> str:
    """Return the state of a generator as text, with the checksum of each array."""
    return repr(_with_fingerprints(rng.bit_generator.state))


def _with_fingerprints(state: Any) -> Any:
    if isinstance(state, Mapping):
        return {name: _with_fingerprints(value) for name, value in state.items()}
    return fingerprint(state) if isinstance(state, np.ndarray) else state


def settings(description: Any, path: str = "") -> dict[str, str]:
    """Return the settings in a description as text, by path. Arrays have a checksum; generators are left out.

    Example:
        >>> from tinygen.distributions import Gaussian
        >>> settings(describe([Gaussian(scale=2.0), (1, 2)]))
        {'': '2 items', '0': 'Gaussian', '0.scale': '2.0', '1': '(1, 2)'}
    """
    parts: dict[Any, Any] = {}
    match description:
        case {"generator": _}:
            return {}
        case {"tuple": list(items)} | list(items):
            texts = [settings(item) for item in items]
            if all(list(each) == [""] for each in texts):
                text = f"({', '.join(each[''] for each in texts)}{',' * (len(items) == 1)})"
            else:
                text, parts = f"{len(items)} items", dict(enumerate(items))
        case {"dict": list(items)}:
            text, parts = f"{len(items)} items", dict(items)
        case {"array": _}:
            text = fingerprint(build(description))
        case {"parameter": dtype, "shape": shape}:
            text = f"{dtype} {tuple(shape)}"
        case {"partial": function, "args": args, "keywords": keywords}:
            text, parts = "partial", {"function": function, "args": args, "keywords": keywords}
        case {"class": text, "arguments": parts} | {"unregistered": text, "arguments": parts}:
            pass
        case {"function": text} | {"unknown": text}:
            pass
        case _:
            text = repr(description)
    nested = [settings(part, f"{path}.{key}" if path else str(key)) for key, part in parts.items()]
    return {path: text} | {key: value for each in nested for key, value in each.items()}


def is_same_setting(one: str | None, other: str | None) -> bool:
    """Return whether two texts of `settings` have the same value: 1 and 1.0 do.

    Example:
        >>> is_same_setting("(1, 'a')", "(1.0, 'a')"), is_same_setting("1", "'1'")
        (True, False)
    """
    if one == other or one is None or other is None:
        return one == other
    try:
        return bool(ast.literal_eval(one) == ast.literal_eval(other))
    except (MemoryError, RecursionError, SyntaxError, TypeError, ValueError):  # not a literal, such as a class
        return False
