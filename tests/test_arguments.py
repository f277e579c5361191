"""A call that fails is explained by the argument whose type does not match its annotation."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import pytest
from numpy.typing import ArrayLike, DTypeLike, NDArray

import tinygen
from tinygen.arguments import Explained, checked, explained
from tinygen.autograd import Tensor, TensorLike


@checked
def everything(
    n: int = 1, x: float = 0.5, flag: bool = False, name: str = "", array: NDArray[Any] | None = None,
    tensor: TensorLike = 0.0, like: ArrayLike = 0.0, dtype: DTypeLike = float, sizes: Sequence[int] = (),
    pair: tuple[float, float] = (0.0, 1.0), shape: tuple[int, ...] = (), f: Callable[..., Any] = len,
    choice: Literal["a", "b"] = "a", rng: np.random.Generator | None = None, unknown: Missing = 0,  # type: ignore[name-defined]  # noqa: F821
) -> None:  # fmt: skip
    """Do nothing."""


@pytest.mark.parametrize(
    ("argument", "good", "bad", "expected"),
    [
        ("n", np.int64(3), 2.0, "an integer"),
        ("n", -1, True, "an integer"),
        ("n", 2**40, 2**70, "an integer below 2⁶³"),
        ("x", 1, "1", "a number"),
        ("x", np.float32(1), np.ones(2), "a number"),
        ("flag", np.bool_(True), 1, "a bool"),
        ("name", "a", 1, "a string"),
        ("array", np.ones(2), [1.0], "an array of numbers or None"),
        ("array", None, np.array(["a"]), "an array of numbers or None"),
        ("tensor", Tensor([1.0]), "1", "numbers"),
        ("tensor", [[1, 2], [3, 4]], [[1], [2, 3]], "numbers"),
        ("tensor", np.float32(1), None, "numbers"),
        ("like", (1, 2), {}, "numbers, not a Tensor"),
        ("like", np.ones(2), Tensor([1.0]), "numbers, not a Tensor"),
        ("dtype", "f4", 0.5, "a dtype"),
        ("sizes", [1, 2], 3, "a sequence, not int"),
        ("sizes", (), "12", "a sequence, not str"),
        ("sizes", np.array([1]), [1.5], "a sequence in which every item is an integer"),
        ("pair", [0, 1], (0.0,), "a tuple of 2"),
        ("shape", (1, 2), ("a",), "a sequence in which every item is an integer"),
        ("f", abs, 1, "a function"),
        ("choice", "b", "c", "one of 'a', 'b'"),
        ("rng", np.random.default_rng(0), 0, "a np.random.Generator, such as .* or None"),
    ],
)
def test_types_are_compared_with_annotations(argument: str, good: Any, bad: Any, expected: str) -> None:
    everything(**{argument: good})
    with pytest.raises(TypeError, match=f"^{argument}: expected {expected}, got "):
        everything(**{argument: bad})


def test_an_annotation_for_type_checkers_only_accepts_anything() -> None:
    everything(unknown=object())


@explained
def inverse(x: float, scale: float = 1.0) -> float:
    if scale < 0:
        raise ValueError(f"scale: expected at least 0, got {scale}")
    return scale / x


def test_a_call_that_succeeds_is_not_checked() -> None:
    assert inverse(np.array(2.0)) == 0.5  # type: ignore[arg-type]


def test_an_error_of_another_type_is_replaced_and_kept_as_cause() -> None:
    with pytest.raises(TypeError, match=r"^x: expected a number, got 'half'$") as info:
        inverse("half")  # type: ignore[arg-type]
    assert isinstance(info.value.__cause__, TypeError)


def test_errors_about_values_are_unchanged() -> None:
    with pytest.raises(ZeroDivisionError):
        inverse(0)
    with pytest.raises(ValueError, match="scale: expected at least 0"):
        inverse(1.0, -1)


def test_types_are_reported_before_values() -> None:
    with pytest.raises(TypeError, match="x: expected a number, got 'half'"):
        inverse("half", -1)  # type: ignore[arg-type]


def test_an_error_that_names_the_argument_of_a_wrong_type_is_unchanged() -> None:
    @explained
    def named(x: float) -> None:
        raise ValueError("x: expected half a number")

    with pytest.raises(ValueError, match="x: expected half a number"):
        named("half")  # type: ignore[arg-type]


def test_errors_of_generators_name_the_argument() -> None:
    @explained
    def count(n: int) -> Iterator[int]:
        yield from range(n)

    assert list(count(3)) == [0, 1, 2]
    with pytest.raises(TypeError, match="n: expected an integer, got None"):
        list(count(None))  # type: ignore[arg-type]


class Named(Protocol):
    name: str

    def __call__(self) -> None: ...


def test_protocols_are_compared_by_their_attributes() -> None:
    @explained
    def call(named: Named) -> None:
        named()

    with pytest.raises(TypeError, match="named: expected a Named, got <"):
        call(lambda: 1 / 0)  # type: ignore[arg-type]  # has no name


def test_fields_of_dataclasses_are_compared_with_annotations() -> None:
    @dataclass
    class Steps(Explained):
        n: int

        def __post_init__(self) -> None:
            if self.n < 1:
                raise ValueError("n: expected at least 1")

    assert Steps(2).n == 2
    with pytest.raises(ValueError, match="n: expected at least 1"):
        Steps(0)
    for n in (None, 1.5):
        with pytest.raises(TypeError, match="n: expected an integer"):
            Steps(n)  # type: ignore[arg-type]


def test_constructors_and_public_methods_of_explained_classes_name_arguments() -> None:
    class Layer(Explained):
        def __init__(self, n: int) -> None:
            self.n = n

        def power(self, x: float) -> float:
            return float(x) ** self.n

    with pytest.raises(TypeError, match=r"n: expected an integer, got 1\.5"):
        Layer(1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="x: expected a number, got None"):
        Layer(2).power(None)  # type: ignore[arg-type]


def functions_with_rng() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield all public functions, classes and methods that take a generator; `testing` and `fit` have own checks."""
    for info in pkgutil.walk_packages(tinygen.__path__, "tinygen."):
        if info.name.split(".")[1] in ("__main__", "checks", "testing", "training"):
            continue
        for name, found in vars(importlib.import_module(info.name)).items():
            protocol, here = getattr(found, "_is_protocol", False), getattr(found, "__module__", None) == info.name
            if protocol or not here or name.startswith("_"):
                continue
            for method, function in (vars(found) if inspect.isclass(found) else {"": found}).items():
                public = not method.startswith("_") or method in ("__init__", "__call__")
                if public and inspect.isfunction(function) and "rng" in inspect.signature(function).parameters:
                    constructor = method == "__init__"
                    path = f"{info.name}.{name}" if constructor or not method else f"{info.name}.{name}.{method}"
                    yield path, found if constructor else function


