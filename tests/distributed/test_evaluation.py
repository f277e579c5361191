"""Samples and mean log-likelihoods on several ranks: those of one rank, and what the models themselves return."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers.communicators import run_ranks
from hypothesis import given
from hypothesis import strategies as st

from tinygen import nn
from tinygen.autograd import Tensor
from tinygen.distributed import mean_log_prob, sample
from tinygen.models import MADE


def made(seed: int) -> MADE:
    return MADE((2, 2), 2, np.random.default_rng(seed), hidden=(4,), classes=3)


MODEL = made(0)


@given(n=st.integers(1, 20), batch_size=st.integers(1, 25), ranks=st.integers(1, 4), seed=st.integers(0, 2**32))
def test_results_depend_on_the_batch_size_and_not_on_the_ranks(n: int, batch_size: int, ranks: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 3, n)

    def evaluate(comm: Any) -> tuple[Any, float, float]:
        rng = np.random.default_rng(seed)
        x = sample(MODEL, n, rng, labels, comm=comm, batch_size=batch_size)
        return x, mean_log_prob(MODEL, x, labels, comm=comm, batch_size=batch_size), rng.random()

    x, log_prob, number = evaluate(None)
    assert log_prob == pytest.approx(MODEL.log_prob(x, labels).value.mean(), rel=1e-6)  # float32
    for results in run_ranks(ranks, evaluate):
        np.testing.assert_array_equal(results[0], x)
        assert results[1:] == (log_prob, number)


def test_samples_of_a_batch_are_those_of_the_model_with_its_generator_and_labels() -> None:
    labels = np.arange(10) % 3
    x = sample(MODEL, 10, np.random.default_rng(0), labels, batch_size=5)
    seeds = np.random.default_rng(0).integers(2**63, size=(2, 2))
    for rows, seed in zip([slice(0, 5), slice(5, 10)], seeds, strict=True):
        np.testing.assert_array_equal(x[rows], MODEL.sample(5, np.random.default_rng(seed), labels[rows]))


class Echo:
    """A model whose samples and log-likelihoods show what it was given."""

    def sample(self, n: int, rng: Any, *, features: Any, scale: float) -> Any:
        return scale * features

    def log_prob(self, x: Any, *, features: Any, scale: float) -> Any:
        return scale * features * x


def test_options_that_are_arrays_are_divided_like_the_examples() -> None:
    features, echo = np.arange(10.0), Echo()
    options: dict[str, Any] = {"features": features, "scale": 2.0, "batch_size": 3}
    np.testing.assert_array_equal(sample(echo, 10, np.random.default_rng(0), **options), 2 * features)
    assert mean_log_prob(echo, features, **options) == np.mean(2 * features**2)
    with pytest.raises(ValueError, match=r"features: expected 10 rows, got shape \(9,\)"):
        mean_log_prob(echo, features, **{**options, "features": features[1:]})


@pytest.mark.parametrize("bit_generator", [np.random.MT19937, np.random.SFC64, np.random.Philox])
def test_generators_whose_states_are_arrays_are_compared(bit_generator: Any) -> None:
    def draw(comm: Any) -> Any:
        return sample_on(rng=np.random.Generator(bit_generator(0)))(comm)

    results = run_ranks(2, draw)
    np.testing.assert_array_equal(results[0], results[1])

    def expect_error(comm: Any) -> None:
        with pytest.raises(ValueError, match="rng: expected the same on all ranks in this call"):
            sample_on(rng=np.random.Generator(bit_generator(comm.rank)))(comm)

    run_ranks(2, expect_error)


class Fixed:
    """A model whose results do not depend on its arguments."""

    def __init__(self, result: Any) -> None:
        self.sample = self.log_prob = lambda *arguments: result


@pytest.mark.parametrize("wrong", [np.zeros(()), np.zeros(1), np.zeros((3, 4))])
def test_results_of_a_wrong_shape_are_an_error(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"model: expected log-probabilities \(4,\), got shape"):
        mean_log_prob(Fixed(wrong), np.zeros(4))
    with pytest.raises(ValueError, match="model: expected 4 samples, got shape"):
        sample(Fixed(wrong), 4, np.random.default_rng(0))


X, LABELS, RNG = np.ones((4, 2, 2), int), np.zeros(4, int), np.random.default_rng(0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sample(MODEL, 0, RNG, LABELS), "n: expected at least 1, got 0"),
        (lambda: sample(MODEL, 4, 0, LABELS), r"rng: expected a np\.random\.Generator"),  # type: ignore[arg-type]
        (lambda: sample(MODEL, 5, RNG, LABELS), r"context: expected 5 rows, got shape \(4,\)"),
        (lambda: sample(MODEL, 4, RNG, LABELS, batch_size=0), "batch_size: expected at least 1"),
        (lambda: sample(nn.Linear(1, 1, RNG), 4, RNG), "model: expected a model with a method sample"),
        (lambda: mean_log_prob(MODEL, X[:0]), "x: expected at least one example"),
        (lambda: mean_log_prob(MODEL, X, LABELS[:2]), "context: expected 4 rows"),
        (lambda: mean_log_prob(MODEL, X, LABELS, rng=0), "rng: expected"),  # type: ignore[arg-type]
    ],
)
def test_rejects_invalid_arguments(call: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()


@pytest.mark.parametrize(
    ("differ", "message"),
    [
        (lambda rank: sample_on(rng=np.random.default_rng(rank)), "rng: expected the same on all ranks in this call"),
        (lambda rank: sample_on(n=4 - rank, labels=LABELS[rank:]), "n: expected the same on all ranks"),
        (lambda rank: sample_on(labels=LABELS + rank), "context: expected the same on all ranks"),
        (lambda rank: sample_on(model=made(rank)), "expected the same on all ranks in this call, got .*float32"),
        (lambda rank: lambda comm: mean_log_prob(MODEL, X - rank, LABELS, comm=comm), "x: expected the same"),
    ],
)
def test_arguments_that_differ_between_ranks_are_an_error(differ: Any, message: str) -> None:
    def expect_error(comm: Any) -> None:
        with pytest.raises(ValueError, match=message):
            differ(comm.rank)(comm)

    run_ranks(2, expect_error)


def sample_on(n: int = 4, rng: Any = None, labels: Any = LABELS, model: Any = MODEL) -> Any:
    return lambda comm: sample(model, n, rng or np.random.default_rng(0), labels, comm=comm)


@pytest.mark.parametrize("labels", [list(range(4)), tuple(range(4)), Tensor(np.arange(4.0))])
def test_options_with_rows_must_be_arrays(labels: Any) -> None:
    """Every batch would get the first rows."""

    class Labels:
        def sample(self, n: int, rng: np.random.Generator, labels: Any = None) -> Any:
            return np.asarray(labels)[:n]

    with pytest.raises(ValueError, match=f"labels: expected a NumPy array, .*, got {type(labels).__name__}"):
        sample(Labels(), 4, np.random.default_rng(0), batch_size=2, labels=labels)
    sized = type("Sized", (), {"sample": lambda self, n, rng, size=(2, 2): np.zeros((n, *size))})()
    assert sample(sized, 4, np.random.default_rng(0), batch_size=2, size=(3, 3)).shape == (4, 3, 3)
    drawn = sample(Labels(), 4, np.random.default_rng(0), batch_size=2, labels=np.arange(4))
    assert drawn.tolist() == [0, 1, 2, 3]
