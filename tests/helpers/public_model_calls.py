"""A valid call of every public function, constructor and method of bijections, models, data, solvers, optimisers,
metrics, plots and distributed. Every argument has a value.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from helpers.public_calls import BITS, IMAGES, RNG, Arguments, Call, X, generator, low_level_calls, of_class

import tinygen.autograd as ag
from tinygen import bijections, data, distributed, distributions, metrics, models, nn, ode, optim, plot
from tinygen.autograd import Parameter, Tensor
from tinygen.bijections import ActNorm, Chain
from tinygen.data import audio
from tinygen.models.flows.ffjord import TimeDependentMLP
from tinygen.nn.networks.couplings import CouplingMLP
from tinygen.nn.networks.images import MLPDecoder, MLPEncoder

SMALL = np.abs(X) / 3  # (2, 4) in (0, 1)
LABELS = np.array([0, 2])
CONTEXT = np.ones((2, 3))
FOLDER = tempfile.TemporaryDirectory()


def bijection_calls() -> Iterator[Call]:
    rng, mask = generator(), bijections.Mask("half", (4,))
    of_images = {"shape": (4, 4, 2), "rest": bijections.Reshape((4, 4, 1), (16,))}
    affine = bijections.Affine(2.0)
    made: dict[str, tuple[Any, Arguments, Any]] = {
        "ActNorm": (bijections.ActNorm, {"channels": 4}, X),
        "AdditiveCoupling": (bijections.AdditiveCoupling, {"mask": mask, "network": _network(2, rng)}, X),
        "Affine": (bijections.Affine, {"scale": 2.0, "shift": 1.0}, X),
        "AffineCoupling": (bijections.AffineCoupling, {"mask": mask, "network": _network(4, rng)}, X),
        "ContinuousFlow": (bijections.ContinuousFlow, _continuous(rng), X),
        "Coupling": (bijections.Coupling, {**_coupling(rng), "mask": mask}, X),
        "FactorOut": (bijections.FactorOut, of_images, IMAGES),
        "Inverse": (bijections.Inverse, {"bijection": affine}, X),
        "InvertibleConv": (bijections.InvertibleConv, {"channels": 4, "rng": rng, "w": np.eye(4)}, X),
        "Logit": (bijections.Logit, {"margin": 0.05}, SMALL),
        "MaskedAutoregressive": (bijections.MaskedAutoregressive, _masked(rng), X),
        "Permute": (bijections.Permute, {"order": [1, 0, 3, 2]}, X),
        "Reshape": (bijections.Reshape, {"data": (4,), "noise": (2, 2)}, X),
        "Squeeze": (bijections.Squeeze, {}, IMAGES),
    }
    conditional = ("AdditiveCoupling", "AffineCoupling", "ContinuousFlow", "Coupling", "MaskedAutoregressive")
    for name, (cls, arguments, x) in made.items():
        context = CONTEXT if name in conditional else None
        yield from _maps(f"bijections.{name}", cls, arguments, x, context)
    yield Call("bijections.Chain", _chain, {"bijections": affine})
    chain = _chain(affine)
    for method in ("forward", "to_noise", "initialise"):
        yield Call(f"bijections.Chain.{method}", getattr(chain, method), {"x": X, "context": None})
    for method in ("inverse", "to_data"):
        yield Call(f"bijections.Chain.{method}", getattr(chain, method), {"z": X, "context": None})
    flow = bijections.ContinuousFlow(**_continuous(rng))
    solve = {"x": X, "t0": 0.0, "t1": 1.0, "context": CONTEXT, "log_det": True, "energy": True}
    yield Call("bijections.ContinuousFlow.solve", flow.solve, solve)
    stages = [bijections.Squeeze(), bijections.Squeeze()]
    yield Call("bijections.multi_scale", bijections.multi_scale, {"stages": stages, "shapes": [(2, 2, 8), (1, 1, 16)]})
    a, b = Tensor(X[:, :2]), Tensor(X[:, 2:])
    split = {"name": "half", "shape": (4,), "flipped": True}
    yield from of_class("bijections.Mask", bijections.Mask, split, split={"x": X}, merge={"a": a, "b": b})
    yield from _transformers()
    yield from _flow()


def _chain(bijections: Any) -> Chain:
    return Chain(bijections, ActNorm(4))


def _network(n_out: int, rng: np.random.Generator) -> CouplingMLP:
    return CouplingMLP(2, n_out, rng, hidden=4, depth=1, context=3, activation=ag.relu)


def _coupling(rng: np.random.Generator) -> dict[str, Any]:
    return {"network": _network(10, rng), "transformer": bijections.RationalQuadraticSpline(2)}


def _continuous(rng: np.random.Generator) -> dict[str, Any]:
    velocity = TimeDependentMLP(4, rng, 4, 3, 2.0)
    solver = ode.FixedStep(8)  # the adjoint's derivatives are those of the solution up to the solver's error
    return {"velocity": velocity, "solver": solver, "noise": np.ones((2, 4), np.float32), "adjoint": True}


def _masked(rng: np.random.Generator) -> dict[str, Any]:
    net = nn.MaskedMLP(4, 2, rng, hidden=(8,), context=3)
    return {"net": net, "transformer": bijections.AffineTransformer(bound=5.0)}


def _maps(name: str, cls: Any, arguments: Arguments, x: Any, context: Any) -> Iterator[Call]:
    """Yield calls of the constructor and of the maps in both directions."""
    z = cls(**arguments).forward(x, context)[0].value
    data, noise = {"x": x, "context": context}, {"z": z, "context": context}
    maps = {"forward": data, "to_noise": data, "initialise": data, "inverse": noise, "to_data": noise}
    yield from of_class(name, cls, arguments, **maps)


def _transformers() -> Iterator[Call]:
    theta = np.ones((2, 4, 2))
    maps = {"forward": {"x": X, "parameters": theta}, "inverse": {"z": X, "parameters": theta}}
    yield from of_class("bijections.AffineTransformer", bijections.AffineTransformer, {"bound": 5.0}, **maps)
    theta = np.ones((2, 4, 3))
    mixture = {"components": 1, "noise": "normal", "bound": 5.0}
    noise = {"z": X, "parameters": theta}
    maps = {"forward": {"x": X, "parameters": theta}, "inverse": noise, "quantile": noise}
    start = {"low": -3.0, "high": 3.0}
    yield from of_class("bijections.MixtureCDF", bijections.MixtureCDF, mixture, **maps, start=start)

    spline, theta = {"bins": 2, "bound": 5.0, "minimum": 1e-3}, np.ones((2, 4, 5))
    maps = {"forward": {"x": X, "parameters": theta}, "inverse": {"z": X, "parameters": theta}}
    yield from of_class("bijections.RationalQuadraticSpline", bijections.RationalQuadraticSpline, spline, **maps)


def _flow() -> Iterator[Call]:
    base = distributions.StandardNormal((4,))
    arguments = {"bijection": bijections.ActNorm(4), "base": base, "shape": (4,)}
    drawn = {"n": 2, "rng": generator(), "context": None}
    sampled = {**drawn, "temperature": 0.5}
    methods = {**_density(X, None), "initialise": {"x": X, "context": None}, "draw": drawn}
    yield from of_class("bijections.Flow", bijections.Flow, arguments, **methods)
    flow = bijections.Flow(bijections.Logit(0.05), base)
    x = np.array([[0, 1, 2, 3], [3, 2, 1, 0]])
    bound = {"x": x, "rng": generator(), "samples": 2, "context": None}
    methods = {"dequantize": {"x": x, "rng": generator()}, "log_prob_bound": bound}
    methods["loss"], methods["sample"] = {"x": x, "context": None, "rng": generator()}, sampled
    yield from of_class("bijections.Dequantized", bijections.Dequantized, {"flow": flow, "levels": 4}, **methods)


def _density(x: Any, context: Any, condition: str = "context") -> dict[str, Arguments]:
    """Return the arguments of a model's methods: log_prob, loss and sample."""
    rng = generator()
    return {
        "log_prob": {"x": x, condition: context},
        "loss": {"x": x, condition: context, "rng": rng},
        "sample": {"n": 2, "rng": rng, condition: context, "temperature": 0.5},
    }


