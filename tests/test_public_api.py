"""Every public function answers bad input with an error that names the argument, or accepts it.

The tables in helpers/public_calls.py and helpers/public_model_calls.py have a valid call of every public function,
constructor and method. The tests replace arguments by unsuitable values, or by damaged copies of the valid ones. The
call must succeed, with real numbers, or raise an error of a documented class whose message has the form "name: …",
with the name of the argument. An AttributeError, a KeyError or an unexplained error of NumPy fails, and so does NaN
from a sampler, a model or a metric.
"""

from __future__ import annotations

import importlib
import inspect
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from helpers.public_calls import Call, is_named
from helpers.public_model_calls import calls
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Tensor
from tinygen.ode import IntegrationError

CALLS = calls()
BAD: dict[str, Any] = {
    "None": None, "string": "half", "object": object(), "dict": {}, "bool": True, "zero": 0, "negative": -3,
    "fraction": 0.5, "NaN": float("nan"), "infinity": float("inf"), "huge": 2**70, "ragged": [[1, 2], [3]],
    "empty": np.zeros(0), "shape": np.ones((3, 5, 7)), "complex": np.array([1j, 2j]), "strings": np.array(["a", "b"]),
    "objects": np.array([None, 1], object), "empty tuple": (), "function": lambda *arguments: None,
}  # fmt: skip


def with_last(v: Any, value: float) -> Any:
    v = np.array(v, np.float64)
    v.reshape(-1)[-1:] = value
    return v


# Copies of a valid array. Lists and float16 are right for many functions.
DAMAGED: dict[str, Callable[[Any], Any]] = {
    "no examples": lambda v: v[:0] if v.ndim else v,
    "one NaN": lambda v: with_last(v, np.nan),
    "one infinity": lambda v: with_last(v, np.inf),
    "another axis": lambda v: v[None],
    "no axis": lambda v: v.reshape(-1)[0],
    "as strings": lambda v: v.astype(str),
    "as objects": lambda v: v.astype(object),
    "as complex": lambda v: v.astype(complex),
    "as list": lambda v: v.tolist(),
    "as float16": lambda v: v.astype(np.float16),
}
DOCUMENTED = ValueError, TypeError, IndexError, FloatingPointError
# NaN passes through these, as in NumPy. Samplers must reject it.
TRANSPARENT = "autograd", "kernels", "nn", "bijections", "distributions", "data", "models.GAN.criticise"
PACKAGES = (
    "autograd", "nn", "distributions", "bijections", "models", "data", "distributed", "ode", "optim", "kernels",
)  # fmt: skip
# These store the numbers, or do not use an argument.
STORING = "data.Images", "models.GAN.generator_loss"
# Public names without a call in the tables, and why.
WITHOUT_CALL = {
    "autograd": (  # types, decorators, a module; and methods whose arguments are those of an operation
        "Array TensorLike PRIMITIVES no_grad node primitive taps.Taps Tensor.item Tensor.reshape"
    ),
    "nn": "Module init.initialised",  # a base class, whose methods have calls; called by every layer
    "distributions": "Distribution Likelihood Output",  # protocols
    "bijections": "Bijection Transformer",  # a base class and a protocol
    "models": "WaveNet.event_shape "  # called by the other methods, with checked arguments
    + " ".join(f"{name}.evaluate" for name in ("GatedPixelCNN", "MADE", "PixelCNN", "PixelRNN", "WaveNet")),
    "kernels": (  # parts of a call
        "AtPosition.as_residual AtPosition.check_inputs AtPosition.plain GatedUnits.check GatedUnits.plain "
        "BottleneckBlocks.check BottleneckBlocks.plain"
    ),
    "data": (  # downloads, and densities without arguments
        "DataFileError ToyDensity binarized_mnist cifar10 fashion_mnist mnist data_folder eight_gaussians "
        "ring_of_gaussians grid_of_gaussians"
    ),
    "ode": "DORMAND_PRINCE RK4 IntegrationError Solution Solver State Tableau VectorField",
    "optim": "NonFiniteGradientError Optimizer Schedule StepOverflowError",
}


