"""A valid call of every public function, constructor and method of the engine, the layers and the distributions.

They and those of public_model_calls.py are the starting points of test_public_api.py. Every argument has a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

import tinygen.autograd as ag
from tinygen import distributions, kernels, nn
from tinygen.autograd import Parameter, Tensor, taps
from tinygen.nn import init

RNG = np.random.default_rng(0)
X = np.array([[0.5, -1.0, 0.25, 2.0], [1.0, 0.75, -0.5, -2.0]])  # (2, 4)
SQUARE = np.array([[2.0, 0.5], [-0.25, 1.0]])
IMAGES = RNG.standard_normal((2, 4, 4, 2))
BITS = (RNG.random((2, 4, 4, 1)) < 0.5).astype(np.int64)
TAPS = taps.square(3)


Arguments = Mapping[str, Any]


class Call(NamedTuple):
    """A call that succeeds: the function and its arguments by name."""

    name: str
    function: Callable[..., Any]
    arguments: Arguments


def is_named(message: str, call: Call, replaced: dict[str, Any]) -> bool:
    """Return whether a message names a replaced argument.

    Numbers that do not fit with another argument may be reported as that one's fault, or with the name of the operation
    and all shapes, as in NumPy. A model that has diverged may say so.
    """
    names, own = "|".join(replaced), call.name.rpartition(".")[2]
    if any(map(is_numeric, replaced.values())):
        names = "|".join([*call.arguments, rf"^{own}", *"xz" * call.name.startswith("bijections.Inverse")])
    return bool(re.search(rf"\b({names})\b(\[\w+\])?(, \w+)*( and \w+)?:|has diverged", message))


def is_numeric(value: Any) -> bool:
    try:
        return np.asarray(value).dtype.kind in "fiub"
    except (TypeError, ValueError):
        return False


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def of_class(name: str, cls: Any, arguments: Arguments, **methods: Arguments) -> Iterator[Call]:
    """Yield a call of the constructor and of methods, each on a new object."""
    yield Call(name, cls, arguments)
    for method, method_arguments in methods.items():
        yield Call(f"{name}.{method}", getattr(cls(**arguments), method), method_arguments)


def _square(x: Any) -> Tensor:
    return ag.sum(ag.multiply(x, x))


UNARY = (
    "abs", "cos", "erf", "exp", "expm1", "log_ndtr", "log_normal", "log_sigmoid", "ndtri_sigmoid", "negative",
    "one_minus_square", "relu", "sigmoid", "sin", "softplus", "tanh", "gated_activation",
)  # fmt: skip
REDUCTIONS = ("logsumexp", "max", "mean", "min", "sum")
BINARY = ("add", "divide", "maximum", "minimum", "multiply", "subtract")
CONV: Arguments = {
    "x": IMAGES, "w": np.ones((9, 2, 3)), "taps": TAPS, "stride": 1, "size": (4, 4), "residual": np.ones((4, 4, 3)),
    "bias": np.ones(3), "relu": True,
}  # fmt: skip
CONV_TRANSPOSE: Arguments = {
    "y": IMAGES, "w": np.ones((9, 3, 2)), "taps": TAPS, "stride": 2, "size": (8, 8), "residual": np.ones((8, 8, 3)),
    "bias": np.ones(3),
}  # fmt: skip
CONV_WEIGHT: Arguments = {"x": IMAGES, "y": IMAGES, "taps": TAPS, "stride": 1}
OUTPUT = _square(INPUT := Tensor(X))
WITH_OPTIONS: dict[str, Arguments] = {
    "astype": {"x": X, "dtype": np.float32},
    "bernoulli_log_prob": {"logits": X, "k": np.array([[0, 1, 0, 1], [1, 1, 0, 0]])},
    "broadcast_to": {"x": X, "shape": (3, 2, 4)},
    "categorical_log_prob": {"logits": X, "k": np.array([3, 0])},
    "cholesky": {"x": SQUARE @ SQUARE.T, "upper": True},
    "clip": {"x": X, "low": -1.0, "high": 1.0},
    "concatenate": {"tensors": [X, X], "axis": 0},
    "conv": CONV,
    "conv_transpose": CONV_TRANSPOSE,
    "conv_weight": CONV_WEIGHT,
    "cumprod": {"x": X, "axis": 1},
    "cumsum": {"x": X, "axis": 1},
    "grad": {"output": OUTPUT, "inputs": [INPUT], "cotangent": 2.0, "create_graph": True, "allow_unreached": True},
    "hessian": {"f": _square},
    "hvp": {"f": _square, "x": X, "v": X},
    "index": {"x": X, "key": 0},
    "inv": {"x": SQUARE},
    "jacobian": {"f": _square},
    "jvp": {"f": _square, "xs": [X], "tangents": [X]},
    "leaky_relu": {"x": X, "slope": 0.1},
    "linear": {"x": X, "w": np.ones((4, 3)), "b": np.ones(3), "relu": True, "residual": np.ones((2, 3))},
    "log": {"x": np.abs(X)},
    "log1p": {"x": np.abs(X)},
    "log_softmax": {"x": X, "axis": 0},
    "logabsdet": {"x": SQUARE},
    "lstm": {"x": np.ones((2, 3, 8)), "u": np.ones((2, 8))},
    "mlp": {"x": X, "weights": [np.ones((4, 2))], "biases": [np.ones(2)], "activation": ag.relu},
    "lstm_cell": {"a": np.ones((2, 8)), "c": np.ones((2, 2))},
    "matmul": {"a": X, "b": X.T},
    "mixture_cdf": {"x": X, "parameters": np.ones(6)},
    "norm": {"x": X, "ord": 2, "axis": 1, "keepdims": True},
    "pad": {"x": X, "widths": ((1, 1), (0, 2))},
    "power": {"a": np.abs(X), "b": 2.0},
    "prod": {"x": X, "axis": 1, "keepdims": True},
    "put_along_axis": {"x": X, "indices": np.array([[0, 1, 2, 3], [3, 2, 1, 0]]), "axis": 1, "shape": (2, 4)},
    "repeat": {"x": X, "repeats": 2, "axis": 1},
    "reshape": {"x": X, "shape": (4, 2)},
    "scatter_add": {"x": X, "key": (slice(0, 2),), "shape": (3, 4)},
    "softmax": {"x": X, "axis": 0},
    "solve": {"a": SQUARE, "b": SQUARE},
    "sort": {"x": X, "axis": 1},
    "split": {"x": X, "sections": 2, "axis": 1},
    "sqrt": {"x": np.abs(X)},
    "squeeze": {"x": X[:1], "axis": 0},
    "stack": {"tensors": [X, X], "axis": 0},
    "std": {"x": X, "axis": 1, "ddof": 1, "keepdims": True},
    "sum_to": {"x": X, "shape": (1, 4)},
    "take_along_axis": {"x": X, "indices": np.array([[0], [1]]), "axis": 1},
    "to_dot": {"output": _square(Tensor(X))},
    "transpose": {"x": X, "axes": (1, 0)},
    "value_and_grad": {"f": _square, "inputs": [Tensor(X)], "allow_unreached": True},
    "var": {"x": X, "axis": 1, "ddof": 1, "keepdims": True},
    "where": {"condition": X > 0, "a": X, "b": X},
}


def autograd_calls() -> Iterator[Call]:
    for name in UNARY:
        yield Call(f"autograd.{name}", getattr(ag, name), {"x": X})
    for name in REDUCTIONS:
        yield Call(f"autograd.{name}", getattr(ag, name), {"x": X, "axis": 0, "keepdims": True})
    for name in BINARY:
        yield Call(f"autograd.{name}", getattr(ag, name), {"a": X, "b": X})
    for name, arguments in WITH_OPTIONS.items():
        yield Call(f"autograd.{name}", getattr(ag, name), arguments)
    einsum = {"subscripts": "ij,kj->ik", "operands": X}
    yield Call("autograd.einsum", lambda subscripts, operands: ag.einsum(subscripts, operands, X), einsum)
    yield Call("autograd.vjp", lambda f, xs: ag.vjp(f, xs), {"f": _square, "xs": X})
    yield Call("autograd.Tensor", Tensor, {"value": X, "dtype": np.float32})
    yield Call("autograd.Tensor.astype", Tensor(X).astype, {"dtype": np.float32})
    yield Call("autograd.Tensor.transpose", lambda axes: Tensor(X).transpose(axes), {"axes": (1, 0)})
    for name in ("var", "std"):
        yield Call(f"autograd.Tensor.{name}", getattr(Tensor(X), name), {"axis": 0, "ddof": 1, "keepdims": True})
    for name in ("cumprod", "cumsum"):
        yield Call(f"autograd.Tensor.{name}", getattr(Tensor(X), name), {"axis": 0})
    yield Call("autograd.Tensor.squeeze", Tensor(X[:1]).squeeze, {"axis": 0})
    yield Call("autograd.Tensor.repeat", Tensor(X).repeat, {"repeats": 2, "axis": 0})
    for name in ("sum", "mean", "prod", "max", "min"):
        yield Call(f"autograd.Tensor.{name}", getattr(Tensor(X), name), {"axis": 0, "keepdims": True})
    parameter = {"value": X, "dtype": np.float32}
    yield from of_class("autograd.Parameter", Parameter, parameter, assign={"value": X, "dtype": np.float64})
    yield Call("autograd.taps.square", taps.square, {"size": 3, "start": 0})
    yield Call("autograd.taps.dilated", taps.dilated, {"size": 2, "dilation": 4, "centre": True})
    yield Call("autograd.taps.rectangle", taps.rectangle, {"rows": range(2), "columns": range(3)})
    yield Call("autograd.taps.point", taps.point, {"axes": 2})
    for name in ("causal", "vertical", "horizontal"):
        yield Call(f"autograd.taps.{name}", getattr(taps, name), {"size": 3, "centre": True})


def kernel_calls() -> Iterator[Call]:
    terms = {"bias": np.ones(2), "relu": True, "residual": np.ones((2, 2))}
    yield Call("kernels.product", kernels.product, {"a": X, "b": X.T, **terms})
    yield Call("kernels.gated_activation", kernels.gated_activation, {"x": X})
    yield Call("kernels.gated_activation_vjp", kernels.gated_activation_vjp, {"x": X, "g": X[:, :2]})
    yield Call("kernels.conv", kernels.conv, CONV)
    yield Call("kernels.conv_transpose", kernels.conv_transpose, CONV_TRANSPOSE)
    yield Call("kernels.conv_weight", kernels.conv_weight, CONV_WEIGHT)
    position = {"w": np.ones((1, 4, 3)), "b": np.ones(3), "relu": True}
    starts, places = np.zeros(1, np.int64), np.array([[0, 2]])
    gate, layer, relu = (kernels.AtPosition(np.ones((1, 4, n)), None, n == 5) for n in (8, 4, 5))
    arrays = {"inputs": np.ones((4, 4)), "places": places, "n": 2, "h": X}
    gated, units = {"context": np.ones((1, 2, 8)), "skip": X}, {"gates": [gate], "residuals": [layer], "skips": [layer]}
    yield from of_class("kernels.GatedUnits", kernels.GatedUnits, {**units, "taps": 1}, __call__={**arrays, **gated})
    conv, expand = kernels.AtPosition(np.ones((1, 5, 5)), None, True), kernels.AtPosition(np.ones((1, 5, 4)), None)
    blocks = {"convs": [conv], "reduces": [relu], "expands": [expand], "taps": 1}
    arrays |= {"inputs": np.ones((4, 5)), "context": np.ones((1, 2, 5))}
    yield from of_class("kernels.BottleneckBlocks", kernels.BottleneckBlocks, blocks, __call__=arrays)
    at = {"x": X, "starts": starts, "n": 2, "residual": np.ones((2, 3))}
    yield from of_class("kernels.AtPosition", kernels.AtPosition, position, __call__=at)


def nn_calls() -> Iterator[Call]:
    rng, zeros, mask = generator(), init.zeros, np.ones((4, 3))
    linear = {"n_in": 4, "n_out": 3, "rng": rng, "bias": True}
    yield from of_class("nn.Linear", nn.Linear, {**linear, "init": zeros}, __call__={"x": X, "activation": ag.tanh})
    conv = {"n_in": 2, "n_out": 3, "taps": TAPS, "rng": rng, "stride": 1, "bias": True, "init": zeros}
    x = {"x": IMAGES, "cache": None, "residual": np.ones(3), "activation": ag.relu}
    yield from of_class("nn.Conv", nn.Conv, conv, __call__=x, weights={"mask": None})
    y = {"y": IMAGES, "size": (4, 4)}
    yield from of_class("nn.ConvTranspose", nn.ConvTranspose, conv, __call__=y)
    yield from of_class("nn.Embedding", nn.Embedding, {"n": 5, "dim": 3, "rng": rng}, __call__={"k": np.array([0, 4])})
    state = np.ones((2, 3)), np.ones((2, 3))
    lstm = {"n_in": 4, "n_out": 3, "rng": rng}
    step = {"x": X, "state": state}
    yield from of_class("nn.LSTM", nn.LSTM, lstm, __call__={"x": X[None]}, step=step, initial_state={"n": 2})
    mlp = {"n_in": 4, "hidden": (8,), "n_out": 3, "rng": rng, "activation": ag.tanh, "init": zeros}
    yield from of_class("nn.MLP", nn.MLP, mlp, __call__={"x": X})
    masked = {"x": X, "mask": mask, "cache": None, "residual": np.ones(3)}
    linear["relu"] = True
    yield from of_class("nn.MaskedLinear", nn.MaskedLinear, linear, __call__=masked, weights={"mask": mask})
    masked_conv = {"n_in": 2, "n_out": 3, "taps": taps.causal(3), "rng": rng}
    mask = np.ones((2, 3))
    masked = {"x": IMAGES, "mask": mask, "cache": None, "residual": np.ones(3)}
    yield from of_class("nn.MaskedConv", nn.MaskedConv, masked_conv, __call__=masked, weights={"mask": mask})
    yield from _masked_mlp(rng)
    yield Call("nn.Sequential", lambda layers: nn.Sequential(layers), {"layers": ag.tanh})
    yield Call("nn.Sequential.__call__", nn.Sequential(ag.tanh).__call__, {"x": X, "cache": None})
    yield Call("nn.dropout", nn.dropout, {"x": Tensor(X), "rate": 0.5, "rng": generator()})
    yield Call("nn.ActivationCache", nn.ActivationCache, {"n": 2, "size": (4, 4), "overwrite": True})
    layer = nn.Conv(2, 3, taps.causal(3, centre=True), rng)
    cache = nn.ActivationCache(2, (4, 4), overwrite=True)
    cache.position = (0, 0)
    at = {"layer": layer, "x": X[:, :2], "residual": np.ones(3), "mask": None}
    yield Call("nn.ActivationCache.evaluate", cache.evaluate, at)
    yield Call("nn.ActivationCache.filling", _fill, {"known": 4})
    yield Call("nn.ActivationCache.write", cache.write, {"pixel": X[:, :2]})
    pointwise = nn.Conv(2, 4, taps.point(2), rng)
    units = [(nn.Conv(4, 4, taps.causal(3, centre=True), rng), pointwise, pointwise)]
    arrays = {"h": X, "total": 0.0, "context": [np.ones((1, 4))]}
    yield Call("nn.ActivationCache.gated_units", cache.gated_units, {"units": units, **arrays})
    ends = nn.MaskedLinear(4, 2, rng, relu=True), nn.MaskedLinear(2, 4, rng)
    blocks = [(ends[0], nn.MaskedConv(2, 2, taps.causal(3), rng), ends[1])]
    blocks_at = {"blocks": blocks, "masks": (None, None, None), "h": X, "context": [np.ones((1, 2))]}
    yield Call("nn.ActivationCache.bottleneck_blocks", cache.bottleneck_blocks, blocks_at)
    shape = {"shape": (4, 3), "fans": (4, 3), "rng": rng}
    for name in ("glorot_uniform", "he_normal", "zeros"):
        yield Call(f"nn.init.{name}", getattr(init, name), shape)
    yield Call("nn.init.normal", init.normal, {"shape": (4, 3), "std": 1.0, "rng": rng})
    yield Call("nn.init.orthogonal", init.orthogonal, {"n": 3, "rng": rng})
    yield Call("nn.init.hyperplane_bias", init.hyperplane_bias, {"w": X, "rng": rng})
    yield Call("nn.Module.astype", nn.Linear(2, 2, rng).astype, {"dtype": np.float32})
    linear_layer = nn.Linear(2, 2, rng)
    yield Call("nn.Module.load", linear_layer.load, {"state": linear_layer.state()})


def _fill(known: Any) -> None:
    with nn.ActivationCache(2, (4, 4)).filling(known):
        pass


def _masked_mlp(rng: np.random.Generator) -> Iterator[Call]:
    arguments: Arguments = {
        "variables": 4, "width": 2, "rng": rng, "hidden": (8,), "orders": [np.arange(4)], "context": 3,
        "activation": ag.relu, "direct": True,
    }  # fmt: skip
    inputs = {"x": X, "context": np.ones((2, 3)), "order_index": 0}
    index = {"order_index": 0}
    call = {**inputs, "weights": nn.MaskedMLP(**arguments).weights(), "variable": 2}
    net = of_class(
        "nn.MaskedMLP", nn.MaskedMLP, arguments, __call__=call, order=index, weights=index, one_by_one=inputs
    )
    yield from net


def distribution_calls() -> Iterator[Call]:
    k, rng = np.array([0, 1]), generator()
    outputs: dict[str, tuple[Any, Arguments, Any, Any]] = {
        "Categorical": (distributions.Categorical, {"levels": 4}, X, k),
        "Bernoulli": (distributions.Bernoulli, {}, X[:, :1], k),
        "DiscretizedLogistics": (distributions.DiscretizedLogistics, {"levels": 4, "components": 1}, X[:, :3], k),
        "Gaussian": (distributions.Gaussian, {"scale": 2.0}, X[:, :1], X[:, 0]),
    }
    for name, (cls, arguments, parameters, values) in outputs.items():
        log_prob, sample = {"parameters": parameters, "k": values}, {"parameters": parameters, "rng": rng}
        yield from of_class(f"distributions.{name}", cls, arguments, log_prob=log_prob, sample=sample)
    for cls in (distributions.StandardNormal, distributions.StandardUniform):
        x, n = {"x": np.abs(X) / 3}, {"n": 3, "rng": rng}
        yield from of_class(f"distributions.{cls.__name__}", cls, {"shape": (4,)}, log_prob=x, sample=n)
    yield Call("distributions.sample_categorical", distributions.sample_categorical, {"logits": X, "rng": rng})
    yield Call("distributions.bits_per_dim", distributions.bits_per_dim, {"nats": 3.0, "dims": 4})
    event = {"output": distributions.Bernoulli(), "parameters": Tensor(X[..., None]), "x": (X > 0).astype(int)}
    yield Call("distributions.event_log_prob", distributions.event_log_prob, event)


def low_level_calls() -> Iterator[Call]:
    for group in (autograd_calls, kernel_calls, nn_calls, distribution_calls):
        yield from group()
