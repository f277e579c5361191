"""Faults of bijections, which check_log_det and check_invertible name."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from tinygen.autograd import Array, Parameter, Tensor, TensorLike
from tinygen.bijections import Affine, Bijection
from tinygen.testing import check_invertible, check_log_det

from .table import Fault, Table, after, before, narrow, noise, of

X = np.random.default_rng(1).normal(size=(4, 4))
UNIT = np.random.default_rng(2).uniform(0.1, 0.9, size=(4, 4))
WEIGHTS = np.random.default_rng(3).normal(size=(2, 2))
LN2 = math.log(2)


def coupling(xp: Any) -> dict[str, Any]:
    """z_a = x_a, z_b = x_b exp s(x_a)"""

    def apply(x: Any, sign: float) -> Any:
        s = sign * xp.tanh(x[:, :2] @ of(xp, WEIGHTS.astype(str(x.dtype).removeprefix("torch."))))
        return xp.concatenate([x[:, :2], x[:, 2:] * xp.exp(s)], 1), s.sum(1)

    return {"forward": lambda x: apply(x, 1.0), "inverse": lambda z: apply(z, -1.0), "x": X}


def hyperbolic_sine(xp: Any) -> dict[str, Any]:
    return {
        "forward": lambda x: (xp.sinh(x), xp.log(xp.cosh(x)).sum(1)),
        "inverse": lambda z: (xp.arcsinh(z), -0.5 * xp.log1p(z**2).sum(1)),
        "x": X,
    }


def with_context(xp: Any, a: SimpleNamespace) -> dict[str, Any]:
    return {"forward": lambda x, c: a.forward(x), "inverse": lambda z, c: a.inverse(z), "context": np.eye(4)}


def logit_then(change: Callable[[Any, Any, Any], Any]) -> Fault:
    """A fault in the log_det of a logit, ln x (1 − x) = ln x + ln(1 − x), followed by the implementation."""

    def fault(xp: Any, a: SimpleNamespace) -> dict[str, Any]:
        def forward(x: Any) -> Any:
            z = xp.log(x) - xp.log(1 - x)
            image, log_det = a.forward(z)
            return image, log_det + change(xp, xp.log(x).sum(1), xp.log(1 - x).sum(1))

        return {"forward": forward, "inverse": lambda z: 1 / (1 + xp.exp(-a.inverse(z)[0])), "x": UNIT}

    return fault


def constant_once_computed(xp: Any, a: SimpleNamespace) -> dict[str, Any]:
    """The mean log_det of the first batch is stored, and returned for all others."""
    stored: list[float] = []

    def forward(x: Any) -> Any:
        z, log_det = a.forward(x)
        stored.append(float(log_det.mean()))
        return z, 0 * log_det + stored[0]

    return {"forward": forward}


class Unused(Bijection):
    """A tinygen module: an affine map with a parameter that has no effect."""

    def __init__(self, factor: float) -> None:
        self.factor, self.unused = factor, Parameter(np.ones(2), np.float64)

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        return Affine(self.factor).forward(x)

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        return Affine(self.factor).inverse(z)


class Narrow(Affine):
    """An affine map of tinygen that returns float32."""

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        z, log_det = super().forward(x)
        return z.astype(np.float32), log_det


def one(bijection: Bijection) -> dict[str, Any]:
    return {"forward": bijection.forward, "inverse": bijection.inverse, "module": bijection}


MAPS: dict[str, Fault] = {  # both checks name these
    "expected (image, log_det), got 3 results": after("forward", lambda z, d: (z, d, d)),
    "a bijection preserves the dimension": after("forward", lambda z, d: (z[:, :3], d)),
    "is an array inside it of another dtype": after("forward", lambda z, d: (narrow(z, "float16"), d)),
    "forward: expected finite numbers": after("forward", lambda z, d: (z * math.nan, d)),
    "two calls of forward differ": after("forward", lambda z, d: (z + noise(), d)),
    "the map is the identity": lambda xp, a: {"forward": lambda x: (x, 0 * x[:, 0]), "inverse": None},
    "forward ignores its context": with_context,
    "is there an average over the batch": after("forward", lambda z, d: (z + z.mean(0), d)),
    "the log_dets, but not the images": after("forward", lambda z, d: (z, 0 * d + d.mean())),
    "return one number per example, not a sum": after("forward", lambda z, d: (z, d.sum())),
    "remove the last axis": after("forward", lambda z, d: (z, d[:, None])),
    "sum over dimensions": after("forward", lambda z, d: (z, d[:, None] + 0 * z)),
    "compute it in the dtype of x": after("forward", lambda z, d: (z, narrow(d))),
}
MODULES: dict[str, Fault] = {
    "parameter unused changes nothing": lambda xp, a: one(Unused(2.0 + a.which)),
    "use bijection.astype(np.float64)": lambda xp, a: one(Narrow(2.0 + a.which)),
}


def run_log_det(
    forward: Any, inverse: Any, x: Array, context: Array | None = None, module: Any = None, **settings: Any
) -> None:
    check_log_det(module or SimpleNamespace(forward=forward, inverse=inverse), x, context=context, **settings)


def run_invertible(
    forward: Any, inverse: Any, x: Array, context: Array | None = None, module: Any = None, **settings: Any
) -> None:
    if module:
        check_invertible(module, x, **settings)
    else:
        check_invertible(forward, inverse or (lambda z: z), x, context=context, **settings)


LOG_DET = Table(
    run_log_det,
    (coupling, hyperbolic_sine),
    MAPS
    | {
        "of forward is": after("forward", lambda z, d: (z, 1.01 * d)),
        "of inverse is": after("inverse", lambda x, d: (x, 1.01 * d)),
        "The sign is flipped: is it the log_det of the other direction": after("forward", lambda z, d: (z, -d)),
        "It is a mean over dimensions instead of a sum": after("forward", lambda z, d: (z, d / 4)),
        "It is the same for all examples": constant_once_computed,
        "It is in bits: multiply it by ln 2": after("forward", lambda z, d: (z, d / LN2)),
        "It is the determinant: take its logarithm": after(
            "forward", lambda z, d: (z, d.exp() if hasattr(d, "exp") else np.exp(d))
        ),
        "Σ ln(1 − input) is superfluous": logit_then(lambda xp, low, high: -low),
        "Σ ln(1 − input) is missing": logit_then(lambda xp, low, high: -low - 2 * high),
        "has the wrong sign: is it part of the Jacobian": logit_then(lambda xp, low, high: low + high),
        "a constant scale left out, or a term added twice": after("forward", lambda z, d: (2 * z, d)),
        "Is the log_det of a layer missing, or evaluated": after("forward", lambda z, d: (z, d + z[:, 0] ** 2)),
        "expected (z, log_det), got z only": after("forward", lambda z, d: z),
        "The finite differences have converged only to": after("forward", lambda z, d: (z.round(decimals=4), d)),
        "log_det of forward: expected finite numbers": after("forward", lambda z, d: (z, d * math.nan)),
    },
    MODULES,
)
INVERTIBLE = Table(
    run_invertible,
    (coupling, hyperbolic_sine),
    MAPS
    | {
        "inverse(forward(·)) is": after("inverse", lambda x, d: (1.01 * x, d)),
        "should add up to 0": after("inverse", lambda x, d: (x, 0 * d)),
        "Do both return the log_det of the same direction": after("inverse", lambda x, d: (x, -d)),
        "Is a term missing in one of them": after("inverse", lambda x, d: (x, d + 1)),
        "It is forward applied twice": lambda xp, a: {"inverse": a.forward},
        "scale and shift undone in reverse order": before("inverse", lambda z: (z - 1,)),
        "inverse(forward(·)): expected shape": after("inverse", lambda x, d: (x.reshape(-1, 2, 2), d)),
    },
    MODULES,
)
