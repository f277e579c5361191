"""Audio: μ-law companding, three kinds of synthetic tones, and WAV files.

A wave is an array of numbers in [−1, 1] at `rate` samples per second; frequencies and rates are in Hz.

Checked by: tests/data/test_audio.py
"""

import io
import math
import wave
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arguments import explained
from ..checks import as_reals, at_least, require
from ..files import write_atomically

Wave: TypeAlias = NDArray[np.float64]
KINDS = ("pluck", "chirp", "vowel")
# First three formants of vowels spoken by men, in Hz. Source: Peterson & Barney, "Control methods used in a study of
# the vowels", 1952, table II.
FORMANTS = {"a": (730, 1090, 2440), "i": (270, 2290, 3010), "u": (300, 870, 2240)}


@explained
def mu_law_encode(x: ArrayLike, levels: int = 256) -> NDArray[np.int64]:
    """Quantise a wave to codes 0 … μ, μ = levels − 1, with smaller steps at small amplitudes.

        f(x) = sign(x) ln(1 + μ|x|) / ln(1 + μ),   k = ⌊μ (f(x) + 1) / 2 + ½⌋

    Shapes: x (…) in [−1, 1]; result (…).
    Raises ValueError unless x has real numbers in [−1, 1] and levels ≥ 2.
    Source: ITU-T recommendation G.711 (its continuous form), as in van den Oord et al., "WaveNet", 2016, section 2.2.

    Example:
        >>> mu_law_encode([-1, 0, 0.01, 1])
        array([  0, 128, 157, 255])
        >>> np.array_equal(mu_law_encode(mu_law_decode(np.arange(256))), np.arange(256))
        True
    """
    mu, x = _mu(levels), _check_wave(x)
    f = np.sign(x) * np.log1p(mu * np.abs(x)) / math.log1p(mu)
    return np.asarray(np.floor(mu * (f + 1) / 2 + 0.5), np.int64)


@explained
def mu_law_decode(k: ArrayLike, levels: int = 256) -> Wave:
    """Return the x whose f(x) is at the centre of the interval of code k, so that encoding x returns k.

        x = sign(y) ((1 + μ)^|y| − 1) / μ,   y = 2k/μ − 1

    Shapes: k (…); result (…) in [−1, 1].
    Raises ValueError if levels < 2, or k contains anything but integers 0 … levels − 1.
    """
    mu, k = _mu(levels), np.asarray(k)
    require(k.dtype.kind in "iu", "k", f"integers 0…{mu}", k.dtype)
    if k.size:
        require(k.min() >= 0 and k.max() <= mu, "k", f"integers 0…{mu}", f"values {k.min()}…{k.max()}")
    y = 2.0 * k / mu - 1  # 2 k would overflow in a small integer dtype
    return np.asarray(np.sign(y) * ((1.0 + mu) ** np.abs(y) - 1) / mu)


@explained
def pluck(frequency: float, seconds: float, rate: int, rng: np.random.Generator) -> Wave:
    """Return a plucked string: noise in a feedback delay line of length L, low-pass filtered at every pass.

        y(n) = ½ (y(n − L) + y(n − L − 1)),   frequency = rate / (L + ½), with L rounded to an integer

    Source: Karplus & Strong, "Digital synthesis of plucked-string and drum timbres", 1983.
    """
    _check_frequency("frequency", frequency, rate)
    delay, length = round(rate / frequency - 0.5), _length(seconds, rate)
    y = np.zeros(1 + max(length, delay))  # the leading zero is the first y(n − L − 1)
    noise = rng.uniform(-1, 1, delay)
    noise -= noise.mean()  # a constant would not decay
    y[1 : 1 + delay] = noise / np.abs(noise).max(initial=1e-300)
    for n in range(1 + delay, len(y), delay):  # L samples at a time, which depend only on earlier ones
        m = min(delay, len(y) - n)
        y[n : n + m] = (y[n - delay : n - delay + m] + y[n - delay - 1 : n - delay - 1 + m]) / 2
    return y[1 : 1 + length]


@explained
def chirp(start: float, end: float, seconds: float, rate: int, rng: np.random.Generator) -> Wave:
    """Return a linear chirp: y = sin φ with φ′ = 2π (start + (end − start) t / seconds) and random φ(0)."""
    _check_frequency("start", start, rate)
    _check_frequency("end", end, rate)
    t = np.arange(_length(seconds, rate)) / rate
    return np.sin(2 * math.pi * (start * t + (end - start) * t**2 / (2 * seconds) + rng.random()))


