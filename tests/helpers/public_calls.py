"""One valid call of every public function, constructor and method: the starting points of test_public_api.py."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tinygen.autograd as ag
from tinygen import bijections, data, distributions, kernels, metrics, models, nn, ode, optim, plot
from tinygen.autograd import Parameter, Tensor, taps

RNG = np.random.default_rng(0)
X = np.array([[0.5, -1.0, 0.25, 2.0], [1.0, 0.75, -0.5, -2.0]])  # (2, 4)
SQUARE = np.array([[2.0, 0.5], [-0.25, 1.0]])
IMAGES = RNG.standard_normal((2, 4, 4, 2))
BITS = (RNG.random((2, 4, 4, 1)) < 0.5).astype(np.int64)
TAPS = taps.square(3)


class Call(NamedTuple):
    """A call that succeeds: the function and its arguments by name."""

    name: str
    function: Callable[..., Any]
    arguments: dict[str, Any]


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _square(x: Any) -> Tensor:
    return ag.sum(ag.multiply(x, x))


UNARY = (
    "abs", "cos", "exp", "leaky_relu", "log_ndtr", "log_normal", "log_sigmoid", "log_softmax", "logsumexp", "max",
    "mean", "min", "ndtri_sigmoid", "negative", "one_minus_square", "relu", "sigmoid", "sin", "softmax", "softplus",
    "sum", "tanh", "gated_activation", "transpose",
)  # fmt: skip
BINARY = ("add", "divide", "maximum", "minimum", "multiply", "subtract")
WITH_OPTIONS: dict[str, dict[str, Any]] = {
    "astype": {"x": X, "dtype": np.float32},
    "bernoulli_log_prob": {"logits": X, "k": np.array([[0, 1, 0, 1], [1, 1, 0, 0]])},
    "broadcast_to": {"x": X, "shape": (3, 2, 4)},
    "clip": {"x": X, "low": -1.0, "high": 1.0},
    "concatenate": {"tensors": [X, X], "axis": 0},
    "conv": {"x": IMAGES, "w": np.ones((9, 2, 3)), "taps": TAPS, "stride": 1, "size": (4, 4), "bias": np.ones(3)},
    "conv_transpose": {"y": IMAGES, "w": np.ones((9, 3, 2)), "taps": TAPS, "stride": 2, "size": (8, 8)},
    "conv_weight": {"x": IMAGES, "y": IMAGES, "taps": TAPS, "stride": 1},
    "grad": {"output": _square(Tensor(X)), "inputs": [Tensor(X)], "allow_unreached": True},
    "hessian": {"f": _square},
    "hvp": {"f": _square, "x": X, "v": X},
    "index": {"x": X, "key": 0},
    "inv": {"x": SQUARE},
    "jacobian": {"f": _square},
    "jvp": {"f": _square, "xs": [X], "tangents": [X]},
    "linear": {"x": X, "w": np.ones((4, 3)), "b": np.ones(3), "relu": True},
    "log": {"x": np.abs(X)},
    "logabsdet": {"x": SQUARE},
    "lstm": {"x": np.ones((2, 3, 8)), "u": np.ones((2, 8))},
    "lstm_cell": {"a": np.ones((2, 8)), "c": np.ones((2, 2))},
    "matmul": {"a": X, "b": X.T},
    "mixture_cdf": {"x": X, "parameters": np.ones(6)},
    "pad": {"x": X, "widths": ((1, 1), (0, 2))},
    "power": {"a": np.abs(X), "b": 2.0},
    "put_along_axis": {"x": X, "indices": np.array([[0, 1, 2, 3], [3, 2, 1, 0]]), "axis": 1, "shape": (2, 4)},
    "reshape": {"x": X, "shape": (4, 2)},
    "scatter_add": {"x": X, "key": (slice(0, 2),), "shape": (3, 4)},
    "solve": {"a": SQUARE, "b": SQUARE},
    "split": {"x": X, "sections": 2, "axis": 1},
    "sqrt": {"x": np.abs(X)},
    "stack": {"tensors": [X, X], "axis": 0},
    "sum_to": {"x": X, "shape": (1, 4)},
    "take_along_axis": {"x": X, "indices": np.array([[0], [1]]), "axis": 1},
    "to_dot": {"output": _square(Tensor(X))},
    "value_and_grad": {"f": _square},
    "where": {"condition": X > 0, "a": X, "b": X},
}


def autograd_calls() -> Iterator[Call]:
    for name in UNARY:
        yield Call(f"autograd.{name}", getattr(ag, name), {"x": X})
    for name in BINARY:
        yield Call(f"autograd.{name}", getattr(ag, name), {"a": X, "b": X})
    for name, arguments in WITH_OPTIONS.items():
        yield Call(f"autograd.{name}", getattr(ag, name), arguments)
    yield Call("autograd.Tensor", Tensor, {"value": X, "dtype": np.float32})
    yield Call("autograd.Parameter", Parameter, {"value": X, "dtype": np.float32})
    yield Call("autograd.vjp", lambda f, xs: ag.vjp(f, xs), {"f": _square, "xs": X})
    yield Call("taps.square", taps.square, {"size": 3})
    yield Call("taps.dilated", taps.dilated, {"size": 2, "dilation": 4})


def _layers() -> Iterator[tuple[str, Callable[..., Any], dict[str, Any], dict[str, Any]]]:
    """Yield name, class, constructor arguments and arguments of a call."""
    rng = _rng()
    yield "Linear", nn.Linear, {"n_in": 4, "n_out": 3, "rng": rng}, {"x": X}
    conv = {"n_in": 2, "n_out": 3, "taps": TAPS, "rng": rng, "stride": 1}
    yield "Conv", nn.Conv, conv, {"x": IMAGES}
    yield "ConvTranspose", nn.ConvTranspose, conv, {"y": IMAGES, "size": (4, 4)}
    yield "Embedding", nn.Embedding, {"n": 5, "dim": 3, "rng": rng}, {"k": np.array([0, 4])}
    yield "LSTM", nn.LSTM, {"n_in": 4, "n_out": 3, "rng": rng}, {"x": X[None]}
    yield "MLP", nn.MLP, {"n_in": 4, "hidden": (8,), "n_out": 3, "rng": rng}, {"x": X}
    yield "MaskedLinear", nn.MaskedLinear, {"n_in": 4, "n_out": 3, "rng": rng}, {"x": X, "mask": np.ones((4, 3))}


def nn_calls() -> Iterator[Call]:
    for name, cls, arguments, call in _layers():
        yield Call(f"nn.{name}", cls, arguments)
        yield Call(f"nn.{name}.__call__", cls(**arguments), call)
    yield Call("nn.dropout", nn.dropout, {"x": Tensor(X), "rate": 0.5, "rng": _rng()})
    yield Call("nn.ActivationCache", nn.ActivationCache, {"n": 2, "size": (4, 4)})


def distribution_calls() -> Iterator[Call]:
    k = np.array([0, 1])
    for name, output, parameters, values in (
        ("Categorical", distributions.Categorical(4), X, k),
        ("Bernoulli", distributions.Bernoulli(), X[:, :1], k),
        ("DiscretizedLogistics", distributions.DiscretizedLogistics(4, 2), np.ones((2, 6)), k),
        ("Gaussian", distributions.Gaussian(2.0), X[:, :1], X[:, 0]),
    ):
        yield Call(f"{name}.log_prob", output.log_prob, {"parameters": parameters, "k": values})
        yield Call(f"{name}.sample", output.sample, {"parameters": parameters, "rng": _rng()})
    yield Call("Categorical", distributions.Categorical, {"levels": 4})
    yield Call("DiscretizedLogistics", distributions.DiscretizedLogistics, {"levels": 4, "components": 2})
    yield Call("Gaussian", distributions.Gaussian, {"scale": 2.0})
    for cls in (distributions.StandardNormal, distributions.StandardUniform):
        yield Call(cls.__name__, cls, {"shape": (4,)})
        base: Any = cls((4,))
        yield Call(f"{cls.__name__}.log_prob", base.log_prob, {"x": np.abs(X) / 3})
        yield Call(f"{cls.__name__}.sample", base.sample, {"n": 3, "rng": _rng()})
    yield Call("sample_categorical", distributions.sample_categorical, {"logits": X, "rng": _rng()})
    yield Call("bits_per_dim", distributions.bits_per_dim, {"nats": 3.0, "dims": 4})


def model_calls() -> Iterator[Call]:
    rng, shape = _rng(), (4, 4, 1)
    x = BITS
    autoregressive: dict[str, tuple[Any, dict[str, Any]]] = {
        "PixelRNN": (models.PixelRNN, {"hidden": 8}),
        "MADE": (models.MADE, {"hidden": (8,)}),
        "PixelCNN": (models.PixelCNN, {"channels": 4, "blocks": 1}),
        "GatedPixelCNN": (models.GatedPixelCNN, {"channels": 4, "layers": 1, "dropout": 0.1}),
        "WaveNet": (models.WaveNet, {"channels": 4, "dilations": (1, 2)}),
    }
    for name, (cls, options) in autoregressive.items():
        arguments = {"shape": shape, "levels": 2, "rng": rng, **options}
        yield Call(f"models.{name}", cls, arguments)
        yield from _methods(name, cls(**arguments), x)
    images = {"shape": (4, 4, 2), "rng": rng, "hidden": 4}
    flows: dict[str, tuple[Any, dict[str, Any], Any]] = {
        "MAF": (models.MAF, {"dim": 4, "rng": rng, "layers": 1, "hidden": (8,)}, X),
        "IAF": (models.IAF, {"dim": 4, "rng": rng, "layers": 1, "hidden": (8,)}, X),
        "NICE": (models.NICE, {"shape": (4,), "rng": rng, "layers": 2, "hidden": 4}, X),
        "RealNVP": (models.RealNVP, {**images, "layers": 2, "scales": 1}, IMAGES),
        "Glow": (models.Glow, {**images, "scales": 1, "steps": 1}, IMAGES),
        "FFJORD": (models.FFJORD, {"dim": 4, "rng": rng, "hidden": 4}, X),
        "Flow1D": (models.Flow1D, {"components": 3}, X[:, :1]),
    }
    for name, (cls, arguments, events) in flows.items():
        yield Call(f"models.{name}", cls, arguments)
        yield from _methods(name, cls(**arguments), events)
    yield from _latent_and_adversarial()


def _methods(name: str, model: Any, x: Any) -> Iterator[Call]:
    yield Call(f"{name}.log_prob", model.log_prob, {"x": x})
    yield Call(f"{name}.loss", model.loss, {"x": x, "rng": _rng()})
    yield Call(f"{name}.sample", model.sample, {"n": 2, "rng": _rng()})


def _latent_and_adversarial() -> Iterator[Call]:
    rng = _rng()
    encoder, decoder = nn.MLP(4, (8,), 4, rng), nn.MLP(2, (8,), 4, rng)
    arguments: dict[str, Any] = {
        "shape": (4,), "latent": 2, "encoder": encoder, "decoder": lambda z: decoder(z).reshape(-1, 4, 1),
        "output": distributions.Bernoulli(),
    }  # fmt: skip
    yield Call("models.VAE", models.VAE, arguments)
    vae, x = models.VAE(**arguments), np.array([[0, 1, 0, 1], [1, 1, 0, 0]])
    yield Call("VAE.elbo", vae.elbo, {"x": x, "k": 2, "rng": _rng(), "beta": 1.0})
    yield Call("VAE.iwae_bound", vae.iwae_bound, {"x": x, "k": 2, "rng": _rng()})
    yield Call("VAE.log_prob", vae.log_prob, {"x": x, "k": 2, "rng": _rng(), "chunk_size": 10})
    yield Call("VAE.sample", vae.sample, {"n": 2, "rng": _rng()})
    generator, critic = nn.MLP(2, (8,), 4, rng), nn.MLP(4, (8,), 1, rng)
    keywords = {"shape": (4,), "latent": 2, "generator": generator, "critic": critic, "penalty": 1.0}
    yield Call("models.GAN", models.GAN, keywords)
    gan = models.GAN((4,), 2, generator, critic)
    yield Call("GAN.sample", gan.sample, {"n": 2, "rng": _rng()})


def bijection_calls() -> Iterator[Call]:
    rng = _rng()
    made: dict[str, tuple[Any, dict[str, Any], Any]] = {
        "ActNorm": (bijections.ActNorm, {"channels": 4}, X),
        "Affine": (bijections.Affine, {"shift": 1.0, "scale": 2.0}, X),
        "Logit": (bijections.Logit, {"margin": 0.05}, np.abs(X) / 3),
        "InvertibleConv": (bijections.InvertibleConv, {"channels": 4, "rng": rng}, X),
        "Permute": (bijections.Permute, {"order": [1, 0, 3, 2]}, X),
        "Reshape": (bijections.Reshape, {"data": (4,), "noise": (2, 2)}, X),
        "Squeeze": (bijections.Squeeze, {}, IMAGES),
    }
    for name, (cls, arguments, x) in made.items():
        yield Call(f"bijections.{name}", cls, arguments)
        yield Call(f"{name}.forward", cls(**arguments).forward, {"x": x})
        yield Call(f"{name}.inverse", cls(**arguments).inverse, {"z": cls(**arguments).forward(x)[0].value})


def other_calls() -> Iterator[Call]:
    parameters = [Parameter(np.ones(3), np.float64)]
    yield Call("SGD", optim.SGD, {"parameters": parameters, "lr": 0.1, "momentum": 0.5})
    yield Call("Adam", optim.Adam, {"parameters": parameters, "lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8})
    yield Call("Adam.step", optim.Adam(parameters, 0.1).step, {"gradients": [np.ones(3)]})
    yield Call("EMA", optim.EMA, {"parameters": parameters, "decay": 0.9})
    yield Call("cosine", optim.cosine, {"lr": 0.1, "steps": 10, "warmup": 2})
    yield Call("constant", optim.constant, {"lr": 0.1})
    yield Call("clip_by_global_norm", optim.clip_by_global_norm, {"gradients": [Tensor(X)], "max_norm": 1.0})
    yield Call("Adaptive", ode.Adaptive, {"rtol": 1e-5, "atol": 1e-5, "max_steps": 100})
    yield Call("FixedStep", ode.FixedStep, {"steps": 4})
    yield Call("FixedStep.__call__", ode.FixedStep(4), {"f": lambda t, y: y, "y": (X,), "t0": 0.0, "t1": 1.0})
    for name, density in (("Checkerboard", data.Checkerboard()), ("TwoMoons", data.TwoMoons())):
        yield Call(f"{name}.sample", density.sample, {"n": 3, "rng": _rng()})
        yield Call(f"{name}.log_prob", density.log_prob, {"x": X[:, :2]})
    yield Call("TwoMoons", data.TwoMoons, {"sigma": 0.1})
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    plot.save(plot.sample_grid(np.zeros((2, 4, 4, 1)), levels=2), folder / "a.png")
    fitted = {"size": 2, "resize": True, "crop": True, "channels": 3, "levels": 8, "labels": False}
    yield Call("data.images", data.images, {"folder": folder, **fitted})
    split = data.Images(BITS.astype(np.uint8), None, 2).split
    yield Call("Images.split", split, {"fractions": (0.5, 0.5), "rng": _rng()})
    yield Call("digits", data.digits, {"split": "train", "threshold": 8})
    probabilities = np.full((4, 2), 0.5)
    yield Call("inception_score", metrics.inception_score, {"probabilities": probabilities})
    yield Call("fid", metrics.fid, {"features_a": IMAGES.reshape(-1, 2), "features_b": IMAGES.reshape(-1, 2)})
    yield Call("sample_grid", plot.sample_grid, {"images": np.zeros((2, 4, 4, 1)), "levels": 2})
    yield Call("product", kernels.product, {"a": X, "b": X.T, "bias": np.ones(2)})
    yield Call("kernels.gated_activation", kernels.gated_activation, {"x": X})


def calls() -> dict[str, Call]:
    """Return all calls by name."""
    groups = autograd_calls, nn_calls, distribution_calls, bijection_calls, model_calls, other_calls
    return {call.name: call for group in groups for call in group()}