def model_calls() -> Iterator[Call]:
    yield from _autoregressive()
    yield from _flows()
    yield from _latent_and_adversarial()


def _autoregressive() -> Iterator[Call]:
    sizes: Arguments = {"first_size": 3, "size": 3, "dropout": 0.1}
    made: dict[str, tuple[Any, Arguments]] = {
        "PixelRNN": (models.PixelRNN, {"hidden": 4, "layers": 1, "coordinates": True}),
        "MADE": (models.MADE, {"hidden": (8,), "orders": 2, "output": distributions.Bernoulli(), "direct": True}),
        "PixelCNN": (
            models.PixelCNN,
            {"channels": 4, "blocks": 1, "output": distributions.Bernoulli(), "ordered": True, **sizes},
        ),
        "GatedPixelCNN": (models.GatedPixelCNN, {"channels": 4, "layers": 1, **sizes}),
        "WaveNet": (models.WaveNet, {"channels": 4, "dilations": (1, 2), "size": 2, "coordinates": True}),
    }
    for name, (cls, options) in made.items():
        arguments = {"shape": (4, 4, 1), "levels": 2, "rng": generator(), "classes": 3, **options}
        methods = _density(BITS, LABELS, "labels")
        methods["__call__"] = {"x": BITS, "labels": LABELS}
        methods["draw"] = {"x": BITS.copy(), "rng": generator(), "labels": LABELS, "known": 4, "temperature": 0.5}
        upper = np.repeat([True, False], 8).reshape(4, 4, 1)
        methods["complete"] = {**methods["draw"], "known": upper}
        if name == "MADE":
            methods["complete"] = {**methods["complete"], "known": np.zeros((4, 4, 1), bool)}  # its order is random
            for method in ("log_prob", "draw", "complete", "__call__"):
                methods[method] = {**methods[method], "order": 1}
        if name == "WaveNet":
            arguments = {**arguments, "features": 1}
            methods = {method: {**given, "features": IMAGES[..., :1, None]} for method, given in methods.items()}
        yield from of_class(f"models.{name}", cls, arguments, **methods)


