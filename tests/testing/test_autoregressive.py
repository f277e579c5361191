"""Negative controls: networks with one wrong mask each, which the checker must see and name."""

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
    """Convolutions with tanh between them, from 2 channels over 4 to 3."""
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
    """A MADE of one hidden layer, as wide as its input: x → tanh(x (mask W)) (hidden V)."""
    w, v = np.random.default_rng(2).normal(size=(2, 5, 5))
    inner = np.tril(np.ones((5, 5))) if hidden is None else hidden
    return lambda x: np.tanh(x @ (mask * w).T) @ (inner * v).T


def test_right_networks_pass(rng: np.random.Generator) -> None:
    check_autoregressive(made(STRICT), ROW, rng=rng)
    check_autoregressive(made(STRICT + np.eye(5)), ROW, inclusive=True, rng=rng)
    check_autoregressive(stack_of(*PIXELCNN), IMAGE, receptive_field=receptive_field((4, 4), *PIXELCNN), rng=rng)
    wide = (taps.causal(7), taps.causal(7, centre=True))
    check_autoregressive(stack_of(*wide), IMAGE, rng=rng)


def test_any_order(rng: np.random.Generator) -> None:
    rank = np.argsort(ORDER)
    before = (rank[None, :] < rank[:, None]).astype(float)
    network = made(before, before + np.eye(5))
    check_autoregressive(network, ROW, order=ORDER, rng=rng)
    with pytest.raises(AssertionError, match="must not see"):
        check_autoregressive(network, ROW, rng=rng)


def test_sequences_and_channels_as_positions(rng: np.random.Generator) -> None:
    layers = (taps.dilated(2, centre=False), taps.dilated(2, 2))
    sequence = RNG.normal(size=(2, 6, 2))
    check_autoregressive(stack_of(*layers), sequence, receptive_field=receptive_field((6,), *layers), rng=rng)
    flat = made(STRICT)
    check_autoregressive(lambda x: flat(x.reshape(-1, 5)), ROW.reshape(3, 5, 1), axes=1, rng=rng)
    square = ROW[:, :4].reshape(3, 2, 2)
    mask = np.random.default_rng(3).normal(size=(4, 4)) * STRICT[:4, :4]
    check_autoregressive(lambda x: (x.reshape(-1, 4) @ mask.T).reshape(-1, 2, 2), square, axes=2, rng=rng)


def leaks_at_one_pixel(x: Array) -> Array:
    y: Array = x @ STRICT.T
    y[:, 2] += 1e-12 * x[:, 4]
    return y


def leaks_in_one_example(x: Array) -> Array:
    y: Array = x @ STRICT.T
    y[1, 2] += x[1, 4]
    return y


def reads_the_batch(x: Array) -> Array:
    return np.asarray(x @ STRICT.T / (1 + x.std(0)))


LINES: dict[str, tuple[Network, str]] = {
    "mask B in the first layer": (made(STRICT + np.eye(5)), "It is their own input: mask B in the first layer"),
    "mask A where B belongs": (made(STRICT, STRICT), r"ignores an input that it should see: 1 on 0"),
    "A and B swapped, both off by one": (made(STRICT.T), "must not see"),
    "the order reversed": (made(STRICT.T, np.triu(np.ones((5, 5)))), "is the order reversed"),
    "the mask transposed in one layer": (made(STRICT, np.triu(np.ones((5, 5)))), "must not see"),
    "no mask": (made(np.ones((5, 5))), "Is a mask missing"),
    "a leak of 1e-12 at one pixel": (leaks_at_one_pixel, r"in 1 of 25 pairs .*: 2 on 4\. Few pairs only"),
    "a leak in one example": (leaks_in_one_example, r"in 1 of 25 pairs .*: 2 on 4\."),
    "the second channel leaks": (lambda x: np.stack([x @ STRICT.T, x @ (STRICT + np.eye(5)).T], -1), "mask B"),
    "the batch is read": (reads_the_batch, "when only example 0 is changed"),
    "its input is ignored": (lambda x: np.ones(x.shape), "ignores all of its input"),
    "its input is multiplied by 0": (lambda x: 0 * x, "ignores all of its input"),
    "only the last one is seen": (
        lambda x: np.roll(x, 1, 1) * (np.arange(5) > 0),
        "Fewer taps or layers than promised",
    ),
    "one position is dead": (
        lambda x: (x * (np.arange(5) != 1)) @ STRICT.T,
        "ignores an input .*: 2 on 1, 3 on 1, 4 on 1",
    ),
    "positions are missing": (lambda x: x[:, :4], r"should begin with \(3, 5\)"),
    "NaN": (lambda x: x * np.nan, "not finite"),
    "random": (lambda x: x * RNG.normal(), "called twice gives two values"),
}


