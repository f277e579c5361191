"""Sound: companding, three kinds of synthesised tones to learn from, and WAV files to listen to.

A wave is an array of numbers in [−1, 1], `rate` of them a second (Hz); frequencies are in Hz, durations in seconds.

Checked by: tests/data/test_audio.py
"""

from __future__ import annotations

import io
import math
import wave
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..checks import at_least
from ..files import write_atomically

Wave: TypeAlias = NDArray[np.float64]
KINDS = ("pluck", "chirp", "vowel")
# First, second and third formant of men's vowels in Hz. Source: Peterson & Barney, "Control methods used in a study of
# the vowels", 1952, table II.
FORMANTS = {"a": (730, 1090, 2440), "i": (270, 2290, 3010), "u": (300, 870, 2240)}


def mu_law_encode(x: ArrayLike, levels: int = 256) -> NDArray[np.int64]:
    """Codes 0…μ of a wave, finer where it is quiet, as ears are: μ = levels − 1.

        f(x) = sign(x) ln(1 + μ|x|) / ln(1 + μ),   k = ⌊μ (f(x) + 1) / 2 + ½⌋

    Shapes: x (…) in [−1, 1], result (…).  Raises ValueError if x is outside or NaN, or levels is below 2.
    Source: ITU-T recommendation G.711 (its continuous form), as in van den Oord et al., "WaveNet", 2016, section 2.2.
    """
    mu, x = _mu(levels), _checked(x)
    f = np.sign(x) * np.log1p(mu * np.abs(x)) / math.log1p(mu)
    return np.asarray(np.floor(mu * (f + 1) / 2 + 0.5), np.int64)


def mu_law_decode(k: ArrayLike, levels: int = 256) -> Wave:
    """x = sign(y) ((1 + μ)^|y| − 1) / μ with y = 2k/μ − 1: the middle of each code, so that encode gives k again.

    Shapes: k (…) integers in 0…levels − 1, else ValueError; result (…) in [−1, 1].
    """
    mu, k = _mu(levels), np.asarray(k)
    if k.dtype.kind not in "iu" or (k.size and not (k.min() >= 0 and k.max() <= mu)):
        seen = f", values {k.min()}…{k.max()}" if k.size else ""
        raise ValueError(f"k: expected integers 0…{mu}, got {k.dtype}{seen}")
    y = 2 * k / mu - 1
    return np.asarray(np.sign(y) * ((1.0 + mu) ** np.abs(y) - 1) / mu)


def pluck(frequency: float, seconds: float, rate: int, rng: np.random.Generator) -> Wave:
    """Pluck a string: a burst of noise goes round and round in a delay line and loses its high partials.

        y(n) = ½ (y(n − L) + y(n − L − 1)),   frequency = rate / (L + ½), to the nearest L

    Source: Karplus & Strong, "Digital synthesis of plucked-string and drum timbres", 1983.
    """
    _at_most_half("frequency", frequency, rate)
    delay, length = round(rate / frequency - 0.5), _length(seconds, rate)
    y = np.zeros(1 + max(length, delay))  # one zero in front, which n − L − 1 begins with
    noise = rng.uniform(-1, 1, delay)
    noise -= noise.mean()  # which would never die away
    y[1 : 1 + delay] = noise / np.abs(noise).max(initial=1e-300)
    for n in range(1 + delay, len(y), delay):  # a round at a time: all that it reads is there
        m = min(delay, len(y) - n)
        y[n : n + m] = (y[n - delay : n - delay + m] + y[n - delay - 1 : n - delay - 1 + m]) / 2
    return y[1 : 1 + length]


def chirp(start: float, end: float, seconds: float, rate: int, rng: np.random.Generator) -> Wave:
    """Glide from one frequency to another: y = sin φ with φ′ = 2π (start + (end − start) t / seconds), φ(0) random."""
    _at_most_half("start", start, rate)
    _at_most_half("end", end, rate)
    t = np.arange(_length(seconds, rate)) / rate
    return np.sin(2 * math.pi * (start * t + (end - start) * t**2 / (2 * seconds) + rng.random()))