def replacements(call: Call, argument: str) -> dict[str, Any]:
    """Return values to replace an argument by."""
    valid = call.arguments[argument]
    is_array = isinstance(valid, np.ndarray) and valid.dtype != object
    return {**BAD, **({name: damage(valid) for name, damage in DAMAGED.items()} if is_array else {})}


def fault(call: Call, replaced: dict[str, Any]) -> str | None:
    """Return None if the call with replaced arguments succeeds or its error names one of them, else what it did."""
    try:
        result = call.function(**{**call.arguments, **replaced})
        wrong = list(wrong_numbers(list(result) if isinstance(result, types.GeneratorType) else result))
    except IntegrationError:  # documented for a solution that is not finite
        return None
    except Exception as error:
        named = bool(replaced) and isinstance(error, DOCUMENTED) and is_named(str(error), call, replaced)
        return None if named else f"{type(error).__name__}: {error}"
    if call.name.startswith(TRANSPARENT) and not call.name.endswith((".sample", ".draw")):
        wrong = [each for each in wrong if each != "NaN"]
    return f"accepted: {wrong[0]} in the result" if wrong else None


def wrong_numbers(result: Any) -> Iterator[str]:
    """Yield what is wrong with the arrays in a result: NaN, or elements that are not real numbers."""
    if isinstance(result, tuple | list):
        for part in result:
            yield from wrong_numbers(part)
    elif isinstance(result, Tensor | np.ndarray | float | complex):
        v = np.asarray(result.value if isinstance(result, Tensor) else result)
        if v.dtype.kind not in "fiub":
            yield str(v.dtype)
        elif np.isnan(v).any():
            yield "NaN"


@pytest.fixture(scope="module", autouse=True)
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:  # some of the values are file names
        patch.chdir(tmp_path_factory.mktemp("api"))
        yield


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", CALLS)
def test_errors_name_the_argument(name: str) -> None:
    call = CALLS[name]
    assert fault(call, {}) is None
    faults = {
        f"{argument}, {bad}": fault(call, {argument: value})
        for argument in call.arguments
        for bad, value in replacements(call, argument).items()
    }
    assert not any(faults.values()), "\n".join(f"{bad}: {what}" for bad, what in faults.items() if what)
    assert fault(call, {}) is None, "a refused call has changed the object"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(data=st.data())
def test_errors_name_one_of_several_bad_arguments(data: st.DataObject) -> None:
    call = CALLS[data.draw(st.sampled_from([name for name in CALLS if len(CALLS[name].arguments) > 1]))]
    names = data.draw(st.lists(st.sampled_from(sorted(call.arguments)), min_size=2, unique=True))
    bad = {name: data.draw(st.sampled_from(sorted(replacements(call, name)))) for name in names}
    assert fault(call, {name: replacements(call, name)[bad[name]] for name in names}) is None


@pytest.mark.filterwarnings("ignore")  # NumPy's warning is the reason for some errors in the tests above
@pytest.mark.parametrize("name", [name for name in CALLS if not name.startswith(STORING)])
def test_complex_numbers_and_text_are_refused(name: str) -> None:
    """NumPy would drop imaginary parts, and convert text to numbers."""
    call, damages = CALLS[name], ("as strings", "as complex")
    bad = {(a, damage): replacements(call, a).get(damage) for a in call.arguments for damage in damages}
    accepted = [key for key, value in bad.items() if value is not None and not refusal(call, {key[0]: value})]
    assert not accepted


def emptied(call: Call) -> dict[str, Any]:
    """Return the arguments that describe a batch, with a batch of no examples: n, and arrays with one row each."""
    rows = {name: len(v) for name, v in call.arguments.items() if isinstance(v, np.ndarray) and v.ndim}
    size = call.arguments.get("n", next(iter(rows.values()), None))
    empty = {name: call.arguments[name][:0] for name, length in rows.items() if length == size}
    return empty | ({"n": 0} if "n" in call.arguments else {})


def refusal(call: Call, replaced: dict[str, Any]) -> str:
    """Return the error of a call with replaced arguments, "" if there is none."""
    try:
        result = call.function(**{**call.arguments, **replaced})
        list(result) if isinstance(result, types.GeneratorType) else None
    except Exception as error:
        return str(error)
    return ""


