"""check_adjoint accepts adjoint pairs and rejects pairs with one fault each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tinygen.autograd import Array, Tensor
from tinygen.testing import check_adjoint

A = np.random.default_rng(2).normal(size=(4, 3))


def test_accepts_adjoint_pairs(rng: np.random.Generator) -> None:
    check_adjoint(lambda x: A @ x, lambda y: A.T @ y, (3,), (4,), rng=rng)
    check_adjoint(lambda x: Tensor(A @ x), lambda y: Tensor(A.T @ y), (3, 2), (4, 2), rng=rng)


NOT_ADJOINT: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array], str]] = {
    "missing transpose": (lambda x: A[:3] @ x, lambda y: A[:3] @ y, "adjoint of a different map"),
    "wrong sign": (lambda x: A[:3] @ x, lambda y: -A[:3].T @ y, "adjoint of a different map"),
    "error of 1e-9": (lambda x: A[:3] @ x, lambda y: (A[:3] + 1e-9 * np.eye(3)[::-1]).T @ y, "different map"),
    "wrong offset": (lambda x: np.roll(x, 1), lambda y: np.roll(y, 1), "adjoint of a different map"),
    "bias": (lambda x: A[:3] @ x + 1, lambda y: A[:3].T @ y, "forward is not linear"),
    "nonlinear adjoint": (lambda x: A[:3] @ x, lambda y: A[:3].T @ np.tanh(y), "adjoint is not linear"),
    "float32 arithmetic": (lambda x: (A[:3] @ x).astype(np.float32), lambda y: A[:3].T @ y, "forward is not linear"),
    "wrong shape": (lambda x: A @ x, lambda y: A[:3].T @ y, r"forward: expected an output of shape \(3,\), got \(4,\)"),
    "zero map": (lambda x: 0 * x, lambda y: 0 * y, "maps a random input to 0"),
}


@pytest.mark.parametrize("name", NOT_ADJOINT)
def test_rejects_pairs_that_are_not_adjoint(name: str, rng: np.random.Generator) -> None:
    forward, adjoint, message = NOT_ADJOINT[name]
    with pytest.raises(AssertionError, match=message):
        check_adjoint(forward, adjoint, (3,), (3,), rng=rng)
