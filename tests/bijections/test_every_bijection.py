"""Every bijection satisfies all checks that apply to it, with and without a context."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isclass
from typing import Any

import numpy as np
import pytest

from tinygen import bijections
from tinygen.autograd import Array, tanh
from tinygen.bijections import (
    ActNorm,
    AdditiveCoupling,
    Affine,
    AffineCoupling,
    AffineTransformer,
    Bijection,
    Chain,
    Coupling,
    FactorOut,
    Inverse,
    InvertibleConv,
    Logit,
    Mask,
    MaskedAutoregressive,
    MixtureCDF,
    Permute,
    RationalQuadraticSpline,
    Reshape,
    Squeeze,
)
from tinygen.models import FFJORD
from tinygen.nn.masked import MaskedMLP
from tinygen.nn.networks.couplings import CouplingMLP
from tinygen.ode import Adaptive
from tinygen.testing import Subject, parametrize_with_checks

Rng = np.random.Generator
RNG = np.random.default_rng(0)
ROWS, UNIT, IMAGES = RNG.normal(size=(4, 4)), RNG.uniform(0.1, 0.9, (4, 4)), RNG.normal(size=(4, 2, 2, 2))
CONTEXT = RNG.normal(size=(4, 3))
SPLINE = RationalQuadraticSpline(5)


def coupling(kind: Any, rng: Rng, context: int = 0, **options: Any) -> Any:
    # tanh, since finite differences fail at the kink of relu
    n_out = 2 * (options["transformer"] if options else kind).width
    network = CouplingMLP(2, n_out, rng, hidden=6, depth=1, context=context, activation=tanh)
    return kind(Mask("half", (4,)), network, **options)


def masked(transformer: Any, rng: Rng, context: int = 0) -> MaskedAutoregressive:
    net = MaskedMLP(4, transformer.width, rng, hidden=(8,), context=context, activation=tanh)
    return MaskedAutoregressive(net, transformer)


def continuous(rng: Rng) -> Any:
    return FFJORD(2, rng, hidden=4, solver=Adaptive(1e-11, 1e-11)).bijection


CASES: dict[str, tuple[Callable[[Rng], Any], Array, Array | None]] = {
    "ActNorm": (lambda rng: ActNorm(2), IMAGES, None),
    "AdditiveCoupling": (lambda rng: coupling(AdditiveCoupling, rng), ROWS, None),
    "AdditiveCoupling with context": (lambda rng: coupling(AdditiveCoupling, rng, 3), ROWS, CONTEXT),
    "Affine": (lambda rng: Affine(np.array([2.0, -3.0, 0.5, 1.5]), 1.0), ROWS, None),
    "AffineCoupling": (lambda rng: coupling(AffineCoupling, rng), ROWS, None),
    "AffineCoupling with context": (lambda rng: coupling(AffineCoupling, rng, 3), ROWS, CONTEXT),
    "Chain": (
        lambda rng: Chain(coupling(AffineCoupling, rng), Affine(2.0), Permute(np.array([2, 3, 1, 0]))),
        ROWS,
        None,
    ),
    "ContinuousFlow": (continuous, ROWS[:, :2], None),
    "Coupling": (lambda rng: coupling(Coupling, rng, transformer=MixtureCDF(2)), ROWS, None),
    "Coupling with context": (lambda rng: coupling(Coupling, rng, 3, transformer=SPLINE), ROWS, CONTEXT),
    "FactorOut": (lambda rng: FactorOut((2, 2, 2), Chain(ActNorm(1), Reshape((2, 2, 1), (4,)))), IMAGES, None),
    "Inverse": (lambda rng: Inverse(coupling(AffineCoupling, rng)), ROWS, None),
    "InvertibleConv": (lambda rng: InvertibleConv(2, rng), IMAGES, None),
    "Logit": (lambda rng: Logit(0.05), UNIT, None),
    "MaskedAutoregressive": (lambda rng: masked(AffineTransformer(), rng), ROWS, None),
    "MaskedAutoregressive with context": (lambda rng: masked(AffineTransformer(), rng, 3), ROWS, CONTEXT),
    "MixtureCDF": (lambda rng: masked(MixtureCDF(2), rng), ROWS, None),
    "Permute": (lambda rng: Permute(np.array([2, 3, 1, 0])), ROWS, None),
    "RationalQuadraticSpline": (lambda rng: masked(SPLINE, rng), ROWS, None),
    "Reshape": (lambda rng: Chain(Reshape((2, 2, 2), (8,)), Affine(2.0)), IMAGES, None),
    "Squeeze": (lambda rng: Chain(Squeeze(), Affine(2.0)), IMAGES, None),
}


@parametrize_with_checks([Subject(name, make, x, context) for name, (make, x, context) in CASES.items()])
def test_satisfies_all_checks_that_apply(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize("name", CASES)
def test_an_empty_batch_has_an_empty_image(name: str) -> None:
    make, x, context = CASES[name]
    bijection, c = make(np.random.default_rng(0)), None if context is None else context[:0]
    z, log_det = bijection.forward(x[:0], c)
    assert (z.shape, log_det.shape) == ((0, *bijection.forward(x, context)[0].shape[1:]), (0,))
    back, log_det = bijection.inverse(z, c)
    assert (back.shape, log_det.shape) == (x[:0].shape, (0,))
    assert bijection.to_noise(x[:0], c).shape == z.shape
    assert bijection.to_data(z, c).shape == back.shape


def test_no_bijection_is_missing() -> None:
    kinds = {
        name
        for name in bijections.__all__
        if isclass(found := getattr(bijections, name)) and issubclass(found, Bijection)
    }
    assert kinds - {"Bijection"} <= set(CASES)
