"""Shards: the derivative does not depend on the number of shards or threads, and exceptions reach the caller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen import nn, value_and_grad
from tinygen.autograd import Array, Parameter, Tensor, exp, tanh
from tinygen.bijections import Affine, Bijection, Chain, Flow
from tinygen.distributions import StandardNormal
from tinygen.kernels.runtime.pool import get_num_threads, set_num_threads
from tinygen.models import MADE
from tinygen.optim import Adam
from tinygen.training import fit
from tinygen.training import run as run_module
from tinygen.training.shards import choose_shards, is_mean_over_examples, sharded


class Net(nn.Module):
    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.first, self.last = nn.Linear(2, 5, rng), nn.Linear(5, 1, rng)
        self.astype(np.float64)

    def loss(self, x: Array, y: Array, *, rng: np.random.Generator, rate: float = 0.0) -> Tensor:
        error = self.last(nn.dropout(tanh(self.first(x)), rate, rng)) - y
        return (error * error).mean()

    def loss_with_dropout(self, x: Array, y: Array, *, rng: np.random.Generator) -> Tensor:
        return self.loss(x, y, rng=rng, rate=0.5)


@given(n=st.integers(1, 9), shards=st.integers(1, 12), seed=st.integers(0, 2**32))
def test_sharded_derivative_equals_the_derivative_of_the_batch(n: int, shards: int, seed: int) -> None:
    rng, net = np.random.default_rng(seed), Net()
    x, y = rng.normal(size=(n, 2)), rng.normal(size=(n, 1))
    whole = value_and_grad(net.loss, net.parameters())
    value, gradients = whole(x, y, rng=rng)
    sharded_value, sharded_gradients = sharded(whole, shards)(x, y, rng=rng)
    assert sharded_value.item() == pytest.approx(value.item(), rel=1e-12)
    for actual, expected in zip(sharded_gradients, gradients, strict=True):
        np.testing.assert_allclose(actual.value, expected.value, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("kind", ["sum over the batch", "batch statistics"])
def test_shards_give_a_different_derivative_if_the_loss_is_not_a_mean(kind: str, rng: np.random.Generator) -> None:
    """`sharded` cannot detect such losses, so the documentation of `fit` excludes them."""
    net, x, y = Net(), rng.normal(size=(8, 2)), rng.normal(size=(8, 1))

    def loss(x: Array, y: Array, *, rng: np.random.Generator) -> Tensor:
        error = net.last(net.first(x)) - y
        if kind == "sum over the batch":
            return (error * error).sum()
        error = error - error.mean()
        return (error * error).mean()

    whole = value_and_grad(loss, net.parameters())
    _, gradients = whole(x, y, rng=rng)
    _, sharded_gradients = sharded(whole, 4)(x, y, rng=rng)
    actual, expected = sharded_gradients[-2].value, gradients[-2].value
    assert np.linalg.norm(actual - expected) > 0.1 * np.linalg.norm(expected)


def test_shards_have_different_random_generators(rng: np.random.Generator) -> None:
    net, seen = Net(), []

    def loss(x: Array, *, rng: np.random.Generator) -> Tensor:
        seen.append(rng.random())
        return net.loss(x, np.zeros((len(x), 1)), rng=rng)

    sharded(value_and_grad(loss, net.parameters()), 4)(np.ones((8, 2)), rng=rng)
    assert len(set(seen)) == 4


def test_result_is_bitwise_independent_of_the_number_of_threads(rng: np.random.Generator) -> None:
    net, before = Net(), get_num_threads()
    x, y = rng.normal(size=(7, 2)), rng.normal(size=(7, 1))
    derivative = sharded(value_and_grad(net.loss_with_dropout, net.parameters()), 3)
    results = []
    try:
        for number in (1, 2, 3):
            set_num_threads(number)
            _, gradients = derivative(x, y, rng=np.random.default_rng(5))
            results.append([gradient.value for gradient in gradients])
    finally:
        set_num_threads(before)
    for result in results[1:]:
        for actual, expected in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(actual, expected)


def test_exception_in_a_shard_reaches_the_caller(rng: np.random.Generator) -> None:
    net = Net()

    def loss(x: Array, *, rng: np.random.Generator) -> Tensor:
        if x[0, 0] == 3:
            raise ArithmeticError("the fourth example")
        return net.loss(x, np.zeros((len(x), 1)), rng=rng)

    with pytest.raises(ArithmeticError, match="fourth"):
        sharded(value_and_grad(loss, net.parameters()), 4)(np.arange(4.0).repeat(2).reshape(4, 2), rng=rng)


def test_rejects_fewer_than_one_shard() -> None:
    with pytest.raises(ValueError, match="shards: expected at least 1, got 0"):
        sharded(value_and_grad(Net().loss), 0)


def test_fit_splits_the_batch_into_shards(rng: np.random.Generator) -> None:
    net, sizes = nn.Linear(2, 1, rng), []

    def loss(x: Array, *, rng: np.random.Generator) -> Tensor:
        sizes.append(len(x))
        return (net(x) * net(x)).mean()

    settings: dict[str, Any] = {"optimizer": Adam(net.parameters(), 0.1), "batch_size": 8, "rng": rng, "steps": 1}
    fit(loss, net, rng.normal(size=(8, 2)), shards=4, progress=False, **settings)
    assert sizes == [2, 2, 2, 2]


@pytest.mark.parametrize(("size", "expected"), [(1 << 10, 1), (1 << 18, 3), (1 << 22, 6)])
def test_shards_are_chosen_by_the_size_of_the_tensors(size: int, expected: int) -> None:
    before = get_num_threads()
    try:
        set_num_threads(3)
        assert choose_shards(tanh(Tensor(np.zeros(size, np.float32))).mean()) == expected
    finally:
        set_num_threads(before)


def fit_made(shards: int | None, steps: int, wrapped: bool = False, checkpoint: Path | None = None) -> list[Array]:
    """Train a small MADE with its own loss, or with a function that calls it, and return its parameters."""
    rng = np.random.default_rng(0)
    model = MADE((2, 2), 2, rng, hidden=(8,))
    loss = (lambda x, rng: model.loss(x, rng=rng)) if wrapped else model.loss
    x, adam = rng.integers(0, 2, (16, 2, 2)), Adam(model.parameters(), 0.01)
    fit(loss, model, x, optimizer=adam, batch_size=8, rng=rng, steps=steps, shards=shards, checkpoint=checkpoint)
    return [parameter.value for parameter in model.parameters()]


def test_fit_chooses_shards_after_the_first_step_for_the_loss_of_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "choose_shards", lambda loss: 2)
    assert all(map(np.array_equal, fit_made(None, steps=1), fit_made(1, steps=1)))
    assert not all(map(np.array_equal, fit_made(None, steps=4), fit_made(1, steps=4)))


def test_fit_does_not_shard_an_unknown_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "choose_shards", lambda loss: 2)
    assert all(map(np.array_equal, fit_made(None, steps=4, wrapped=True), fit_made(1, steps=4)))


def test_resumed_run_keeps_the_chosen_shards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run_module, "choose_shards", lambda loss: 2)
    expected = fit_made(None, steps=6)
    fit_made(None, steps=3, checkpoint=tmp_path / "run.npz")
    monkeypatch.setattr(run_module, "choose_shards", lambda loss: 4)  # as if the number of threads had changed
    assert all(map(np.array_equal, fit_made(None, steps=6, checkpoint=tmp_path / "run.npz"), expected))


class BatchNorm(Bijection):
    """Statistics of the batch, by which examples affect each other."""

    def __init__(self) -> None:
        self.s = Parameter(np.zeros(1))

    def forward(self, x: Any, context: Any = None) -> tuple[Tensor, Tensor]:
        return (x - x.mean(0)) * exp(self.s), self.s.sum() + 0 * x.sum(1)


def test_parts_of_other_classes_are_not_known_to_be_means() -> None:
    assert is_mean_over_examples(Flow(Affine(1), StandardNormal((1,))).loss)
    assert not is_mean_over_examples(Flow(Chain(Affine(1), BatchNorm()), StandardNormal((1,))).loss)