@pytest.mark.parametrize("name", LINES)
def test_wrong_networks_are_rejected(name: str, rng: np.random.Generator) -> None:
    network, message = LINES[name]
    with pytest.raises(AssertionError, match=message):
        check_autoregressive(network, ROW, rng=rng)


IMAGES: dict[str, tuple[tuple[Taps, ...], str]] = {
    "mask B in the first layer": ((taps.causal(5, centre=True), B3, B3), "mask B in the first layer"),
    "A and B the wrong way round": ((taps.causal(5, centre=True), A3, A3), "ignores"),
    "no mask in a later layer": ((taps.causal(5), taps.square(3), B3), "Is a mask missing"),
    "a kernel width that is ignored": ((A3, B3, B3), "a kernel width that is ignored"),
    "a layer that is missing": (PIXELCNN[:1], "Fewer taps or layers than promised"),
    "mask A where B belongs": ((taps.causal(5), A3, A3), "ignores"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_wrong_pixelcnns_are_rejected(name: str, rng: np.random.Generator) -> None:
    layers, message = IMAGES[name]
    promised = receptive_field((4, 4), *PIXELCNN)
    with pytest.raises(AssertionError, match=message):
        check_autoregressive(stack_of(*layers), IMAGE, receptive_field=promised, rng=rng)


def test_a_blind_spot_is_noticed(rng: np.random.Generator) -> None:
    """The PixelCNN of 2016: however many layers, its 3 × 3 masks never see the right of the rows above."""
    with pytest.raises(AssertionError, match=r"\(1, 0\) on \(0, 2\).*blind spot"):
        check_autoregressive(stack_of(A3, B3, B3, B3), IMAGE, rng=rng)


def test_an_inclusive_network_must_see_itself(rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match="mask A where B belongs"):
        check_autoregressive(made(STRICT), ROW, inclusive=True, rng=rng)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_integer_canvases_stay_in_their_range(dtype: type, rng: np.random.Generator) -> None:
    levels = 2 if dtype is bool else 4
    canvas: Array = RNG.integers(0, levels, (4, 5)).astype(dtype)
    seen: list[Array] = []

    def network(x: Array) -> Array:
        assert x.dtype == dtype
        seen.append(x)
        return np.asarray(made(STRICT)(x.astype(float)))

    check_autoregressive(network, canvas, rng=rng)
    assert set(np.unique(seen)) == set(range(levels))
    with pytest.raises(ValueError, match="integer constant"):
        check_autoregressive(network, np.zeros_like(canvas), rng=rng)


def test_units_that_are_dead_half_of_the_time_take_more_draws(rng: np.random.Generator) -> None:
    def network(x: Array) -> Array:
        return np.asarray(np.maximum(x - 1, 0) @ STRICT.T)

    with pytest.raises(AssertionError, match="dead units"):
        check_autoregressive(network, ROW[:1], rng=rng, draws=1)
    check_autoregressive(network, ROW[:1], rng=rng, draws=30)


def test_requests_without_sense_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="no permutation of the 5 positions"):
        check_autoregressive(made(STRICT), ROW, order=[0, 1, 2, 3, 3], rng=rng)
    with pytest.raises(ValueError, match=r"shape \(4, 4\), needed is \(5, 5\)"):
        check_autoregressive(made(STRICT), ROW, receptive_field=np.zeros((4, 4), bool), rng=rng)
    with pytest.raises(ValueError, match="allows what comes later"):
        check_autoregressive(made(STRICT), ROW, receptive_field=np.ones((5, 5), bool), rng=rng)
    with pytest.raises(ValueError, match="nothing to check"):
        check_autoregressive(made(STRICT), ROW[:, :1], rng=rng)


def test_receptive_fields() -> None:
    np.testing.assert_array_equal(receptive_field((5,), taps.dilated(1, centre=False)), np.eye(5, k=-1, dtype=bool))
    both = receptive_field((6,), taps.dilated(2), taps.dilated(2, 2))
    np.testing.assert_array_equal(both, sum(np.eye(6, k=-i) for i in range(4)) > 0)
    assert receptive_field((3, 3), taps.square(3), taps.square(3)).all()
    centre = receptive_field((3, 3), A3)[4].reshape(3, 3)
    np.testing.assert_array_equal(centre, [[1, 1, 1], [1, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x @ STRICT.T + (x @ STRICT.T).mean(0),  # normalised over the batch
        lambda x: (x @ STRICT.T)[::-1],
    ],
)
def test_a_leak_from_one_example_to_another_is_rejected(wrong: Network, rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match="examples 1… change when only example 0"):
        check_autoregressive(wrong, ROW, rng=rng)
