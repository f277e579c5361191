"""A small multilayer perceptron in tinygen, PyTorch and JAX: one training step.

Three 64×64 layers with tanh or ReLU between them, mean squared error, batch of 256, Adam, float32.

    python -m benchmarks.mlp [--threads 2] [--quick] [--save]
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from benchmarks import timing
from benchmarks.record import report
from benchmarks.twins.layers import linear
from tinygen import Tensor
from tinygen.autograd import relu, tanh
from tinygen.nn import MLP, Module
from tinygen.nn.init import glorot_uniform

ACTIVATIONS = {"tanh": (tanh, nn.Tanh()), "relu": (relu, nn.ReLU())}


class Regression(Module):
    """Three linear layers and the mean squared error."""

    def __init__(self, width: int, activation: str, rng: np.random.Generator) -> None:
        self.net = MLP(width, (width, width), width, rng, activation=ACTIVATIONS[activation][0], init=glorot_uniform)

    def loss(self, x: np.ndarray, target: np.ndarray, rng: np.random.Generator) -> Tensor:
        error = self.net(x) - target
        return (error * error).mean()


def steps(activation: str, width: int, batch: int) -> timing.Steps:
    rng = np.random.default_rng(0)
    model = Regression(width, activation, rng)
    x, target = rng.standard_normal((2, batch, width), dtype=np.float32)

    layers = [*model.net.layers, model.net.last]

    def in_torch() -> timing.Step:
        parts: list[nn.Module] = []
        for layer in layers:
            parts += [linear(layer), ACTIVATIONS[activation][1]]
        twin, torch_x, torch_target = nn.Sequential(*parts[:-1]), torch.from_numpy(x), torch.from_numpy(target)
        return timing.torch_step(lambda: nn.functional.mse_loss(twin(torch_x), torch_target), twin)

    def in_jax() -> timing.Step:
        import jax

        from benchmarks.twins import jax_models as twins

        parameters, apply = twins.mlp(layers, {"tanh": jax.numpy.tanh, "relu": jax.nn.relu}[activation])
        loss = lambda p, key, x, target: ((apply(p, x) - target) ** 2).mean()
        return twins.training_step(loss, parameters, lambda: (x, target))

    ours = {"tinygen": lambda: timing.tinygen_step(model, x, target, rng=rng)}
    return {**ours, "PyTorch": in_torch, **timing.if_installed(in_jax)}


def cases(quick: bool) -> Iterator[timing.Case]:
    for activation in ACTIVATIONS:
        yield timing.Case(
            f"MLP, three 64×64 layers, {activation}, batch 256",
            256,
            lambda batch, activation=activation: steps(activation, 64, batch),  # type: ignore[misc]
            seconds=0.01 if quick else 0.3,
            rounds=7,
        )


if __name__ == "__main__":
    args = timing.parse_arguments(__doc__)
    report("mlp", timing.training_rows(cases(args.quick)), args)
