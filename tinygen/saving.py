"""Saving and loading whole models: the class, the arguments of its constructor, and all parameters and constants.

    tinygen.save(model, "model.npz")
    model = tinygen.load("model.npz")

Checked by: tests/test_saving.py
"""

from pathlib import Path

from . import bijections, distributions, models, ode  # noqa: F401  (registers their classes)
from .checks import require
from .nn import Module
from .nn.module import check_fit
from .nn.networks import couplings, images  # noqa: F401
from .recorded import build, describe
from .training.checkpoint import (
    CheckpointError,
    attributes,
    check_attributes,
    final_state,
    read_checkpoint,
    save_checkpoint,
)
from .version import __version__


def save(model: Module, path: str | Path) -> None:
    """Save a model so that `load` returns one with the same class, arguments and bits. Nothing is pickled.

    All its parts must be of tinygen, or registered with `tinygen.register`: classes, and functions such as activations.

    Raises: ValueError, without writing a file, if a part is not registered, if parts or attributes were changed after
    the construction, or if a parameter is NaN.

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
    check_fit(type(model).__name__, twin.state(), model.state())
    expected, got = attributes(twin), attributes(model)
    for name in expected.keys() | got.keys():
        here, there = (found.get(name, "no such attribute") for found in (expected, got))
        hint = "pass it to the constructor, or begin its name with _ if it changes during use"
        require(here == there, f"save: {name}", here, f"{there}, set after the construction; {hint}")
    save_checkpoint(path, model)


def load(path: str | Path) -> Module:
    """Return the model in a file of `save`, or of `fit(checkpoint=…)`: then with the parameters that `fit` ends with.

    Raises: FileNotFoundError if the file does not exist; CheckpointError if it is damaged or not a checkpoint, was
    written by a newer version, has an unknown class or function, or if attributes of the model were changed after its
    construction: then construct the model, change them and call `load_checkpoint`.
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
        for name, parameter in model.named_parameters().items():
            if name in state and state[name].dtype.kind == "f":
                parameter.assign(parameter.value, state[name].dtype)
        model.load(state)
        check_attributes(model, header, numbers=True)
    except ValueError as error:
        versions = "" if header["version"] == __version__ else f" (written by tinygen {header['version']})"
        raise CheckpointError(f"{path}{versions}: {error}") from error
    return model  # type: ignore[no-any-return]
