"""A small multilayer perceptron beside PyTorch: same weights, same batch, same number of threads, one process.

Three 64×64 layers, tanh or relu between them, mean squared error on a batch of 256; forward, backward, Adam; float32.

    python -m benchmarks.mlp [--threads 2]
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch import nn as torch_nn

from benchmarks.timing import medians
from tinygen import Tensor, value_and_grad
from tinygen.autograd import relu, tanh
from tinygen.autograd.kernels.threads import set_threads
from tinygen.nn import Linear, Sequential
from tinygen.optim import Adam

ACTIVATIONS = {"tanh": (tanh, torch_nn.Tanh), "relu": (relu, torch_nn.ReLU)}


def row(name: str, width: int = 64, batch: int = 256) -> str:
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
    torch_optimizer = torch.optim.Adam(twin.parameters(), 1e-3)

    def torch_step() -> float:
        torch_optimizer.zero_grad()
        value = torch_nn.functional.mse_loss(twin(torch_x), torch_target)
        value.backward()
        torch_optimizer.step()
        return float(value.item())

    for _ in range(3):  # the same descent, so the same network
        np.testing.assert_allclose(step(), torch_step(), rtol=1e-4)
    times = medians({"tinygen": step, "PyTorch": torch_step}, rounds=7, seconds=0.3)
    ours, theirs = times["tinygen"], times["PyTorch"]
    return f"| three {width}×{width} layers, {name}, batch {batch} | {ours:.3f} | {theirs:.3f} | {ours / theirs:.2f} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    set_threads(arguments.threads)
    print(f"| training step, ms, {arguments.threads} threads | tinygen | PyTorch | ratio |\n|---|---|---|---|")
    for activation in ACTIVATIONS:
        print(row(activation))
