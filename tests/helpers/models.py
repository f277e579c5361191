"""Small models with random parameters, and a comparison of `draw` with naive ancestral sampling."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import numpy as np

from tinygen.autograd import Array, Tensor, no_grad, tanh
from tinygen.distributions import Output
from tinygen.models import GAN, MADE, VAE, GatedPixelCNN, PixelCNN, PixelRNN, WaveNet
from tinygen.models.autoregressive.base import Autoregressive
from tinygen.nn import Linear, Module, Sequential

Model = TypeVar("Model", bound=Module)


def randomise(model: Model, rng: np.random.Generator, scale: float = 0.5) -> Model:
    """Convert a model to float64 and draw every parameter from N(0, scale²), so that no term is hidden by a zero."""
    for parameter in model.astype(np.float64).parameters():
        parameter.assign(rng.normal(size=parameter.shape) * scale)
    return model


def small_made(shape: tuple[int, ...] = (2, 2), levels: int = 2, seed: int = 0, **settings: Any) -> MADE:
    rng = np.random.default_rng(seed)
    return randomise(MADE(shape, levels, rng, **{"hidden": (20, 20), **settings}), rng)


def small_pixel_rnn(shape: tuple[int, ...] = (3, 4, 1), levels: int = 3, seed: int = 0, **settings: Any) -> PixelRNN:
    rng = np.random.default_rng(seed)
    return randomise(PixelRNN(shape, levels, rng, **{"hidden": 5, **settings}), rng, 0.7)


def small_pixelcnn(shape: tuple[int, ...] = (3, 4, 1), levels: int = 3, seed: int = 0, **settings: Any) -> PixelCNN:
    rng = np.random.default_rng(seed)
    settings = {"channels": 6, "blocks": 2, "first_size": 3, **settings}
    return randomise(PixelCNN(shape, levels, rng, **settings), rng)


def small_gated_pixelcnn(
    shape: tuple[int, ...] = (3, 4, 1), levels: int = 3, seed: int = 0, **settings: Any
) -> GatedPixelCNN:
    rng = np.random.default_rng(seed)
    settings = {"channels": 4, "layers": 3, "first_size": 3, **settings}
    return randomise(GatedPixelCNN(shape, levels, rng, **settings), rng)


def small_wavenet(shape: tuple[int, ...] = (12,), levels: int = 3, seed: int = 0, **settings: Any) -> WaveNet:
    rng = np.random.default_rng(seed)
    return randomise(WaveNet(shape, levels, rng, **{"channels": 4, "dilations": (1, 2, 4), **settings}), rng)


def small_vae(output: Any, rng: np.random.Generator, context: int = 0, **settings: Any) -> VAE:
    """Return a VAE with three variables, two latent variables and MLPs with one tanh layer."""
    head = Linear(5, 4 + context, rng)
    encoder = Sequential(Linear(3, 5, rng), tanh, head)
    decoder = Sequential(
        Linear(2, 5, rng), tanh, Linear(5, 3 * output.width, rng), lambda y: y.reshape(-1, 3, output.width)
    )
    model = randomise(VAE((3,), 2, encoder, decoder, output, **settings), rng)
    head.w.assign(head.w.value * 0.2)  # q(z|x) is about as wide as the prior, so that no importance weight dominates
    return model


def small_gan(objective: str, rng: np.random.Generator, penalty: float | None = None) -> GAN:
    """Return a GAN with three variables, two noise variables and MLPs with one tanh layer."""
    generator = Sequential(Linear(2, 4, rng), tanh, Linear(4, 3, rng))
    critic = Sequential(Linear(3, 4, rng), tanh, Linear(4, 1, rng))
    return randomise(GAN((3,), 2, generator, critic, objective, penalty), rng, 1.0)


def random_examples(model: Autoregressive, n: int, rng: np.random.Generator) -> Array:
    return rng.integers(0, model.output.levels, (n, *model.shape))


def naive_ancestral_sampling(
    net: Callable[[Array], Tensor], output: Output, x: Array, rng: np.random.Generator, order: Array | None = None
) -> Iterator[Array]:
    """Sample an autoregressive model into x (N, *shape), evaluating the whole network net(x) for every variable.

    The order is a permutation of the indices of the variables, by default raster order. Yields the parameters of each
    variable's distribution, (N, output.width).
    """
    indices = list(np.ndindex(x.shape[1:]))
    for variable in range(len(indices)) if order is None else order:
        here = (slice(None), *indices[variable])
        with no_grad():
            parameters = net(x)[here]
        x[here] = output.sample(parameters, rng)
        yield parameters.value


def check_draw_matches_naive_sampler(model: Any, seed: int, permutation: Array | None = None, **settings: Any) -> None:
    """Compare `model.draw` with naive ancestral sampling: the parameters of each variable, and the samples.

    For a model with several orders, `order` selects one of them and `permutation` is that order.
    """
    labels = np.array([0, 1]) if model.classes else None
    fast, naive = np.zeros((2, 2, *model.shape), np.int64)
    fast += np.random.default_rng(seed).integers(-9, 1000, fast.shape)  # draw must ignore the values in its buffer
    network = partial(model, labels=labels, **settings)
    fast_steps = model.draw(fast, np.random.default_rng(seed), labels, **settings)
    naive_steps = naive_ancestral_sampling(network, model.output, naive, np.random.default_rng(seed), permutation)
    for parameters, expected in zip(fast_steps, naive_steps, strict=True):
        np.testing.assert_allclose(parameters, expected, rtol=1e-9, atol=1e-10)
    np.testing.assert_array_equal(fast, naive)
