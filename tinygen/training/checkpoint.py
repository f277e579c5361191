"""Checkpoints: named arrays and a header in one .npz, written whole, read without pickle, refused unless they fit.

Checked by: tests/training/test_checkpoint.py
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..autograd import Array
from ..files import write_whole
from ..nn import Module

FORMAT = "tinygen checkpoint 1"


class CheckpointError(ValueError):
    """A file is not a whole checkpoint, or is one of something else; the message names the file and what is wrong."""


def save_checkpoint(path: str | Path, module: Module) -> None:
    """Save a module's parameters and constants, replacing the file in one go.

    Raises OSError if the file cannot be written.
    """
    write_checkpoint(path, {"module": module.state()}, {})


def load_checkpoint(path: str | Path, module: Module) -> None:
    """Restore a module from save_checkpoint, or as `fit` leaves it from a training run's checkpoint: best, or averaged.

    Raises CheckpointError, the module unchanged, if the file is damaged or foreign or does not fit the module by name
    and shape; FileNotFoundError if there is none.
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
    """Write groups of named arrays and a header that JSON can hold."""
    arrays = {f"{group}.{name}": array for group, named in groups.items() for name, array in named.items()}
    text = to_json({"format": FORMAT, "groups": list(groups), **header})
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, header=np.frombuffer(text.encode(), np.uint8), **arrays)
    write_whole(path, content.getvalue())


def to_json(value: object) -> str:
    """Write a value as JSON, numbers and arrays of NumPy as those of Python."""
    return json.dumps(value, default=lambda number: number.tolist())


def read_checkpoint(path: str | Path) -> tuple[dict[str, dict[str, Array]], dict[str, Any]]:
    """Read what write_checkpoint wrote. Raises CheckpointError, or FileNotFoundError."""
    content = Path(path).read_bytes()
    try:
        arrays = _arrays(content)
        header = json.loads(arrays.pop("header").tobytes())
        if header["format"] != FORMAT:
            raise ValueError(f"format: expected {FORMAT!r}, got {header['format']!r}")
        groups: dict[str, dict[str, Array]] = {group: {} for group in header["groups"]}
        for name, array in arrays.items():
            group, _, rest = name.partition(".")
            groups[group][rest] = array
    except Exception as error:  # whatever a damaged file makes zipfile, zlib, json or NumPy stumble over
        raise CheckpointError(f"{path}: not a whole checkpoint of tinygen ({type(error).__name__}: {error})") from error
    return groups, header


def _arrays(content: bytes) -> dict[str, Array]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        damaged = archive.testzip()  # compare every checksum before a single number is believed
        if damaged is not None:
            raise ValueError(f"its part {damaged} is damaged")
        arrays = {}
        for member in archive.namelist():  # np.load takes "w" for "w.npy" where there are arrays of both names
            with archive.open(member) as file:
                arrays[member.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
    return arrays
