"""Masked layers: values against layers without masks, autoregressive property, sequential evaluation, gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from helpers.modules import randomised
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Array, Tensor, tanh, taps
from tinygen.nn import Conv, MaskedConv, MaskedLinear, MaskedMLP, masked
from tinygen.nn.made_masks import made_masks
from tinygen.testing import check_autoregressive, check_grads, check_parameter_grads


def test_masked_linear_matches_zeroed_weights(rng: np.random.Generator) -> None:
    layer, x, mask = randomised(MaskedLinear(3, 2, rng), rng), rng.normal(size=(4, 3)), rng.random((3, 2)) < 0.5
    assert layer.b is not None
    np.testing.assert_allclose(layer(x, mask).value, x @ np.where(mask, layer.w.value, 0) + layer.b.value, rtol=1e-12)
    check_parameter_grads(lambda: layer(x, mask).sum(), layer.parameters(), rng=rng)


def test_masked_conv_matches_conv_with_zeroed_centre_weights(rng: np.random.Generator) -> None:
    layer = randomised(MaskedConv(3, 2, taps.causal(3), rng), rng)
    x, mask = rng.normal(size=(2, 4, 3, 3)), rng.random((3, 2)) < 0.5
    full = Conv(3, 2, taps.causal(3, centre=True), rng).astype(np.float64)
    full.w.assign(np.concatenate([layer.earlier.w.value, np.where(mask, layer.centre.w.value, 0)[None]]))
    assert layer.b is not None
    assert full.b is not None
    full.b.assign(layer.b.value)
    residual = rng.normal(size=(2, 4, 3, 2))
    expected = np.maximum(full(x, residual=residual).value, 0)
    np.testing.assert_allclose(layer(x, mask, residual=residual).value, expected, rtol=1e-12)
    positive = residual + 30  # away from the kink of relu
    check_parameter_grads(lambda: layer(x, mask, residual=positive).sum(), layer.parameters(), rng=rng)


def make_net(variables: int = 5, width: int = 2, seed: int = 0, **settings: Any) -> MaskedMLP:
    """Return a network with random parameters, and with tanh, so that no unit is dead."""
    rng = np.random.default_rng(seed)
    return randomised(MaskedMLP(variables, width, rng, **{"hidden": (9, 9), "activation": tanh, **settings}), rng)


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
def test_outputs_depend_on_exactly_the_earlier_variables(settings: Any, rng: np.random.Generator) -> None:
    net = make_net(**settings)
    context = rng.normal(size=(4, net.context)) if net.context else None
    for i in range(len(net.degrees)):
        x = rng.normal(size=(4, 5))
        check_autoregressive(partial(net, context=context, order_index=i), x, axes=1, order=net.order(i), rng=rng)


def hidden_rule_for_outputs(degrees: Any, width: int) -> list[Array]:
    return [*made_masks(degrees, width)[:-1], np.repeat(degrees[0], width) >= degrees[-1][:, None]]


def inverted_masks(degrees: Any, width: int) -> list[Array]:
    return [~mask for mask in made_masks(degrees, width)]


def raster_order_masks(degrees: Any, width: int) -> list[Array]:
    return made_masks([np.arange(len(degrees[0])) + 1, *degrees[1:]], width)


@pytest.mark.parametrize("wrong_masks", [hidden_rule_for_outputs, inverted_masks, raster_order_masks])
def test_wrong_masks_are_rejected(
    wrong_masks: Callable[..., list[Array]], monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    net, x = make_net(orders=[[2, 0, 1, 4, 3]]), rng.normal(size=(4, 5))
    monkeypatch.setattr(masked, "made_masks", wrong_masks)
    monkeypatch.setattr(masked, "_float_masks", masked._float_masks.__wrapped__)  # bypass the LRU cache
    with pytest.raises(AssertionError, match="must not see"):
        check_autoregressive(net, x, axes=1, order=net.order(), rng=rng)


@given(settings=st.sampled_from(SETTINGS), n=st.integers(1, 3), seed=st.integers(0, 2**32))
def test_one_by_one_matches_full_evaluation(settings: Any, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = make_net(**{**settings, "seed": seed})
    context = rng.normal(size=(n, net.context)) if net.context else None
    for i in range(len(net.degrees)):
        x = np.full((n, 5), 100.0)  # initial values must not matter
        visited = []
        for variable, y in net.one_by_one(x, context, i):
            np.testing.assert_allclose(y, net(x, context, i).value[:, variable], rtol=1e-9, atol=1e-10)
            x[:, variable] = rng.normal(size=n)
            visited.append(variable)
        np.testing.assert_array_equal(visited, net.order(i))


def test_single_variable_depends_on_biases_only(rng: np.random.Generator) -> None:
    net = make_net(1)
    x, other = rng.normal(size=(2, 3, 1))
    np.testing.assert_array_equal(net(x).value, net(other).value)  # not across rows: BLAS may round rows differently
    _first_w, *others = net.parameters()  # all of the first layer's weights are masked
    check_parameter_grads(lambda: net(np.zeros((1, 1))).sum(), others, rng=rng)


def test_context_reaches_every_variable_nonlinearly(rng: np.random.Generator) -> None:
    net, x = make_net(context=2), rng.normal(size=(1, 5))
    low, middle, high = (net(x, np.full((1, 2), c)).value for c in (-1.0, 0.0, 1.0))
    assert np.abs(low - middle).min() > 1e-3
    assert np.abs(low + high - 2 * middle)[0, 0].min() > 1e-3  # not linear, even for the first variable


def test_gradients_match_finite_differences(rng: np.random.Generator) -> None:
    net = make_net(context=2, direct=True)
    context = rng.normal(size=(3, 2))
    check_grads(net, rng.normal(size=(3, 5)), context, rng=rng)
    check_parameter_grads(lambda: tanh(net(np.ones((3, 5)), context)).sum(), net.parameters(), rng=rng)


def test_float32_is_preserved(rng: np.random.Generator) -> None:
    net, x = MaskedMLP(4, 2, rng), rng.normal(size=(2, 4)).astype(np.float32)
    assert net(Tensor(x)).dtype == np.float32
    assert next(net.one_by_one(x))[1].dtype == np.float32


def test_state_contains_the_orders(rng: np.random.Generator) -> None:
    net, other = (MaskedMLP(4, 2, np.random.default_rng(s), orders=[[3, 1, 0, 2], [0, 1, 2, 3]]) for s in (0, 1))
    x = rng.normal(size=(2, 4)).astype(np.float32)
    other.load(net.state())
    np.testing.assert_array_equal(net(x, order_index=1).value, other(x, order_index=1).value)


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
def test_rejects_invalid_settings(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_net(**settings)


@pytest.mark.parametrize(
    ("context_size", "x_shape", "context_shape", "message"),
    [
        (0, (3, 4), None, r"x: expected shape \(N, 5\), got \(3, 4\)"),
        (0, (5,), None, "x: "),
        (0, (3, 5), (3, 2), "context: expected none"),
        (2, (3, 5), None, "context: "),
        (2, (3, 5), (1, 2), "context: "),
    ],
)
def test_rejects_wrong_shape(context_size: int, x_shape: Any, context_shape: Any, message: str) -> None:
    net = make_net(context=context_size)
    with pytest.raises(ValueError, match=message):
        net(np.zeros(x_shape), None if context_shape is None else np.zeros(context_shape))


@pytest.mark.parametrize("variable", [-1, 4, 7])
def test_masked_mlp_rejects_a_variable_that_is_not_there(variable: int) -> None:
    net = MaskedMLP(4, 2, np.random.default_rng(0), hidden=(16,))
    with pytest.raises(ValueError, match=rf"^variable: expected .*, got {variable}"):
        net(np.ones((5, 4)), variable=variable)


def test_masked_conv_rejects_taps_with_the_centre() -> None:
    """Its weights would not be masked: with mask A, a pixel would depend on itself."""
    with pytest.raises(ValueError, match=r"^taps: expected offsets other than \(0, 0\), which the mask is for, got"):
        MaskedConv(1, 1, taps.causal(3, centre=True), np.random.default_rng(0))
