"""Weights as safetensors files, with the names and layouts of PyTorch, so that a PyTorch module can load and save them.

    layer                 here                            in the file
    Linear, MaskedLinear  w (n_in, n_out)                 weight (n_out, n_in)
    Conv                  w (taps, n_in, n_out)           weight (n_out, n_in, *kernel)
    ConvTranspose         w (taps, n_out, n_in)           weight (n_in, n_out, *kernel)
    LSTM                  w (n_in, 4 n_out)               weight_ih_l0 (4 n_out, n_in)
                          u (n_out, 4 n_out)              weight_hh_l0 (4 n_out, n_out)
                          b (4 n_out,)                    bias_ih_l0 + bias_hh_l0
    Embedding             w (n, dim)                      weight (n, dim)
    any of them           b (n_out,)                      bias (n_out,)

The kernel is the smallest one that has all taps, and 0 elsewhere; its dilation is the greatest that fits. Everything
else keeps its name and layout. Names begin with the path of the layer, as in `Module.named_parameters`.

Checked by: tests/test_interchange.py
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .arguments import explained
from .autograd import Array
from .autograd.parameter import cast
from .autograd.taps import Taps
from .checks import require
from .files import import_optional, write_atomically
from .nn import LSTM, Conv, ConvTranspose, Embedding, Linear, MaskedLinear, Module
from .nn.module import State, check_fit
from .recorded import describe
from .training.checkpoint import CheckpointError, attributes, check_settings, restore, to_json
from .version import __version__

DTYPES = {"F64": "f8", "F32": "f4", "F16": "f2", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1", "BOOL": "?"}
DTYPES |= {"U64": "u8", "U32": "u4", "U16": "u2", "U8": "u1"}


class _Stored(NamedTuple):
    """How an array of a layer is stored: the name, and its conversion from and to the layout here."""

    name: str
    write: Callable[[Any, Array], Array] = lambda layer, array: array
    read: Callable[[Any, Array], Array] = lambda layer, array: array


def _transposed(name: str) -> _Stored:
    return _Stored(name, lambda layer, w: w.T, lambda layer, w: w.T)


_KERNEL = _Stored("weight", lambda layer, w: _to_kernel(layer.taps, w), lambda layer, w: _from_kernel(layer.taps, w))
_DENSE = {"w": _transposed("weight"), "b": _Stored("bias")}
_CONVOLUTION = {"w": _KERNEL, "b": _Stored("bias")}
LAYOUTS: dict[type[Module], dict[str, _Stored]] = {
    Linear: _DENSE,
    MaskedLinear: _DENSE,
    Conv: _CONVOLUTION,
    ConvTranspose: _CONVOLUTION,
    Embedding: {"w": _Stored("weight")},
    LSTM: {"w": _transposed("weight_ih_l0"), "u": _transposed("weight_hh_l0"), "b": _Stored("bias_ih_l0")},
}
SECOND_BIAS = "bias_hh_l0"  # PyTorch's LSTM adds two biases


@explained
def export_safetensors(model: Module, path: str | Path) -> None:
    """Write all parameters and constants of a model to a safetensors file, atomically.

    The metadata have the version of tinygen, the arguments of the model's constructor and its other attributes.

    Raises: ValueError if a parameter or constant is NaN or infinite; ImportError without safetensors.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from tinygen.nn import Linear
        >>> one, other = (Linear(2, 3, np.random.default_rng(seed)) for seed in (0, 1))
        >>> with TemporaryDirectory() as folder:
        ...     export_safetensors(one, f"{folder}/linear.safetensors")
        ...     import_safetensors(other, f"{folder}/linear.safetensors")
        >>> np.array_equal(one.w.value, other.w.value)
        True
    """
    safetensors = import_optional("safetensors.numpy", "export_safetensors", "safetensors")
    arrays = _to_file(model, model.state())
    _check_finite(arrays)
    metadata = {"format": "pt", "tinygen": __version__, "model": to_json(describe(model))}
    metadata["attributes"] = to_json(attributes(model))
    contiguous = {name: np.array(array, order="C") for name, array in arrays.items()}
    write_atomically(path, safetensors.save(contiguous, metadata))


@explained
def import_safetensors(model: Module, path: str | Path) -> None:
    """Load the parameters of a model from a file of `export_safetensors`, or of a PyTorch module with the same names.

    Arrays are cast to the dtypes of the model. A file that tinygen did not write need not have its constants.

    Raises: CheckpointError if the file is damaged, or lists every array that is missing, unknown, of another shape or
        kind of dtype, or not finite. The model is then unchanged. ImportError without safetensors.
    """
    content = Path(path).read_bytes()
    safetensors = import_optional("safetensors", "import_safetensors", "safetensors")
    try:
        arrays = {name: _to_array(name, **stored) for name, stored in safetensors.deserialize(content)}
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path}: not a complete safetensors file ({error})") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata = header.get("__metadata__", {})
    try:
        numbers = {"attributes": json.loads(metadata.get("attributes", "{}"))}
        restore(model, _to_model(model, arrays, metadata), numbers)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _to_array(name: str, dtype: str, shape: list[int], data: bytes) -> Array:
    if dtype == "BF16":  # the upper half of a float32
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    require(dtype in DTYPES, name, f"one of the dtypes BF16, {', '.join(DTYPES)}", dtype)
    return np.frombuffer(data, np.dtype(DTYPES[dtype]).newbyteorder("<")).reshape(shape)


def _stored(model: Module) -> dict[str, tuple[str, _Stored, Module]]:
    """Return, for each array of the model, its name in the file, how it is stored, and the layer that has it."""
    modules = {"": model, **model.named_modules()}
    found = {}
    for name in model.state():
        path, dot, attribute = name.rpartition(".")
        layer = modules.get(path, model)
        layout = next((layout for kind, layout in LAYOUTS.items() if path in modules and isinstance(layer, kind)), {})
        stored = layout.get(attribute, _Stored(attribute))
        found[name] = (path + dot + stored.name, stored, layer)
    return found


def _to_file(model: Module, state: State) -> State:
    """Return the arrays of a state with their names and layouts in the file."""
    arrays = {}
    for name, (stored_name, stored, layer) in _stored(model).items():
        arrays[stored_name] = stored.write(layer, state[name])
        if stored.name == "bias_ih_l0":
            arrays[stored_name.replace("bias_ih_l0", SECOND_BIAS)] = np.zeros_like(state[name])
    return arrays


def _to_model(model: Module, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> State:
    """Return a state of the model with the arrays of a file, which are checked."""
    state, parameters = model.state(), model.named_parameters()
    expected = _to_file(model, state)
    if "model" in metadata:
        header = {name: json.loads(metadata[name]) for name in ("model", "attributes") if name in metadata}
        check_settings(model, {**header, "version": metadata.get("tinygen", "")})
    else:
        absent = {stored_name for name, (stored_name, *_) in _stored(model).items() if name not in parameters}
        expected = {name: array for name, array in expected.items() if name in arrays or name not in absent}
    check_fit(type(model).__name__, expected, arrays)
    converted = {name: cast(name, array, expected[name].dtype) for name, array in arrays.items()}
    _check_finite(converted)
    for name, (stored_name, stored, layer) in _stored(model).items():
        if stored_name in converted:
            state[name] = stored.read(layer, converted[stored_name])
            if stored.name == "bias_ih_l0":
                state[name] = state[name] + converted[stored_name.replace("bias_ih_l0", SECOND_BIAS)]
            if stored is _KERNEL:
                unused = np.count_nonzero(converted[stored_name]) - np.count_nonzero(state[name])
                require(unused == 0, stored_name, "0 where the kernel has no tap", f"{unused} other values")
    return state


def _check_finite(arrays: Mapping[str, Array]) -> None:
    for name, array in arrays.items():
        bad = array.size - np.count_nonzero(np.isfinite(array))
        require(bad == 0, name, "finite numbers", f"{bad} that are NaN or infinite")


def _to_kernel(taps: Taps, w: Array) -> Array:
    """Convert the weights of taps to a kernel: w (taps, a, b), result (b, a, *kernel)."""
    positions = _positions(taps)
    kernel = np.zeros((*w.shape[:0:-1], *(axis.max() + 1 for axis in positions)), w.dtype)
    kernel[(slice(None), slice(None), *positions)] = w.T
    return kernel


def _from_kernel(taps: Taps, kernel: Array) -> Array:
    """Inverse of `_to_kernel`."""
    return np.asarray(kernel[(slice(None), slice(None), *_positions(taps))].T)


def _positions(taps: Taps) -> tuple[Any, ...]:
    """Return the position of each tap in the kernel, along each axis."""
    require(len(set(taps)) == len(taps), "taps", "distinct offsets", taps)
    offsets = [axis - axis.min() for axis in np.array(taps).T]
    return tuple(axis // max(1, np.gcd.reduce(axis)) for axis in offsets)