@explained
def vowel(name: str, pitch: float, seconds: float, rate: int, rng: np.random.Generator) -> Wave:
    """Return a sung vowel of FORMANTS: harmonics of a pitch, filtered by resonances at the formants F.

        y = Σₖ A(k · pitch) / k · sin(2π k · pitch · t + φₖ),   A(f) = Π_F 1 / |1 − (f/F)² + i f B/F²|

    The bandwidths B are 100 Hz and the phases φₖ are random. The sum is over the harmonics below rate/2; y is scaled to
    max |y| = 1.
    """
    require(name in FORMANTS, "name", f"one of {', '.join(FORMANTS)}", repr(name))
    _check_frequency("pitch", pitch, rate)
    t = np.arange(_length(seconds, rate)) / rate
    k = np.arange(1, math.ceil(rate / 2 / pitch))[:, None]  # (harmonics, 1)
    resonances = [1 / np.abs(1 - (k * pitch / f) ** 2 + 1j * k * pitch * 100 / f**2) for f in FORMANTS[name]]
    phases = rng.uniform(0, 2 * math.pi, k.shape)
    y = (np.prod(resonances, 0) / k * np.sin(2 * math.pi * k * pitch * t + phases)).sum(0)
    return np.asarray(y / np.abs(y).max(initial=1e-300))


@explained
def sounds(n: int, rng: np.random.Generator, rate: int = 4000, seconds: float = 0.5) -> tuple[Wave, NDArray[np.int64]]:
    """Draw n sounds of random KINDS. Pitches are log-uniform in 100 … 200 Hz, the ends of chirps in 100 … 800 Hz.

    Shapes: waves (n, rate · seconds) in [−1, 1]; kinds (n,), indices into KINDS.
    Raises ValueError if n < 0, a sound would have no samples, or rate ≤ 1600.
    """
    at_least(0, n=n)
    require(rate > 1600, "rate", "above 1600 Hz, twice the highest frequency of a chirp", rate)
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


@explained
def write_wav(path: str | Path, x: ArrayLike, rate: int) -> None:
    """Write a wave (T,) in [−1, 1] as a mono 16-bit WAV file, atomically. Raises ValueError for invalid x."""
    at_least(1, rate=rate)
    x = _check_wave(x)
    require(x.ndim == 1, "x", "one wave (T,)", f"shape {x.shape}")
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.rint(x * 32767).astype("<i2").tobytes())
    write_atomically(path, content.getvalue())


@explained
def read_wav(path: str | Path) -> tuple[Wave, int]:
    """Return the wave (T,) in [−1, 1] and the rate of a mono 16-bit WAV file. Raises ValueError for other files."""
    content = io.BytesIO(Path(path).read_bytes())  # from which a size that the file claims cannot be read
    try:
        with wave.open(content, "rb") as file:
            kind = file.getnchannels(), file.getsampwidth()
            count, rate = file.getnframes(), file.getframerate()
            frames = file.readframes(count)
    except (wave.Error, EOFError, RuntimeError) as error:
        reason = str(error) or "a size in it is wrong"  # RuntimeError and EOFError have no message
        raise ValueError(f"{path}: expected a WAV file, got a file that cannot be read ({reason})") from error
    require(kind == (1, 2), str(path), "(channels, bytes per sample) = (1, 2)", kind)
    require(len(frames) == 2 * count, str(path), f"{2 * count} bytes of samples", f"{len(frames)}; is it truncated?")
    return np.maximum(np.frombuffer(frames, "<i2") / 32767, -1), rate


def _check_wave(x: ArrayLike) -> Wave:
    x = as_reals("x", x)
    if x.size:
        require(np.abs(x).max() <= 1, "x", "numbers in [−1, 1]", f"{x.min()} … {x.max()}")  # NaN fails too
    return x


def _mu(levels: int) -> int:
    at_least(2, levels=levels)
    return levels - 1


def _length(seconds: float, rate: int) -> int:
    enough = math.isfinite(seconds * rate) and round(seconds * rate) >= 1
    require(enough, "seconds", f"at least one sample at {rate} Hz", seconds)
    return round(seconds * rate)


def _check_frequency(name: str, frequency: Any, rate: int) -> None:
    require(0 < frequency < rate / 2, name, f"above 0 and below rate / 2 = {rate / 2:g} Hz", frequency)