def vowel(name: str, pitch: float, seconds: float, rate: int, rng: np.random.Generator) -> Wave:
    """Sing a vowel of FORMANTS: the harmonics of a pitch, as loud as the resonances F of the throat let them through.

        y = Σₖ A(k · pitch) / k · sin(2π k · pitch · t + φₖ),   A(f) = Π_F 1 / |1 − (f/F)² + i f B/F²|

    with bandwidths B = 100 Hz, partials below rate/2 only, phases φ from rng, the loudest moment at 1.
    """
    if name not in FORMANTS:
        raise ValueError(f"name: expected one of {', '.join(FORMANTS)}, got {name!r}")
    _at_most_half("pitch", pitch, rate)
    t = np.arange(_length(seconds, rate)) / rate
    k = np.arange(1, math.ceil(rate / 2 / pitch))[:, None]  # (partials, 1)
    resonances = [1 / np.abs(1 - (k * pitch / f) ** 2 + 1j * k * pitch * 100 / f**2) for f in FORMANTS[name]]
    phases = rng.uniform(0, 2 * math.pi, k.shape)
    y = (np.prod(resonances, 0) / k * np.sin(2 * math.pi * k * pitch * t + phases)).sum(0)
    return np.asarray(y / np.abs(y).max(initial=1e-300))


def sounds(n: int, rng: np.random.Generator, rate: int = 4000, seconds: float = 0.5) -> tuple[Wave, NDArray[np.int64]]:
    """Draw n sounds, each of a kind of KINDS, of a pitch of 100…200 Hz; a chirp's ends are within 100…800 Hz.

    Shapes: waves (n, rate · seconds) in [−1, 1], kinds (n,), integers that index KINDS.
    Raises ValueError if n is negative, a sound has no sample, or half the rate is not above 800 Hz.
    """
    at_least(0, n=n)
    _at_most_half("a chirp's frequency", 800, rate)
    kinds, waves = rng.integers(0, len(KINDS), n), np.empty((n, _length(seconds, rate)))
    for i, kind in enumerate(kinds):
        pitch, start, end = 100 * np.array([2, 8, 8]) ** rng.random(3)
        if KINDS[kind] == "pluck":
            waves[i] = pluck(pitch, seconds, rate, rng)
        elif KINDS[kind] == "chirp":
            waves[i] = 0.8 * chirp(start, end, seconds, rate, rng)
        else:
            waves[i] = vowel(str(rng.choice(list(FORMANTS))), pitch, seconds, rate, rng)
    return waves, kinds


def write_wav(path: str | Path, x: ArrayLike, rate: int) -> None:
    """Write a wave (T,) in [−1, 1] as a mono WAV file of 16 bits, whole or not at all. Raises ValueError if not so."""
    at_least(1, rate=rate)
    x = _checked(x)
    if x.ndim != 1:
        raise ValueError(f"x: expected one wave (T,), got shape {x.shape}")
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.rint(x * 32767).astype("<i2").tobytes())
    write_atomically(path, content.getvalue())


def read_wav(path: str | Path) -> tuple[Wave, int]:
    """Read a mono WAV file of 16 bits: the wave (T,) in [−1, 1] and its rate. Raises ValueError if it is none."""
    try:
        with wave.open(str(path), "rb") as file:
            kind = file.getnchannels(), file.getsampwidth()
            count, rate = file.getnframes(), file.getframerate()
            frames = file.readframes(count)
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path}: expected a WAV file, got one that cannot be read: {error}") from error
    if kind != (1, 2):
        raise ValueError(f"{path}: expected 1 channel of 2 bytes, got {kind[0]} of {kind[1]}")
    if len(frames) != 2 * count:
        raise ValueError(f"{path}: expected {count} samples, got {len(frames)} bytes: was it cut off?")
    return np.maximum(np.frombuffer(frames, "<i2") / 32767, -1), rate


def _checked(x: ArrayLike) -> Wave:
    x = np.asarray(x, np.float64)
    if not np.all(np.abs(x) <= 1):  # NaN fails too
        raise ValueError(f"x: expected numbers in [−1, 1], got {x.min()} … {x.max()}")
    return x


def _mu(levels: int) -> int:
    at_least(2, levels=levels)
    return levels - 1


def _length(seconds: float, rate: int) -> int:
    if not (math.isfinite(seconds * rate) and round(seconds * rate) >= 1):
        raise ValueError(f"seconds: expected at least one sample at {rate} Hz, got {seconds}")
    return round(seconds * rate)


def _at_most_half(name: str, frequency: Any, rate: int) -> None:
    if not 0 < frequency < rate / 2:
        raise ValueError(f"{name}: expected above 0 and below half of {rate} Hz, got {frequency}")
