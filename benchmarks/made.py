"""MADE in tinygen and PyTorch: a training step on binary data, and sampling.

tinygen's sampler computes each hidden unit once; the naive sampler evaluates the whole network for every variable.

    python -m benchmarks.made [--threads 2] [--quick] [--save]
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's convention

from benchmarks import timing
from benchmarks.record import Row, report
from benchmarks.twins.layers import masked_mlp
from tinygen.models import MADE


def steps(variables: int, hidden: tuple[int, ...], batch: int) -> timing.Steps:
    rng = np.random.default_rng(0)
    model = MADE((variables,), 2, rng, hidden=hidden)
    x = rng.integers(0, 2, (batch, variables)).astype(np.uint8)

    def in_torch() -> timing.Step:
        twin, torch_x = masked_mlp(model.net), torch.from_numpy(x.astype(np.float32))

        def loss() -> torch.Tensor:
            return F.binary_cross_entropy_with_logits(twin(torch_x * 2 - 1), torch_x, reduction="sum") / batch

        return timing.torch_step(loss, twin)

    return {**timing.tinygen_steps(model, x, rng=rng), "PyTorch": in_torch}


def cases(quick: bool) -> Iterator[timing.Case]:
    variables, hidden, batch, seconds = (64, (50, 50), 10, 0.01) if quick else (784, (500, 500), 100, 0.5)
    name = f"MADE, {'-'.join(map(str, (variables, *hidden, variables)))}, batch {batch}"
    yield timing.Case(name, batch, partial(steps, variables, hidden), seconds=seconds, rounds=7)


def sampling(n: int, variables: int, hidden: tuple[int, ...]) -> Row:
    model = MADE((variables,), 2, np.random.default_rng(0), hidden=hidden)
    twin = masked_mlp(model.net)

    def naive() -> None:
        with torch.no_grad():
            x = torch.zeros(n, variables)
            for i in range(variables):
                x[:, i] = torch.bernoulli(torch.sigmoid(twin(x * 2 - 1)[:, i]))

    ours, theirs = timing.median_seconds(lambda: model.sample(n, np.random.default_rng(1)), naive)
    return timing.sampling_row(f"MADE, {n} examples of {variables} variables", ours, theirs)


def rows(quick: bool) -> Iterator[Row]:
    yield from timing.training_rows(cases(quick))
    yield sampling(*((4, 64, (50, 50)) if quick else (64, 784, (500, 500))))


if __name__ == "__main__":
    args = timing.parse_arguments(__doc__)
    report("made", rows(args.quick), args)
