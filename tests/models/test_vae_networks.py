"""Encoders and decoders: shapes, every pixel is connected, examples are not; and a convolutional VAE's derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen import grad
from tinygen.autograd import Array, Tensor, tanh
from tinygen.distributions import Bernoulli, Categorical
from tinygen.models import VAE
from tinygen.models.vae_networks import ConvDecoder, ConvEncoder, MLPDecoder, MLPEncoder
from tinygen.testing import check_parameter_grads

LATENT = 3
KINDS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "mlp": (MLPEncoder, MLPDecoder, {"hidden": (6, 5), "activation": tanh}),
    "linear": (MLPEncoder, MLPDecoder, {"hidden": ()}),
    "conv": (ConvEncoder, ConvDecoder, {"channels": (2, 3), "activation": tanh}),  # tanh has no kinks
}


def vae(kind: str, shape: tuple[int, int, int], rng: np.random.Generator, output: Any = None, context: int = 0) -> VAE:
    """A VAE in float64 whose biases are random, too."""
    encoder, decoder, settings = KINDS[kind]
    output = Bernoulli() if output is None else output
    model = VAE(
        shape,
        LATENT,
        encoder(shape, 2 * LATENT + context, rng, levels=output.levels, **settings),
        decoder(LATENT, shape, output.width, rng, **settings),
        output,
    ).astype(np.float64)
    for parameter in model.parameters():
        parameter.assign(parameter.value + 0.1 * rng.normal(size=parameter.shape))
    return model


@given(
    kind=st.sampled_from(list(KINDS)),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    channels=st.integers(1, 2),
    output=st.sampled_from([Bernoulli(), Categorical(3)]),
    n=st.integers(1, 3),
)
def test_shapes(kind: str, height: int, width: int, channels: int, output: Any, n: int) -> None:
    rng, shape = np.random.default_rng(0), (height, width, channels)
    model = vae(kind, shape, rng, output, context=2)
    x = rng.integers(0, output.levels, (n, *shape))
    assert model.encoder(x).shape == (n, 2 * LATENT + 2)
    assert model.decoder(rng.normal(size=(n, LATENT))).shape == (n, *shape, output.width)
    assert model.iwae_bound(x, 2, rng).shape == (n,)
    assert model.sample(n, rng).shape == (n, *shape)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(8, 8, 1), (5, 7, 2)])
def test_every_pixel_tells_the_code_and_is_told_by_it(
    kind: str, shape: tuple[int, int, int], rng: np.random.Generator
) -> None:
    model = vae(kind, shape, rng)
    x, z = Tensor(rng.random((1, *shape))), rng.normal(size=(1, LATENT))
    (slope,) = grad(model.encoder(x)[0, 0], [x])
    assert np.all(slope.value != 0)
    assert np.all(model.decoder(z).value != model.decoder(z + 1).value)


@pytest.mark.parametrize("kind", KINDS)
def test_examples_are_independent(kind: str, rng: np.random.Generator) -> None:
    model = vae(kind, (6, 5, 1), rng)
    x = rng.integers(0, 2, (3, 6, 5, 1))
    changed = x.copy()
    changed[1:] = 1 - changed[1:]

    def codes(x: Array) -> tuple[Array, Array]:
        z, _ = model.draw_codes(model.posterior(x), 2, np.random.default_rng(7))
        return z.value, model.decoder(z.reshape(-1, LATENT)).value.reshape(2, 3, 6, 5, 1, 1)

    for before, after in zip(codes(x), codes(changed), strict=True):
        np.testing.assert_allclose(before[:, 0], after[:, 0], rtol=1e-12)  # BLAS may sum other rows in another order
        assert all(np.any(before[:, i] != after[:, i]) for i in (1, 2))


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_levels_reach_from_minus_one_to_one(kind: str, rng: np.random.Generator) -> None:
    encoder, _, settings = KINDS[kind]
    x = rng.integers(0, 3, (2, 4, 4, 1))
    told = encoder((4, 4, 1), 2, np.random.default_rng(1), levels=3, **settings)
    plain = encoder((4, 4, 1), 2, np.random.default_rng(1), **settings)
    np.testing.assert_array_equal(told(x.astype(np.float32)).value, plain((x - 1).astype(np.float32)).value)
    with pytest.raises(ValueError, match="levels: expected at least 2"):
        encoder((4, 4, 1), 2, rng, levels=1)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_gradients(kind: str, k: int, rng: np.random.Generator) -> None:
    model, x = vae(kind, (5, 4, 1), rng), rng.integers(0, 2, (2, 5, 4, 1))
    check_parameter_grads(lambda: model.loss(x, rng=np.random.default_rng(3), k=k), model.parameters(), rng=rng)


def test_float32_throughout(rng: np.random.Generator) -> None:
    shape = (4, 4, 1)
    model = VAE(shape, 2, ConvEncoder(shape, 4, rng, levels=2), ConvDecoder(2, shape, 1, rng), Bernoulli())
    assert model.loss(rng.integers(0, 2, (3, *shape)), rng=rng).dtype == np.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: ConvEncoder((4, 4, 1), 2, rng, channels=()), r"len\(channels\): expected at least 1"),
        (lambda rng: ConvDecoder(2, (4, 4, 1), 1, rng, channels=()), r"len\(channels\): expected at least 1"),
        (lambda rng: MLPEncoder((4, 4, 1), 2, rng)(np.zeros((2, 4, 5, 1))), "x: expected shape"),
        (lambda rng: ConvEncoder((4, 4, 1), 2, rng)(np.zeros((2, 4, 5, 1))), "x: expected shape"),
        (lambda rng: MLPDecoder(2, (4,), 1, rng)(np.zeros((2, 3))), "linear: x"),
    ],
)
def test_bad_input(call: Any, message: str, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=message):
        call(rng)
