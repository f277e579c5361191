"""Saving and loading whole models: the class, the arguments of its constructor, and all parameters and constants.

    tinygen.save(model, "model.npz")
    model = tinygen.load("model.npz")

Checked by: tests/test_saving.py
"""

from functools import partial
from pathlib import Path

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
    _check_partials(model)
    try:
        _load(twin, model.state())
    except ValueError as error:
        raise ValueError(f"save: {error}") from error
    expected, got = without_numbers(model, attributes(twin), attributes(model))
    before, after = _entries(twin), _entries(model)
    shared = before.keys() & after.keys()  # new entries may be those of a cache
    expected |= {name: before[name] for name in shared}
    got |= {name: after[name] for name in shared}
    for name in expected.keys() | got.keys():
        here, there = (found.get(name, "no such attribute") for found in (expected, got))
        hint = "pass it to the constructor, or begin its name with _ if it changes during use"
        require(here == there, f"save: {name}", here, f"{there}, set after the construction; {hint}")
    save_checkpoint(path, model)


def _check_partials(model: Module) -> None:
    """Raise ValueError if a partial function has a module or parameter that `state` does not find."""
    modules = {"": model, **model.named_modules()}
    known = {id(part) for part in (*modules.values(), *model.parameters())}
    for path, module in modules.items():
        for name, value in vars(module).items():
            if isinstance(value, partial):
                for part in (value.func, *value.args, *value.keywords.values()):
                    found = isinstance(part, Module | Parameter) and id(part) not in known
                    wanted = "a functools.partial whose modules are attributes, too"
                    require(not found, "save: " + f"{path}.{name}".removeprefix("."), wanted, type(part).__name__)


def _entries(model: Module) -> dict[str, str]:
    """Return the numbers and strings in dicts among the attributes as text, by path."""
    return {
        f"{path}.{name}[{key!r}]".removeprefix("."): repr(entry)
        for path, module in {"": model, **model.named_modules()}.items()
        for name, value in vars(module).items()
        if isinstance(value, dict) and not name.startswith("_")
        for key, entry in value.items()
        if isinstance(entry, bool | int | float | str | np.generic)
    }


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
