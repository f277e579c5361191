"""Recorded constructor arguments: descriptions are complete, survive JSON and rebuild equal objects."""

from __future__ import annotations

import copy
import functools
import inspect
import json
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen import recorded
from tinygen.autograd import Parameter, leaky_relu, tanh
from tinygen.bijections import Mask
from tinygen.distributions import Bernoulli, Gaussian
from tinygen.models import IAF, RealNVP
from tinygen.nn import MLP, Linear, Module, Sequential
from tinygen.nn.init import he_normal
from tinygen.ode import Adaptive, FixedStep
from tinygen.recorded import arguments, build, describe, register, settings


@pytest.fixture(autouse=True)
def keep_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "REGISTRY", dict(recorded.REGISTRY))


class Pair(Module):
    """A module with arbitrary arguments."""

    def __init__(self, *parts: Any, rng: np.random.Generator | None = None, **named: Any) -> None:
        self.parts, self.named = parts, named


def through_json(value: Any) -> Any:
    return build(json.loads(json.dumps(describe(value))))


numbers = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
arrays = st.builds(
    lambda values, dtype: np.array(values).astype(dtype),
    st.lists(st.integers(0, 100), max_size=3),
    st.sampled_from(["f4", "f8", ">f8", "i8", "u1", "?"]),
)
values = st.recursive(
    numbers | arrays,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=8,
)


def same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


@given(values)
def test_any_value_is_rebuilt_with_its_types(value: Any) -> None:
    assert same(through_json(value), value)
    register(Pair)
    pair = through_json(Pair(value, key=value, rng=np.random.default_rng(0)))
    assert type(pair) is Pair
    assert same(pair.parts, (value,))
    assert same(pair.named, {"key": value})


@given(values, numbers | arrays, numbers | arrays)
def test_settings_differ_exactly_if_values_do(value: Any, one: Any, other: Any) -> None:
    here, there = (settings(describe(Pair(value, {"key": [part, value]}))) for part in (one, other))
    assert (here == there) == same(one, other) or one == other == 0  # 0.0 and −0.0


@pytest.mark.parametrize(
    "value",
    [
        Bernoulli(),
        Gaussian(0.5),
        Mask("half", (4,), flipped=True),
        FixedStep(3),
        Adaptive(rtol=1e-3),
        tanh,
        functools.partial(leaky_relu, slope=0.1),
        MLP(2, [3], 1, np.random.default_rng(0), activation=tanh, init=he_normal),
        Sequential(Linear(2, 3, np.random.default_rng(0)), tanh),
        IAF(2, np.random.default_rng(0), hidden=(3,)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects_of_tinygen_are_rebuilt(value: Any) -> None:
    other = through_json(value)
    assert type(other) is type(value)
    assert describe(other) == describe(value)


def test_arguments_have_defaults_and_those_of_the_class_itself() -> None:
    flow = RealNVP((4,), np.random.default_rng(0), hidden=3)
    assert arguments(flow)["mask"] == "checkerboard"
    assert arguments(flow)["hidden"] == 3
    assert arguments(flow)["rng"] is np.random.Generator  # never the generator itself
    assert "bijection" not in arguments(flow)  # an argument of its base class
    assert list(inspect.signature(RealNVP).parameters)[:3] == ["shape", "rng", "mask"]


def test_arguments_are_recorded_by_value() -> None:
    sizes, order = [3], np.arange(3)
    pair = Pair(sizes, order)
    sizes.append(4)
    order[0] = 9
    assert same(arguments(pair)["parts"], ([3], np.arange(3)))


def test_copies_and_pickles_keep_the_arguments() -> None:
    flow = RealNVP((4,), np.random.default_rng(0), hidden=3)
    for twin in (copy.copy(flow), copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):
        assert describe(twin) == describe(flow)
    assert copy.deepcopy(FixedStep(3)) == FixedStep(3)


def test_shared_modules_and_parameters_stay_shared() -> None:
    register(Pair)
    layer, w = Linear(2, 2, np.random.default_rng(0)), Parameter(np.ones(3), np.float64)
    pair = through_json(Pair(layer, [tanh, layer], w, w))
    assert pair.parts[0] is pair.parts[1][1]
    assert pair.parts[2] is pair.parts[3]
    assert pair.parts[2].dtype == np.float64
    assert pair.parts[2].shape == (3,)


def test_what_cannot_be_rebuilt_is_named_with_its_path() -> None:
    with pytest.raises(ValueError, match=r"model: Pair is not registered; .*@tinygen.register"):
        through_json(Pair())
    register(Pair)
    with pytest.raises(ValueError, match=r"model\.parts\.1: .*<lambda> is not registered"):
        through_json(Pair(1, lambda x: x))
    with pytest.raises(ValueError, match=r"model\.layers\.0: tanh is not registered"):
        through_json(Sequential(np.tanh))
    with pytest.raises(ValueError, match=r"model: object is not registered"):
        through_json(object())


class Linear2(Linear):
    pass


def test_subclass_with_the_name_of_a_registered_class_is_not_registered() -> None:
    Linear2.__name__ = "Linear"
    with pytest.raises(ValueError, match="Linear is not registered"):
        through_json(Linear2(2, 2, np.random.default_rng(0)))
    with pytest.raises(ValueError, match="Linear is already a name of tinygen"):
        register(Linear2)
    with pytest.raises(TypeError, match="expected a subclass of Module or a function"):
        register(dict)


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"class": "Nothing", "arguments": {}}, "Nothing is not known"),
        ({"class": "tanh", "arguments": {}}, "tanh is not known"),
        ({"function": "Linear"}, "Linear is not known"),
        ({"function": "system"}, "system is not known"),
        ({"class": "Linear", "arguments": {"n_in": 2, "n_out": 0, "rng": {"generator": None}}}, "n_out: .* at least 1"),
        ({"class": "Linear", "arguments": {"depth": 2}}, "this version of Linear has no argument depth"),
        ({"class": "Linear", "arguments": {}}, "Linear rejects its arguments"),
        ({"class": "Linear"}, "damaged"),
        ({"same": 3}, "damaged"),
        ({"dict": [[[], 1]]}, "damaged"),
        ({"array": "AAAA", "dtype": "f8", "shape": [1]}, "buffer"),
        ({}, "damaged"),
    ],
)
def test_damaged_descriptions_are_rejected(description: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(description)


def test_objects_shared_with_a_partial_function_are_shared_again() -> None:
    a: Any = Linear(2, 3, np.random.default_rng(0))
    b: Any = Linear(3, 2, np.random.default_rng(0))
    function, shared = build(describe([functools.partial(a, b, key=b), a]))
    assert function.func is shared
    assert function.args[0] is function.keywords["key"]
    assert (function.func.w.shape, function.args[0].w.shape) == ((2, 3), (3, 2))
