"""Every model with a likelihood implements the protocol `Distribution`; violations of the protocol are detected."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

import numpy as np
import pytest

from tinygen import models
from tinygen.autograd import Array, Tensor
from tinygen.bijections import Affine, Flow
from tinygen.distributions import Bernoulli, Distribution, StandardNormal, StandardUniform
from tinygen.models import (
    FFJORD,
    IAF,
    MADE,
    MAF,
    NICE,
    VAE,
    Flow1D,
    GatedPixelCNN,
    Glow,
    PixelCNN,
    PixelRNN,
    RealNVP,
    WaveNet,
)
from tinygen.nn.networks.images import MLPDecoder, MLPEncoder
from tinygen.ode import FixedStep

Rng = np.random.Generator
IMAGE = (4, 4, 1)
MODELS: dict[str, Callable[[Rng], Distribution[Any]]] = {
    "MADE": lambda rng: MADE(IMAGE, 3, rng, hidden=(9,)),
    "PixelRNN": lambda rng: PixelRNN(IMAGE, 3, rng, hidden=5, layers=1),
    "PixelCNN": lambda rng: PixelCNN(IMAGE, 3, rng, channels=6, blocks=1, dropout=0.5),
    "GatedPixelCNN": lambda rng: GatedPixelCNN(IMAGE, 3, rng, channels=4, layers=2, dropout=0.5),
    "WaveNet": lambda rng: WaveNet(IMAGE, 3, rng, channels=4, dilations=(1, 2)),
    "Flow1D": lambda rng: Flow1D(5),
    "MAF": lambda rng: MAF(3, rng, hidden=(4,)),
    "IAF": lambda rng: IAF(3, rng, hidden=(4,)),
    "NICE": lambda rng: NICE((4,), rng),
    "RealNVP": lambda rng: RealNVP(IMAGE, rng, scales=2, hidden=4, depth=1),
    "Glow": lambda rng: Glow(IMAGE, rng, scales=2, steps=1, hidden=4),
    "FFJORD": lambda rng: FFJORD(2, rng, hidden=4, noise="gaussian", solver=FixedStep(2)),
}
BASE_DISTRIBUTIONS: dict[str, Callable[[Rng], Distribution[Any]]] = {
    "StandardNormal": lambda rng: StandardNormal(IMAGE),
    "StandardUniform": lambda rng: StandardUniform((3,)),
    "Flow": lambda rng: Flow(Affine(np.array([2.0, 3.0])), StandardNormal((2,))),
}


def check(model: Distribution[Any]) -> None:
    """Check the shapes and dtypes of samples and log_prob, and that

    - the same seed gives the same samples, and another seed gives different ones;
    - log_prob is deterministic and takes no rng, also for models with dropout or a noisy loss;
    - log_prob of an example does not depend on the other examples of the batch.
    """
    a, b, c = (model.sample(3, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert a.shape == (3, *model.shape)
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    assert model.sample(0, np.random.default_rng(1)).shape == (0, *model.shape)
    log_prob = model.log_prob(a)
    assert "rng" not in signature(model.log_prob).parameters
    assert np.array_equal(log_prob.value, model.log_prob(a).value)
    assert log_prob.shape == (3,)
    assert np.all(np.isfinite(log_prob.value))
    assert a.dtype.kind == "i" or a.dtype == log_prob.dtype
    alone = [model.log_prob(a[i : i + 1]).value[0] for i in range(3)]
    np.testing.assert_allclose(log_prob.value, alone, rtol=1e-5)  # float32


@pytest.mark.parametrize("kind", [*MODELS, *BASE_DISTRIBUTIONS])
def test_implements_distribution(kind: str, rng: Rng) -> None:
    model = {**MODELS, **BASE_DISTRIBUTIONS}[kind](rng)
    check(model)
    if kind in MODELS:
        assert model.log_prob(model.sample(3, rng)).dtype == np.float32


def test_only_vae_and_gan_are_not_distributions() -> None:
    assert set(MODELS) == set(models.__all__) - {"VAE", "GAN"}


class ScalarLogProb(StandardNormal):
    def log_prob(self, x: Any) -> Tensor:
        return super().log_prob(x).sum()


class BatchDependent(StandardNormal):
    def log_prob(self, x: Any) -> Tensor:
        return super().log_prob(x - x.mean(0))


class NoisyLogProb(StandardNormal):
    def log_prob(self, x: Any) -> Tensor:
        return super().log_prob(x) + 1e-6 * np.random.default_rng().normal(size=len(x))


class OptionallyNoisyLogProb(StandardNormal):
    def log_prob(self, x: Any, rng: Rng | None = None) -> Tensor:
        return super().log_prob(x) if rng is None else super().log_prob(x + rng.normal(size=x.shape))


class UnseededSample(StandardNormal):
    def sample(self, n: int, rng: Rng) -> Array:
        return np.random.default_rng().normal(size=(n, *self.shape))


class ConstantSample(StandardNormal):
    def sample(self, n: int, rng: Rng) -> Array:
        return np.zeros((n, *self.shape))


class FlatSample(StandardNormal):
    def sample(self, n: int, rng: Rng) -> Array:
        return rng.normal(size=(n, 16))


WRONG = [
    ScalarLogProb,
    BatchDependent,
    NoisyLogProb,
    OptionallyNoisyLogProb,
    UnseededSample,
    ConstantSample,
    FlatSample,
]


@pytest.mark.parametrize("wrong", WRONG)
def test_check_rejects_wrong_distributions(wrong: type[StandardNormal]) -> None:
    with pytest.raises(AssertionError):
        check(wrong(IMAGE))


def test_vae_is_rejected_although_it_has_the_methods(rng: Rng) -> None:
    vae: Any = VAE((3,), 2, MLPEncoder((3,), 4, rng), MLPDecoder(2, (3, 1), rng), Bernoulli())
    with pytest.raises(TypeError, match="missing 2 required"):
        check(vae)


@pytest.mark.parametrize("name", MODELS)
def test_rejects_seed_instead_of_generator(name: str, rng: Rng) -> None:
    seed: Any = 0
    with pytest.raises(ValueError, match="rng: expected a"):
        MODELS[name](rng).sample(2, seed)
    if name != "Flow1D":  # its initialisation is not random
        with pytest.raises(ValueError, match="rng: expected a"):
            MODELS[name](seed)
