"""PixelCNN and Gated PixelCNN in tinygen and PyTorch: a training step on binary images, and sampling.

tinygen's sampler caches activations; the naive sampler evaluates the network on the whole image for every pixel.

    python -m benchmarks.pixelcnn [--threads 2] [--quick]
"""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's convention

from benchmarks import timing
from benchmarks.twins.pixelcnn import TorchGatedPixelCNN, TorchPixelCNN
from tinygen.models import GatedPixelCNN, PixelCNN

KINDS: dict[str, tuple[Any, Any, str]] = {  # model, twin, name of the argument for the depth
    "PixelCNN": (PixelCNN, TorchPixelCNN, "blocks"),
    "Gated PixelCNN": (GatedPixelCNN, TorchGatedPixelCNN, "layers"),
}
MAX_PIXELS_PER_SHARD = 16 * 28 * 28  # the activations of larger shards do not fit in the CPU caches


def make(kind: str, side: int, channels: int, layers: int) -> tuple[Any, list[nn.Module]]:
    """Return a network and its twins in both memory formats."""
    model_class, twin_class, depth = KINDS[kind]
    model = model_class((side, side, 1), 2, np.random.default_rng(0), channels=channels, **{depth: layers})
    return model, [twin_class(model).to(memory_format=layout) for layout in timing.LAYOUTS.values()]


def training_step(kind: str, batch: int, side: int, channels: int, layers: int, seconds: float) -> str:
    rng = np.random.default_rng(1)
    model, twins = make(kind, side, channels, layers)
    x = rng.integers(0, 2, (batch, side, side, 1))
    target, theirs = torch.from_numpy(x[..., 0]), {}
    for twin, (name, layout) in zip(twins, timing.LAYOUTS.items(), strict=True):
        image = torch.from_numpy(x.transpose(0, 3, 1, 2).astype(np.float32)).contiguous(memory_format=layout)

        def loss(twin: nn.Module = twin, image: torch.Tensor = image) -> torch.Tensor:
            return F.cross_entropy(twin(image), target, reduction="sum") / batch

        theirs[name] = timing.torch_step(loss, twin)
    shards = max(torch.get_num_threads(), batch * side**2 // MAX_PIXELS_PER_SHARD)
    ours = timing.tinygen_steps(model, x, rng=rng, shards=shards)
    label = f"{kind}, {layers} layers of {channels}, {batch} images of {side}×{side}, {shards} shards"
    return timing.training_row(label, ours, theirs, seconds=seconds)


def sampling(kind: str, n: int, side: int, channels: int, layers: int) -> str:
    """Compare samplers; the naive one draws only some pixels on the diagonal, and its time is scaled up."""
    model, twins = make(kind, side, channels, layers)
    x = model.sample(n, np.random.default_rng(1))
    pixels = side if n < 100 else 4  # with many images, four pixels take long enough to be timed
    naive = [partial(sample_naively, twin, x, pixels) for twin in twins]
    ours, *theirs = timing.median_seconds(lambda: model.sample(n, np.random.default_rng(1)), *naive)
    label = f"{kind}, {layers} layers of {channels}, {n} images of {side}×{side}"
    return timing.sampling_row(label, ours, min(theirs) * side**2 / pixels)


def sample_naively(twin: nn.Module, x: np.ndarray, pixels: int) -> None:
    image = torch.from_numpy(x.transpose(0, 3, 1, 2).astype(np.float32))
    with torch.no_grad():
        for pixel in range(pixels):
            i = pixel * image.shape[2] // pixels
            logits = twin(image)[:, :, i, i]
            image[:, 0, i, i] = torch.multinomial(F.softmax(logits, 1), 1)[:, 0].float()


if __name__ == "__main__":
    args = timing.parse_arguments(__doc__)
    sizes = [(64, 8, 32, 5, 1.0), (64, 28, 32, 8, 3.0), (64, 28, 64, 5, 3.0)]
    print(timing.STEP_HEADER)
    for kind in KINDS:
        for size in [(4, 8, 8, 2, 0.01)] if args.quick else sizes:
            print(training_step(kind, *size), flush=True)
    print(timing.SAMPLING_HEADER)
    for kind in KINDS:
        for n in (2,) if args.quick else (1, 16, 256):
            print(sampling(kind, n, *((8, 8, 2) if args.quick else (28, 32, 8))), flush=True)
