"""Train a WaveNet on synthesised sounds and listen to what it plays: plucked strings, chirps and vowels, by label.

python examples/wavenet_audio.py [--seed 0] [--out out/wavenet_audio] [--quick]

Half a second each at 4 kHz, in 256 µ-law codes. Every sound is new: training, held-out and test sounds are drawn from
the same synthesisers with random pitches. For each kind a WAV file of the data and one of samples are written, and
their spectrograms. The yardsticks know a code's frequency, or how often it follows the one before; a model that
hears nothing but the latest sample cannot hold a pitch.
"""

import time
from functools import partial

import numpy as np
from common.reporting import arguments, report
from common.spectrograms import spectrograms
from common.yardsticks import code_yardsticks
from numpy.typing import NDArray

from tinygen import no_grad, plot
from tinygen.data.audio import KINDS, mu_law_decode, mu_law_encode, sounds, write_wav
from tinygen.models import WaveNet
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import fit

RATE, LEVELS, BESIDE = 4000, 256, 4  # Hz, codes, sounds of each kind that are shown and played


def nats_per_sample(model: WaveNet, codes: NDArray[np.int64], kinds: NDArray[np.int64]) -> float:
    with no_grad():
        parts = [model.log_prob(codes[i : i + 8], kinds[i : i + 8]).value.sum() for i in range(0, len(codes), 8)]
    return float(-np.sum(parts) / codes.size)


def main() -> None:
    args = arguments(__doc__ or "", "wavenet_audio")
    start, rng = time.perf_counter(), np.random.default_rng(args.seed)
    steps, n = (3, 32) if args.quick else (800, 1600)
    (codes, kinds), held_out, test = (
        (mu_law_encode(x), k) for x, k in (sounds(m, rng, RATE) for m in (n, n // 16, n // 16))
    )
    model = WaveNet(codes.shape[1:], LEVELS, rng, dilations=[1, 2, 4, 8, 16, 32, 64, 128], classes=len(KINDS))
    parameters = model.parameters()
    fit(
        lambda x, k, rng: model.loss(x, k) / x.shape[1],
        model,
        (codes, kinds),
        optimizer=Adam(parameters, cosine(4e-3, steps, warmup=steps // 20)),
        batch_size=8,
        rng=rng,
        steps=steps,
        validate=partial(nats_per_sample, model, *held_out),
        every=max(1, steps // 8),
        ema=EMA(parameters, 0.5 if args.quick else 0.98),
        clip=1.0,
        shards=2,
        unit="nats per sample",
        history=args.out / "history.jsonl",
    )
    drawn = model.sample(BESIDE * len(KINDS), rng, np.arange(len(KINDS)).repeat(BESIDE))
    waves = {}
    for i, kind in enumerate(KINDS):
        waves[f"{kind}, data"] = mu_law_decode(codes[kinds == i][:BESIDE])
        waves[f"{kind}, samples"] = mu_law_decode(drawn[BESIDE * i : BESIDE * (i + 1)])
    for name, wave in waves.items():
        write_wav(args.out / f"{name.replace(', ', '_')}.wav", wave.ravel(), RATE)
    plot.save(spectrograms(waves, RATE), args.out / "spectrograms.png")
    nats = nats_per_sample(model, *test)
    metrics = {"test_nats_per_sample": nats, "test_bits_per_sample": nats / np.log(2)}
    metrics |= {"receptive_field_samples": model.receptive_field, "seconds": time.perf_counter() - start}
    report(args.out, metrics, code_yardsticks(codes, test[0], LEVELS), "nats per sample")


if __name__ == "__main__":
    main()
