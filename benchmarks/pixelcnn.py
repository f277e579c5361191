"""PixelCNN and Gated PixelCNN in tinygen, PyTorch and JAX: a training step on binary images, and sampling.

Two PyTorch samplers: one caches activations, like tinygen's; the naive one evaluates the whole image for every pixel.

    python -m benchmarks.pixelcnn [--threads 2] [--quick] [--save]
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's convention

from benchmarks import timing
from benchmarks.record import Row, report
from benchmarks.twins.cached import GatedPixelCNNSampler, check_logits
from benchmarks.twins.pixelcnn import TorchGatedPixelCNN, TorchPixelCNN
from tinygen.models import GatedPixelCNN, PixelCNN

KINDS: dict[str, tuple[Any, Any, str]] = {  # model, twin, name of the argument for the depth
    "PixelCNN": (PixelCNN, TorchPixelCNN, "blocks"),
    "Gated PixelCNN": (GatedPixelCNN, TorchGatedPixelCNN, "layers"),
}
MAX_PIXELS_PER_SHARD = 16 * 28 * 28  # the activations of larger shards do not fit in the CPU caches


def make(kind: str, side: int, channels: int, layers: int) -> Any:
    model_class, _, depth = KINDS[kind]
    return model_class((side, side, 1), 2, np.random.default_rng(0), channels=channels, **{depth: layers})


def as_image(x: np.ndarray, layout: torch.memory_format) -> torch.Tensor:
    return torch.from_numpy(x.transpose(0, 3, 1, 2).astype(np.float32)).contiguous(memory_format=layout)


def steps(kind: str, side: int, channels: int, layers: int, batch: int, *, jax: bool = False) -> timing.Steps:
    rng, model = np.random.default_rng(1), make(kind, side, channels, layers)
    x = rng.integers(0, 2, (batch, side, side, 1))

    def in_torch(layout: torch.memory_format) -> timing.Step:
        twin, target = KINDS[kind][1](model).to(memory_format=layout), torch.from_numpy(x[..., 0])
        image = as_image(x, layout)
        return timing.torch_step(lambda: F.cross_entropy(twin(image), target, reduction="sum") / batch, twin)

    def in_jax() -> timing.Step:
        from benchmarks.twins import jax_models as twins

        parameters, loss = twins.gated_pixelcnn_loss(model)
        return twins.training_step(loss, parameters, lambda: (x,))

    shards = max(torch.get_num_threads(), batch * side**2 // MAX_PIXELS_PER_SHARD)
    theirs = {f"PyTorch, {name}": partial(in_torch, layout) for name, layout in timing.LAYOUTS.items()}
    return {
        **timing.tinygen_steps(model, x, rng=rng, shards=shards),
        **theirs,
        **(timing.if_installed(in_jax) if jax else {}),
    }


def cases(quick: bool) -> Iterator[timing.Case]:
    sizes = [(4, 8, 8, 2)] if quick else [(64, 28, 32, 8), (64, 28, 64, 5), (64, 8, 32, 5)]
    for kind in KINDS:
        for batch, side, channels, layers in sizes:
            name = f"{kind}, {layers} layers of {channels}, {batch} images of {side}×{side}"
            jax = kind == "Gated PixelCNN" and channels < 64
            build = partial(steps, kind, side, channels, layers, jax=jax)
            yield timing.Case(name, batch, build, seconds=0.01 if quick else 1.0, rounds=3 if side == 28 else 5)


def sampling(kind: str, n: int, side: int, channels: int, layers: int) -> Row:
    """Compare samplers; the naive one draws only some pixels on the diagonal, and its time is scaled up."""
    model = make(kind, side, channels, layers)
    twins = [KINDS[kind][1](model).to(memory_format=layout) for layout in timing.LAYOUTS.values()]
    x = model.sample(n, np.random.default_rng(1))
    pixels = side if n < 100 else 4  # with many images, four pixels take long enough to be timed
    calls = [lambda: model.sample(n, np.random.default_rng(1))]
    if kind == "Gated PixelCNN":
        cached = torch.no_grad()(partial(GatedPixelCNNSampler(twins[0]).sample, n, side, side))
        samples, logits = cached()
        check_logits(samples, logits, lambda x: twins[0](x[:, None].float()).permute(0, 2, 3, 1))
        calls.append(cached)
    naive = timing.median_seconds(
        *(partial(sample_naively, twin, x, pixels) for twin in twins), rounds=1 if n > 1 else 3
    )
    name = f"{kind}, {layers} layers of {channels}, {n} images of {side}×{side}"
    ours, *others = timing.median_seconds(*calls)
    return timing.sampling_row(name, ours, min(naive) * side**2 / pixels, *others)


def sample_naively(twin: nn.Module, x: np.ndarray, pixels: int) -> None:
    image = torch.from_numpy(x.transpose(0, 3, 1, 2).astype(np.float32))
    with torch.no_grad():
        for pixel in range(pixels):
            i = pixel * image.shape[2] // pixels
            logits = twin(image)[:, :, i, i]
            image[:, 0, i, i] = torch.multinomial(F.softmax(logits, 1), 1)[:, 0].float()


def rows(quick: bool) -> Iterator[Row]:
    yield from timing.training_rows(cases(quick))
    for kind in KINDS:
        for n in (2,) if quick else (1, 16, 256):
            yield sampling(kind, n, *((8, 8, 2) if quick else (28, 32, 8)))


if __name__ == "__main__":
    args = timing.parse_arguments(__doc__)
    report("pixelcnn", rows(args.quick), args)