def _flows() -> Iterator[Call]:
    vectors: Arguments = {"rng": generator(), "context": 3}
    coupling = {**vectors, "hidden": 4, "activation": ag.relu}
    masked = {
        **vectors, "dim": 4, "layers": 1, "hidden": (8,), "transformer": bijections.AffineTransformer(),
        "random_orders": True,
    }  # fmt: skip
    alternating = {**coupling, "mask": "checkerboard", "layers": 2, "depth": 1}
    spline = {"transformer": bijections.RationalQuadraticSpline(2)}
    solvers = {"training": ode.FixedStep(2), "solver": ode.FixedStep(4), "noise": "gaussian", "adjoint": True}
    made: dict[str, tuple[Any, Arguments, Any]] = {
        "MAF": (models.MAF, masked, X),
        "IAF": (models.IAF, masked, X),
        "NICE": (models.NICE, {**alternating, "shape": (4,)}, X),
        "RealNVP": (models.RealNVP, {**alternating, **spline, "shape": (4, 4, 2), "scales": 2}, IMAGES),
        "Glow": (models.Glow, {**coupling, "shape": (4, 4, 2), "scales": 2, "steps": 1}, IMAGES),
        "FFJORD": (models.FFJORD, {**vectors, "dim": 4, "hidden": 4, "steepness": 2.0, "kinetic": 0.5, **solvers}, X),
        "Flow1D": (models.Flow1D, {"components": 3, "noise": "normal", "data_range": (-3.0, 3.0)}, X[:, :1]),
    }
    for name, (cls, arguments, x) in made.items():
        context = None if name == "Flow1D" else CONTEXT
        methods = _density(x, context)
        methods["initialise"] = {"x": x, "context": context}
        methods["draw"] = {"n": 2, "rng": generator(), "context": context}
        if name == "FFJORD":
            methods["log_prob_estimate"] = methods["loss"]
        yield from of_class(f"models.{name}", cls, arguments, **methods)


