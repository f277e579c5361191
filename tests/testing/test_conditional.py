"""check_conditional accepts correct functions and rejects those with one fault each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygen.autograd import Array
from tinygen.testing import check_conditional

X = np.random.default_rng(1).normal(size=(6, 3))
C = np.random.default_rng(2).normal(size=(6, 2))
W = np.random.default_rng(3).normal(size=(3, 3))
LABELS = np.array([0, 1, 2, 0, 1, 2])


def f(x: Array, c: Array) -> Array:
    return np.asarray(np.tanh(x @ W + c @ W[:2]).sum(1))


def test_accepts_functions_of_vectors_labels_and_one_hot_contexts(rng: np.random.Generator) -> None:
    check_conditional(f, X, C, rng=rng)
    check_conditional(f, X.astype(np.float32), C.astype(np.float32), rng=rng)
    check_conditional(lambda x, k: x * W[k], X, LABELS, rng=rng)
    check_conditional(lambda x, c: x * (c @ W), X, np.eye(3)[LABELS], rng=rng)
    check_conditional(lambda x, c: (x * (c @ W), (c @ W).sum(1)), X, np.eye(3)[LABELS], rng=rng)


WRONG: dict[str, tuple[Callable[..., Any], str]] = {
    "first entry only": (lambda x, c: x * c[:, :1], "entries 1 of the context change nothing"),
    "normalised over the batch": (
        lambda x, c: f(x, (c - c.mean(0)) / c.std(0)),
        "changes the results of other examples",
    ),
    "first row for all": (lambda x, c: f(x, c[:1]), r"of example 0 changes .*: 0?.*is only the first context used"),
    "reversed": (lambda x, c: f(x, c[::-1]), "Each context reaches another example: are they repeated or reordered"),
    "half of the batch": (lambda x, c: f(x, c * (np.arange(6) < 3)[:, None]), "the results of examples 3, 4, 5 ignore"),
    "one example": (lambda x, c: f(x, c * (np.arange(6) != 2)[:, None]), "the results of examples 2 ignore"),
}


@pytest.mark.parametrize("name", WRONG)
def test_rejects_wrong_conditional_functions(name: str, rng: np.random.Generator) -> None:
    wrong, message = WRONG[name]
    with pytest.raises(AssertionError, match=message):
        check_conditional(wrong, X, C, rng=rng)


def test_rejects_classes_that_are_ignored(rng: np.random.Generator) -> None:
    with pytest.raises(AssertionError, match="ignore"):
        check_conditional(lambda x, k: x * (1 + (k == 5)[:, None]), X, LABELS, rng=rng)


@pytest.mark.parametrize("one_hot", [False, True], ids=["labels", "one-hot"])
@pytest.mark.parametrize("pair", [(0, 1), (1, 2), (2, 0)])
def test_rejects_classes_that_are_treated_alike(pair: tuple[int, int], one_hot: bool, rng: np.random.Generator) -> None:
    merged = W.copy()
    merged[pair[1]] = merged[pair[0]]
    context, wrong = (
        (np.eye(3)[LABELS], lambda x, c: x * (c @ merged)) if one_hot else (LABELS, lambda x, k: x * merged[k])
    )
    with pytest.raises(AssertionError, match="give the same results; are classes merged"):
        check_conditional(wrong, X, context, rng=rng)


def test_rejects_unsuitable_contexts(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="context: expected 6 rows, one per example of x, got 5"):
        check_conditional(f, X, C[:5], rng=rng)
    with pytest.raises(ValueError, match="context: expected rows that are not all equal"):
        check_conditional(f, X, np.ones((6, 2)), rng=rng)
    with pytest.raises(ValueError, match="got a constant entry 0"):
        check_conditional(f, X, C * [0, 1], rng=rng)


def test_conditional_networks_of_pytorch(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    embed, net = torch.nn.Embedding(3, 3).double(), torch.nn.Linear(3, 2).double()

    def network(x: Any, k: Any) -> Any:
        return torch.tanh(net(x + embed(k)))

    check_conditional(network, X, LABELS, rng=rng, convert=torch.from_numpy)
    with pytest.raises(AssertionError, match="f ignores its context"):
        check_conditional(lambda x, k: net(x), X, LABELS, rng=rng, convert=torch.from_numpy)
    with pytest.raises(AssertionError, match="Each context reaches another example"):
        check_conditional(lambda x, k: network(x, k.roll(1)), X, LABELS, rng=rng, convert=torch.from_numpy)


def test_float32_with_a_large_offset(rng: np.random.Generator) -> None:
    """−2000 nats is an ordinary log-likelihood of an image, in which float32 resolves 1e-4 nats."""
    x, c = rng.normal(size=(2, 4, 2)).astype(np.float32)

    def right(x: Array, c: Array) -> Array:
        return np.asarray(-2000 - 0.1 * ((x - c) ** 2).sum(1), np.float32)

    check_conditional(right, x, c, rng=rng)
    with pytest.raises(AssertionError, match="the context of example 0 changes the results of other examples"):
        check_conditional(lambda x, c: right(x, c) - c.mean(), x, c, rng=rng)


def test_a_tolerance_allows_for_solvers_that_depend_on_the_batch(rng: np.random.Generator) -> None:
    x, c = rng.normal(size=(2, 4, 2))
    f = lambda x, c: x + c + 1e-6 * np.sin(c.mean())
    with pytest.raises(AssertionError, match="the context of example 0 changes the results of other examples"):
        check_conditional(f, x, c, rng=rng)
    check_conditional(f, x, c, rng=rng, tolerance=1e-5)


def test_densities_near_zero_are_not_rounding_errors(rng: np.random.Generator) -> None:
    x, c = rng.normal(size=(2, 4, 2))
    check_conditional(lambda x, c: 1e-12 * np.exp(-((x - c) ** 2).sum(1)), x, c, rng=rng)


def test_a_large_output_does_not_hide_a_fault_of_a_small_one(rng: np.random.Generator) -> None:
    x, c = rng.normal(size=(2, 4, 2))

    def f(x: Array, c: Array) -> Array:
        return np.concatenate([1e10 * (x + c).sum(1, keepdims=True), np.roll(c, 1, 0)], 1)

    with pytest.raises(AssertionError, match="changes the results of other examples"):
        check_conditional(f, x, c, rng=rng)
