"""Shards: the same derivative, whatever the parts and the threads, and errors that reach the caller."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen import nn, value_and_grad
from tinygen.autograd import Array, Tensor, tanh
from tinygen.kernels.runtime.pool import set_threads, threads
from tinygen.optim import Adam
from tinygen.training import fit
from tinygen.training.shards import sharded


class Net(nn.Module):
    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.first, self.last = nn.Linear(2, 5, rng), nn.Linear(5, 1, rng)
        self.astype(np.float64)

    def loss(self, x: Array, y: Array, *, rng: np.random.Generator, rate: float = 0.0) -> Tensor:
        error = self.last(nn.dropout(tanh(self.first(x)), rate, rng)) - y
        return (error * error).mean()

    def dropped(self, x: Array, y: Array, *, rng: np.random.Generator) -> Tensor:
        return self.loss(x, y, rng=rng, rate=0.5)


@given(n=st.integers(1, 9), shards=st.integers(1, 12), seed=st.integers(0, 2**32))
def test_shards_change_nothing_but_rounding(n: int, shards: int, seed: int) -> None:
    rng, net = np.random.default_rng(seed), Net()
    x, y = rng.normal(size=(n, 2)), rng.normal(size=(n, 1))
    whole = value_and_grad(net.loss, net.parameters())
    value, gradients = whole(x, y, rng=rng)
    sharded_value, sharded_gradients = sharded(whole, shards)(x, y, rng=rng)
    assert sharded_value.item() == pytest.approx(value.item(), rel=1e-12)
    for ours, theirs in zip(sharded_gradients, gradients, strict=True):
        np.testing.assert_allclose(ours.value, theirs.value, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("what", ["a sum over the batch", "batch statistics"])
def test_a_loss_that_is_not_a_mean_over_examples_becomes_another(what: str, rng: np.random.Generator) -> None:
    """Why `fit` says what a loss must be: nothing here could notice, and the derivative is wrong by far."""
    net, x, y = Net(), rng.normal(size=(8, 2)), rng.normal(size=(8, 1))

    def loss(x: Array, y: Array, *, rng: np.random.Generator) -> Tensor:
        error = net.last(net.first(x)) - y
        if what == "a sum over the batch":
            return (error * error).sum()
        error = error - error.mean()
        return (error * error).mean()

    whole = value_and_grad(loss, net.parameters())
    _, gradients = whole(x, y, rng=rng)
    _, sharded_gradients = sharded(whole, 4)(x, y, rng=rng)
    ours, theirs = sharded_gradients[-2].value, gradients[-2].value
    assert np.linalg.norm(ours - theirs) > 0.1 * np.linalg.norm(theirs)


def test_shards_drop_different_units(rng: np.random.Generator) -> None:
    net, seen = Net(), []

    def loss(x: Array, *, rng: np.random.Generator) -> Tensor:
        seen.append(rng.random())
        return net.loss(x, np.zeros((len(x), 1)), rng=rng)

    sharded(value_and_grad(loss, net.parameters()), 4)(np.ones((8, 2)), rng=rng)
    assert len(set(seen)) == 4


def test_the_number_of_threads_changes_no_bit(rng: np.random.Generator) -> None:
    net, before = Net(), threads()
    x, y = rng.normal(size=(7, 2)), rng.normal(size=(7, 1))
    derivative = sharded(value_and_grad(net.dropped, net.parameters()), 3)
    results = []
    try:
        for number in (1, 2, 3):
            set_threads(number)
            _, gradients = derivative(x, y, rng=np.random.default_rng(5))
            results.append([gradient.value for gradient in gradients])
    finally:
        set_threads(before)
    for result in results[1:]:
        for ours, theirs in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_an_error_in_any_shard_reaches_the_caller(rng: np.random.Generator) -> None:
    net = Net()

    def loss(x: Array, *, rng: np.random.Generator) -> Tensor:
        if x[0, 0] == 3:
            raise ArithmeticError("the fourth example")
        return net.loss(x, np.zeros((len(x), 1)), rng=rng)

    with pytest.raises(ArithmeticError, match="fourth"):
        sharded(value_and_grad(loss, net.parameters()), 4)(np.arange(4.0).repeat(2).reshape(4, 2), rng=rng)


def test_fewer_than_one_shard() -> None:
    with pytest.raises(ValueError, match="shards: expected at least 1, got 0"):
        sharded(value_and_grad(Net().loss), 0)


def test_fit_gives_each_shard_a_part_of_the_batch(rng: np.random.Generator) -> None:
    net, sizes = nn.Linear(2, 1, rng), []

    def loss(x: Array, *, rng: np.random.Generator) -> Tensor:
        sizes.append(len(x))
        return (net(x) * net(x)).mean()

    optimizer = Adam(net.parameters(), 0.1)
    fit(
        loss,
        net,
        rng.normal(size=(8, 2)),
        optimizer=optimizer,
        batch_size=8,
        rng=rng,
        steps=1,
        shards=4,
        progress=False,
    )
    assert sizes == [2, 2, 2, 2]
