"""check_normalised and check_normalised_density reject densities with one fault each; enumerate_support."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.discrete_model import DIMS, LEVELS, SUPPORT, conditionals, log_prob, log_softmax, logits_at

from tinygen.autograd import Array, Tensor
from tinygen.testing import check_normalised, check_normalised_density, enumerate_support

LogProb = Callable[[Array], Array | Tensor]


def sees_its_target(x: Array) -> Array:
    own = log_softmax(np.stack([logits_at(x, 0), 0.1 * x[:, :1] * np.ones(LEVELS)])[0] * (1 + x[:, :1]))
    return np.asarray(own[np.arange(len(x)), x[:, 0]] + conditionals(x)[:, 1:].sum(1))


def test_enumerate_support_lists_all_arrays() -> None:
    np.testing.assert_array_equal(enumerate_support(2, (2,)), [[0, 0], [0, 1], [1, 0], [1, 1]])
    assert enumerate_support(3, (2, 1, 2)).shape == (81, 2, 1, 2)
    assert len(np.unique(SUPPORT, axis=0)) == LEVELS**DIMS
    assert len(enumerate_support(2, (20,))) == 1 << 20
    assert enumerate_support(1, (3,)).shape == (1, 3)
    with pytest.raises(ValueError, match=r"expected at most 1048576 arrays, got 2\^21"):
        enumerate_support(2, (21,))
    with pytest.raises(ValueError, match=r"got 256\^784"):
        enumerate_support(256, (28, 28))


def test_accepts_normalised_densities() -> None:
    check_normalised(log_prob, SUPPORT)
    check_normalised(lambda x: Tensor(log_prob(x)), SUPPORT)
    check_normalised(lambda x: np.full(len(x), -math.log(81)), SUPPORT)


NOT_NORMALISED: dict[str, tuple[LogProb, str]] = {
    "softmax over the batch": (lambda x: conditionals(x, axis=0).sum(1), "normalisation over the batch"),
    "term counted twice": (lambda x: log_prob(x) + conditionals(x)[:, 0], "a term counted twice"),
    "term missing": (lambda x: conditionals(x)[:, 1:].sum(1), "it should be 1"),
    "conditional on its own target": (sees_its_target, "sees its own target"),
    "off by 1e-11": (lambda x: log_prob(x) + 1e-11, "it should be 1; the error is 1e-11"),
    "kept dimension": (lambda x: log_prob(x)[:, None], r"expected shape \(81,\), one per example, got \(81, 1\)"),
}


@pytest.mark.parametrize("name", NOT_NORMALISED)
def test_rejects_densities_that_are_not_normalised(name: str) -> None:
    wrong, message = NOT_NORMALISED[name]
    with pytest.raises(AssertionError, match=message):
        check_normalised(wrong, SUPPORT)


def test_rejects_a_support_with_repeated_values() -> None:
    with pytest.raises(ValueError, match="more than once"):
        check_normalised(log_prob, np.concatenate([SUPPORT, SUPPORT[:1]]))


def normal(x: Array) -> Array:
    return np.asarray(-0.5 * np.sum(x**2, 1) - 0.5 * x.shape[1] * math.log(2 * math.pi))


def shifted(x: Array, sign: float) -> Array:
    """Return the log-density of x if sinh x is normal, with the sign of the log-determinant ln cosh x given."""
    return np.asarray(normal(np.sinh(x)) + sign * np.log(np.cosh(x)).sum(1))


def test_density_must_integrate_to_one() -> None:
    check_normalised_density(normal, [-8], [8], tolerance=1e-12)
    check_normalised_density(normal, [-8, -8], [8, 8], points=129, tolerance=1e-12)
    check_normalised_density(lambda x: shifted(x, 1), [-3, -3], [3, 3], tolerance=1e-12)
    with pytest.raises(AssertionError, match="log-determinant with the wrong sign"):
        check_normalised_density(lambda x: shifted(x, -1), [-3, -3], [3, 3])
    with pytest.raises(AssertionError, match="mass outside the box"):
        check_normalised_density(normal, [-8, 0], [8, 8], tolerance=1e-4)
    with pytest.raises(AssertionError, match="has not converged"):
        check_normalised_density(lambda x: normal(300 * x) + math.log(300), [-3], [4.01])
    with pytest.raises(ValueError, match="1 or 2 axes"):
        check_normalised_density(normal, [0, 0, 0], [1, 1, 1])


def test_rejects_a_softmax_over_the_batch() -> None:
    """The density sums to one over the support; only evaluating an example alone reveals the fault."""
    with pytest.raises(AssertionError, match=r"in the batch but .* alone"):
        check_normalised(lambda x: log_softmax(x @ np.array([0.5, -1.0, 2.0, 0.1]), axis=0), SUPPORT)


def test_a_missing_normaliser_of_a_gaussian_is_named() -> None:
    with pytest.raises(AssertionError, match=r"It is √\(2π\) to the power 2: is the normaliser of a Gaussian missing"):
        check_normalised_density(lambda x: -0.5 * np.sum(x**2, 1), [-8, -8], [8, 8], points=129)
    with pytest.raises(AssertionError, match=r"It is √\(2π\) to the power -1: .* or counted twice"):
        check_normalised_density(lambda x: normal(x) - 0.5 * math.log(2 * math.pi), [-8], [8])


def test_densities_of_pytorch_in_float32() -> None:
    torch = pytest.importorskip("torch")
    logits = torch.tensor([0.3, -1.0, 2.0], requires_grad=True)

    def categorical(x: Any) -> Any:
        return torch.log_softmax(logits, 0)[x].sum(1)

    support = enumerate_support(3, (2,))
    check_normalised(categorical, support, convert=torch.from_numpy)
    with pytest.raises(AssertionError, match="per dimension: multiply it by the number of dimensions"):
        check_normalised(lambda x: categorical(x) / 2, support, convert=torch.from_numpy)
    with pytest.raises(AssertionError, match="log_prob is in bits"):
        check_normalised(lambda x: categorical(x) / math.log(2), support, convert=torch.from_numpy)
    gaussian = torch.distributions.Normal(0.0, 1.0)
    check_normalised_density(lambda x: gaussian.log_prob(x)[:, 0], [-8], [8], convert=torch.from_numpy)
    with pytest.raises(AssertionError, match=r"expected shape \(513,\), one per example, got \(513, 1\)"):
        check_normalised_density(gaussian.log_prob, [-8], [8], convert=torch.from_numpy)


def test_log_probabilities_in_half_precision() -> None:
    support = enumerate_support(2, (3,))
    check_normalised(lambda x: np.full(len(x), -3 * math.log(2), np.float16), support)
    with pytest.raises(AssertionError, match=r"more than 0\.08"):
        check_normalised(lambda x: np.full(len(x), -2 * math.log(2), np.float16), support)


def test_only_a_tolerance_that_is_passed_allows_for_solvers_that_depend_on_the_batch() -> None:
    def log_prob(x: Array) -> Array:
        return np.asarray(-0.5 * x[:, 0] ** 2 - 0.5 * math.log(2 * math.pi) + 1e-9 * (len(x) > 1))

    with pytest.raises(AssertionError, match=r"log_prob of example 0 is .* in the batch but .* alone"):
        check_normalised_density(log_prob, [-8.0], [8.0])
    check_normalised_density(log_prob, [-8.0], [8.0], tolerance=1e-6)
