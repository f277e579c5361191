"""A small multilayer perceptron in tinygen and PyTorch: one training step.

Three 64×64 layers with tanh or ReLU between them, mean squared error, batch of 256, Adam, float32.

    python -m benchmarks.mlp [--threads 2] [--quick]
"""

import numpy as np
import torch
from torch import nn

from benchmarks import timing
from benchmarks.twins.layers import linear
from tinygen import Tensor, value_and_grad
from tinygen.autograd import relu, tanh
from tinygen.nn import Linear, Sequential
from tinygen.optim import Adam

ACTIVATIONS = {"tanh": (tanh, nn.Tanh()), "relu": (relu, nn.ReLU())}


def training_step(name: str, seconds: float, width: int = 64, batch: int = 256) -> str:
    rng = np.random.default_rng(0)
    activation, torch_activation = ACTIVATIONS[name]
    layers = [Linear(width, width, rng) for _ in range(3)]
    model = Sequential(layers[0], activation, layers[1], activation, layers[2])
    first, middle, last = map(linear, layers)
    twin = nn.Sequential(first, torch_activation, middle, torch_activation, last)
    x, target = rng.standard_normal((2, batch, width), dtype=np.float32)
    torch_x, torch_target = torch.from_numpy(x), torch.from_numpy(target)
    optimizer = Adam(model.parameters(), 1e-3)

    def loss() -> Tensor:
        error = model(x) - target
        return (error * error).mean()

    derivative = value_and_grad(loss, model.parameters())

    def step() -> float:
        value, gradients = derivative()
        optimizer.step(gradients)
        return value.item()

    theirs = {"PyTorch": timing.torch_step(lambda: nn.functional.mse_loss(twin(torch_x), torch_target), twin)}
    label = f"three {width}×{width} layers, {name}, batch {batch}"
    return timing.training_row(label, {"tinygen": step}, theirs, rounds=7, seconds=seconds)


if __name__ == "__main__":
    args = timing.parse_arguments(__doc__)
    print("| training step, ms | tinygen | PyTorch | ratio |\n|---|---|---|---|")
    for activation in ACTIVATIONS:
        print(training_step(activation, 0.01 if args.quick else 0.3), flush=True)
