"""Masks from degrees: no path leads from a variable to itself or an earlier one, and every other is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygen.nn.masks as module
from tinygen.autograd import Array, Tensor, tanh, taps
from tinygen.nn import Conv, MaskedConv, MaskedLinear, MaskedMLP
from tinygen.nn.masks import degrees, masks
from tinygen.testing import check_autoregressive, check_grads, check_parameter_grads

ORDERS = st.integers(1, 7).flatmap(lambda variables: st.permutations(range(variables)))


def paths(order: Any, hidden: Any, width: int = 1, rng: np.random.Generator | None = None, least: int = 1) -> Array:
    """Count the ways from each input to each output, (D, D · width)."""
    found = np.eye(len(order), dtype=int)
    for mask in masks(degrees(order, hidden, rng, least), width):
        found = found @ mask
    return found


def earlier(order: Any) -> Array:
    """[i, j]: variable i comes before variable j."""
    rank = np.argsort(order)
    return np.asarray(rank[:, None] < rank[None, :])


@given(
    order=ORDERS,
    hidden=st.lists(st.integers(1, 9), max_size=3),
    width=st.integers(1, 3),
    least=st.integers(0, 1),
    seed=st.none() | st.integers(0, 2**32),
)
def test_no_path_leads_to_a_variable_that_is_not_later(
    order: list[int], hidden: list[int], width: int, least: int, seed: int | None
) -> None:
    rng = None if seed is None else np.random.default_rng(seed)
    found = paths(order, hidden, width, rng, least) > 0
    assert not np.any(found & ~np.repeat(earlier(order), width, axis=1))


@given(order=ORDERS, layers=st.integers(0, 3), width=st.integers(1, 3), more=st.integers(0, 3), least=st.integers(0, 1))
def test_with_enough_units_every_earlier_variable_reaches_every_later_one(
    order: list[int], layers: int, width: int, more: int, least: int
) -> None:
    hidden = [max(1, len(order) - least) + more] * layers
    np.testing.assert_array_equal(paths(order, hidden, width, least=least) > 0, np.repeat(earlier(order), width, 1))


@given(order=ORDERS, hidden=st.lists(st.integers(1, 9), min_size=1, max_size=3), seed=st.none() | st.integers(0, 2**32))
def test_every_hidden_unit_sees_something(order: list[int], hidden: list[int], seed: int | None) -> None:
    found = degrees(order, hidden, None if seed is None else np.random.default_rng(seed))
    for each in found[1:]:
        assert each.min() >= min(1, len(order) - 1)
        assert each.max() <= max(0, len(order) - 1)
    if len(order) > 1:
        assert all(mask.any(0).all() for mask in masks(found)[:-1])


def test_degrees_are_spread_evenly() -> None:
    inputs, many, few = degrees([2, 0, 3, 1], [6, 2])
    np.testing.assert_array_equal(inputs, [2, 4, 1, 3])
    np.testing.assert_array_equal(many, [1, 1, 2, 2, 3, 3])
    np.testing.assert_array_equal(few, [1, 3])
    np.testing.assert_array_equal(degrees(range(4), [8], least=0)[1], [0, 0, 1, 1, 2, 2, 3, 3])


def test_a_masked_layer_is_a_linear_one_without_some_connections(rng: np.random.Generator) -> None:
    layer, x, mask = MaskedLinear(3, 2, rng), rng.normal(size=(4, 3)), rng.random((3, 2)) < 0.5
    layer.astype(np.float64).b.assign(rng.normal(size=2))  # type: ignore[union-attr]
    np.testing.assert_allclose(layer(x, mask).value, x @ np.where(mask, layer.w.value, 0) + layer.b.value, rtol=1e-12)  # type: ignore[union-attr]
    check_parameter_grads(lambda: layer(x, mask).sum(), layer.parameters(), rng=rng)


def test_a_masked_convolution_is_one_of_all_taps_with_a_mask_on_the_last(rng: np.random.Generator) -> None:
    layer, x, mask = MaskedConv(3, 2, taps.causal(3), rng), rng.normal(size=(2, 4, 3, 3)), rng.random((3, 2)) < 0.5
    layer.astype(np.float64).here.b.assign(rng.normal(size=2))  # type: ignore[union-attr]
    whole = Conv(3, 2, taps.causal(3, centre=True), rng).astype(np.float64)
    whole.w.assign(np.concatenate([layer.earlier.w.value, np.where(mask, layer.here.w.value, 0)[None]]))
    whole.b.assign(layer.here.b.value)  # type: ignore[union-attr]
    residual = rng.normal(size=(2, 4, 3, 2))
    np.testing.assert_allclose(
        layer(x, mask, residual=residual).value, np.maximum(whole(x, residual=residual).value, 0), rtol=1e-12
    )
    check_parameter_grads(
        lambda: layer(x, mask, residual=residual + 30).sum(), layer.parameters(), rng=rng
    )  # beyond the kink


def network(variables: int = 5, width: int = 2, seed: int = 0, **settings: Any) -> MaskedMLP:
    """A network in float64 whose every parameter is random, tanh between, so that no unit is dead."""
    rng = np.random.default_rng(seed)
    net = MaskedMLP(variables, width, rng, **{"hidden": (9, 9), "activation": tanh, **settings}).astype(np.float64)
    for parameter in net.parameters():
        parameter.assign(rng.normal(size=parameter.shape))
    return net


SETTINGS: list[dict[str, Any]] = [
    {},
    {"hidden": ()},
    {"hidden": (4,), "width": 1},
    {"hidden": (6, 12, 8), "width": 3},
    {"orders": [[2, 0, 1, 4, 3]]},
    {"orders": [[2, 0, 1, 4, 3], [4, 3, 2, 1, 0]], "hidden": (40, 40)},
    {"context": 2},
    {"hidden": (1,), "direct": True},
    {"context": 2, "direct": True, "orders": [[2, 0, 1, 4, 3], [4, 3, 2, 1, 0]]},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_it_sees_every_earlier_variable_and_no_later_one(settings: Any, rng: np.random.Generator) -> None:
    net = network(**settings)
    c = rng.normal(size=(4, net.context)) if net.context else None
    for which in range(len(net.degrees)):
        x = rng.normal(size=(4, 5))
        check_autoregressive(lambda x, which=which: net(x, c, which), x, axes=1, order=net.order(which), rng=rng)  # type: ignore[misc]


def with_output_masks_like_hidden(degrees: Any, width: int) -> list[Array]:
    return [*masks(degrees, width)[:-1], np.repeat(degrees[0], width) >= degrees[-1][:, None]]


def the_other_way_round(degrees: Any, width: int) -> list[Array]:
    return [~mask for mask in masks(degrees, width)]


def in_raster_order(degrees: Any, width: int) -> list[Array]:
    return masks([np.arange(len(degrees[0])) + 1, *degrees[1:]], width)


@pytest.mark.parametrize("wrong", [with_output_masks_like_hidden, the_other_way_round, in_raster_order])
def test_wrong_masks_are_rejected(
    wrong: Callable[..., list[Array]], monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    net, x = network(orders=[[2, 0, 1, 4, 3]]), rng.normal(size=(4, 5))
    monkeypatch.setattr(module, "masks", wrong)
    monkeypatch.setattr(module, "_masks", module._masks.__wrapped__)  # kept masks would be right, and wrong ones stay
    with pytest.raises(AssertionError, match="must not see"):
        check_autoregressive(net, x, axes=1, order=net.order(), rng=rng)


@given(settings=st.sampled_from(SETTINGS), variables=st.just(5), n=st.integers(1, 3), seed=st.integers(0, 2**32))
def test_one_by_one_equals_all_at_once(settings: Any, variables: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = network(variables, **{**settings, "seed": seed})
    c = rng.normal(size=(n, net.context)) if net.context else None
    for which in range(len(net.degrees)):
        x = np.full((n, variables), 100.0)  # what is there before a variable is filled in must not matter
        steps = []
        for variable, y in net.one_by_one(x, c, which):
            np.testing.assert_allclose(y, net(x, c, which).value[:, variable], rtol=1e-9, atol=1e-10)
            x[:, variable] = rng.normal(size=n)
            steps.append(variable)
        np.testing.assert_array_equal(steps, net.order(which))


def test_a_single_variable_is_what_the_biases_say(rng: np.random.Generator) -> None:
    net = network(1)
    y = net(rng.normal(size=(3, 1))).value
    np.testing.assert_array_equal(y, np.broadcast_to(y[:1], (3, 1, 2)))
    check_parameter_grads(lambda: net(np.zeros((1, 1))).sum(), net.parameters()[1:], rng=rng)  # w₁ is masked away


def test_a_condition_reaches_every_variable_also_through_hidden_units(rng: np.random.Generator) -> None:
    net, x = network(context=2), rng.normal(size=(1, 5))
    low, middle, high = (net(x, np.full((1, 2), c)).value for c in (-1.0, 0.0, 1.0))
    assert np.abs(low - middle).min() > 1e-3
    assert np.abs(low + high - 2 * middle)[0, 0].min() > 1e-3  # not a straight line, for the first variable either


def test_gradients(rng: np.random.Generator) -> None:
    net = network(context=2, direct=True)
    c = rng.normal(size=(3, 2))
    check_grads(net, rng.normal(size=(3, 5)), c, rng=rng)
    check_parameter_grads(lambda: tanh(net(np.ones((3, 5)), c)).sum(), net.parameters(), rng=rng)


def test_float32_throughout_and_orders_are_part_of_the_state(rng: np.random.Generator) -> None:
    net, other = (MaskedMLP(4, 2, np.random.default_rng(s), orders=[[3, 1, 0, 2], [0, 1, 2, 3]]) for s in (0, 1))
    x = rng.normal(size=(2, 4)).astype(np.float32)
    assert net(Tensor(x)).dtype == np.float32
    assert next(net.one_by_one(x))[1].dtype == np.float32
    other.load(net.state())
    np.testing.assert_array_equal(net(x, which=1).value, other(x, which=1).value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variables": 0}, "variables: expected at least 1"),
        ({"width": 0}, "width: "),
        ({"context": -1}, "context: "),
        ({"hidden": (3, 0)}, "hidden: "),
        ({"orders": []}, "orders: "),
        ({"orders": [[0, 1]]}, "orders: "),
        ({"orders": [[0, 1, 2, 3, 3]]}, "order: expected a permutation"),
    ],
)
def test_settings_that_make_no_network(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**settings)


@pytest.mark.parametrize(
    ("context", "x", "c", "message"),
    [
        (0, (3, 4), None, r"x: expected shape \(N, 5\), got \(3, 4\)"),
        (0, (5,), None, "x: "),
        (0, (3, 5), (3, 2), "context: expected none"),
        (2, (3, 5), None, "context: "),
        (2, (3, 5), (1, 2), "context: "),
    ],
)
def test_arguments_that_do_not_fit(context: int, x: Any, c: Any, message: str) -> None:
    net = network(context=context)
    with pytest.raises(ValueError, match=message):
        net(np.zeros(x), None if c is None else np.zeros(c))