def _latent_and_adversarial() -> Iterator[Call]:
    rng = generator()
    encoder, decoder = MLPEncoder((4,), 4, rng, context=3), MLPDecoder(2, (4, 1), rng, context=3)
    arguments: dict[str, Any] = {
        "shape": (4,), "latent": 2, "encoder": encoder, "decoder": decoder, "output": distributions.Bernoulli(),
        "prior": distributions.StandardNormal((2,)), "posterior_flow": None, "context": 3,
    }  # fmt: skip
    context = np.eye(3)[[0, 2]]
    x = np.array([[0, 1, 0, 1], [1, 1, 0, 0]])
    vae = models.VAE(**arguments)
    q = vae.posterior(x, context)
    z, _ = vae.sample_posterior(q, 3, rng)
    draws = {"x": x, "k": 2, "rng": rng, "context": context}
    yield from of_class(
        "models.VAE", models.VAE, arguments,
        posterior={"x": x, "context": context}, kl_per_dimension={"x": x, "context": context},
        sample_posterior={"q": q, "k": 2, "rng": rng},
        log_likelihood={"x": x, "z": z, "context": context}, log_weights=draws, iwae_bound=draws,
        elbo={**draws, "kl": None, "beta": 1.0},
        log_prob={**draws, "chunk_size": 10}, loss={**draws, "k": 1, "kl": None, "beta": 1.0},
        sample={"n": 2, "rng": rng, "context": context},
    )  # fmt: skip
    generate, critic = nn.MLP(2, (8,), 4, rng), nn.MLP(4, (8,), 1, rng)
    gan = {
        "shape": (4,), "latent": 2, "generator": generate, "critic": critic, "objective": "wasserstein",
        "penalty": 1.0,
    }  # fmt: skip
    samples, loss = {"n": 2, "rng": rng}, {"x": X, "rng": rng}
    yield from of_class(
        "models.GAN", models.GAN, gan, critic_loss=loss, generator_loss=loss, criticise={"x": X}, generate=samples,
        gradient_penalty={"real": X, "fake": X, "rng": rng}, sample=samples,
    )  # fmt: skip


def data_calls() -> Iterator[Call]:
    rng = generator()
    densities: dict[str, tuple[Any, Arguments]] = {
        "Checkerboard": (data.Checkerboard, {}),
        "GaussianMixture": (data.GaussianMixture, {"centres": X[:, :2], "sigma": 0.5}),
        "TwoMoons": (data.TwoMoons, {"sigma": 0.1}),
    }
    for name, (cls, arguments) in densities.items():
        methods: dict[str, Arguments] = {"sample": {"n": 3, "rng": rng}, "log_prob": {"x": X[:, :2]}}
        yield from of_class(f"data.{name}", cls, arguments, **methods)
    yield Call("data.digits", data.digits, {"split": "train", "threshold": 8})
    yield Call(
        "data.Images", data.Images, {"pixels": BITS.astype(np.uint8), "labels": LABELS, "levels": 2, "classes": ("a",)}
    )
    folder = Path(FOLDER.name, "images")
    plot.save(plot.sample_grid(np.zeros((2, 4, 4, 1)), levels=2), folder / "a.png")
    fitted = {"size": 2, "resize": True, "crop": True, "channels": 3, "levels": 8, "labels": False}
    yield Call("data.images", data.images, {"folder": folder, **fitted})
    split = data.Images(BITS.astype(np.uint8), None, 2).split
    yield Call("data.Images.split", split, {"fractions": (0.5, 0.5), "rng": rng})
    tone = {"seconds": 0.1, "rate": 4000, "rng": rng}
    yield Call("data.audio.mu_law_encode", audio.mu_law_encode, {"x": SMALL, "levels": 256})
    yield Call("data.audio.mu_law_decode", audio.mu_law_decode, {"k": np.array([0, 255]), "levels": 256})
    yield Call("data.audio.pluck", audio.pluck, {"frequency": 440.0, **tone})
    yield Call("data.audio.chirp", audio.chirp, {"start": 200.0, "end": 400.0, **tone})
    yield Call("data.audio.vowel", audio.vowel, {"name": "a", "pitch": 200.0, **tone})
    yield Call("data.audio.sounds", audio.sounds, {"n": 2, **tone})
    path = Path(FOLDER.name, "tone.wav")
    audio.write_wav(path, SMALL[0], 4000)
    yield Call("data.audio.write_wav", audio.write_wav, {"path": path, "x": SMALL[0], "rate": 4000})
    yield Call("data.audio.read_wav", audio.read_wav, {"path": path})


def _decay(t: float, y: Any) -> Any:
    return tuple(ag.multiply(part, -1.0) for part in y)


