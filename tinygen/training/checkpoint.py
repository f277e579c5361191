"""Checkpoints: named arrays and a JSON header in one .npz file, written atomically and read without pickle.

Checked by: tests/training/test_checkpoint.py
"""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..autograd import Array
from ..files import write_atomically
from ..nn import Module

FORMAT = "tinygen checkpoint 1"


class CheckpointError(ValueError):
    """The file is not a complete checkpoint, or is that of a different module or configuration."""


def save_checkpoint(path: str | Path, module: Module) -> None:
    """Save the parameters and constants of a module. An existing file is replaced atomically.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from tinygen.nn import Linear
        >>> one, other = (Linear(2, 3, np.random.default_rng(seed)) for seed in (0, 1))
        >>> with TemporaryDirectory() as folder:
        ...     save_checkpoint(f"{folder}/linear.npz", one)
        ...     load_checkpoint(f"{folder}/linear.npz", other)
        >>> np.array_equal(one.w.value, other.w.value)
        True
    """
    write_checkpoint(path, {"module": module.state()}, {})


def load_checkpoint(path: str | Path, module: Module) -> None:
    """Restore a module from a file written by save_checkpoint or `fit`; from `fit`, the parameters that it ends with.

    Raises: FileNotFoundError if the file does not exist; CheckpointError if it is damaged, or if the names or shapes of
    its arrays are not those of the module. The module is then unchanged.
    """
    groups, _ = read_checkpoint(path)
    state = groups.get("best", groups.get("module"))
    if state is None:
        raise CheckpointError(f"{path}: expected a module or a training run, got groups {list(groups)}")
    try:
        module.load(state)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error


def write_checkpoint(path: str | Path, groups: Mapping[str, Mapping[str, Array]], header: Mapping[str, Any]) -> None:
    """Write groups of named arrays and a header of JSON values."""
    arrays: dict[str, Any] = {
        f"{group}.{name}": array for group, named in groups.items() for name, array in named.items()
    }
    text = to_json({"format": FORMAT, "groups": list(groups), **header})
    content = io.BytesIO()
    np.savez(content, header=np.frombuffer(text.encode(), np.uint8), **arrays)
    write_atomically(path, content.getvalue())


def to_json(value: object) -> str:
    """Return a value as JSON, with NumPy scalars and arrays converted to Python numbers and lists."""
    return json.dumps(value, default=lambda number: number.tolist())


def read_checkpoint(path: str | Path) -> tuple[dict[str, dict[str, Array]], dict[str, Any]]:
    """Return the groups and the header of a checkpoint. Raises CheckpointError or FileNotFoundError."""
    content = Path(path).read_bytes()
    try:
        arrays = _read_arrays(content)
        header = json.loads(arrays.pop("header").tobytes())
        if header["format"] != FORMAT:
            raise ValueError(f"format: expected {FORMAT!r}, got {header['format']!r}")
        groups: dict[str, dict[str, Array]] = {group: {} for group in header["groups"]}
        for name, array in arrays.items():
            group, _, rest = name.partition(".")
            groups[group][rest] = array
    except Exception as error:  # zipfile, zlib, json and NumPy raise many types of errors for damaged files
        raise CheckpointError(f"{path}: not a complete tinygen checkpoint ({type(error).__name__}: {error})") from error
    return groups, header


def _read_arrays(content: bytes) -> dict[str, Array]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        damaged = archive.testzip()  # verifies all checksums; reading an array whose shape is damaged may not
        if damaged is not None:
            raise ValueError(f"checksum of {damaged} is wrong")
        arrays = {}
        for member in archive.namelist():  # np.load would confuse arrays named "w" and "w.npy"
            with archive.open(member) as file:
                arrays[member.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
    return arrays
