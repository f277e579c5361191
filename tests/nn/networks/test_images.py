"""Networks for images: shapes, connectivity, independence of the examples, gradients, initialisation, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen import grad
from tinygen.autograd import Array, Tensor, tanh, taps
from tinygen.distributions import Bernoulli, Categorical
from tinygen.models import GAN, VAE
from tinygen.nn import ConvTranspose
from tinygen.nn.networks.images import (
    WINDOW,
    ConvDecoder,
    ConvEncoder,
    ImageCritic,
    ImageGenerator,
    MLPDecoder,
    MLPEncoder,
)
from tinygen.testing import check_conditional, check_parameter_grads

LATENT = 3
KINDS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "mlp": (MLPEncoder, MLPDecoder, {"hidden": (6, 5)}),
    "linear": (MLPEncoder, MLPDecoder, {"hidden": ()}),
    "conv": (ConvEncoder, ConvDecoder, {"channels": (2, 3), "activation": tanh}),  # tanh has no kinks
}


def make_vae(
    kind: str, shape: tuple[int, int, int], rng: np.random.Generator, output: Any = None, context: int = 0
) -> VAE:
    """Return a VAE in float64 with random biases."""
    encoder, decoder, settings = KINDS[kind]
    output = Bernoulli() if output is None else output
    model = VAE(
        shape,
        LATENT,
        encoder(shape, 2 * LATENT + context, rng, levels=output.levels, **settings),
        decoder(LATENT, (*shape, output.width), rng, **settings),
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
def test_vae_shapes(kind: str, height: int, width: int, channels: int, output: Any, n: int) -> None:
    rng, shape = np.random.default_rng(0), (height, width, channels)
    x, model = rng.integers(0, output.levels, (n, *shape)), make_vae(kind, shape, rng, output)
    assert make_vae(kind, shape, rng, output, context=2).encoder(x).shape == (n, 2 * LATENT + 2)
    assert model.encoder(x).shape == (n, 2 * LATENT)
    assert model.decoder(rng.normal(size=(n, LATENT))).shape == (n, *shape, output.width)
    assert model.iwae_bound(x, 2, rng).shape == (n,)
    assert model.sample(n, rng).shape == (n, *shape)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(8, 8, 1), (5, 7, 2)])
def test_every_pixel_is_connected_to_the_latent_code(
    kind: str, shape: tuple[int, int, int], rng: np.random.Generator
) -> None:
    model = make_vae(kind, shape, rng)
    x, z = Tensor(rng.random((1, *shape))), rng.normal(size=(1, LATENT))
    (gradient,) = grad(model.encoder(x)[0, 0], [x])
    assert np.all(gradient.value != 0)
    assert np.all(model.decoder(z).value != model.decoder(z + 1).value)


@pytest.mark.parametrize("kind", KINDS)
def test_examples_are_independent(kind: str, rng: np.random.Generator) -> None:
    model = make_vae(kind, (6, 5, 1), rng)
    x = rng.integers(0, 2, (3, 6, 5, 1))
    changed = x.copy()
    changed[1:] = 1 - changed[1:]

    def codes(x: Array) -> tuple[Array, Array]:
        z, _ = model.sample_posterior(model.posterior(x), 2, np.random.default_rng(7))
        return z.value, model.decoder(z.reshape(-1, LATENT)).value.reshape(2, 3, 6, 5, 1, 1)

    for before, after in zip(codes(x), codes(changed), strict=True):
        # BLAS may use a different summation order for other values.
        np.testing.assert_allclose(before[:, 0], after[:, 0], rtol=1e-12)
        assert all(np.any(before[:, i] != after[:, i]) for i in (1, 2))


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_levels_are_rescaled_to_minus_one_to_one(kind: str, rng: np.random.Generator) -> None:
    encoder, _, settings = KINDS[kind]
    x = rng.integers(0, 3, (2, 4, 4, 1))
    with_levels = encoder((4, 4, 1), 2, np.random.default_rng(1), levels=3, **settings)
    without = encoder((4, 4, 1), 2, np.random.default_rng(1), **settings)
    np.testing.assert_array_equal(with_levels(x.astype(np.float32)).value, without((x - 1).astype(np.float32)).value)
    with pytest.raises(ValueError, match="levels: expected at least 2"):
        encoder((4, 4, 1), 2, rng, levels=1)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_vae_gradients_match_finite_differences(kind: str, k: int, rng: np.random.Generator) -> None:
    model, x = make_vae(kind, (5, 4, 1), rng), rng.integers(0, 2, (2, 5, 4, 1))
    check_parameter_grads(lambda: model.loss(x, rng=np.random.default_rng(3), k=k), model.parameters(), rng=rng)


@pytest.mark.parametrize("kind", KINDS)
def test_every_example_has_its_own_context(kind: str, rng: np.random.Generator) -> None:
    encoder, decoder, settings = KINDS[kind]
    x, z, context = rng.normal(size=(3, 4, 6, 1)), rng.normal(size=(3, LATENT)), rng.normal(size=(3, 2))
    networks = (
        encoder((4, 6, 1), 5, rng, context=2, **settings),
        decoder(LATENT, (4, 6, 1), rng, context=2, **settings),
    )
    for network, inputs in zip(networks, (x, z), strict=True):
        network.astype(np.float64)
        check_conditional(network, inputs, context, rng=rng)
        for wrong in (None, context[:2], context[:, :1]):
            with pytest.raises(ValueError, match=r"^context: expected shape \(3, 2\)"):
                network(inputs, wrong)
    with pytest.raises(ValueError, match=r"^context: expected none"):
        decoder(LATENT, (4, 6, 1), rng, **settings)(z, context)


def test_float32_is_preserved(rng: np.random.Generator) -> None:
    shape = (4, 4, 1)
    model = VAE(shape, 2, ConvEncoder(shape, 4, rng, levels=2), ConvDecoder(2, (*shape, 1), rng), Bernoulli())
    assert model.loss(rng.integers(0, 2, (3, *shape)), rng=rng).dtype == np.float32


@pytest.mark.parametrize("shape", [(8, 8, 1), (4, 12, 3), (5, 7, 2)])
def test_generator_and_critic_shapes_and_range(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    x = ImageGenerator(shape, 3, rng, width=4)(rng.normal(size=(5, 3)).astype(np.float32))
    assert x.shape == (5, *shape)
    assert x.dtype == np.float32
    assert np.abs(x.value).max() < 1
    assert ImageCritic(shape, rng, width=4)(x).shape == (5, 1)


@pytest.mark.parametrize(("window", "uniform"), [(WINDOW, True), (taps.square(3), False)])
def test_number_of_taps_is_uniform_only_if_the_stride_divides_the_window(window: taps.Taps, uniform: bool) -> None:
    layer = ConvTranspose(1, 1, window, np.random.default_rng(0), stride=2)
    layer.w.assign(np.ones(layer.w.shape))
    counts = layer(np.ones((1, 6, 6, 1), np.float32)).value[0, 2:-2, 2:-2]  # away from the border
    assert (np.ptp(counts) == 0) == uniform


@pytest.mark.parametrize("player", ["critic", "generator"])
def test_gradients_through_the_gradient_penalty(player: str, rng: np.random.Generator) -> None:
    shape = (8, 4, 2)
    generator, critic = ImageGenerator(shape, 3, rng, width=2), ImageCritic(shape, rng, width=2)
    gan, x = GAN(shape, 3, generator, critic, "wasserstein").astype(np.float64), rng.normal(size=(3, *shape))
    for parameter in gan.parameters():
        parameter.assign(0.5 * rng.normal(size=parameter.shape))
    critic.activation = tanh  # has no kinks
    loss, parameters = gan.generator_loss, generator.parameters()
    if player == "critic":
        loss, parameters = gan.critic_loss, critic.parameters()[:-1]  # the last bias cancels in the loss
    check_parameter_grads(lambda: loss(x, rng=np.random.default_rng(1)), parameters, rng=rng)


def test_init_does_not_apply_to_the_last_layer(rng: np.random.Generator) -> None:
    def ones(shape: tuple[int, ...], fans: tuple[int, int], rng: np.random.Generator) -> Array:
        return np.ones(shape, np.float32)

    for network in (ConvEncoder((4, 4, 1), 2, rng, init=ones), ConvDecoder(2, (4, 4, 1), rng, init=ones)):
        weights = network.parameters()[::2]
        assert [bool(np.all(w.value == 1)) for w in weights] == [True, True, False]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: ConvEncoder((4, 4, 1), 2, rng, channels=()), r"len\(channels\): expected at least 1"),
        (lambda rng: ConvDecoder(2, (4, 4, 1), rng, channels=()), r"len\(channels\): expected at least 1"),
        (lambda rng: MLPEncoder((4, 4, 1), 2, rng)(np.zeros((2, 4, 5, 1))), "x: expected shape"),
        (lambda rng: ConvEncoder((4, 4, 1), 2, rng)(np.zeros((2, 4, 5, 1))), "x: expected shape"),
        (lambda rng: ImageCritic((8, 8, 1), rng)(np.zeros((2, 8, 4, 1))), "x: expected shape"),
        (lambda rng: MLPDecoder(2, (4, 1), rng)(np.zeros((2, 3))), "mlp: x: expected"),
        (lambda rng: ImageCritic((8, 8), rng), r"shape: expected \(height, width, channels\), got \(8, 8\)"),
        (lambda rng: ConvDecoder(2, (8, 8), rng), "shape: expected"),
        (lambda rng: ImageGenerator((8, 8, 0), 2, rng), "shape: expected"),
        (lambda rng: ImageGenerator((8, 8, 1), 0, rng), "n_in: expected at least 1"),
        (lambda rng: ImageGenerator((8, 8, 1), 2, rng, width=0), "n_out: expected at least 1"),
    ],
)
def test_rejects_invalid_arguments(call: Any, message: str, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=message):
        call(rng)


def test_activation_follows_every_layer_except_the_last(rng: np.random.Generator) -> None:
    shapes: list[tuple[int, ...]] = []

    def recording_tanh(x: Any) -> Tensor:
        shapes.append(x.shape)
        return tanh(x)

    settings: Any = {"channels": (2, 3, 4), "activation": recording_tanh}
    ConvEncoder((8, 8, 1), 2, rng, **settings)(np.zeros((1, 8, 8, 1)))
    assert shapes == [(1, 4, 4, 2), (1, 2, 2, 3), (1, 1, 1, 4)]
    shapes.clear()
    ConvDecoder(2, (8, 8, 1), rng, **settings)(np.zeros((1, 2)))
    assert shapes == [(1, 4), (1, 2, 2, 3), (1, 4, 4, 2)]


def test_critic_has_he_initialisation(rng: np.random.Generator) -> None:
    for conv in ImageCritic((8, 8, 1), rng, width=32).convs:
        fan_in = conv.w.shape[0] * conv.w.shape[1]
        assert conv.w.value.std() == pytest.approx(np.sqrt(2 / fan_in), rel=0.15)  # four standard errors of 512 weights


def test_critic_has_leaky_relu(rng: np.random.Generator) -> None:
    critic, x = ImageCritic((8, 8, 1), rng, width=32), Tensor(rng.normal(size=(1, 8, 8, 1)))
    gradients = []
    for sign in (1, -1):  # all units far above 0, then far below 0, where the gradient of relu would be 0
        for conv, size in zip(critic.convs, (100, 10_000), strict=True):
            assert conv.b is not None
            conv.b.assign(np.full(conv.b.shape, sign * size))
        gradients.append(grad(critic(x).sum(), [x])[0].value)
    np.testing.assert_allclose(gradients[1], 0.2**2 * gradients[0], rtol=1e-4, atol=1e-6)
