"""A setting may be a NumPy number: its dtype does not enter the computation, in which it would promote float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.models import small_gan, small_vae

import tinygen.autograd as ag
from tinygen.autograd import Array, Parameter
from tinygen.bijections import AffineTransformer, Logit, MixtureCDF, RationalQuadraticSpline
from tinygen.distributions import Bernoulli, DiscretizedLogistics, Gaussian
from tinygen.models import FFJORD, MADE, PixelRNN, RealNVP
from tinygen.nn.layers import dropout
from tinygen.ode import Adaptive, FixedStep
from tinygen.optim import EMA, SGD, AdamW, clip_by_global_norm

X = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def transformed(transformer: Any) -> Array:
    z, _ = transformer.forward(X, np.linspace(-1, 1, transformer.width, dtype=np.float32))
    return z.value  # type: ignore[no-any-return]


def averages(decay: float) -> Array:
    p = Parameter(X[0])
    ema = EMA([p], decay)
    p.assign(X[1])
    ema.update()
    with ema.averaged():
        return p.value


def stepped(make: Callable[[list[Parameter]], Any]) -> Array:
    p = Parameter(X[0])
    make([p]).step([X[1]])
    return p.value


def falling(t: float, y: tuple[Array, ...]) -> tuple[Array, ...]:
    return (-y[0],)


# Called with ½ as a Python float, a float64 and a float32: all results have to be the same.
SETTINGS: dict[str, Callable[[Any], Any]] = {
    "leaky_relu: slope": lambda v: ag.leaky_relu(X, v).value,
    "var: ddof": lambda v: ag.var(X, ddof=v).value,
    "std: ddof": lambda v: ag.std(X, 0, ddof=v).value,
    "dropout: rate": lambda v: dropout(X, v, rng()).value,
    "Logit: margin": lambda v: Logit(v / 4).forward(abs(X) / 4)[0].value,
    "AffineTransformer: bound": lambda v: transformed(AffineTransformer(v)),
    "MixtureCDF: bound": lambda v: transformed(MixtureCDF(2, bound=v)),
    "RationalQuadraticSpline: bound": lambda v: transformed(RationalQuadraticSpline(4, bound=v)),
    "RationalQuadraticSpline: minimum": lambda v: transformed(RationalQuadraticSpline(4, minimum=v / 4)),
    "Gaussian: scale": lambda v: Gaussian(v).log_prob(X[..., None], X).value,
    "Flow: temperature": lambda v: RealNVP((3,), rng(), mask="half").sample(2, rng(), temperature=v),
    "FFJORD: kinetic": lambda v: FFJORD(3, rng(), hidden=4, kinetic=v).loss(X).value,
    "GAN: penalty": lambda v: small_gan("minimax", rng(), v).astype(np.float32).critic_loss(X, rng=rng()).value,
    "VAE: beta": lambda v: small_vae(Bernoulli(), rng()).astype(np.float32).loss(X > 0, rng=rng(), beta=v).value,
    "EMA: decay": averages,
    "SGD: lr, momentum": lambda v: stepped(lambda ps: SGD(ps, lambda step: v, v)),
    "AdamW: all": lambda v: stepped(lambda ps: AdamW(ps, v, (v, v), v, v)),
    "clip_by_global_norm: max_norm": lambda v: clip_by_global_norm([ag.Tensor(X)], v)[0][0].value,
    "FixedStep: t0, t1": lambda v: FixedStep(3)(falling, (X,), v, 3 * v).y[0],
    "Adaptive: t0, t1": lambda v: Adaptive(1e-3, 1e-3)(falling, (X,), v, 3 * v).y[0],
}


@pytest.mark.parametrize("name", SETTINGS)
def test_result_is_that_of_a_python_float(name: str) -> None:
    expected = SETTINGS[name](0.5)
    assert expected.dtype == np.float32
    for number in (np.float64(0.5), np.float32(0.5)):
        got = SETTINGS[name](number)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, expected)


def test_times_of_single_precision_do_not_become_coarse() -> None:
    """Between 1000 and 1001, float32 has steps of 6e-5."""
    fast = lambda t, y: (np.array([100 * np.cos(100 * (t - 1000))]),)
    solution = FixedStep(3000)(fast, (np.zeros(1),), *np.array([1000, 1001], np.float32))
    np.testing.assert_allclose(solution.y[0], np.sin(100), atol=1e-8)


@pytest.mark.parametrize("number", [3, 3.0, True])
def test_residual_of_a_linear_layer_may_be_a_python_number(number: float) -> None:
    y = ag.linear(X, np.ones((3, 2), np.float32), np.zeros(2, np.float32), residual=number)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y.value, ag.linear(X, np.ones((3, 2), np.float32), np.full(2, number, "f4")).value)


LEVEL = np.zeros(4, int)
INTEGERS: dict[str, Callable[[Any], Array]] = {
    "DiscretizedLogistics: levels": lambda n: DiscretizedLogistics(n, 2).log_prob(X[:, :1].repeat(6, 1), LEVEL).value,
    "FixedStep: steps": lambda n: FixedStep(n)(falling, (X,), 0.0, 1.0).y[0],
    "MADE: levels": lambda n: made(n).log_prob(np.zeros((2, 2, 2, 1), int)).value,
    "MADE: shape": lambda n: MADE((n // n, 2, 1), 2, rng(), hidden=(100,)).log_prob(np.zeros((2, 1, 2, 1), int)).value,
    "PixelRNN: levels": lambda n: PixelRNN((2, 2, 1), n, rng(), hidden=200).log_prob(np.zeros((2, 2, 2, 1), int)).value,
}


def made(levels: int) -> Any:
    return MADE((2, 2, 1), levels, rng(), hidden=(100,))


@pytest.mark.parametrize("name", INTEGERS)
def test_result_is_that_of_a_python_integer(name: str) -> None:
    """np.int64 would promote float32 to float64, and sums and products of np.uint8 overflow."""
    expected = INTEGERS[name](100)
    assert expected.dtype == np.float32
    for number in (np.int64(100), np.uint8(100)):
        np.testing.assert_array_equal(INTEGERS[name](number), expected, strict=True)