WITH_RNG = dict(functions_with_rng())


def test_functions_with_rng_are_found() -> None:
    data = {"data.toy.TwoMoons.sample", "data.audio.sounds", "metrics.bootstrap", "nn.layers.dropout", "nn.init.zeros"}
    models = {"models.flows.maf.MAF", "models.latent.vae.VAE.elbo", "models.autoregressive.wavenet.Block"}
    assert {f"tinygen.{name}" for name in data | models} <= WITH_RNG.keys()


@pytest.mark.parametrize("name", WITH_RNG)
def test_rng_is_checked_first_whether_or_not_it_is_used(name: str) -> None:
    function = WITH_RNG[name]
    parameters = inspect.signature(function).parameters.values()
    named = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    given: dict[str, Any] = {p.name: object() for p in named}
    for seed in (0, np.random, np.random.RandomState(0), "half"):
        with pytest.raises(TypeError, match=r"^rng: expected a np\.random\.Generator, such as .*, got "):
            function(**{**given, "rng": seed})


@pytest.mark.parametrize("rng", [np.random, 0])
def test_a_function_without_a_check_of_rng_accepts_it(rng: Any) -> None:
    def loss(x: float, rng: np.random.Generator | None = None) -> float:
        return x

    assert loss(1.0, rng=rng) == 1.0
    assert explained(loss)(1.0, None) == explained(loss)(1.0) == 1.0
    with pytest.raises(TypeError, match=r"^rng: expected .* or None, got "):
        explained(loss)(1.0, rng=rng)
    with pytest.raises(TypeError, match=r"^rng: expected .* or None, got "):
        explained(loss)(1.0, rng)
