"""Saving and loading whole models: the class, the arguments of its constructor, and all parameters and constants.

    tinygen.save(model, "model.npz")
    model = tinygen.load("model.npz")

Checked by: tests/test_saving.py
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from . import bijections, distributions, models, ode  # noqa: F401  (registers their classes)
from .arguments import explained
from .autograd import Parameter
from .checks import require
from .nn import Module
from .nn.module import State
from .nn.networks import couplings, images  # noqa: F401
from .recorded import build, describe
from .training.checkpoint import (
    CheckpointError,
    attributes,
    check_attributes,
    final_state,
    read_checkpoint,
    restore,
    save_checkpoint,
    without_numbers,
)
from .version import __version__


@explained
def save(model: Module, path: str | Path) -> None:
    """Save a model so that `load` returns one with the same class, arguments and bits. Nothing is pickled.

    All its parts must be of tinygen, or registered with `tinygen.register`: classes, and functions such as activations.
    Numbers and bools in attributes of modules are saved, too.

    Raises: ValueError, without writing a file, if a part is not registered, if parts or other attributes were changed
    after the construction, if a parameter is NaN, or if a module in a functools.partial is nowhere else.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import numpy as np
        >>> from tinygen.models import RealNVP
        >>> flow = RealNVP((4,), np.random.default_rng(0), mask="half", hidden=8)
        >>> with TemporaryDirectory() as folder:
        ...     save(flow, f"{folder}/flow.npz")
        ...     twin = load(f"{folder}/flow.npz")
        >>> x = np.zeros((1, 4))
        >>> type(twin).__name__, twin.log_prob(x).item() == flow.log_prob(x).item()
        ('RealNVP', True)
    """
    try:
        twin = build(describe(model))
    except ValueError as error:
        raise ValueError(f"save: {error}") from error
    # Only what the arguments determine and the state contains is saved: the rest must be equal in a new model.
    known = {id(part) for part in (model, *model.named_modules().values(), *model.parameters())}
    for name, value in _values(model):
        hidden = next((part for part in _in_partials(value, False) if id(part) not in known), None)
        wanted = "a functools.partial whose modules are attributes, too"
        require(hidden is None, f"save: {name}", wanted, type(hidden).__name__)
    try:
        _load(twin, model.state())
    except ValueError as error:
        raise ValueError(f"save: {error}") from error
    expected, got = attributes(twin), attributes(model)
    removed = {name: expected[name] for name in expected.keys() - got.keys()}
    expected, got = without_numbers(model, expected, got)
    expected |= removed
    before, after = (dict(entry for pair in _values(each) for entry in _entries(*pair)) for each in (twin, model))
    expected |= before
    got |= {name: after[name] for name in before.keys() & after.keys()}  # new entries may be those of a cache
    for name in expected.keys() | got.keys():
        here, there = (found.get(name, "no such attribute") for found in (expected, got))
        hint = "pass it to the constructor, or begin its name with _ if it changes during use"
        require(here == there, f"save: {name}", here, f"{there}, set after the construction; {hint}")
    save_checkpoint(path, model)


def _values(model: Module) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of a model and its submodules with their paths, without those that begin with _."""
    for path, module in {"": model, **model.named_modules()}.items():
        for name, value in vars(module).items():
            if not name.startswith("_"):
                yield f"{path}.{name}".removeprefix("."), value


def _in_partials(value: Any, inside: bool) -> Iterator[Module | Parameter]:
    """Yield the modules and parameters in partial functions, which `state` does not find there."""
    if isinstance(value, Module | Parameter):
        yield from [value] if inside else []
    elif isinstance(value, partial):
        yield from _in_partials([value.func, value.args, value.keywords], True)
    elif isinstance(value, list | tuple | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _in_partials(item, inside)


def _entries(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the numbers, strings and None in nested dicts as text, with their paths."""
    for key, entry in value.items() if isinstance(value, dict) else ():
        if entry is None or isinstance(entry, bool | int | float | str | np.generic):
            yield f"{path}[{key!r}]", repr(entry.item() if isinstance(entry, np.generic) else entry)
        else:
            yield from _entries(f"{path}[{key!r}]", entry)


def _load(model: Module, state: State) -> None:
    """Load a state in its own dtypes. Raises ValueError if it does not fit."""
    for name, parameter in model.named_parameters().items():
        if name in state and state[name].dtype.kind == "f":
            parameter.assign(parameter.value, state[name].dtype)
    model.load(state)


@explained
def load(path: str | Path) -> Module:
    """Return the model in a file of `save`, or of `fit(checkpoint=…)`: then with the parameters that `fit` ends with.

    Raises: FileNotFoundError if the file does not exist; CheckpointError if it is damaged or not a checkpoint, was
    written by a newer version, has an unknown class or function, or if attributes of the model other than numbers were
    changed after its construction: then construct the model, change them and call `load_checkpoint`.
    """
    groups, header = read_checkpoint(path)
    state = final_state(path, groups, header)
    if "model" not in header:
        raise CheckpointError(
            f"{path}: written by an earlier version of tinygen, without the arguments of the model; construct the "
            "model and call tinygen.training.load_checkpoint"
        )
    try:
        model = build(header["model"])
        require(isinstance(model, Module), "model", "a Module", type(model).__name__)
        _load(model, state)
        check_attributes(model, header)
        restore(model, state, header)
    except ValueError as error:
        versions = "" if header["version"] == __version__ else f" (written by tinygen {header['version']})"
        raise CheckpointError(f"{path}{versions}: {error}") from error
    return model  # type: ignore[no-any-return]