def unchecked_if_empty(call: Call) -> list[str]:
    """Return the bad arguments that a call refuses by name, but accepts with an empty batch."""
    empty = emptied(call)
    bad = {name: BAD[name] for name in ("string", "zero", "negative", "fraction", "NaN", "infinity")}
    return [
        f"{argument}, {name}"
        for argument in call.arguments.keys() - empty.keys()
        for name, value in bad.items()
        if not refusal(call, {**empty, argument: value}) and refusal(call, {argument: value}).startswith(f"{argument}:")
    ]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if emptied(call) and name[:8] != "autograd"])
def test_an_empty_batch_does_not_skip_checks(name: str) -> None:
    """Except in operations: NumPy reshapes an empty array to another shape, for example."""
    assert not unchecked_if_empty(CALLS[name])


def test_a_function_that_returns_before_its_checks_is_rejected() -> None:
    def sample(n: int, temperature: float) -> list[float]:
        if n and temperature <= 0:
            raise ValueError("temperature: expected a positive number")
        return [temperature] * n

    assert "temperature, negative" in unchecked_if_empty(Call("sample", sample, {"n": 2, "temperature": 1.0}))


def public_functions() -> Iterator[tuple[str, str, Any]]:
    """Yield the package, name and value of all public functions, constructors, and methods with arguments."""
    for package in PACKAGES:
        module = importlib.import_module(f"tinygen.{package}")
        yield from members(package, {name: getattr(module, name) for name in module.__all__})
    for path in ("autograd.taps", "nn.init", "data.audio", "metrics", "plot"):
        module, (package, _, rest) = importlib.import_module(f"tinygen.{path}"), path.partition(".")
        own = {name: value for name, value in vars(module).items() if inspect.isfunction(value) and name[0] != "_"}
        inside = {name: value for name, value in own.items() if value.__module__.startswith(module.__name__)}
        yield from members(package, {f"{rest}.{name}".lstrip("."): value for name, value in inside.items()})


def members(package: str, names: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for name, value in names.items():
        if not isinstance(value, types.ModuleType):
            yield package, name, value
        for method, function in vars(value).items() if inspect.isclass(value) else ():
            public = inspect.isfunction(function) and (method == "__call__" or method[0] != "_")
            if public and len(inspect.signature(function).parameters) > 1:
                yield package, f"{name}.{method}", function


def test_every_public_function_has_a_call() -> None:
    functions = {inspect.unwrap(getattr(call.function, "__func__", call.function)) for call in CALLS.values()}
    excused = {(package, name) for package, names in WITHOUT_CALL.items() for name in names.split()}
    missing = {
        (package, name)
        for package, name, value in public_functions()
        if f"{package}.{name}" not in CALLS and not (callable(value) and inspect.unwrap(value) in functions)
    }
    missing = {(package, name) for package, name in missing if (package, name.partition(".")[0]) not in excused}
    assert missing <= excused
    assert not {f"{package}.{name}" for package, name in excused} & CALLS.keys()


@pytest.mark.parametrize("name", CALLS)
def test_every_argument_has_a_value(name: str) -> None:
    parameters = inspect.signature(CALLS[name].function).parameters.values()
    named = {p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    assert named <= set(CALLS[name].arguments)


@pytest.mark.parametrize("broken", [lambda x: x.ndim, lambda x: {}[x], lambda x: float(x), lambda x: x * np.nan])
def test_a_function_without_checks_is_rejected(broken: Any) -> None:
    assert any(fault(Call("broken", broken, {"x": 1.0}), {"x": bad}) for bad in BAD.values())


def test_a_message_that_uses_a_name_as_a_word_does_not_name_it() -> None:
    call = Call("f", lambda a, size: None, {"a": 1.0, "size": 2})
    assert not is_named("expected a sequence", call, {"a": None})
    assert not is_named("size: expected an integer", call, {"a": None})
    assert is_named("size: expected the length of a", call, {"a": 3})
    assert is_named("f: a: expected numbers, got None", call, {"a": None})
