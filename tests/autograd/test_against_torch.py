"""Values and gradients of operations that NumPy has without gradients, against PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygen.autograd as ag
from tinygen.autograd import Tensor, grad

torch: Any = pytest.importorskip("torch")

X = np.array([[0.5, -1.0, 0.0, 2.0], [1.5, 0.25, -0.75, 1.0], [0.0, 0.0, 3.0, -2.5]])
SQUARE = X[:, :3] @ X[:, :3].T + 4 * np.eye(3)
PAIRS: dict[str, tuple[Any, Any, list[Any]]] = {
    "cumsum": (lambda x: ag.cumsum(x, 1), lambda x: x.cumsum(1), [X]),
    "cumprod": (lambda x: ag.cumprod(x, 0), lambda x: x.cumprod(0), [X]),
    "prod": (lambda x: ag.prod(x, 1), lambda x: x.prod(1), [X]),
    "prod of all": (ag.prod, lambda x: x.prod(), [X]),
    "einsum": (lambda x, y: ag.einsum("ij,kj->ik", x, y), lambda x, y: torch.einsum("ij,kj->ik", x, y), [X, X]),
    "einsum, diagonal": (lambda x: ag.einsum("ii->i", x), lambda x: torch.einsum("ii->i", x), [SQUARE]),
    "norm": (lambda x: ag.norm(x, axis=0), lambda x: torch.linalg.vector_norm(x, dim=0), [X * [1, 1, 0, 1]]),
    "norm, p = 3": (lambda x: ag.norm(x, 3, 1), lambda x: torch.linalg.vector_norm(x, 3, 1), [X]),
    "norm, p = 1": (lambda x: ag.norm(x, 1, 1), lambda x: torch.linalg.vector_norm(x, 1, 1), [X]),
    "norm, p = inf": (lambda x: ag.norm(x, np.inf, 1), lambda x: torch.linalg.vector_norm(x, np.inf, 1), [X]),
    "norm, p = −inf": (lambda x: ag.norm(x, -np.inf, 1), lambda x: torch.linalg.vector_norm(x, -np.inf, 1), [X + 0.1]),
    "var": (lambda x: ag.var(x, 1, 1), lambda x: x.var(1, correction=1), [X]),
    "std": (lambda x: ag.std(x, 1, 1), lambda x: x.std(1, correction=1), [X]),
    "std of equal numbers": (lambda x: ag.std(x, 1), lambda x: x.std(1, correction=0), [np.ones((2, 3))]),
    "cholesky": (ag.cholesky, torch.linalg.cholesky, [SQUARE]),
    "log1p": (ag.log1p, torch.log1p, [np.abs(X)]),
    "expm1": (ag.expm1, torch.expm1, [X]),
    "erf": (ag.erf, torch.erf, [X]),
    "squeeze": (lambda x: ag.squeeze(x, 0), lambda x: x.squeeze(0), [X[:1]]),
    "repeat": (lambda x: ag.repeat(x, 2, 1), lambda x: x.repeat_interleave(2, 1), [X]),
    "repeat, numbers": (
        lambda x: ag.repeat(x, [0, 2, 1], 0),
        lambda x: x.repeat_interleave(torch.tensor([0, 2, 1]), 0),
        [X],
    ),
    "sort": (lambda x: ag.sort(x, 0), lambda x: torch.sort(x, dim=0, stable=True)[0], [X]),
}


@pytest.mark.parametrize("name", PAIRS)
def test_value_and_gradient_match_torch(name: str, rng: np.random.Generator) -> None:
    ours, theirs, xs = PAIRS[name]
    tensors, twins = [Tensor(x) for x in xs], [torch.tensor(x, requires_grad=True) for x in xs]
    y, twin = ours(*tensors), theirs(*twins)
    np.testing.assert_allclose(y.value, twin.detach().numpy(), rtol=1e-13, atol=1e-15)
    cotangent = rng.normal(size=y.shape)
    expected = torch.autograd.grad(twin, twins, torch.from_numpy(np.asarray(cotangent)))
    for g, right in zip(grad(y, tensors, cotangent), expected, strict=True):
        np.testing.assert_allclose(g.value, right.numpy(), rtol=1e-12, atol=1e-14)
