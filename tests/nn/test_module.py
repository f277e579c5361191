"""Modules: what is found, under which name, and how it is saved, restored, refused and shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Parameter, Tensor, grad
from tinygen.nn import Linear, Module, Sequential


class Thing(Module):
    """A module with the attributes it is given."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


def parameter(*shape: int) -> Parameter:
    return Parameter(np.random.default_rng(0).normal(size=shape))


def test_parameters_are_found_in_modules_lists_tuples_and_dicts_in_the_order_they_were_put_there() -> None:
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


def leaves(tree: Any) -> list[Parameter]:
    """The plainest way to say what must be found."""
    if isinstance(tree, Parameter):
        return [tree]
    if isinstance(tree, Module):
        tree = vars(tree)
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [found for part in tree for found in leaves(part)] if isinstance(tree, list | tuple) else []


@given(trees)
def test_every_parameter_of_any_tree_is_found_once(tree: Any) -> None:
    twice = Thing(first=tree, second=[tree])
    assert [id(p) for p in twice.parameters()] == [id(p) for p in leaves(tree)]


def test_a_shared_parameter_and_a_cycle_count_once() -> None:
    shared = parameter(2)
    inner = Thing(w=shared)
    thing = Thing(a=inner, b=inner, c=shared)
    inner.parent = thing  # type: ignore[attr-defined]
    assert list(thing.named_parameters()) == ["a.w"]


def test_computed_tensors_are_not_part_of_it() -> None:
    assert Thing(w=parameter(2), y=Tensor(np.ones(3))).state().keys() == {"w"}


@pytest.mark.parametrize("make", [lambda w: w * 0.5, lambda w: w.value, lambda w: None])
def test_a_parameter_gives_way_only_to_a_parameter(make: Any) -> None:
    layer = Linear(2, 3, np.random.default_rng(0))
    w = layer.w
    with pytest.raises(TypeError, match=r"Linear\.w: expected a Parameter .* \.w\.assign"):
        layer.w = make(w)
    assert layer.w is w
    layer.w = parameter(2, 3)
    assert layer.parameters()[0] is layer.w is not w
    with pytest.raises(TypeError, match=r"\.w\.assign"):
        layer.w -= 1.0  # type: ignore[assignment]
    del layer.w
    layer.w = make(w)
    assert list(layer.named_parameters()) == ["b"]


def test_two_parts_with_one_path_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'d\.1'"):
        Thing(d={1: parameter(1), "1": parameter(1)}).named_parameters()


def test_state_has_copies_of_parameters_and_constants_and_load_restores_them() -> None:
    def make(seed: int) -> Thing:
        rng = np.random.default_rng(seed)
        return Thing(layer=Linear(3, 2, rng), steps=[rng.permutation(5), {"mask": rng.random(4) < 0.5}])

    there, here = make(0), make(1)
    state = there.state()
    assert list(state) == ["layer.w", "layer.b", "steps.0", "steps.1.mask"]
    here.load(state)
    for name, value in here.state().items():
        assert np.array_equal(value, state[name]), name
        assert value.dtype == state[name].dtype
    state["layer.w"][:] = 0
    assert there.layer.w.value.any()  # type: ignore[attr-defined]
    assert here.layer.w.value.any()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("w"), r"w of shape \(2, 3\) is missing"),
        (lambda s: s.update(x=np.ones(1)), "x is unknown"),
        (lambda s: s.update(w=np.ones((3, 2))), r"w: expected shape \(2, 3\), got \(3, 2\)"),
        (lambda s: s.update(w=np.array([["a"] * 3] * 2)), "w: expected dtype float32, got <U1"),
        (lambda s: s.update(order=np.array([0.5, 1.5])), "order: expected dtype int64, got float64"),
        (lambda s: s.update({"pair.0": np.ones(2)}), r"pair\.0 differs"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(change: Any, said: str) -> None:
    thing = Thing(a=parameter(1), w=parameter(2, 3), order=np.arange(2), pair=(np.zeros(2),))
    before, state = thing.state(), {name: value + 1 for name, value in thing.state().items()}
    state["pair.0"] = np.zeros(2)
    change(state)
    with pytest.raises(ValueError, match=said):
        thing.load(state)
    assert all(np.array_equal(value, before[name]) for name, value in thing.state().items())


def test_load_keeps_the_dtype_of_the_module_and_old_graphs_fall_out_of_date() -> None:
    thing = Thing(w=parameter(2))
    y = (thing.w * thing.w).sum()  # type: ignore[attr-defined]
    thing.load({"w": np.ones(2, np.float64)})
    assert thing.w.dtype == np.float32  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="new value"):
        grad(y, thing.parameters())


def test_astype_changes_parameters_in_place_and_leaves_constants() -> None:
    thing = Thing(w=parameter(2), order=np.arange(3), scale=np.ones(2, np.float32))
    w = thing.parameters()[0]
    before = w.value
    assert thing.astype(np.float64) is thing
    assert thing.parameters()[0] is w
    assert np.array_equal(w.value, before)
    assert {name: value.dtype for name, value in thing.state().items()} == {
        "w": np.float64,
        "order": np.int64,
        "scale": np.float32,
    }
    with pytest.raises(TypeError, match="int32"):
        thing.astype(np.int32)


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
