"""MADE in tinygen and PyTorch: a training step on binary data, and sampling.

tinygen's sampler computes each hidden unit once; the naive sampler evaluates the whole network for every variable.

    python -m benchmarks.made [--threads 2] [--quick]
"""

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's convention

from benchmarks import timing
from benchmarks.twins.layers import masked_mlp
from tinygen.models import MADE


def training_step(variables: int, hidden: tuple[int, ...], batch: int, seconds: float) -> str:
    rng = np.random.default_rng(0)
    model = MADE((variables,), 2, rng, hidden=hidden)
    x = rng.integers(0, 2, (batch, variables)).astype(np.uint8)
    twin = masked_mlp(model.net)
    torch_x = torch.from_numpy(x.astype(np.float32))

    def loss() -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(twin(torch_x * 2 - 1), torch_x, reduction="sum") / batch

    ours = timing.tinygen_steps(model, x, rng=rng)
    theirs = {"PyTorch": timing.torch_step(loss, twin)}
    sizes = "-".join(map(str, (variables, *hidden, variables)))
    return timing.training_row(f"{sizes}, batch {batch}", ours, theirs, rounds=7, seconds=seconds)


def sampling(n: int, variables: int, hidden: tuple[int, ...]) -> str:
    model = MADE((variables,), 2, np.random.default_rng(0), hidden=hidden)
    twin = masked_mlp(model.net)

    def naive() -> None:
        with torch.no_grad():
            x = torch.zeros(n, variables)
            for i in range(variables):
                x[:, i] = torch.bernoulli(torch.sigmoid(twin(x * 2 - 1)[:, i]))

    ours, theirs = timing.median_seconds(lambda: model.sample(n, np.random.default_rng(1)), naive)
    return timing.sampling_row(f"{n} examples of {variables} variables", ours, theirs)


if __name__ == "__main__":
    args = timing.parse_arguments(__doc__)
    variables, hidden, batch, n = (64, (50, 50), 10, 4) if args.quick else (784, (500, 500), 100, 64)
    print(timing.STEP_HEADER)
    print(training_step(variables, hidden, batch, 0.01 if args.quick else 1.0), flush=True)
    print(timing.SAMPLING_HEADER)
    print(sampling(n, variables, hidden))
