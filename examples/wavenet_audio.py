"""Claim: a WaveNet predicts synthetic sounds better than a Markov chain on their codes.

    python examples/wavenet_audio.py [--seed 0] [--out out/wavenet_audio] [--quick]

Trains:   a class-conditional WaveNet on plucked strings, chirps and vowels of random pitch: half a second each at
          4 kHz, as µ-law codes of 256 levels; the parameters with the best validation loss are kept.
Compares: its test loss with that of a histogram and a Markov chain, which cannot sustain a pitch since it sees only the
          previous sample. Training, validation and test sounds are drawn independently.
Prints:   the test loss in nats and bits per sample, the receptive field and the baselines.
Plots:    spectrograms.png of data and samples; also writes a WAV file of each kind for both.
Source:   van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016.
"""

import time
from functools import partial

import numpy as np
from common.baselines import sequence_baselines
from common.reporting import parse_arguments, report
from common.spectrograms import plot_spectrograms
from numpy.typing import NDArray

from tinygen import no_grad, plot
from tinygen.data.audio import KINDS, mu_law_decode, mu_law_encode, sounds, write_wav
from tinygen.models import WaveNet
from tinygen.optim import EMA, Adam, cosine
from tinygen.training import fit

RATE, LEVELS = 4000, 256  # sampling rate in Hz; µ-law levels
SHOWN = 4  # sounds of each kind that are plotted and written


def nats_per_sample(model: WaveNet, codes: NDArray[np.int64], kinds: NDArray[np.int64]) -> float:
    """Return the mean −ln p per audio sample, evaluated in batches of 8 sounds to bound memory."""
    with no_grad():
        parts = [model.log_prob(codes[i : i + 8], kinds[i : i + 8]).value.sum() for i in range(0, len(codes), 8)]
    return float(-np.sum(parts) / codes.size)


def main() -> None:
    args = parse_arguments(__doc__ or "", "wavenet_audio")
    start, rng = time.perf_counter(), np.random.default_rng(args.seed)
    steps, n = (3, 32) if args.quick else (800, 1600)
    (codes, kinds), validation, test = (
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
        validate=partial(nats_per_sample, model, *validation),
        every=max(1, steps // 8),
        ema=EMA(parameters, 0.5 if args.quick else 0.98),
        clip=1.0,
        shards=2,  # each half of a batch goes through the whole graph on its own thread
        unit="nats per sample",
        history=args.out / "history.jsonl",
    )
    samples = model.sample(SHOWN * len(KINDS), rng, np.arange(len(KINDS)).repeat(SHOWN))
    waves = {}
    for i, kind in enumerate(KINDS):
        waves[f"{kind}, data"] = mu_law_decode(codes[kinds == i][:SHOWN])
        waves[f"{kind}, samples"] = mu_law_decode(samples[SHOWN * i : SHOWN * (i + 1)])
    for name, wave in waves.items():
        write_wav(args.out / f"{name.replace(', ', '_')}.wav", wave.ravel(), RATE)
    plot.save(plot_spectrograms(waves, RATE), args.out / "spectrograms.png")
    nats = nats_per_sample(model, *test)
    metrics = {"test_nats_per_sample": nats, "test_bits_per_sample": nats / np.log(2)}
    metrics |= {"receptive_field_samples": model.receptive_field, "seconds": time.perf_counter() - start}
    report(args.out, metrics, sequence_baselines(codes, test[0], LEVELS), "nats per sample")


if __name__ == "__main__":
    main()
