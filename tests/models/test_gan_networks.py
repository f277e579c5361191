"""The networks of GANs: what reaches what, evenly; each example by itself; derivatives of both orders."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from tinygen.autograd import Array, Tensor, grad, tanh, taps
from tinygen.models import GAN
from tinygen.models.gan_networks import ImageCritic, ImageGenerator, mlp
from tinygen.models.vae_networks import WINDOW
from tinygen.nn import ConvTranspose
from tinygen.testing import check_parameter_grads

SHAPE = (8, 4, 2)


def networks(rng: np.random.Generator, shape: tuple[int, ...] = SHAPE) -> tuple[ImageGenerator, ImageCritic]:
    generator, critic = ImageGenerator(shape, 3, rng, width=2), ImageCritic(shape, rng, width=2)
    for network in (generator, critic):
        network.astype(np.float64)
        for parameter in network.parameters():
            parameter.assign(0.5 * rng.normal(size=parameter.shape))
    return generator, critic


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (4, 12, 3)])
def test_shapes_and_range(shape: tuple[int, ...], rng: np.random.Generator) -> None:
    x = ImageGenerator(shape, 3, rng, width=4)(rng.normal(size=(5, 3)).astype(np.float32))
    assert x.shape == (5, *shape)
    assert x.dtype == np.float32
    assert np.abs(x.value).max() < 1
    assert ImageCritic(shape, rng, width=4)(x).shape == (5, 1)


def test_every_number_of_the_noise_reaches_every_pixel_and_every_pixel_the_critic(rng: np.random.Generator) -> None:
    # Several examples, since for one of them a relu may be closed on the only way there is.
    generator, critic = networks(rng)
    z, x = Tensor(rng.normal(size=(50, 3))), Tensor(rng.normal(size=(50, *SHAPE)))
    images = generator(z)
    for pixel in np.ndindex(SHAPE):
        (slope,) = grad(images[(slice(None), *pixel)].sum(), [z])
        assert np.all(np.abs(slope.value).max(0) > 0), pixel
    (slope,) = grad(critic(x).sum(), [x])
    assert np.all(np.abs(slope.value).max(0) > 0)


@pytest.mark.parametrize(("window", "even"), [(WINDOW, True), (taps.square(3), False)])
def test_a_window_that_the_stride_divides_leaves_no_checkerboard(window: taps.Taps, even: bool) -> None:
    layer = ConvTranspose(1, 1, window, np.random.default_rng(0), stride=2)
    layer.w.assign(np.ones(layer.w.shape))
    counts = layer(np.ones((1, 6, 6, 1), np.float32)).value[0, 2:-2, 2:-2]  # away from the border
    assert (np.ptp(counts) == 0) == even


def test_an_example_is_judged_by_itself(rng: np.random.Generator) -> None:
    generator, critic = networks(rng)
    z, x = rng.normal(size=(4, 3)), rng.normal(size=(4, *SHAPE))
    for network, batch in ((generator, z), (critic, x)):
        alone = np.concatenate([network(batch[i : i + 1]).value for i in range(4)])
        np.testing.assert_allclose(network(batch).value, alone, rtol=1e-12, atol=1e-14)


def seeded(loss: Any, x: Array) -> Tensor:
    return loss(x, rng=np.random.default_rng(1))  # type: ignore[no-any-return]


def test_gradients_through_the_penalty(rng: np.random.Generator) -> None:
    generator, critic = networks(rng)
    gan, x = GAN(SHAPE, 3, generator, critic, "wasserstein"), rng.normal(size=(3, *SHAPE))
    # Not the last bias, which cancels between data and samples.
    check_parameter_grads(partial(seeded, gan.critic_loss, x), critic.parameters()[:-1], rng=rng)
    check_parameter_grads(partial(seeded, gan.generator_loss, x), generator.parameters(), rng=rng)


def test_an_mlp_has_the_layers_that_it_is_asked_for(rng: np.random.Generator) -> None:
    network = mlp(2, 3, rng, width=5, depth=3, activation=tanh)
    assert [p.shape for p in network.parameters()] == [(2, 5), (5,), (5, 5), (5,), (5, 5), (5,), (5, 3), (3,)]
    x = rng.normal(size=(7, 2))
    h = x
    for layer in network.layers[:-1:2]:
        h = np.tanh(h @ layer.w.value + layer.b.value)  # type: ignore[attr-defined]
    last: Any = network.layers[-1]
    np.testing.assert_allclose(network(x).value, h @ last.w.value + last.b.value, rtol=1e-6)


BAD_INPUT: list[tuple[Any, str]] = [
    (lambda rng: ImageGenerator((8, 6, 1), 2, rng), "shape: expected .* multiples of 4"),
    (lambda rng: ImageCritic((8, 8), rng), "shape: expected .* multiples of 4"),
    (lambda rng: ImageGenerator((8, 8, 0), 2, rng), "shape: expected"),
    (lambda rng: ImageGenerator((8, 8, 1), 0, rng), "n_in: expected at least 1"),
    (lambda rng: ImageGenerator((8, 8, 1), 2, rng, width=0), "n_out: expected at least 1"),
    (lambda rng: ImageCritic((8, 8, 1), rng)(np.zeros((2, 8, 4, 1))), "x: expected shape"),
    (lambda rng: mlp(2, 1, rng, depth=0), "depth: expected at least 1"),
]


@pytest.mark.parametrize(("call", "message"), BAD_INPUT)
def test_bad_input(call: Any, message: str, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=message):
        call(rng)
