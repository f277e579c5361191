"""Static binarised MNIST: what each model reaches on two cores, beside the published figures; in nats per image.

    python -m benchmarks.binarized_mnist gated_pixelcnn                              train, or go on, then validate
    python -m benchmarks.binarized_mnist gated_pixelcnn --split test --load CHECKPOINT      evaluate a trained model

A run writes `out/binarized_mnist/MODEL/`: a checkpoint that it goes on from exactly, whenever it is stopped, the
history, and metrics.json with the time it took over all its pieces. Published figures are of the test split, to which
this script is not shown unless told; a model is validated on the 10,000 images that are neither trained on nor tested.
The first 2,000 of these decide which of its parameters are kept, so the figure of the other 8,000 stands beside.

An autoregressive model's ln p(x) is exact. A VAE is trained by a bound of k codes for each image and validated, while
it trains, by that of 50; its final figure is the bound of 5000, as in the paper. The bound of 50 codes, ten times as
dear as that of 5, is trained from where that of 5 ends (`iwae50` looks for the run of `iwae5` beside its own).
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tinygen import no_grad, plot
from tinygen.autograd import Array
from tinygen.data import binarized_mnist
from tinygen.distributions import Bernoulli
from tinygen.files import write_atomically
from tinygen.models import MADE, VAE, GatedPixelCNN
from tinygen.models.autoregressive.base import Autoregressive
from tinygen.nn.networks.images import MLPDecoder, MLPEncoder
from tinygen.optim import EMA, AdamW, cosine
from tinygen.training import fit, load_checkpoint

SHAPE = (28, 28, 1)
WHILE_TRAINING, AT_THE_END = 50, 5000  # codes for each image, by which a VAE is validated
FIFTH = 5  # this part of the validation images decides, while a model is trained, which of its parameters are kept

Model = Autoregressive | VAE


@dataclass(frozen=True)
class Recipe:
    """A model, how it is trained, and what has been published of its kind (test nats per image)."""

    model: Callable[[np.random.Generator], Model]
    learning_rate: float
    batch_size: int
    epochs: int
    published: str
    average: float = 0.9995  # decay of the moving average of the parameters, which is what is kept
    shards: int = 2
    k: int = 1  # codes for each image in the bound that a VAE is trained by
    weight_decay: float = 0.0
    start: str = ""  # the model whose run it goes on from


def vae(rng: np.random.Generator) -> VAE:
    """One stochastic layer of 50 numbers, and on either side of it two of 200 tanh units.

    It starts where an image counts by what it differs from the mean image, which is what every code decodes to. From
    biases of zero, the tanh units saturate on what all images share, most codes collapse (6 of 50 were used), and no
    later training brings them back.
    """
    encoder = MLPEncoder(SHAPE, 2 * 50, rng, hidden=(200, 200))
    decoder = MLPDecoder(50, (*SHAPE, 1), rng, hidden=(200, 200))
    mean = np.clip(binarized_mnist("train").pixels.mean(0).reshape(-1), 1e-3, 1 - 1e-3)
    first_weights, first_bias = encoder.mlp.parameters()[:2]
    first_bias.assign(-mean @ first_weights.value)
    decoder.mlp.parameters()[-1].assign(np.log(mean) - np.log1p(-mean))
    return VAE(SHAPE, 50, encoder, decoder, Bernoulli())


BURDA = "{} (Burda, Grosse & Salakhutdinov, 2016, one stochastic layer, 3280 epochs of batches of 20)"
RECIPES = {
    "made": Recipe(
        lambda rng: MADE(SHAPE, 2, rng, hidden=(2000,)),
        learning_rate=1e-3,
        batch_size=100,
        epochs=40,
        shards=1,  # its products are large enough to be shared out themselves
        published="MADE of one mask 88.40 to 94.5, NADE 88.33 (Germain, Gregor, Murray & Larochelle, 2015)",
    ),
    "gated_pixelcnn": Recipe(
        lambda rng: GatedPixelCNN(SHAPE, 2, rng, channels=32, layers=7, size=5, dropout=0.1),
        learning_rate=2e-3,
        batch_size=16,
        epochs=12,
        published="PixelCNN 81.30 (van den Oord, Kalchbrenner & Kavukcuoglu, 2016)",
    ),
    "vae": Recipe(
        vae, 3e-3, batch_size=100, epochs=400, shards=1, weight_decay=0.01, published=BURDA.format("VAE 88.71")
    ),
    "iwae5": Recipe(
        vae,
        2e-3,
        batch_size=50,
        epochs=350,
        shards=1,
        k=5,
        weight_decay=0.01,
        published=BURDA.format("IWAE, k = 5, 87.63"),
    ),
    "iwae50": Recipe(
        vae, 1e-4, batch_size=20, epochs=6, shards=1, k=50, start="iwae5", published=BURDA.format("IWAE, k = 50, 87.10")
    ),
}


def nats(model: Model, images: Array, k: int = AT_THE_END, batch: int = 100) -> Array:
    """Each image's −ln p, (N,); of a VAE, whose ln p is bounded from below by k codes for each, in bounded memory."""
    rng = np.random.default_rng(0)  # the same noise whenever a model is validated, and not the training's

    def log_prob(x: Array) -> Array:
        return model.log_prob(x, k, rng, chunk_size=20) if isinstance(model, VAE) else model.log_prob(x).value

    with no_grad():
        parts = [log_prob(images[i : i + batch]) for i in range(0, len(images), batch)]
    return -np.concatenate(parts).astype(np.float64)


