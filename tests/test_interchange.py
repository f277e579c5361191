"""Weights as safetensors: round trips of every model, exchange with PyTorch, and errors that change nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_saving import CHANGES, MODELS, randomise

from tinygen import __version__, export_safetensors, import_safetensors
from tinygen.autograd import Array, taps
from tinygen.interchange import LAYOUTS, _from_kernel, _to_kernel
from tinygen.models import NICE
from tinygen.nn import LSTM, Conv, ConvTranspose, Embedding, Linear, MaskedLinear, Module, Sequential
from tinygen.training.checkpoint import CheckpointError

safetensors_numpy = pytest.importorskip("safetensors.numpy")
Rng = np.random.Generator


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(MODELS)), seed=st.integers(0, 99), dtype=st.sampled_from([np.float32, np.float64]))
def test_round_trip_of_every_model_keeps_all_bits(name: str, seed: int, dtype: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    model, twin = MODELS[name](rng), MODELS[name](np.random.default_rng(seed)).astype(dtype)
    randomise(model, rng, dtype)
    export_safetensors(model, tmp_path / "model.safetensors")
    import_safetensors(twin, tmp_path / "model.safetensors")
    got = twin.state()
    for key, array in model.state().items():
        np.testing.assert_array_equal(got[key], array)
        assert got[key].dtype == array.dtype
    # Otherwise sums would have other last bits, and be slower.
    assert all(parameter.value.flags.c_contiguous for parameter in twin.parameters())


@given(
    offsets=st.sets(st.tuples(st.integers(-4, 4), st.integers(-4, 4)), min_size=1, max_size=9),
    dilation=st.integers(1, 3),
    data=st.data(),
)
def test_kernel_holds_the_weight_of_every_tap(
    offsets: set[tuple[int, int]], dilation: int, data: st.DataObject
) -> None:
    some = tuple((dy * dilation, dx) for dy, dx in data.draw(st.permutations(sorted(offsets))))
    w = np.arange(1.0, 1 + len(some) * 6).reshape(len(some), 2, 3)
    kernel = _to_kernel(some, w)
    np.testing.assert_array_equal(_from_kernel(some, kernel), w)
    assert np.count_nonzero(kernel) == w.size
    rows = [dy for dy, _ in some]
    step = math.gcd(*(dy - min(rows) for dy in rows)) or 1
    for (dy, dx), matrix in zip(some, w, strict=True):
        column = dx - min(each for _, each in some)
        columns = math.gcd(*(each - min(x for _, x in some) for _, each in some)) or 1
        np.testing.assert_array_equal(kernel[:, :, (dy - min(rows)) // step, column // columns], matrix.T)


@pytest.fixture
def pytorch() -> Any:
    return pytest.importorskip("torch")


def channels_first(x: Array) -> Array:
    return np.moveaxis(x, -1, 1)


IMAGE, WAVE = (2, 7, 6, 3), (2, 9, 3)
# Layer; its PyTorch twin; the shape of x; y of the layer and of the twin.
TWINS: dict[str, tuple[Callable[[Rng], Any], Callable[[Any], Any], tuple[int, ...]]] = {
    "Linear": (lambda rng: Linear(3, 4, rng), lambda nn: nn.Linear(3, 4), (5, 3)),
    "Linear without bias": (lambda rng: Linear(3, 4, rng, False), lambda nn: nn.Linear(3, 4, bias=False), (5, 3)),
    "Conv": (lambda rng: Conv(3, 4, taps.square(3), rng), lambda nn: nn.Conv2d(3, 4, 3, padding=1), IMAGE),
    "Conv, stride 2": (
        lambda rng: Conv(3, 4, taps.square(5), rng, stride=2),
        lambda nn: nn.Conv2d(3, 4, 5, padding=2, stride=2),
        IMAGE,
    ),
    "Conv of a window": (
        lambda rng: Conv(3, 4, taps.rectangle(range(-1, 2), range(-2, 3)), rng),
        lambda nn: nn.Conv2d(3, 4, (3, 5), padding=(1, 2)),
        IMAGE,
    ),
    "dilated Conv": (
        lambda rng: Conv(3, 4, ((-4,), (0,), (4,)), rng),
        lambda nn: nn.Conv1d(3, 4, 3, padding=4, dilation=4),
        WAVE,
    ),
    "ConvTranspose": (
        lambda rng: ConvTranspose(3, 4, taps.square(3), rng, stride=2),
        lambda nn: nn.ConvTranspose2d(3, 4, 3, padding=1, stride=2, output_padding=1),
        IMAGE,
    ),
    "LSTM": (lambda rng: LSTM(3, 4, rng), lambda nn: nn.LSTM(3, 4, batch_first=True), WAVE),
    "Embedding": (lambda rng: Embedding(5, 4, rng), lambda nn: nn.Embedding(5, 4), (6,)),
}


def outputs(layer: Any, twin: Any, shape: tuple[int, ...], pytorch: Any) -> tuple[Array, Array]:
    """Return y of the layer and of its twin for the same x, channels last."""
    rng = np.random.default_rng(1)
    if isinstance(layer, Embedding):
        k = rng.integers(0, 5, shape)
        return layer(k).value, twin(pytorch.from_numpy(k)).detach().numpy()
    x = rng.normal(size=shape)
    if isinstance(layer, Linear | LSTM):
        y = twin(pytorch.from_numpy(x))
        return layer(x).value, (y[0] if isinstance(layer, LSTM) else y).detach().numpy()
    y = twin(pytorch.from_numpy(np.ascontiguousarray(channels_first(x)))).detach().numpy()
    return layer(x).value, np.moveaxis(y, 1, -1)


@pytest.mark.parametrize("name", TWINS)
def test_layers_of_pytorch_read_and_write_the_same_weights(name: str, pytorch: Any, tmp_path: Path) -> None:
    files = pytest.importorskip("safetensors.torch")
    make, make_twin, shape = TWINS[name]
    path = tmp_path / "layer.safetensors"
    layer, twin = make(np.random.default_rng(0)).astype(np.float64), make_twin(pytorch.nn).double()
    randomise(layer, np.random.default_rng(2), np.float64)
    export_safetensors(layer, path)
    twin.load_state_dict(files.load_file(path))
    np.testing.assert_allclose(*outputs(layer, twin, shape, pytorch), rtol=1e-12, atol=1e-12)
    another = make_twin(pytorch.nn).double()
    files.save_file(another.state_dict(), path)
    import_safetensors(layer, path)
    np.testing.assert_allclose(*outputs(layer, another, shape, pytorch), rtol=1e-12, atol=1e-12)


def test_every_layout_is_tested() -> None:
    tested = {type(make(np.random.default_rng(0))) for make, _, _ in TWINS.values()}
    assert tested | {MaskedLinear} == set(LAYOUTS)
    assert LAYOUTS[MaskedLinear] == LAYOUTS[Linear]


def linear() -> Sequential:
    return Sequential(Linear(2, 3, np.random.default_rng(0)), Conv(3, 3, taps.causal(3), np.random.default_rng(1)))


def written(**changed: Any) -> bytes:
    """The arrays of `linear()` as PyTorch would write them, with changes; None omits an array."""
    arrays = {
        "layers.0.weight": np.ones((3, 2), np.float32),
        "layers.0.bias": np.ones(3, np.float32),
        "layers.1.weight": np.zeros((3, 3, 2, 3), np.float32),
        "layers.1.bias": np.ones(3, np.float32),
    }
    arrays |= {name.replace("__", "."): array for name, array in changed.items()}
    return bytes(safetensors_numpy.save({name: array for name, array in arrays.items() if array is not None}))


WRONG: dict[str, tuple[bytes, str]] = {
    "missing": (written(layers__0__bias=None), r"layers\.0\.bias of shape \(3,\) is missing"),
    "unknown": (written(layers__2__bias=np.ones(3)), r"layers\.2\.bias is unknown"),
    "shape": (written(layers__0__weight=np.ones((2, 3))), r"layers\.0\.weight: expected shape \(3, 2\), got \(2, 3\)"),
    "dtype": (written(layers__0__bias=np.ones(3, int)), r"layers\.0\.bias: expected dtype float32, got int64"),
    "NaN": (written(layers__0__bias=np.array([1, np.nan, 1])), r"layers\.0\.bias: expected finite numbers, got 1 that"),
    "infinite": (written(layers__1__bias=np.full(3, np.inf)), r"layers\.1\.bias: expected finite numbers, got 3 that"),
    "overflow": (
        written(layers__1__bias=np.full(3, 1e300)),
        r"layers\.1\.bias: expected numbers in the range of float32",
    ),
    "masked": (
        written(layers__1__weight=np.ones((3, 3, 2, 3))),
        r"layers\.1\.weight: expected 0 where the kernel has no tap, got 18 other values",
    ),
    "truncated": (written()[:-1], "not a complete safetensors file"),
    "empty": (b"", "not a complete safetensors file"),
    "text": (b"a text that is not a safetensors file", "not a complete safetensors file"),
    "complex": (
        written(layers__0__bias=np.ones(3, np.complex64)),
        r"layers\.0\.bias: expected one of the dtypes .* C64",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_import_names_what_is_wrong_and_changes_nothing(name: str, tmp_path: Path) -> None:
    model, path = linear(), tmp_path / "model.safetensors"
    before = model.state()
    content, message = WRONG[name]
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        import_safetensors(model, path)
    assert str(caught.value).startswith(str(path))
    for key, array in model.state().items():
        np.testing.assert_array_equal(array, before[key])
    path.write_bytes(written())
    import_safetensors(model, path)
    assert np.all(model.state()["layers.0.w"] == 1)


def test_all_faults_of_a_file_are_listed(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(written(layers__0__bias=None, extra=np.ones(2)))
    with pytest.raises(CheckpointError, match=r"extra is unknown; layers\.0\.bias .* is missing"):
        import_safetensors(linear(), tmp_path / "f")


def test_import_rejects_a_model_with_other_arguments(tmp_path: Path) -> None:
    """The shapes are the same, but the function is not."""
    one, other = (MODELS["NICE"](np.random.default_rng(0)) for _ in range(2))
    export_safetensors(one, tmp_path / "f")
    import_safetensors(other, tmp_path / "f")
    other = NICE((4,), np.random.default_rng(0), mask="checkerboard", hidden=5)
    before = other.state()
    with pytest.raises(CheckpointError, match="expected a module with the same arguments"):
        import_safetensors(other, tmp_path / "f")
    assert all(np.array_equal(array, before[name]) for name, array in other.state().items())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_export_rejects_what_is_not_finite_and_writes_nothing(bad: float, tmp_path: Path) -> None:
    model: Any = linear()
    model.layers[0].b.assign(np.array([0, bad, 0]))
    with pytest.raises(ValueError, match=r"layers\.0\.bias: expected finite numbers, got 1 that are NaN or infinite"):
        export_safetensors(model, tmp_path / "f")
    assert not list(tmp_path.iterdir())


def test_metadata_describe_the_model(tmp_path: Path) -> None:
    export_safetensors(linear(), tmp_path / "f")
    content = (tmp_path / "f").read_bytes()
    metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    assert (metadata["format"], metadata["tinygen"]) == ("pt", __version__)
    assert json.loads(metadata["model"])["class"] == "Sequential"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "float64"])
def test_import_casts_floating_point_dtypes(dtype: str, pytorch: Any, tmp_path: Path) -> None:
    files = pytest.importorskip("safetensors.torch")
    model: Module = Linear(2, 3, np.random.default_rng(0))
    w = pytorch.tensor([[0.1, -2.5], [3.1, 1e-3], [0.0, 1e4]]).to(getattr(pytorch, dtype))
    files.save_file({"weight": w, "bias": w[:, 0].clone()}, tmp_path / "f")
    import_safetensors(model, tmp_path / "f")
    np.testing.assert_array_equal(model.state()["w"], w.float().numpy().T)
    assert model.dtype == np.float32


def test_a_model_of_pytorch_need_not_have_the_constants(tmp_path: Path) -> None:
    model = MODELS["MADE"](np.random.default_rng(0))
    export_safetensors(model, tmp_path / "f")
    arrays = safetensors_numpy.load_file(tmp_path / "f")
    weights = {name: array for name, array in arrays.items() if "degrees" not in name}
    assert len(weights) < len(arrays)
    safetensors_numpy.save_file(weights, tmp_path / "f")
    twin = MODELS["MADE"](np.random.default_rng(0))
    randomise(twin, np.random.default_rng(1), np.float32)
    import_safetensors(twin, tmp_path / "f")
    assert all(np.array_equal(array, twin.state()[name]) for name, array in model.state().items())
    safetensors_numpy.save_file(weights, tmp_path / "f", {"tinygen": "0", "model": json.dumps({"class": "MADE"})})
    with pytest.raises(CheckpointError):
        import_safetensors(twin, tmp_path / "f")


def test_missing_safetensors_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=r'export_safetensors needs safetensors.numpy; .*"\.\[safetensors\]"'):
        export_safetensors(linear(), tmp_path / "f")


class Small(Module):
    """A module with a constant of small integers."""

    def __init__(self, dtype: Any, value: int) -> None:
        self.levels = np.full(2, value, dtype)


def test_import_does_not_wrap_integers(tmp_path: Path) -> None:
    model = Small(np.uint8, 5)
    path = tmp_path / "model.safetensors"
    for value, fits in ((200, True), (257, False)):
        path.write_bytes(safetensors_numpy.save({"levels": np.full(2, value, np.uint16)}))
        if fits:
            import_safetensors(model, path)
        else:
            with pytest.raises(CheckpointError, match="levels: expected numbers in the range of uint8, got 257 to 257"):
                import_safetensors(model, path)
    assert model.levels.tolist() == [200, 200]


@pytest.mark.parametrize("name", CHANGES)
def test_files_of_modules_with_other_attributes_are_rejected(name: str, tmp_path: Path) -> None:
    path, (make, change) = tmp_path / "model.safetensors", CHANGES[name]
    model, same, other = (make(np.random.default_rng(0)) for _ in range(3))
    change(model)
    change(same)
    export_safetensors(model, path)
    import_safetensors(same, path)
    with pytest.raises(CheckpointError, match="same attributes, got another"):
        import_safetensors(other, path)
