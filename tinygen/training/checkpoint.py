"""Checkpoints: named arrays and a JSON header in one .npz file, written atomically and read without pickle.

The header lists every array with its dtype, shape and checksum, and describes the module: its class, the arguments of
its constructor and its other attributes. Two modules with equal parameter shapes may still be different functions, for
example flows with different masks, so a checkpoint is loaded only into a module with the same arguments and attributes.

Checked by: tests/training/test_checkpoint.py
"""

import io
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..arguments import explained
from ..autograd import Array, Tensor
from ..checks import require
from ..files import read_npz, write_atomically
from ..nn import Module
from ..nn.module import State, check_fit
from ..recorded import Recorded, describe, fingerprint, is_same_setting, settings
from ..version import __version__

FORMAT = 2  # 1 had neither a list of the arrays nor a description of the module


class CheckpointError(ValueError):
    """The file is not a complete checkpoint, or is that of a different module or configuration."""


@explained
def save_checkpoint(path: str | Path, module: Module) -> None:
    """Save the parameters, constants and numbers of a module. An existing file is replaced atomically.

    Raises: ValueError if a parameter or constant is NaN.

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
    state = module.state()
    check_no_nan(type(module).__name__, state)
    write_checkpoint(path, {"module": state}, {"model": describe(module), "attributes": attributes(module)})


@explained
def load_checkpoint(path: str | Path, module: Module) -> None:
    """Restore a module from a file written by save_checkpoint or `fit`; from `fit`, the parameters that it ends with.

    `tinygen.load` also creates the module. To load into one with other arguments, use its state:
    `module.load(tinygen.load(path).state())`.

    Raises: FileNotFoundError if the file does not exist; CheckpointError if it is damaged, or if the names or shapes of
    its arrays, the arguments of the constructor or the attributes are not those of the module, which is then unchanged.
    """
    groups, header = read_checkpoint(path)
    state = final_state(path, groups, header)
    try:
        check_settings(module, header)
        restore(module, state, header)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error


def restore(module: Module, state: State, header: Mapping[str, Any]) -> None:
    """Load a state, and set the numbers, bools and None that the module's attributes had when the header was written.

    They may be counters, or say whether a layer is initialised. The attributes must have been checked.
    """
    modules = {"": module, **module.named_modules()}
    numbers = [(*path.rpartition("."), text) for path, text in header.get("attributes", {}).items() if _is_number(text)]
    module.load(state)
    for path, _, name, text in numbers:
        owner, value = modules.get(path), _number(text)
        if owner is None or hasattr(getattr(type(owner), name, None), "__get__"):  # now a method or property
            continue
        old = vars(owner).get(name)
        if isinstance(old, np.generic) and isinstance(value, bool | int | float):
            value = type(old)(value)  # files of earlier versions do not have the type
        vars(owner)[name] = value


def final_state(path: str | Path, groups: Mapping[str, State], header: Mapping[str, Any]) -> State:
    """Return the parameters and constants of a module, or those that a training run ends with."""
    name = header.get("result", "best" if "best" in groups else "module")
    if name not in list(groups):
        raise CheckpointError(f"{path}: expected a module or a training run, got groups {list(groups)}")
    try:
        check_no_nan(name, groups[name])
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return groups[name]


def check_no_nan(owner: str, state: State) -> None:
    """Raise ValueError if an array in the state is NaN."""
    for name, array in state.items():
        bad = np.count_nonzero(np.isnan(array))
        require(bad == 0, f"{owner}.{name}", "numbers", f"{bad} entries that are NaN; has the model diverged?")


def check_group(groups: Mapping[str, State], name: str, own: State) -> None:
    """Raise ValueError unless a group has exactly the names, dtypes and shapes of `own`, and no NaN."""
    require(name in groups, name, "a group of the checkpoint", "none")
    check_fit(name, own, groups[name])
    for key, array in groups[name].items():
        require(array.dtype == own[key].dtype, f"{name}.{key}", own[key].dtype, array.dtype)
    check_no_nan(name, groups[name])


def check_settings(module: Module, header: Mapping[str, Any]) -> None:
    """Raise ValueError unless the module has the class, constructor arguments and attributes in a checkpoint's header.

    A seed may differ, as a generator may: it only determines values that the checkpoint replaces.
    """
    if "model" not in header:  # format 1
        return
    try:
        there = settings(header["model"], "module")
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"model: the description is damaged ({error})") from error
    _compare("arguments", settings(describe(module), "module"), there, header["version"])
    check_attributes(module, header)


def attributes(module: Module) -> dict[str, str]:
    """Return as text, by path, what `state` does not contain: the classes of submodules, and all other attributes.

    Cached properties, dicts and names that begin with an underscore are left out: they may change during use.
    """
    found = {path: type(part).__name__ for path, part in module.named_modules().items()}
    for path, part in {"": module, **module.named_modules()}.items():
        found |= dict(_attributes(f"{path}." if path else "", part))
    return found


def _attributes(prefix: str, owner: Recorded) -> Iterator[tuple[str, str]]:
    """Yield the attributes of a module, or of another recorded object such as a mask, with their paths."""
    for name, value in vars(owner).items():
        if name.startswith("_") or isinstance(getattr(type(owner), name, None), cached_property):
            continue
        if isinstance(owner, Module) and isinstance(value, np.generic) and value.dtype.kind in "fiub":
            yield prefix + name, f"{value.dtype}({value.item()!r})"
        else:
            yield from _texts(prefix + name, value, isinstance(owner, Module))


def _texts(path: str, value: Any, in_module: bool) -> Iterator[tuple[str, str]]:
    """Yield the texts of a value, and of what it contains, except for what `state` or `named_modules` contain."""
    parts = Module, Tensor, np.ndarray, list, dict
    array = value.value if isinstance(value, Tensor) else value
    if isinstance(array, np.ndarray):
        if array.dtype.kind != "O" and not (in_module and array.dtype.kind in "fiub"):
            yield path, fingerprint(array)
    elif not any(isinstance(item, parts) for item in (value, *(value if isinstance(value, tuple) else ()))):
        yield from settings(describe(value), path).items()
    if isinstance(value, Recorded) and not isinstance(value, Module):
        yield from _attributes(f"{path}.", value)
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _texts(f"{path}.{i}", item, in_module)


def check_attributes(module: Module, header: Mapping[str, Any]) -> None:
    """Raise ValueError unless the module has the attributes in the header; earlier versions did not write them."""
    here = attributes(module)
    there = header.get("attributes", here)
    require(isinstance(there, dict), "attributes", "a dict", repr(there))
    # Earlier versions did not write checksums of arrays.
    here, there = (
        {name: text for name, text in one.items() if name in other or " crc32 " not in str(text)}
        for one, other in ((here, there), (there, here))
    )
    here, there = without_numbers(module, here, there)
    _compare("attributes", here, there, header["version"])


def without_numbers(module: Module, *found: dict[str, str]) -> list[dict[str, str]]:
    """Return the attributes without those of modules that are numbers, bools or None, which `restore` sets."""
    modules = {"", *module.named_modules()}
    kept = [
        name
        for name in {name for each in found for name in each}
        if name.rpartition(".")[0] not in modules or not all(_is_number(each.get(name, "None")) for each in found)
    ]
    return [{name: each[name] for name in kept if name in each} for each in found]


_VALUES = {"True": True, "False": False, "None": None}


def _number(text: str) -> Any:
    """Return the value of a text such as "1", "True" or "float32(0.5)". Raises ValueError if it is none."""
    dtype, _, rest = text.removesuffix(")").rpartition("(")
    if dtype:
        return np.dtype(dtype).type(_number(rest))
    if rest in _VALUES:
        return _VALUES[rest]
    try:
        return int(rest)
    except ValueError:
        return float(rest)


def _is_number(text: Any) -> bool:
    """Return whether a text of `attributes` is that of a number, a bool or None."""
    try:
        _number(text)
    except (AttributeError, TypeError, ValueError):
        return False
    return True


def _compare(kind: str, here: Mapping[str, str], there: Mapping[str, str], version: str) -> None:
    """Raise ValueError if settings differ. What only one of two versions of tinygen has is not a difference."""
    names = here.keys() | there.keys() if version == __version__ else here.keys() & there.keys()
    different: dict[str, str] = {}
    for name in sorted(names):
        within = any(name.startswith(f"{outer}.") for outer in different)  # such as an argument of another class
        same = is_same_setting(here.get(name), there.get(name))
        if not same and not within and name.rpartition(".")[2] != "seed":
            different[name] = f"{there.get(name, 'missing')}, not {here.get(name, 'missing')}"
    if different:
        text = "; ".join(f"{name.removeprefix('module.')} is {texts}" for name, texts in different.items())
        hint = " (names that begin with _ are not compared)" if kind == "attributes" else ""
        raise ValueError(f"expected a module with the same {kind}, got another: {text}{hint}")


def write_checkpoint(path: str | Path, groups: Mapping[str, Mapping[str, Array]], header: Mapping[str, Any]) -> None:
    """Write groups of named arrays and a header of JSON values."""
    arrays = {f"{group}.{name}": array for group, named in groups.items() for name, array in named.items()}
    listed = {name: fingerprint(array) for name, array in arrays.items()}
    start = {"format": f"tinygen checkpoint {FORMAT}", "version": __version__, "groups": list(groups), "arrays": listed}
    content = io.BytesIO()
    arrays["header"] = np.frombuffer(to_json({**start, **header}).encode(), np.uint8)
    np.savez(content, **arrays)  # type: ignore[arg-type]  # allow_pickle=False would be an array in NumPy 2.0
    write_atomically(path, content.getvalue())


def to_json(value: object) -> str:
    """Return a value as JSON, with NumPy scalars and arrays converted to Python numbers and lists."""
    return json.dumps(value, default=lambda number: number.tolist())


def read_checkpoint(path: str | Path) -> tuple[dict[str, State], dict[str, Any]]:
    """Return the groups and the header of a checkpoint. Raises CheckpointError or FileNotFoundError."""
    content = Path(path).read_bytes()
    try:
        arrays = read_npz(content, max_bytes=len(content))  # checkpoints are not compressed
        header = json.loads(arrays.pop("header").tobytes())
        _check_format(header)
        _check_arrays(arrays, header)
        groups: dict[str, State] = {group: {} for group in header["groups"]}
        for name, array in arrays.items():
            group, _, rest = name.partition(".")
            groups[group][rest] = array
    except Exception as error:  # zipfile, zlib, json and NumPy raise many types of errors for damaged files
        raise CheckpointError(f"{path}: not a complete tinygen checkpoint ({type(error).__name__}: {error})") from error
    return groups, header


def _check_format(header: Mapping[str, Any]) -> None:
    name, _, number = header["format"].rpartition(" ")
    require(name == "tinygen checkpoint", "format", "'tinygen checkpoint'", repr(header["format"]))
    if int(number) > FORMAT:
        raise ValueError(f"written by tinygen {header['version']}, which is newer than {__version__}; update tinygen")
    if int(number) == FORMAT:
        require(header.keys() >= {"version", "arrays"}, "header", "version and arrays", list(header))


def _check_arrays(arrays: Mapping[str, Array], header: Mapping[str, Any]) -> None:
    """Raise ValueError unless the arrays are those that the header lists; in format 1, it does not list them."""
    here = {name: fingerprint(array) for name, array in arrays.items()}
    listed = header.get("arrays", here)
    for name in sorted(here.keys() | listed.keys()):
        require(here.get(name) == listed.get(name), name, listed.get(name, "no such array"), here.get(name, "none"))
