"""check_autoregressive rejects networks with one wrong mask each and names the fault; receptive_field."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import tinygen.autograd as ag
from tinygen.autograd import Array, Tensor, taps
from tinygen.autograd.taps import Taps
from tinygen.testing import check_autoregressive, receptive_field

Network = Callable[[Array], Array | Tensor]
RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(2, 4, 4, 2))
ROW = RNG.normal(size=(3, 5))
STRICT = np.tril(np.ones((5, 5)), -1)
ORDER = [3, 0, 4, 1, 2]


def stack_of(*layers: Taps) -> Network:
    """Return a stack of convolutions and tanh, with 2 input channels, 4 hidden ones and 3 output channels."""
    widths = [2, *[4] * (len(layers) - 1), 3]
    shapes = zip(map(len, layers), widths[:-1], widths[1:], strict=True)
    weights = [np.random.default_rng(1).normal(size=shape) for shape in shapes]

    def network(x: Array) -> Tensor:
        h = Tensor(x)
        for layer, w in zip(layers, weights, strict=True):
            h = ag.tanh(ag.conv(h, w, layer))
        return h

    return network


A3, B3 = taps.causal(3), taps.causal(3, centre=True)
PIXELCNN = (taps.causal(5), B3, B3)


def made(mask: Array, hidden: Array | None = None) -> Network:
    """Return a MADE with one hidden layer of 5 units: x ↦ tanh(x (mask W)ᵀ) (hidden V)ᵀ."""
    w, v = np.random.default_rng(2).normal(size=(2, 5, 5))
    inner = np.tril(np.ones((5, 5))) if hidden is None else hidden
    return lambda x: np.tanh(x @ (mask * w).T) @ (inner * v).T


def test_accepts_correct_networks(rng: np.random.Generator) -> None:
    check_autoregressive(made(STRICT), ROW, rng=rng)
    check_autoregressive(made(STRICT + np.eye(5)), ROW, inclusive=True, rng=rng)
    check_autoregressive(stack_of(*PIXELCNN), IMAGE, receptive_field=receptive_field((4, 4), *PIXELCNN), rng=rng)
    wide = (taps.causal(7), taps.causal(7, centre=True))
    check_autoregressive(stack_of(*wide), IMAGE, rng=rng)


def test_uses_the_given_order(rng: np.random.Generator) -> None:
    rank = np.argsort(ORDER)
    before = (rank[None, :] < rank[:, None]).astype(float)
    network = made(before, before + np.eye(5))
    check_autoregressive(network, ROW, order=ORDER, rng=rng)
    with pytest.raises(AssertionError, match="must not see"):
        check_autoregressive(network, ROW, rng=rng)


def test_accepts_sequences_channels_and_several_position_axes(rng: np.random.Generator) -> None:
    layers = (taps.dilated(2, centre=False), taps.dilated(2, 2))
    sequence = RNG.normal(size=(2, 6, 2))
    check_autoregressive(stack_of(*layers), sequence, receptive_field=receptive_field((6,), *layers), rng=rng)
    flat = made(STRICT)
    check_autoregressive(lambda x: flat(x.reshape(-1, 5)), ROW.reshape(3, 5, 1), axes=1, rng=rng)
    square = ROW[:, :4].reshape(3, 2, 2)
    mask = np.random.default_rng(3).normal(size=(4, 4)) * STRICT[:4, :4]
    check_autoregressive(lambda x: (x.reshape(-1, 4) @ mask.T).reshape(-1, 2, 2), square, axes=2, rng=rng)


def leaks_at_one_position(x: Array) -> Array:
    y: Array = x @ STRICT.T
    y[:, 2] += 1e-12 * x[:, 4]
    return y


def leaks_in_one_example(x: Array) -> Array:
    y: Array = x @ STRICT.T
    y[1, 2] += x[1, 4]
    return y


NETWORKS: dict[str, tuple[Network, str]] = {
    "one mask transposed": (made(STRICT.T), "must not see"),
    "hidden mask transposed": (made(STRICT, np.triu(np.ones((5, 5)))), "must not see"),
    "leak of 1e-12 at one position": (
        leaks_at_one_position,
        r"in 1 of 25 pairs: \(output 2, input 4\)\. Only a few pairs are wrong",
    ),
    "leak in one example": (leaks_in_one_example, r"in 1 of 25 pairs: \(output 2, input 4\)\."),
    "leak in the second channel": (lambda x: np.stack([x @ STRICT.T, x @ (STRICT + np.eye(5)).T], -1), "mask B"),
    "input multiplied by 0": (lambda x: 0 * x, "All inputs are ignored"),
    "only the previous input seen": (
        lambda x: np.roll(x, 1, 1) * (np.arange(5) > 0),
        "fewer taps or layers than expected",
    ),
    "one position ignored": (
        lambda x: (x * (np.arange(5) != 1)) @ STRICT.T,
        r"ignores an input .*: \(output 2, input 1\), \(output 3, input 1\), \(output 4, input 1\)",
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_rejects_wrong_networks(name: str, rng: np.random.Generator) -> None:
    network, message = NETWORKS[name]
    with pytest.raises(AssertionError, match=message):
        check_autoregressive(network, ROW, rng=rng)


PIXELCNNS: dict[str, tuple[tuple[Taps, ...], str]] = {
    "mask B in the first layer": ((taps.causal(5, centre=True), B3, B3), "mask B in the first layer"),
    "masks A and B swapped": ((taps.causal(5, centre=True), A3, A3), "ignores"),
    "no mask in a later layer": ((taps.causal(5), taps.square(3), B3), "Is a mask missing"),
    "kernel width ignored": ((A3, B3, B3), "a kernel width that is ignored"),
    "layer missing": (PIXELCNN[:1], "fewer taps or layers than expected"),
    "mask A instead of B": ((taps.causal(5), A3, A3), "ignores"),
}


@pytest.mark.parametrize("name", PIXELCNNS)
def test_rejects_wrong_pixelcnns(name: str, rng: np.random.Generator) -> None:
    layers, message = PIXELCNNS[name]
    expected = receptive_field((4, 4), *PIXELCNN)
    with pytest.raises(AssertionError, match=message):
        check_autoregressive(stack_of(*layers), IMAGE, receptive_field=expected, rng=rng)


def test_rejects_the_blind_spot_of_pixelcnn(rng: np.random.Generator) -> None:
    """With 3×3 masks, no stack of layers sees all pixels to the right in the rows above."""
    with pytest.raises(AssertionError, match=r"\(output \(1, 0\), input \(0, 2\)\).*blind spot"):
        check_autoregressive(stack_of(A3, B3, B3, B3), IMAGE, rng=rng)


def test_inclusive_network_must_see_its_own_input(rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match="mask A instead of mask B"):
        check_autoregressive(made(STRICT), ROW, inclusive=True, rng=rng)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_integer_inputs_stay_in_their_range(dtype: type, rng: np.random.Generator) -> None:
    levels = 2 if dtype is bool else 4
    x: Array = RNG.integers(0, levels, (4, 5)).astype(dtype)
    seen: list[Array] = []

    def network(x: Array) -> Array:
        assert x.dtype == dtype
        seen.append(x)
        return np.asarray(made(STRICT)(x.astype(float)))

    check_autoregressive(network, x, rng=rng)
    assert set(np.unique(seen)) == set(range(levels))
    with pytest.raises(ValueError, match=r"x: expected integers with at least two distinct values, got a constant"):
        check_autoregressive(network, np.zeros_like(x), rng=rng)


def test_often_inactive_units_need_more_draws(rng: np.random.Generator) -> None:
    def network(x: Array) -> Array:
        return np.asarray(np.maximum(x - 1, 0) @ STRICT.T)

    with pytest.raises(AssertionError, match="dead units"):
        check_autoregressive(network, ROW[:1], rng=rng, draws=1)
    check_autoregressive(network, ROW[:1], rng=rng, draws=30)


def test_rejects_inconsistent_arguments(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=r"order: expected a permutation of 0 … 4, got \[0 1 2 3 3\]"):
        check_autoregressive(made(STRICT), ROW, order=[0, 1, 2, 3, 3], rng=rng)
    with pytest.raises(ValueError, match=r"receptive_field: expected shape \(5, 5\), got \(4, 4\)"):
        check_autoregressive(made(STRICT), ROW, receptive_field=np.zeros((4, 4), bool), rng=rng)
    with pytest.raises(ValueError, match="receptive_field: expected only inputs that the order allows, got 15 pairs"):
        check_autoregressive(made(STRICT), ROW, receptive_field=np.ones((5, 5), bool), rng=rng)
    with pytest.raises(ValueError, match="nothing to check"):
        check_autoregressive(made(STRICT), ROW[:, :1], rng=rng)


def test_receptive_field_of_known_stacks() -> None:
    np.testing.assert_array_equal(receptive_field((5,), taps.dilated(1, centre=False)), np.eye(5, k=-1, dtype=bool))
    both = receptive_field((6,), taps.dilated(2), taps.dilated(2, 2))
    np.testing.assert_array_equal(both, sum(np.eye(6, k=-i) for i in range(4)) > 0)
    assert receptive_field((3, 3), taps.square(3), taps.square(3)).all()
    centre = receptive_field((3, 3), A3)[4].reshape(3, 3)
    np.testing.assert_array_equal(centre, [[1, 1, 1], [1, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x @ STRICT.T + (x @ STRICT.T).mean(0),  # averages over the batch
        lambda x: (x @ STRICT.T)[::-1],  # reorders the batch
    ],
)
def test_rejects_dependence_between_examples(wrong: Network, rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match="changing example 0 changes other outputs"):
        check_autoregressive(wrong, ROW, rng=rng)


def test_networks_of_pytorch(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    weights = torch.from_numpy(np.random.default_rng(2).normal(size=(2, 5, 5)))

    def network(first: Array, second: Array) -> Network:
        masks = torch.from_numpy(first), torch.from_numpy(second)
        return lambda x: torch.tanh(x @ (weights[0] * masks[0]).T) @ (weights[1] * masks[1]).T

    lower = np.tril(np.ones((5, 5)))
    check_autoregressive(network(STRICT, lower), ROW, rng=rng, convert=torch.from_numpy)
    with pytest.raises(AssertionError, match="mask B in the first layer"):
        check_autoregressive(network(lower, lower), ROW, rng=rng, convert=torch.from_numpy)
    with pytest.raises(AssertionError, match="ignores an input that it should see"):
        check_autoregressive(network(STRICT, STRICT), ROW, rng=rng, convert=torch.from_numpy)
    dropout = torch.nn.Dropout(0.5)
    with pytest.raises(AssertionError, match=r"f is random: .* \(model\.eval\(\) in PyTorch\)"):
        check_autoregressive(lambda x: dropout(network(STRICT, lower)(x)), ROW, rng=rng, convert=torch.from_numpy)


def test_rejects_a_dependence_on_the_next_example(rng: np.random.Generator) -> None:
    """It leaves all others as they are if only the first example changes."""
    mask = np.tril(np.ones((3, 3)), -1)
    network = lambda x: (x + np.concatenate([x[1:], 0 * x[:1]])) @ mask.T
    with pytest.raises(AssertionError, match="changing example 4 changes other outputs"):
        check_autoregressive(network, rng.normal(size=(5, 3)), rng=rng)


def test_rejects_several_outputs_instead_of_stacking_them(rng: np.random.Generator) -> None:
    mask = np.tril(np.ones((3, 3)), -1)
    with pytest.raises(TypeError, match="the result of f: expected one array, got a tuple of 2"):
        check_autoregressive(lambda x: (x @ mask.T, x @ mask.T), rng.normal(size=(2, 3)), rng=rng)