def other_calls() -> Iterator[Call]:
    problem: Arguments = {"f": _decay, "y": (X,), "t0": 0.0, "t1": 1.0}
    adaptive = {"rtol": 1e-5, "atol": 1e-5, "max_steps": 100, "tableau": ode.DORMAND_PRINCE}
    yield from of_class("ode.Adaptive", ode.Adaptive, adaptive, __call__=problem)
    yield from of_class("ode.FixedStep", ode.FixedStep, {"steps": 4, "tableau": ode.RK4}, __call__=problem)
    with_adjoint = {**problem, "solver": ode.FixedStep(4), "inputs": [Tensor(X)]}
    yield Call("ode.solve_with_adjoint", ode.solve_with_adjoint, with_adjoint)
    yield from _optimisers()
    probabilities = np.full((4, 2), 0.5)
    yield Call("metrics.inception_score", metrics.inception_score, {"probabilities": probabilities})
    yield Call("metrics.fid", metrics.fid, {"features_a": IMAGES.reshape(-1, 2), "features_b": IMAGES.reshape(-1, 2)})
    gaussians = {"mean_a": np.zeros(2), "cov_a": np.eye(2), "mean_b": np.ones(2), "cov_b": np.eye(2)}
    yield Call("metrics.frechet_distance", metrics.frechet_distance, gaussians)
    bootstrap = {"statistic": np.mean, "samples": X[0], "rng": generator(), "rounds": 3, "coverage": 0.9}
    yield Call("metrics.bootstrap", _bootstrap, bootstrap)
    yield from _plots()
    made = models.MADE((4, 4, 1), 2, generator(), hidden=(8,))
    draw = {"model": made, "n": 3, "rng": generator(), "comm": None, "batch_size": 2}
    yield Call("distributed.sample", distributed.sample, draw)
    evaluate = {"model": made, "x": BITS, "rng": None, "comm": None, "batch_size": 2}
    yield Call("distributed.mean_log_prob", distributed.mean_log_prob, evaluate)


def _bootstrap(statistic: Any, samples: Any, **options: Any) -> Any:
    return metrics.bootstrap(statistic, samples, **options)


def _optimisers() -> Iterator[Call]:
    parameters = [Parameter(np.ones(3), np.float64)]
    common = {"parameters": parameters, "lr": 0.1}
    made: dict[str, tuple[Any, Arguments]] = {
        "SGD": (optim.SGD, {**common, "momentum": 0.5, "nesterov": True}),
        "Adam": (optim.Adam, {**common, "betas": (0.9, 0.99), "eps": 1e-8}),
        "AdamW": (optim.AdamW, {**common, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1}),
    }
    for name, (cls, arguments) in made.items():
        state = {"state": cls(**arguments).state()}
        methods = {"step": {"gradients": [np.ones(3)]}, "load": state, "check_state": state}
        yield from of_class(f"optim.{name}", cls, arguments, **methods)
    ema: Arguments = {"parameters": parameters, "decay": 0.9}
    state = {"state": optim.EMA(**ema).state()}
    yield from of_class("optim.EMA", optim.EMA, ema, load=state, check_state=state)
    yield Call("optim.cosine", optim.cosine, {"lr": 0.1, "steps": 10, "warmup": 2})
    yield Call("optim.constant", optim.constant, {"lr": 0.1})
    yield Call("optim.clip_by_global_norm", optim.clip_by_global_norm, {"gradients": [Tensor(X)], "max_norm": 1.0})


def _plots() -> Iterator[Call]:
    grid = {"images": RNG.random((2, 4, 4, 1)), "levels": 2, "columns": 1, "row_labels": ["a", "b"], "title": "t"}
    yield Call("plot.sample_grid", plot.sample_grid, grid)
    curves = {
        "history": {"step": [1, 2], "loss": [2.0, 1.0]}, "x": "step", "ylabel": "nats", "baselines": {"H": 0.5},
        "ylim": (0.0, 2.0), "title": "t",
    }  # fmt: skip
    yield Call("plot.curves", plot.curves, curves)
    box = (-1.0, 1.0, -1.0, 1.0)
    log_prob = data.Checkerboard().log_prob
    density = {"log_prob": log_prob, "box": box, "samples": X[:, :2], "resolution": 4, "title": "t"}
    yield Call("plot.density", plot.density, density)
    yield Call("plot.points", plot.points, {"samples": X[:, :2], "title": "t"})
    path = Path(FOLDER.name, "points.png")
    yield Call("plot.save", plot.save, {"figure": plot.points(X[:, :2]), "path": path})


def calls() -> dict[str, Call]:
    """Return all calls by name, also those of public_calls.py."""
    groups = low_level_calls, bijection_calls, model_calls, data_calls, other_calls
    return {call.name: call for group in groups for call in group()}
