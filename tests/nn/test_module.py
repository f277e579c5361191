"""Modules: which parameters are found, their paths, saving and loading, repr."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Parameter, Tensor, grad
from tinygen.nn import Linear, Module, Sequential


class Thing(Module):
    """A module with arbitrary attributes."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


def parameter(*shape: int) -> Parameter:
    return Parameter(np.random.default_rng(0).normal(size=shape))


def test_parameters_are_found_in_nested_containers_in_insertion_order() -> None:
    a, b, c, d, e = (parameter(i) for i in range(1, 6))
    thing = Thing(z=a, inner=Thing(w=b), items=[c, (d, {"key": e})], text="text", none=None)
    assert list(thing.named_parameters()) == ["z", "inner.w", "items.0", "items.1.0", "items.1.1.key"]
    assert [p is q for p, q in zip(thing.parameters(), [a, b, c, d, e], strict=True)] == [True] * 5


trees = st.recursive(
    st.builds(lambda: Parameter(np.zeros(1))) | st.integers() | st.just(np.zeros(2)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.sampled_from("abc"), inner)
        | st.dictionaries(st.sampled_from("abc"), inner).map(lambda d: Thing(**d))
    ),
    max_leaves=12,
)


def reference_parameters(tree: Any) -> list[Parameter]:
    """Return all parameters of a tree, by plain recursion."""
    if isinstance(tree, Parameter):
        return [tree]
    if isinstance(tree, Module):
        tree = vars(tree)
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [p for part in tree for p in reference_parameters(part)] if isinstance(tree, list | tuple) else []


@given(trees)
def test_every_parameter_of_a_random_tree_is_found_once(tree: Any) -> None:
    twice = Thing(first=tree, second=[tree])
    assert [id(p) for p in twice.parameters()] == [id(p) for p in reference_parameters(tree)]


def test_shared_parameters_and_cycles_count_once() -> None:
    shared = parameter(2)
    inner = Thing(w=shared)
    thing = Thing(a=inner, b=inner, c=shared)
    inner.parent = thing  # type: ignore[attr-defined]
    assert list(thing.named_parameters()) == ["a.w"]


def test_computed_tensors_are_ignored() -> None:
    assert Thing(w=parameter(2), y=Tensor(np.ones(3))).state().keys() == {"w"}


@pytest.mark.parametrize("make", [lambda w: w * 0.5, lambda w: w.value, lambda w: None])
def test_parameter_can_only_be_replaced_by_a_parameter(make: Any) -> None:
    layer = Linear(2, 3, np.random.default_rng(0))
    w = layer.w
    with pytest.raises(TypeError, match=r"Linear\.w: expected a Parameter, got .* \.w\.assign"):
        layer.w = make(w)
    assert layer.w is w
    layer.w = parameter(2, 3)
    assert layer.parameters()[0] is layer.w is not w
    with pytest.raises(TypeError, match=r"\.w\.assign"):
        layer.w -= 1.0  # type: ignore[assignment]
    del layer.w
    layer.w = make(w)
    assert list(layer.named_parameters()) == ["b"]


def test_rejects_two_parameters_with_the_same_path() -> None:
    with pytest.raises(ValueError, match=r"'d\.1'"):
        Thing(d={1: parameter(1), "1": parameter(1)}).named_parameters()


