"""A small multilayer perceptron beside PyTorch: same weights, same batch, same number of threads, one process.

Three 64×64 layers, tanh or relu between them, mean squared error on a batch of 256; forward, backward, Adam; float32.

    python -m benchmarks.mlp [--threads 2] [--quick]
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn as torch_nn

from benchmarks.side_by_side import arguments, check_same_descent, torch_step
from benchmarks.timing import medians
from tinygen import Tensor, value_and_grad
from tinygen.autograd import relu, tanh
from tinygen.nn import Linear, Sequential
from tinygen.optim import Adam

ACTIVATIONS = {"tanh": (tanh, torch_nn.Tanh), "relu": (relu, torch_nn.ReLU)}


def row(name: str, seconds: float, width: int = 64, batch: int = 256) -> str:
    rng = np.random.default_rng(0)
    activation, torch_activation = ACTIVATIONS[name]
    linear = [Linear(width, width, rng) for _ in range(3)]
    model = Sequential(linear[0], activation, linear[1], activation, linear[2])
    x, target = rng.standard_normal((2, batch, width), dtype=np.float32)
    optimizer = Adam(model.parameters(), 1e-3)

    def loss() -> Tensor:
        error = model(x) - target
        return (error * error).mean()

    derivative = value_and_grad(loss, model.parameters())

    def step() -> float:
        value, gradients = derivative()
        optimizer.step(gradients)
        return value.item()

    torch_linear = [torch_nn.Linear(width, width) for _ in range(3)]
    for layer, torch_layer in zip(linear, torch_linear, strict=True):
        with torch.no_grad():
            torch_layer.weight.copy_(torch.from_numpy(layer.w.value.T.copy()))
            torch_layer.bias.zero_()
    twin = torch_nn.Sequential(
        torch_linear[0], torch_activation(), torch_linear[1], torch_activation(), torch_linear[2]
    )
    torch_x, torch_target = torch.from_numpy(x), torch.from_numpy(target)
    theirs = torch_step(lambda: torch_nn.functional.mse_loss(twin(torch_x), torch_target), twin)
    steps = {"tinygen": step, "PyTorch": theirs}
    check_same_descent(steps)
    times = medians(steps, rounds=7, seconds=seconds)
    figures = f"{times['tinygen']:.3f} | {times['PyTorch']:.3f} | {times['tinygen'] / times['PyTorch']:.2f}"
    return f"| three {width}×{width} layers, {name}, batch {batch} | {figures} |"


if __name__ == "__main__":
    given = arguments(__doc__, quick="too few repetitions to believe")
    print(f"| training step, ms, {given.threads} threads | tinygen | PyTorch | ratio |\n|---|---|---|---|")
    for activation in ACTIVATIONS:
        print(row(activation, 0.01 if given.quick else 0.3))
