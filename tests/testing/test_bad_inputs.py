"""Every checker answers unsuitable arguments and results with one line that names the argument or the function."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygen.autograd as ag
from tinygen import testing
from tinygen.autograd import Array, Parameter
from tinygen.testing import enumerate_support

RNG = np.random.default_rng(0)
X, CONTEXT, COIN = RNG.normal(size=(4, 4)), RNG.normal(size=(4, 2)), enumerate_support(2, (2,))
LOWER = np.tril(np.ones((4, 4)), -1)


def gaussian(x: Array, theta: Any = 0.0) -> Array:
    terms = -0.5 * (np.reshape(x, (len(x), -1)) - theta) ** 2 - 0.5 * math.log(2 * math.pi)
    return np.asarray(terms.sum(1))


def normal(n: int, rng: np.random.Generator) -> Array:
    return rng.normal(size=(n, 1))


# Per checker: its arguments in order, all of them valid.
CALLS: dict[str, dict[str, Any]] = {
    "check_vjp": {"f": np.sin, "vjp": lambda c, x: c * np.cos(x), "xs[0]": X},
    "check_jvp": {"f": np.sin, "jvp": lambda v, x: v * np.cos(x), "xs[0]": X},
    "check_gradient": {"f": lambda x: (x**2).sum(), "gradient": lambda x: 2 * x, "xs[0]": X},
    "check_log_det": {"forward": lambda x: (2 * x, np.full(len(x), 4 * math.log(2))), "x": X},
    "check_invertible": {"forward": np.sinh, "inverse": np.arcsinh, "x": X},
    "check_autoregressive": {"f": lambda x: x @ LOWER.T, "x": X},
    "check_normalised": {"log_prob": lambda x: np.full(len(x), -2 * math.log(2)), "support": COIN},
    "check_normalised_density": {"log_prob": gaussian, "low": [-8.0], "high": [8.0]},
    "check_sampler": {
        "sample": lambda n, rng: rng.integers(0, 2, (n, 2)),
        "log_prob": lambda x: np.full(len(x), -2 * math.log(2)),
        "support": COIN,
    },
    "check_adjoint": {"forward": lambda x: x[::-1], "adjoint": lambda x: x[::-1], "x_shape": (4,), "y_shape": (4,)},
    "check_kl": {"kl": 0.5, "q": (normal, gaussian), "p": lambda x: gaussian(x, 1.0)},
    "check_bound": {"bound": lambda x, rng: gaussian(x) - rng.uniform(size=len(x)), "log_prob": gaussian, "x": X},
    "check_reparameterised": {
        "sample": lambda theta, n, rng: theta + normal(n, rng),
        "log_prob": gaussian,
        "theta": np.array([0.5]),
    },
    "check_conditional": {"f": lambda x, c: x * np.exp(c.sum(1, keepdims=True)), "x": X, "context": CONTEXT},
    "check_equivariant": {"f": np.sinh, "transform": lambda x: x[:, ::-1], "x": X},
    "check_grads": {"f": ag.sin, "xs[0]": X},
}
SETTINGS: dict[str, list[str]] = {
    "tolerance": ["vjp", "jvp", "gradient", "log_det", "invertible", "normalised", "adjoint", "equivariant", "grads"],
    "draws": ["vjp", "jvp", "gradient", "autoregressive", "adjoint", "bound", "grads"],
    "n": ["sampler", "kl", "reparameterised"],
    "p_value": ["sampler", "kl", "bound", "reparameterised"],
    "step": ["log_det"],
    "order": ["autoregressive", "grads"],
    "points": ["normalised_density"],
    "gap": ["bound"],
}
NO_RNG = {"check_normalised", "check_normalised_density"}
NO_ARRAYS = {("check_sampler", "sample"), ("check_grads", "f")}  # their arguments are no arrays
ANY_SHAPE = {("check_vjp", "f"), ("check_jvp", "f")}  # every shape, and several results, are valid
COUNTER = itertools.count()


def call(checker: str, arguments: dict[str, Any], **settings: Any) -> None:
    if checker not in NO_RNG:
        settings.setdefault("rng", np.random.default_rng(0))
    getattr(testing, checker)(*arguments.values(), **settings)


def spoiled(f: Callable[..., Any], change: Callable[[Any], Any]) -> Callable[..., Any]:
    """Return f with its result changed; of a pair, its first element."""

    def wrong(*xs: Any) -> Any:
        y = f(*xs)
        return (change(y[0]), *y[1:]) if isinstance(y, tuple) else change(y)

    return wrong


def modifies(f: Callable[..., Any]) -> Callable[..., Any]:
    def wrong(*xs: Any) -> Any:
        for x in xs:
            if isinstance(x, np.ndarray):
                x *= 0
        return f(*xs)

    return wrong


RESULTS: dict[str, Callable[[Any], Any]] = {
    "None": lambda y: None,
    "text": lambda y: "text",
    "complex": lambda y: np.asarray(getattr(y, "value", y)) * 1j,
    "ragged": lambda y: [[1.0], [1.0, 2.0]],
    "NaN": lambda y: y * np.nan,
    "wrong shape": lambda y: np.ones((2, *np.shape(y), 3)),
    "random": lambda y: y + 0.001 * next(COUNTER) * np.random.default_rng().normal(size=np.shape(y)),
}
ARRAYS: dict[str, Any] = {
    "None": None,
    "list": [[1.0, 2.0], [3.0, 4.0]],
    "text": "text",
    "complex": X * 1j,
    "object": np.array([["a", "b"], ["c", "d"]], dtype=object),
    "NaN": X * np.nan,
    "empty": X[:0],
    "scalar": np.array(1 + 2j),
    "float16": X.astype(np.float16),
}
SHAPES = {"None": None, "text": "text", "a number": 4, "negative": (-1,), "fractional": (1.5,), "zero": (0,)}
VALUES: dict[str, list[Any]] = {
    "tolerance": [-1.0, math.nan, "small"],
    "step": [-1.0, math.inf],
    "draws": [0, 1.5],
    "n": [0, 1.5, "many"],
    "p_value": [0.0, 1, "small"],
    "order": [[0, 0, 1, 2], 0.5, "raster"],
    "points": [2, 1.5],
    "gap": [-1.0, "wide"],
}


def bad_calls(checker: str) -> Iterator[tuple[str, str, Callable[[], None]]]:
    """Yield the name to be found in the message, a label, and a call with one bad argument or result."""
    wrong: Any
    valid = CALLS[checker]

    def changed(name: str, value: Any) -> Callable[[], None]:
        return lambda: call(checker, {**valid, name: value})

    for name, value in valid.items():
        if name in ("kl", "q", "low", "high"):
            for label, wrong in {"None": None, "text": "text", "NaN": np.nan, "object": np.array([None])}.items():
                yield name, f"{name}={label}", changed(name, wrong)
        elif callable(value):
            for label, wrong in {"None": None, "an array": X, "no arguments": lambda: 0.0}.items():
                yield name, f"{name}: {label}", changed(name, wrong)
            if (checker, name) not in NO_ARRAYS:
                yield name, f"{name} modifies its argument", changed(name, modifies(value))
            for label, change in RESULTS.items():
                if not ((checker, name) in ANY_SHAPE and label in ("ragged", "wrong shape")):
                    yield name, f"{name} returns {label}", changed(name, spoiled(value, change))
        elif isinstance(value, np.ndarray):
            for label, wrong in ARRAYS.items():
                yield name, f"{name}={label}", changed(name, wrong)
        else:
            for label, wrong in SHAPES.items():
                yield name, f"{name}={label}", changed(name, wrong)
    for setting, checkers in SETTINGS.items():
        for wrong in VALUES[setting] if checker.removeprefix("check_") in checkers else ():
            yield setting, f"{setting}={wrong}", lambda s=setting, w=wrong: call(checker, valid, **{s: w})  # type: ignore[misc]
    if checker not in NO_RNG:
        for wrong in (None, 0):
            yield "rng", f"rng={wrong}", lambda w=wrong: call(checker, valid, rng=w)  # type: ignore[misc]
    if checker != "check_grads":
        yield "convert", "convert=text", lambda: call(checker, valid, convert="torch")


@pytest.mark.parametrize("checker", CALLS)
def test_bad_inputs_are_named_in_one_line(checker: str) -> None:
    call(checker, CALLS[checker])  # the other arguments are valid
    wrong, count = [], 0
    for name, label, bad in bad_calls(checker):
        count += 1
        try:
            bad()
        except (AssertionError, TypeError, ValueError) as error:
            text = str(error)
            if "\n" in text or not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text):
                wrong.append(f"{label}: {type(error).__name__}: {text}")
        except Exception as error:
            wrong.append(f"{label}: {type(error).__name__}: {error}")
        else:
            wrong.append(f"{label}: passed")
    assert not wrong, "\n".join(wrong)
    assert count >= 20


def test_every_checker_is_in_the_table() -> None:
    checkers = {name for name in testing.__all__ if name.startswith("check_")}
    assert checkers - {"check_parameter_grads"} == set(CALLS)  # it has the arguments of check_grads


def test_parameter_grads_are_named() -> None:
    w = Parameter(np.ones(2), np.float64)
    with pytest.raises(TypeError, match=r"f: expected a tinygen Tensor"):
        testing.check_parameter_grads(lambda: 1.0, [w], rng=np.random.default_rng(0))  # type: ignore[arg-type, return-value]