class Clock:
    """Wall and CPU seconds over all pieces of a run, and of the run it started from, kept beside its checkpoint."""

    def __init__(self, path: Path, start: Path | None) -> None:
        self.path, path = path, path if path.exists() or start is None else start
        before = json.loads(path.read_text()) if path.exists() else {"wall": 0.0, "cpu": 0.0}
        self.wall, self.cpu = before["wall"] - time.perf_counter(), before["cpu"] - time.process_time()

    def read(self) -> dict[str, float]:
        return {"wall": self.wall + time.perf_counter(), "cpu": self.cpu + time.process_time()}

    def save(self) -> None:
        write_atomically(self.path, json.dumps(self.read()).encode())


def train(
    model: Model, recipe: Recipe, out: Path, start: Path | None, rng: np.random.Generator, epochs: int, n: int
) -> None:
    if start is not None and not (out / "checkpoint.npz").exists():
        load_checkpoint(start / "checkpoint.npz", model)
    images, valid = binarized_mnist("train").pixels[:n], binarized_mnist("valid").pixels[:n]
    parameters, per_epoch = model.parameters(), -(-len(images) // recipe.batch_size)
    clock, steps = Clock(out / "clock.json", start and start / "clock.json"), epochs * per_epoch

    def validate() -> float:  # asked for just before the checkpoint is written, so the clock stops with it
        mean = nats(model, valid[: len(valid) // FIFTH], WHILE_TRAINING).mean()
        clock.save()
        return float(mean)

    try:
        fit(
            partial(model.loss, k=recipe.k) if isinstance(model, VAE) else model.loss,
            model,
            images,
            optimizer=AdamW(
                parameters, cosine(recipe.learning_rate, steps, warmup=steps // 50), weight_decay=recipe.weight_decay
            ),
            batch_size=recipe.batch_size,
            rng=rng,
            steps=steps,
            validate=validate,
            every=max(1, per_epoch // 2, steps // 100),
            ema=EMA(parameters, recipe.average),
            unit="nats per image",
            shards=recipe.shards,
            checkpoint=out / "checkpoint.npz",
            history=out / "history.jsonl",
        )
    finally:
        clock.save()  # an interrupted run has written its checkpoint now
    seconds, each = clock.read(), nats(model, valid)
    metrics = {
        "valid_nats_per_image": float(each.mean()),
        "valid_nats_per_image_of_other_four_fifths": float(each[len(valid) // FIFTH :].mean()),
        "parameter_count": sum(parameter.size for parameter in parameters),
        "images_seen": epochs * len(images),
        "wall_seconds": seconds["wall"],
        "cpu_seconds": seconds["cpu"],
        "images_per_wall_second": epochs * len(images) / seconds["wall"],
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    write_atomically(out / "metrics.json", (json.dumps(metrics, indent=2) + "\n").encode())
    plot.save(plot.sample_grid(model.sample(48, rng), columns=12), out / "samples.png")
    for name, value in metrics.items():
        print(f"{name:<44}{value:>14,.2f}")
    print(f"published, test split: {recipe.published}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=sorted(RECIPES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder of the run (default: out/binarized_mnist/MODEL)")
    parser.add_argument("--split", choices=["valid", "test"], default="valid", help="what --load is evaluated on")
    parser.add_argument("--load", type=Path, metavar="CHECKPOINT", help="evaluate this instead of training")
    parser.add_argument("--quick", action="store_true", help="one epoch of 64 images: a smoke test")
    arguments = parser.parse_args()
    if arguments.split == "test" and not arguments.load:
        parser.error("--split test needs --load CHECKPOINT: nothing is trained or chosen with the test images")
    recipe = RECIPES[arguments.model]
    rng = np.random.default_rng(arguments.seed)
    model = recipe.model(rng)
    if arguments.load:
        load_checkpoint(arguments.load, model)
        each = nats(model, binarized_mnist(arguments.split).pixels)
        print(f"{each.mean():.2f} nats per image ({arguments.split})")
        if arguments.split == "valid":
            print(f"{each[len(each) // FIFTH :].mean():.2f} over the four fifths that decided nothing in training")
        return
    out = arguments.out or Path("out") / "binarized_mnist" / arguments.model
    start = out.parent / recipe.start if recipe.start and not arguments.quick else None
    if start is not None and not (start / "checkpoint.npz").exists():
        parser.error(f"{arguments.model} goes on from a run of {recipe.start}, and there is none in {start}: train it")
    out.mkdir(parents=True, exist_ok=True)
    train(model, recipe, out, start, rng, *((1, 64) if arguments.quick else (recipe.epochs, 50_000)))


if __name__ == "__main__":
    main()
