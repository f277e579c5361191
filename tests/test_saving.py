"""`tinygen.save` and `tinygen.load`: the same class, arguments and bits, also in a new process; pickled optimisers."""

from __future__ import annotations

import functools
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import evaluation
from helpers.evaluation import evaluate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinygen
from tinygen import models
from tinygen.autograd import Array, Parameter, grad, leaky_relu, relu, tanh
from tinygen.bijections import AffineTransformer, Dequantized, Inverse, MaskedAutoregressive, RationalQuadraticSpline
from tinygen.distributions import Bernoulli, DiscretizedLogistics, Gaussian
from tinygen.models import (
    FFJORD,
    GAN,
    IAF,
    MADE,
    MAF,
    NICE,
    VAE,
    Flow1D,
    GatedPixelCNN,
    Glow,
    PixelCNN,
    PixelRNN,
    RealNVP,
    WaveNet,
)  # fmt: skip
from tinygen.nn import MLP, Linear, MaskedMLP, Module, Sequential
from tinygen.nn.networks.images import ConvDecoder, ConvEncoder, ImageCritic, ImageGenerator, MLPDecoder, MLPEncoder
from tinygen.ode import FixedStep
from tinygen.optim import EMA, SGD, Adam, AdamW, cosine
from tinygen.recorded import REGISTRY, Recorded, describe
from tinygen.training import CheckpointError, fit, load_checkpoint, save_checkpoint
from tinygen.training.checkpoint import read_checkpoint, write_checkpoint

Rng = np.random.Generator
IMAGE = (4, 4, 1)
leaky = functools.partial(leaky_relu, slope=0.1)


def vae_with_flows(rng: Rng) -> VAE:
    posterior = Inverse(MaskedAutoregressive(MaskedMLP(2, 2, rng, hidden=(4,), context=3), AffineTransformer()))
    encoder, decoder = ConvEncoder(IMAGE, 7, rng, channels=(2,)), ConvDecoder(2, (*IMAGE, 2), rng, channels=(2,))
    return VAE(IMAGE, 2, encoder, decoder, Gaussian(), prior=MAF(2, rng, hidden=(4,)), posterior_flow=posterior)


MODELS: dict[str, Callable[[Rng], Any]] = {
    "MADE": lambda rng: MADE(IMAGE, 3, rng, hidden=[9], orders=2, direct=True),
    "PixelRNN": lambda rng: PixelRNN(IMAGE, 3, rng, hidden=5, layers=1),
    "PixelCNN": lambda rng: PixelCNN(IMAGE, 3, rng, channels=6, blocks=1, output=DiscretizedLogistics(3, 2)),
    "GatedPixelCNN": lambda rng: GatedPixelCNN(IMAGE, 3, rng, channels=4, layers=2, dropout=0.5),
    "WaveNet": lambda rng: WaveNet((3, 3), 3, rng, channels=4, dilations=(1, 2), coordinates=True),
    "Flow1D": lambda rng: Flow1D(5, noise="uniform", data_range=(0.0, rng.uniform(1, 2))),
    "MAF": lambda rng: MAF(3, rng, hidden=(4,), random_orders=True, transformer=AffineTransformer(2.0)),
    "IAF": lambda rng: IAF(3, rng, hidden=(4,), random_orders=True),
    "NICE": lambda rng: NICE((4,), rng, mask="half", hidden=5, activation=tanh),
    "RealNVP": lambda rng: RealNVP(IMAGE, rng, scales=2, hidden=4, depth=1, activation=leaky),
    "RealNVP with splines": lambda rng: RealNVP(IMAGE, rng, hidden=4, transformer=RationalQuadraticSpline(3, 4.0)),
    "Glow": lambda rng: Glow(IMAGE, rng, scales=2, steps=1, hidden=4),
    "FFJORD": lambda rng: FFJORD(2, rng, hidden=4, noise="gaussian", solver=FixedStep(2)),
    "VAE": lambda rng: VAE((3,), 2, MLPEncoder((3,), 4, rng), MLPDecoder(2, (3, 1), rng), Bernoulli()),
    "VAE with flows": vae_with_flows,
    "VAE of layers": lambda rng: VAE(
        (3,), 2, Sequential(Linear(3, 5, rng), leaky, Linear(5, 4, rng)), MLPDecoder(2, (3, 2), rng), Gaussian()
    ),
    "GAN": lambda rng: GAN(IMAGE, 2, ImageGenerator(IMAGE, 2, rng, width=2), ImageCritic(IMAGE, rng, width=2)),
    "GAN of MLPs": lambda rng: GAN(
        (3,), 2, MLP(2, (4,), 3, rng, activation=tanh), Linear(3, 1, rng), "wasserstein", 2.0
    ),
    "Dequantized": lambda rng: Dequantized(RealNVP(IMAGE, rng, hidden=4, depth=1), 3),
}


