"""Static binarised MNIST: the likelihood of each model after training on two cores, and published results.

    python -m benchmarks.binarized_mnist gated_pixelcnn                              train or resume, then validate
    python -m benchmarks.binarized_mnist gated_pixelcnn --split test --load CHECKPOINT      evaluate a trained model

Training writes to `out/binarized_mnist/MODEL/`: a checkpoint, from which an interrupted run resumes exactly, the
history, samples and metrics.json. Published results are for the test split, which is only used with `--split test`. The
first 2,000 of the 10,000 validation images select the parameters that are kept; the mean over the rest is also given.

ln p(x) of an autoregressive model is exact. For a VAE, it is estimated by the importance-weighted bound, with 50
samples of z per image during training and 5000 at the end, as in Burda et al. Since training with k = 50 is ten times
as expensive as with k = 5, `iwae50` starts from a finished run of `iwae5` in the neighbouring folder.
"""

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
K_TRAINING, K_FINAL = 50, 5000  # samples of z per image for validating a VAE during training, and at the end
SELECTION = 5  # 1/5 of the validation images select the parameters that are kept

Model = Autoregressive | VAE


@dataclass(frozen=True)
class Recipe:
    """A model, its training settings and published results of comparable models (test nats per image)."""

    model: Callable[[np.random.Generator], Model]
    learning_rate: float
    batch_size: int
    epochs: int
    published: str
    ema_decay: float = 0.9995
    shards: int = 2
    k: int = 1  # samples of z per image in the training bound of a VAE
    weight_decay: float = 0.0
    start: str = ""  # name of the recipe whose final parameters are the initial ones