def test_state_copies_parameters_and_constants_and_load_restores_them() -> None:
    def make(seed: int) -> Thing:
        rng = np.random.default_rng(seed)
        return Thing(layer=Linear(3, 2, rng), steps=[rng.permutation(5), {"mask": rng.random(4) < 0.5}])

    source, target = make(0), make(1)
    state = source.state()
    assert list(state) == ["layer.w", "layer.b", "steps.0", "steps.1.mask"]
    target.load(state)
    for name, value in target.state().items():
        assert np.array_equal(value, state[name]), name
        assert value.dtype == state[name].dtype
    state["layer.w"][:] = 0
    assert source.layer.w.value.any()  # type: ignore[attr-defined]
    assert target.layer.w.value.any()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("w"), r"w of shape \(2, 3\) is missing"),
        (lambda s: s.update(x=np.ones(1)), "x is unknown"),
        (lambda s: s.update(w=np.ones((3, 2))), r"w: expected shape \(2, 3\), got \(3, 2\)"),
        (lambda s: s.update(w=np.array([["a"] * 3] * 2)), "w: expected dtype float32, got <U1"),
        (lambda s: s.update(order=np.array([0.5, 1.5])), "order: expected dtype int64, got float64"),
        (lambda s: s.update({"pair.0": np.ones(2)}), r"pair\.0 differs"),
        (lambda s: s.update(w=np.full((2, 3), 1e39)), r"w: expected numbers in the range of float32, got 1e\+39"),
        (
            lambda s: s.update(small=np.array([257, 200], np.uint16)),
            "small: expected numbers in the range of uint8, got 200",
        ),
    ],
)
def test_load_rejects_a_mismatched_state_and_changes_nothing(change: Any, message: str) -> None:
    small = np.arange(2, dtype=np.uint8)
    thing = Thing(a=parameter(1), w=parameter(2, 3), order=np.arange(2), small=small, pair=(np.zeros(2),))
    before, state = thing.state(), {name: value + 1 for name, value in thing.state().items()}
    state["pair.0"] = np.zeros(2)
    change(state)
    with pytest.raises(ValueError, match=message):
        thing.load(state)
    assert all(np.array_equal(value, before[name]) for name, value in thing.state().items())


def test_arithmetic_keeps_a_0d_array_in_the_state() -> None:
    thing: Any = Thing(seen=np.array(2))
    thing.seen = thing.seen + 3  # NumPy returns a scalar
    other: Any = Thing(seen=np.array(0))
    other.load(thing.state())
    assert other.seen == 5


def test_load_stores_transposed_arrays_contiguously() -> None:
    """As all other parameters, so that sums have the same last bits."""
    layer, w = Linear(3, 2, np.random.default_rng(0)), np.arange(6.0).reshape(2, 3)
    layer.load({"w": w.T, "b": np.zeros(2)})
    assert layer.w.value.flags.c_contiguous
    np.testing.assert_array_equal(layer.w.value, w.T)


def test_load_keeps_the_dtype_and_invalidates_earlier_graphs() -> None:
    thing = Thing(w=parameter(2))
    y = (thing.w * thing.w).sum()  # type: ignore[attr-defined]
    thing.load({"w": np.ones(2, np.float64)})
    assert thing.w.dtype == np.float32  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="new value"):
        grad(y, thing.parameters())


def test_astype_converts_parameters_in_place_but_not_constants() -> None:
    thing = Thing(w=parameter(2), order=np.arange(3), scale=np.ones(2, np.float32))
    w = thing.parameters()[0]
    before = w.value
    assert thing.astype(np.float64) is thing
    assert thing.parameters()[0] is w
    assert np.array_equal(w.value, before)
    dtypes = {name: value.dtype for name, value in thing.state().items()}
    assert dtypes == {"w": np.float64, "order": np.int64, "scale": np.float32}
    with pytest.raises(TypeError, match="expected a floating-point dtype, got int32"):
        thing.astype(np.int32)


def test_astype_changes_nothing_if_a_number_overflows() -> None:
    thing = Thing(a=parameter(2), w=Parameter([1.0, 1e5]))
    with pytest.raises(ValueError, match=r"w: expected numbers in the range of float16, got 1e\+05"):
        thing.astype(np.float16)
    assert {p.dtype for p in thing.parameters()} == {np.dtype(np.float32)}


def test_repr_shows_the_tree_with_shapes_and_counts() -> None:
    rng = np.random.default_rng(0)
    net = Sequential(Linear(2, 30, rng), np.tanh, Linear(30, 40, rng, bias=False))
    assert repr(Thing(net=net, mask=np.ones(4))).splitlines() == [
        "Thing [1,290 parameters]: mask (4,)",
        "  net: Sequential [1,290 parameters]",
        "    layers.0: Linear [90 parameters]: w (2, 30), b (30,)",
        "    layers.2: Linear [1,200 parameters]: w (30, 40)",
    ]


def test_dtype_is_that_of_the_first_parameter() -> None:
    rng = np.random.default_rng(0)
    assert Linear(2, 3, rng).dtype == np.float32
    assert Linear(2, 3, rng).astype(np.float64).dtype == np.float64
    assert Module().dtype == np.float64
