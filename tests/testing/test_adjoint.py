"""check_adjoint accepts adjoint pairs and rejects pairs with one fault each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygen.autograd import Array, Tensor
from tinygen.testing import check_adjoint

A = np.random.default_rng(2).normal(size=(4, 3))


def test_accepts_adjoint_pairs(rng: np.random.Generator) -> None:
    check_adjoint(lambda x: A @ x, lambda y: A.T @ y, (3,), (4,), rng=rng)
    check_adjoint(lambda x: Tensor(A @ x), lambda y: Tensor(A.T @ y), (3, 2), (4, 2), rng=rng)


NOT_ADJOINT: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array], str]] = {
    "wrong sign": (lambda x: A[:3] @ x, lambda y: -A[:3].T @ y, "adjoint of a different map"),
    "error of 1e-9": (lambda x: A[:3] @ x, lambda y: (A[:3] + 1e-9 * np.eye(3)[::-1]).T @ y, "different map"),
    "wrong offset": (lambda x: np.roll(x, 1), lambda y: np.roll(y, 1), "adjoint of a different map"),
    "nonlinear adjoint": (lambda x: A[:3] @ x, lambda y: A[:3].T @ np.tanh(y), "adjoint is not linear"),
    "float32 inside": (
        lambda x: A[:3].astype(np.float32) @ np.float32(x) + 0.0 * x,
        lambda y: A[:3].T @ y,
        "is not linear",
    ),
    "in place": (
        lambda x: A[:3] @ np.negative(x, out=x),
        lambda y: -A[:3].T @ y,
        "forward modifies its argument x in place",
    ),
}


@pytest.mark.parametrize("name", NOT_ADJOINT)
def test_rejects_pairs_that_are_not_adjoint(name: str, rng: np.random.Generator) -> None:
    forward, adjoint, message = NOT_ADJOINT[name]
    with pytest.raises(AssertionError, match=message):
        check_adjoint(forward, adjoint, (3,), (3,), rng=rng)


def test_float32_maps_and_pytorch(rng: np.random.Generator) -> None:
    a = A.astype(np.float32)
    check_adjoint(lambda x: a @ x, lambda y: a.T @ y, (3,), (4,), rng=rng, dtype=np.float32)
    with pytest.raises(AssertionError, match="adjoint of a different map"):
        check_adjoint(lambda x: a @ x, lambda y: 1.01 * (a.T @ y), (3,), (4,), rng=rng, dtype=np.float32)
    torch = pytest.importorskip("torch")
    conv, transposed = torch.nn.Conv1d(2, 3, 3, bias=False), torch.nn.ConvTranspose1d(3, 2, 3, bias=False)
    for wrong in (False, True):
        transposed.weight.data = conv.weight.data.flip(2) if wrong else conv.weight.data
        for dtype in (np.float32, np.float64):
            kind = torch.from_numpy(np.zeros(1, dtype)).dtype
            maps = conv.to(kind), transposed.to(kind)

            def check(maps: tuple[Any, Any] = maps, dtype: type = dtype) -> None:
                shapes = (1, 2, 8), (1, 3, 6)
                check_adjoint(*maps, *shapes, rng=rng, dtype=dtype, convert=torch.from_numpy)

            if wrong:
                with pytest.raises(AssertionError, match="an offset with the wrong sign"):
                    check()
            else:
                check()
