"""The settings of a loss, such as β, which must be the same in a resumed run.

    partial(vae.loss, beta=0.5)                              an argument of functools.partial
    lambda x, rng, beta=0.5: vae.loss(x, rng=rng, beta=beta) a default
    lambda x, rng: vae.loss(x, rng=rng, beta=beta)           a variable of the scope around the function

Checked by: tests/training/test_loss_settings.py
"""

import dis
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from types import CodeType
from typing import Any

import numpy as np

from ..recorded import describe, fingerprint, settings


def loss_settings(losses: Sequence[Callable[..., Any]]) -> dict[str, str]:
    """Return the settings of the losses as text, such as {"loss0.beta": "0.5"}.

    Of defaults and variables, these are numbers, strings, None, arrays, and containers of these. Numbers that are
    written in the code of a function are not settings.
    """
    texts: dict[str, str] = {}
    for player, loss in enumerate(losses):
        values = {name: value for name, value in _values(loss).items() if _is_plain(value)} | _partial_arguments(loss)
        for name, value in values.items():
            path = f"loss{player}.{name}"
            texts |= {path: fingerprint(value)} if _is_array(value) else settings(describe(value), path)
    return texts


def _values(loss: Callable[..., Any]) -> dict[str, Any]:
    """Return the variables from outside that a loss reads, and its defaults, by name."""
    parameters = inspect.signature(loss).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    function: Any = loss
    while isinstance(function, partial):
        function = function.func
    function = inspect.unwrap(function)
    code = getattr(function, "__code__", None)
    if code is None or function.__module__.startswith("tinygen."):
        return defaults
    found = {}
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # a variable without a value
            found[name] = cell.cell_contents
    variables = function.__globals__
    return found | {name: variables[name] for name in _global_names(code) if name in variables} | defaults


def _global_names(code: CodeType) -> Iterator[str]:
    """Yield the names of the global variables that a function and the functions in it read."""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "LOAD_GLOBAL":
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _global_names(constant)


def _partial_arguments(loss: Callable[..., Any]) -> dict[Any, Any]:
    """Return the arguments that functools.partial adds, by index or name."""
    return dict(enumerate(loss.args)) | loss.keywords if isinstance(loss, partial) else {}


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiub"


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple | dict):
        return all(map(_is_plain, value.values() if isinstance(value, dict) else value))
    return value is None or isinstance(value, bool | int | float | str | np.generic) or _is_array(value)
