"""Properties of all flows over several variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.flows import perturbed, small_autoregressive_flow, small_coupling_flow

from tinygen.autograd import tanh
from tinygen.bijections import RationalQuadraticSpline
from tinygen.models import FFJORD, IAF, MAF, NICE, Glow, RealNVP
from tinygen.ode import FixedStep

IMAGE = (4, 4, 1)
SPLINE = RationalQuadraticSpline(4)
FLOWS: dict[str, Callable[[np.random.Generator], Any]] = {
    "MAF": lambda rng: small_autoregressive_flow(MAF, 4),
    "MAF, random orders": lambda rng: small_autoregressive_flow(MAF, 4, layers=4, random_orders=True),
    "IAF": lambda rng: small_autoregressive_flow(IAF, 4),
    "NICE, checkerboard": lambda rng: small_coupling_flow(NICE, (4,)),
    "NICE, half": lambda rng: small_coupling_flow(NICE, (4,), mask="half"),
    "RealNVP, vectors": lambda rng: small_coupling_flow(RealNVP, (4,)),
    "RealNVP, checkerboard": lambda rng: small_coupling_flow(RealNVP, IMAGE, scales=2),
    "RealNVP, half": lambda rng: small_coupling_flow(RealNVP, IMAGE, mask="half"),
    "RealNVP, channel": lambda rng: small_coupling_flow(RealNVP, (2, 2, 2), mask="channel"),
    "MAF, splines": lambda rng: small_autoregressive_flow(MAF, 4, transformer=SPLINE),
    "RealNVP, splines": lambda rng: small_coupling_flow(RealNVP, (4,), transformer=SPLINE),
    "Glow": lambda rng: perturbed(Glow(IMAGE, rng, scales=2, steps=3, hidden=4, activation=tanh), rng, 0.4),
    "FFJORD": lambda rng: perturbed(FFJORD(4, rng, hidden=5, solver=FixedStep(2)), rng, 0.4),
}


@pytest.mark.parametrize("name", FLOWS)
def test_all_noise_depends_on_all_data(name: str, rng: np.random.Generator) -> None:
    """So couplings alternate between the two parts of their mask, and autoregressive layers between orders.

    If they did not, some variables would be passed through, or transformed given few others, in every layer.
    """
    flow = FLOWS[name](rng)
    x = rng.normal(size=(3, *flow.shape))
    z = flow.bijection.forward(x)[0].value
    for variable in np.ndindex(flow.shape):
        moved = x.copy()
        moved[:, *variable] += 1
        assert np.all((flow.bijection.forward(moved)[0].value != z).any(0)), variable