def vae(rng: np.random.Generator) -> VAE:
    """Return a VAE with 50 latent dimensions and networks with two hidden layers of 200 tanh units.

    The first encoder bias subtracts the mean image and the last decoder bias is its logit. With zero biases, the units
    saturate on the mean image, and most latent dimensions collapse permanently (6 of 50 were used).
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
        shards=1,  # the matrix products are large enough to use all threads
        published="MADE with one mask 88.40 to 94.5, NADE 88.33 (Germain, Gregor, Murray & Larochelle, 2015)",
    ),
    "gated_pixelcnn": Recipe(
        lambda rng: GatedPixelCNN(SHAPE, 2, rng, channels=32, layers=7, size=5, dropout=0.1),
        learning_rate=2e-3,
        batch_size=16,
        epochs=12,
        published="PixelCNN 81.30 (van den Oord, Kalchbrenner & Kavukcuoglu, 2016)",
    ),
    "vae": Recipe(vae, 3e-3, 100, 400, BURDA.format("VAE 88.71"), shards=1, weight_decay=0.01),
    "iwae5": Recipe(vae, 2e-3, 50, 350, BURDA.format("IWAE, k = 5, 87.63"), shards=1, k=5, weight_decay=0.01),
    "iwae50": Recipe(vae, 1e-4, 20, 6, BURDA.format("IWAE, k = 50, 87.10"), shards=1, k=50, start="iwae5"),
}


def nats(model: Model, images: Array, k: int = K_FINAL, batch: int = 100) -> Array:
    """Return −ln p(x) of each image, (N,), in nats; for a VAE, minus the bound with k samples of z."""
    rng = np.random.default_rng(0)  # the same noise at every validation, independent of training

    def log_prob(x: Array) -> Array:
        return model.log_prob(x, k, rng, chunk_size=20) if isinstance(model, VAE) else model.log_prob(x).value

    with no_grad():  # in batches to bound memory
        parts = [log_prob(images[i : i + batch]) for i in range(0, len(images), batch)]
    return -np.concatenate(parts).astype(np.float64)


class Clock:
    """Wall and CPU seconds of a run, including earlier interrupted parts and the run it starts from."""

    def __init__(self, path: Path, start: Path | None) -> None:
        self.path, path = path, path if path.exists() or start is None else start
        before = json.loads(path.read_text()) if path.exists() else {"wall": 0.0, "cpu": 0.0}
        self.wall, self.cpu = before["wall"] - time.perf_counter(), before["cpu"] - time.process_time()

    def read(self) -> dict[str, float]:
        """Return the accumulated seconds."""
        return {"wall": self.wall + time.perf_counter(), "cpu": self.cpu + time.process_time()}

    def save(self) -> None:
        """Write the accumulated seconds next to the checkpoint."""
        write_atomically(self.path, json.dumps(self.read()).encode())


def train(
    model: Model, recipe: Recipe, out: Path, start: Path | None, rng: np.random.Generator, epochs: int, n: int
) -> None:
    if start is not None and not (out / "checkpoint.npz").exists():
        load_checkpoint(start / "checkpoint.npz", model)
    images, valid = binarized_mnist("train").pixels[:n], binarized_mnist("valid").pixels[:n]
    parameters, per_epoch = model.parameters(), -(-len(images) // recipe.batch_size)
    clock, steps = Clock(out / "clock.json", start and start / "clock.json"), epochs * per_epoch

    def validate() -> float:
        mean = nats(model, valid[: len(valid) // SELECTION], K_TRAINING).mean()
        clock.save()  # `fit` writes the checkpoint right after validation
        return float(mean)

    schedule = cosine(recipe.learning_rate, steps, warmup=steps // 50)
    try:
        fit(
            partial(model.loss, k=recipe.k) if isinstance(model, VAE) else model.loss,
            model,
            images,
            optimizer=AdamW(parameters, schedule, weight_decay=recipe.weight_decay),
            batch_size=recipe.batch_size,
            rng=rng,
            steps=steps,
            validate=validate,
            every=max(1, per_epoch // 2, steps // 100),
            ema=EMA(parameters, recipe.ema_decay),
            unit="nats per image",
            shards=recipe.shards,
            checkpoint=out / "checkpoint.npz",
            history=out / "history.jsonl",
        )
    finally:
        clock.save()  # an interrupted run has just written its checkpoint
    seconds, losses = clock.read(), nats(model, valid)
    metrics = {
        "valid_nats_per_image": float(losses.mean()),
        "valid_nats_per_image_not_used_for_selection": float(losses[len(valid) // SELECTION :].mean()),
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


def evaluate(model: Model, checkpoint: Path, split: str) -> None:
    load_checkpoint(checkpoint, model)
    losses = nats(model, binarized_mnist(split).pixels)  # type: ignore[arg-type]
    print(f"{losses.mean():.2f} nats per image ({split})")
    if split == "valid":
        print(f"{losses[len(losses) // SELECTION :].mean():.2f} over the images not used for selection")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=sorted(RECIPES))
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    parser.add_argument("--out", type=Path, help="output folder (default: out/binarized_mnist/MODEL)")
    parser.add_argument("--split", choices=["valid", "test"], default="valid", help="split to evaluate with --load")
    parser.add_argument("--load", type=Path, metavar="CHECKPOINT", help="evaluate this checkpoint instead of training")
    parser.add_argument("--quick", action="store_true", help="smoke test: one epoch of 64 images")
    args = parser.parse_args()
    if args.split == "test" and not args.load:
        parser.error("--split test: expected --load CHECKPOINT; training must not use the test images")
    recipe, rng = RECIPES[args.model], np.random.default_rng(args.seed)
    model = recipe.model(rng)
    if args.load:
        evaluate(model, args.load, args.split)
        return
    out = args.out or Path("out") / "binarized_mnist" / args.model
    start = out.parent / recipe.start if recipe.start and not args.quick else None
    if start is not None and not (start / "checkpoint.npz").exists():
        parser.error(f"{args.model}: expected a checkpoint in {start}, got none; train {recipe.start} first")
    out.mkdir(parents=True, exist_ok=True)
    train(model, recipe, out, start, rng, *((1, 64) if args.quick else (recipe.epochs, 50_000)))


if __name__ == "__main__":
    main()