def randomise(model: Module, rng: Rng, dtype: Any) -> None:
    for parameter in model.astype(dtype).parameters():
        parameter.assign(0.5 * parameter.value + 0.1 * rng.normal(size=parameter.shape))


def check_same(one: Module, other: Module) -> None:
    assert type(one) is type(other)
    assert describe(one) == describe(other)
    assert repr(one) == repr(other)
    left, right = one.state() | evaluate(one), other.state() | evaluate(other)
    for name in left.keys() | right.keys():
        assert np.array_equal(left[name], right[name]), name
        assert left[name].dtype == right[name].dtype, name


def test_every_model_is_tested() -> None:
    assert set(models.__all__) <= MODELS.keys()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(sorted(MODELS)), seed=st.integers(0, 2**32), dtype=st.sampled_from([np.float32, np.float64])
)
def test_load_returns_an_equal_model(name: str, seed: int, dtype: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    model = MODELS[name](rng)
    randomise(model, rng, dtype)
    tinygen.save(model, tmp_path / "model.npz")
    check_same(model, tinygen.load(tmp_path / "model.npz"))


def test_every_model_is_equal_in_a_new_process(tmp_path: Path) -> None:
    made = {}
    for name, make in MODELS.items():
        made[name] = make(np.random.default_rng(3))
        randomise(made[name], np.random.default_rng(4), np.float32)
        tinygen.save(made[name], tmp_path / f"{name}.npz")
    subprocess.run([sys.executable, evaluation.__file__, str(tmp_path)], check=True)
    for name, model in made.items():
        with np.load(tmp_path / f"{name}.results.npz") as results:
            for key, expected in evaluate(model).items():
                assert np.array_equal(results[key], expected), (name, key)


def small_flow(seed: int = 0) -> RealNVP:
    return RealNVP((2,), np.random.default_rng(seed), mask="half", hidden=4)


@pytest.mark.parametrize("validate", [True, False])
def test_load_reads_a_checkpoint_of_fit(validate: bool, tmp_path: Path) -> None:
    flow, x, path = small_flow(), np.random.default_rng(1).normal(size=(20, 2)), tmp_path / "run.npz"
    adam, results = Adam(flow.parameters()), iter([1.0, 0.0, 2.0, 3.0])
    fit(
        flow.loss, flow, x, optimizer=adam, batch_size=5, epochs=4, rng=np.random.default_rng(2), checkpoint=path,
        ema=EMA(flow.parameters(), 0.5), validate=(lambda: next(results)) if validate else None, progress=False,
    )  # fmt: skip
    check_same(flow, tinygen.load(path))


class Custom(Module):
    """A module of a user."""

    def __init__(self, width: int, rng: Rng, activation: Any = tanh) -> None:
        self.layer, self.activation, self.scale = Linear(2, width, rng), activation, 1.0

    def sample(self, n: int, rng: Rng) -> Array:
        return rng.normal(size=(n, 2))

    def log_prob(self, x: Array) -> Any:
        return self.activation(self.layer(x)).sum(1) * self.scale


def square(x: Any) -> Any:
    return x * x


def test_registered_classes_and_functions_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, model = tmp_path / "model.npz", Custom(3, np.random.default_rng(0), square)
    with pytest.raises(ValueError, match="save: model: Custom is not registered; decorate its definition"):
        tinygen.save(model, path)
    monkeypatch.setitem(REGISTRY, "Custom", Custom)
    with pytest.raises(ValueError, match=r"save: model\.activation: square is not registered"):
        tinygen.save(model, path)
    assert not path.exists()
    monkeypatch.setitem(REGISTRY, "square", square)
    tinygen.save(model, path)
    check_same(model, tinygen.load(path))
    monkeypatch.delitem(REGISTRY, "square")
    with pytest.raises(CheckpointError, match=r"model\.npz: model\.activation: square is not known; import the module"):
        tinygen.load(path)
    monkeypatch.delitem(REGISTRY, "Custom")
    with pytest.raises(CheckpointError, match="model: Custom is not known"):
        tinygen.load(path)


def test_save_refuses_what_load_could_not_restore(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    flow = small_flow()
    flow.extra = Parameter(np.ones(2))  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="extra is unknown"):
        tinygen.save(flow, path)
    tanh_by_numpy = Sequential(Linear(2, 2, np.random.default_rng(0)), np.tanh)
    with pytest.raises(ValueError, match=r"layers\.1: tanh is not registered"):
        tinygen.save(tanh_by_numpy, path)
    assert not path.exists()


class Doubled(Linear):
    def __call__(self, x: Any, *arguments: Any) -> Any:
        return 2 * super().__call__(x, *arguments)


def transformer_of(flow: RealNVP) -> Any:
    return next(part.transformer for part in flow.named_modules().values() if hasattr(part, "transformer"))


class Nested(Module):
    def __init__(self) -> None:
        self.stages = [[1.0, "a"]]


CHANGES: dict[str, tuple[Callable[[Rng], Any], Callable[[Any], object]]] = {
    "activation": (lambda rng: MLP(2, (4,), 1, rng), lambda mlp: setattr(mlp, "activation", tanh)),
    "item of a list": (
        lambda rng: Sequential(Linear(2, 2, rng), leaky), lambda model: model.layers.__setitem__(1, tanh),
    ),
    "class": (
        lambda rng: Sequential(Linear(2, 2, rng), leaky),
        lambda model: model.layers.__setitem__(0, Doubled(2, 2, np.random.default_rng(0))),
    ),
    "base": (MODELS["RealNVP"], lambda flow: setattr(flow, "base", Gaussian(2.0))),
    "taps": (MODELS["PixelCNN"], lambda model: setattr(model.earlier, "taps", model.earlier.taps[::-1])),
    "mask": (
        MODELS["NICE"], lambda flow: setattr(flow.bijection.bijections[1], "mask", flow.bijection.bijections[0].mask)
    ),
    "solver": (MODELS["FFJORD"], lambda flow: setattr(flow.bijection, "solver", FixedStep(1))),
    "output": (MODELS["MADE"], lambda made: setattr(made, "output", DiscretizedLogistics(3, 1))),
    "transformer": (
        MODELS["RealNVP with splines"],
        lambda flow: setattr(flow.bijection.bijections[0], "transformer", RationalQuadraticSpline(3, 4.5)),
    ),
    "attribute of a transformer": (
        MODELS["RealNVP with splines"],
        lambda flow: vars(transformer_of(flow)).update(bound=2.0),
    ),
    "nested list": (lambda rng: Nested(), lambda model: model.stages[0].__setitem__(1, "b")),
    "new": (MODELS["MADE"], lambda made: setattr(made, "mode", "fast")),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_attributes_that_were_changed_are_not_lost(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, "Nested", Nested)
    path, (make, change) = tmp_path / "model.npz", CHANGES[name]
    model, same, other = (make(np.random.default_rng(0)) for _ in range(3))
    change(model)
    change(same)
    with pytest.raises(ValueError, match=r"save: .*set after the construction; pass it to the constructor"):
        tinygen.save(model, path)
    assert not path.exists()
    save_checkpoint(path, model)
    load_checkpoint(path, same)
    for load in (lambda: load_checkpoint(path, other), lambda: tinygen.load(path)):
        with pytest.raises(CheckpointError, match="same attributes, got another"):
            load()


def test_fit_rejects_the_checkpoint_of_a_module_with_other_attributes(tmp_path: Path) -> None:
    def run(steps: int, activation: Any) -> None:
        mlp = MLP(2, (4,), 1, np.random.default_rng(0))
        mlp.activation = activation
        fit(
            lambda x, rng: (mlp(x) ** 2).mean(), mlp, np.ones((4, 2), np.float32), optimizer=Adam(mlp.parameters()),
            batch_size=4, steps=steps, rng=np.random.default_rng(0), checkpoint=tmp_path / "run.npz", progress=False,
        )  # fmt: skip

    run(2, tanh)
    with pytest.raises(CheckpointError, match="activation is tanh, not relu"):
        run(3, relu)
    with pytest.raises(CheckpointError, match="activation is tanh, not relu"):
        tinygen.load(tmp_path / "run.npz")


class Loose(Module):
    """What `save` cannot restore: each variant has an attribute that no argument determines and no state contains."""

    def __init__(self, variant: str, rng: Rng) -> None:
        self.w = Parameter(np.ones(2))
        if variant == "module in a partial":
            self.f = functools.partial(square, Linear(2, 2, rng))
        elif variant == "entry of a dict":
            self.options: dict[str, Any] = {"scale": 1.0}
        elif variant == "complex array":
            self.phases = np.exp(1j * rng.normal(size=2))
        elif variant == "array of a mask":
            self.base = Shifted(rng)
        elif variant == "module in a list in a partial in a list":
            self.fs = [functools.partial(square, [Linear(2, 2, rng)])]
        elif variant in ("nested entry of a dict", "removed entry of a dict"):
            self.options = {"a": 1, "b": {"c": None}}
        elif variant == "removed number":
            self.n = 3
        elif variant == "array in a tuple":
            self.orders = (rng.permutation(5), rng.permutation(5))


class Shifted(Recorded):
    def __init__(self, rng: Rng) -> None:
        self.shift = rng.normal(size=2)


LOOSE = {
    "module in a partial": r"save: f: expected a functools\.partial whose modules are attributes, too, got Linear",
    "entry of a dict": r"save: options\['scale'\]: expected 1\.0, got 5\.0",
    "complex array": r"save: phases: expected complex128 \(2,\) .*, got complex128",
    "array of a mask": r"save: base\.shift: expected float64 \(2,\) .*, got float64",
    "module in a list in a partial in a list": r"save: fs: expected a functools\.partial whose modules are attributes",
    "nested entry of a dict": r"save: options\['b'\]\['c'\]: expected None, got 3",
    "removed entry of a dict": r"save: options\['a'\]: expected 1, got no such attribute",
    "removed number": r"save: n: expected 3, got no such attribute",
    "array in a tuple": r"save: Loose: constant orders\.0 differs from the state and cannot be replaced",
}


@pytest.mark.parametrize("variant", LOOSE)
def test_save_refuses_what_would_be_lost(variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, "Loose", Loose)
    monkeypatch.setitem(REGISTRY, "Shifted", Shifted)
    model = Loose(variant, np.random.default_rng(1))
    if variant == "entry of a dict":
        model.options["scale"] = 5.0
        model.options["cached"] = 1.0  # a new entry is none that the constructor has made
    elif variant == "nested entry of a dict":
        model.options["b"]["c"] = 3
    elif variant == "removed entry of a dict":
        del model.options["a"]
    elif variant == "removed number":
        del model.n
    with pytest.raises(ValueError, match=LOOSE[variant]):
        tinygen.save(model, tmp_path / "model.npz")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("swapped", [tinygen.save, save_checkpoint, tinygen.load, load_checkpoint])
def test_swapped_arguments_are_named(swapped: Any, tmp_path: Path) -> None:
    layer, path = Linear(2, 2, np.random.default_rng(0)), tmp_path / "model.npz"
    save_checkpoint(path, layer)
    arguments = {tinygen.save: (path, layer), tinygen.load: (layer,)}.get(swapped, (layer, path))
    with pytest.raises(TypeError, match=r"(model|module|path): expected a"):
        swapped(*arguments)


class Lazy(Module):
    """A module that is initialised by its first call, counts its calls, and has a cached property and a cache."""

    def __init__(self) -> None:
        self.w, self.ws = Parameter(np.ones(2)), (Parameter(np.ones(2)), np.ones(3))
        self.ready, self.calls = False, 0
        self.last: float | None = None
        self.cache: dict[str, float] = {}

    @functools.cached_property
    def taps(self) -> tuple[tuple[int, ...], ...]:
        self._used = "yes"
        return ((0, 0), (1, 1))

    def __call__(self, x: Any) -> Any:
        self.ready, self.last = len(self.taps) > 0, 1.5
        self.calls += 1
        self.cache["n"] = 1.0
        return x * self.w


def test_what_a_module_changes_during_use_is_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, "Lazy", Lazy)
    path, model = tmp_path / "run.npz", Lazy()

    def run(model: Lazy, steps: int) -> None:
        fit(
            lambda x, rng: (model(x) ** 2).mean(), model, np.ones((4, 2), np.float32), optimizer=SGD([model.w], 0.1),
            batch_size=4, steps=steps, rng=np.random.default_rng(0), checkpoint=path, progress=False,
        )  # fmt: skip

    run(model, 1)
    run(model, 2)
    run(Lazy(), 3)
    load_checkpoint(path, model)
    load_checkpoint(path, Lazy().astype(np.float64))
    # The numbers continue: a new model would be initialised again.
    loaded = tinygen.load(path)
    assert isinstance(loaded, Lazy)
    assert (loaded.ready, loaded.last, loaded.calls) == (model.ready, model.last, model.calls) == (True, 1.5, 3)
    twin = Lazy().astype(np.float64)
    assert twin.taps
    tinygen.save(twin, path)
    assert tinygen.load(path).dtype == np.float64


def test_load_rejects_what_is_not_the_file_of_a_model(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    with pytest.raises(FileNotFoundError):
        tinygen.load(path)
    tinygen.save(small_flow(), path)
    groups, header = read_checkpoint(path)
    for key in ("format", "version", "groups", "arrays"):
        del header[key]

    def check_rejected(message: str) -> None:
        with pytest.raises(CheckpointError, match=message) as caught:
            tinygen.load(path)
        assert str(caught.value).startswith(str(path))

    path.write_bytes(path.read_bytes()[:-7])
    check_rejected("not a complete tinygen checkpoint")
    np.savez(path, w=np.ones(3))
    check_rejected("not a complete tinygen checkpoint")
    write_checkpoint(path, groups, {})
    check_rejected("written by an earlier version of tinygen.*load_checkpoint")
    for description, message in [
        ({"class": "system", "arguments": {}}, "model: system is not known"),
        ({"class": "Linear", "arguments": {}}, "Linear rejects its arguments"),
        ({"class": "Bernoulli", "arguments": {}}, "model: expected a Module, got Bernoulli"),
        ("text", "model: expected a Module, got str"),
        (describe(RealNVP((2,), np.random.default_rng(0), hidden=5)), r"expected shape \(1, 5\), got \(1, 4\)"),
        (describe(NICE((2,), np.random.default_rng(0))), "is missing.*is unknown"),
    ]:
        write_checkpoint(path, groups, {**header, "model": description})
        check_rejected(message)
    name = next(iter(groups["module"]))
    write_checkpoint(path, {"module": {**groups["module"], name: np.zeros((7, 7), np.float32)}}, header)
    check_rejected(rf"{name}: expected shape .*, got \(7, 7\)")
    write_checkpoint(path, groups, {**header, "model": {"class": "Later", "arguments": {}}, "version": "9.0"})
    check_rejected(r"\(written by tinygen 9\.0\): model: Later is not known")


@pytest.mark.parametrize(
    "make",
    [
        lambda p: SGD(p, 0.1, momentum=0.9),
        lambda p: Adam(p, 0.05),
        lambda p: AdamW(p, cosine(0.1, steps=9, warmup=2), weight_decay=0.1),
    ],
    ids=["SGD", "Adam", "AdamW"],
)
def test_a_pickled_optimiser_goes_on_with_the_same_bits(make: Callable[[list[Parameter]], Any]) -> None:
    def train(flow: RealNVP, optimizer: Any) -> None:
        for _ in range(3):
            optimizer.step(grad(flow.loss(x), optimizer.parameters))

    x, flow = np.random.default_rng(1).normal(size=(20, 2)), small_flow()
    optimizer = make(flow.parameters())
    train(flow, optimizer)
    twin, twin_optimizer = pickle.loads(pickle.dumps((flow, optimizer)))
    train(flow, optimizer)
    train(twin, twin_optimizer)
    assert all(np.array_equal(value, twin.state()[name]) for name, value in flow.state().items())


def test_a_pickled_parameter_has_derivatives_in_a_new_process(tmp_path: Path) -> None:
    """There, the running number `order` of tensors starts from 0 again."""
    w = Parameter([1.0, 2.0])
    for _ in range(1000):
        w.assign(w.value)
    (tmp_path / "w").write_bytes(pickle.dumps(w))
    program = """
import pickle, sys
from tinygen import grad
with open(sys.argv[1], "rb") as file:
    w = pickle.load(file)
print(grad((w * w).sum(), [w])[0].value.tolist())
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(tmp_path / "w")], capture_output=True, text=True
    )
    assert done.stdout == "[2.0, 4.0]\n", done.stderr


NUMBERS = (
    np.float64(0.1),
    np.float32(0.1),
    np.bool_(True),
    np.int8(3),
    True,
    1,
    1.0,
    -0.0,
    2**70,
    np.inf,
    -np.inf,
    None,
)


class Numbers(Module):
    """Attributes of all types of numbers, which are different at first; `reset` and `half` are not attributes."""

    def __init__(self) -> None:
        self.w = Parameter(np.ones(2))
        for i in range(len(NUMBERS)):
            setattr(self, f"n{i}", 0)

    def reset(self) -> None:
        self.n0 = 0

    @property
    def half(self) -> float:
        return 0.5


@pytest.mark.parametrize("form", ["npz", "safetensors"])
def test_numbers_have_their_types_and_bits(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, "Numbers", Numbers)
    model, path = Numbers(), tmp_path / f"model.{form}"
    for i, number in enumerate(NUMBERS):
        setattr(model, f"n{i}", number)
    if form == "npz":
        tinygen.save(model, path)
        loaded = tinygen.load(path)
    else:
        pytest.importorskip("safetensors")
        tinygen.export_safetensors(model, path)
        loaded = Numbers()
        tinygen.import_safetensors(loaded, path)
    for i, number in enumerate(NUMBERS):
        found = getattr(loaded, f"n{i}")
        assert (type(found), repr(found)) == (type(number), repr(number))


def test_files_of_earlier_versions_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have neither types of numbers nor checksums of arrays, and may have numbers that are methods now."""
    monkeypatch.setitem(REGISTRY, "Loose", Loose)
    monkeypatch.setitem(REGISTRY, "Shifted", Shifted)
    path, model = tmp_path / "model.npz", Loose("array of a mask", np.random.default_rng(0))
    save_checkpoint(path, model)
    groups, header = read_checkpoint(path)
    assert "crc32" in header["attributes"].pop("base.shift")
    write_checkpoint(path, groups, {"model": header["model"], "attributes": header["attributes"]})
    load_checkpoint(path, model)
    numbers: Any = Numbers()
    numbers.n0, numbers.n1 = np.float32(0), np.float32(0)
    attributes = {"n0": "0.5", "n1": "None", "reset": "3", "half": "1.0", "n2": "007"}
    write_checkpoint(path, {"module": numbers.state()}, {"model": describe(numbers), "attributes": attributes})
    monkeypatch.setattr("tinygen.training.checkpoint.__version__", "later")
    load_checkpoint(path, numbers)
    assert type(numbers.n0) is np.float32
    assert [numbers.n0, numbers.n1, numbers.n2, numbers.half] == [0.5, None, 7, 0.5]
    assert callable(numbers.reset)
