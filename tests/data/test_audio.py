"""Companding has an exact inverse on its codes, sounds have the pitch they are asked for, WAV files come back."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.data.audio import (
    FORMANTS,
    KINDS,
    Wave,
    chirp,
    mu_law_decode,
    mu_law_encode,
    pluck,
    read_wav,
    sounds,
    vowel,
    write_wav,
)

RATE = 8000


def pitch_of(x: Wave) -> float:
    """Work out a wave's frequency in Hz from the first high peak of its autocorrelation, parabolically refined."""
    x = x - x.mean()
    correlation = np.fft.irfft(np.abs(np.fft.rfft(x, 2 * len(x))) ** 2)[: len(x) // 2]
    correlation /= len(x) - np.arange(len(correlation))  # of as many products as the lag leaves
    first = int(np.argmax(correlation < 0))
    lag = first + int(np.argmax(correlation[first:] > 0.85 * correlation[first:].max()))
    while correlation[lag + 1] > correlation[lag]:
        lag += 1
    a, b, c = correlation[lag - 1 : lag + 2]
    return float(RATE / (lag + (a - c) / (2 * (a - 2 * b + c))))


@given(levels=st.integers(2, 1024))
def test_every_code_comes_back(levels: int) -> None:
    codes = np.arange(levels)
    x = mu_law_decode(codes, levels)
    np.testing.assert_array_equal(mu_law_encode(x, levels), codes)
    np.testing.assert_allclose(x, -x[::-1], atol=1e-15)
    assert (x[0], x[-1]) == (-1, 1)
    assert np.all(np.diff(x) > 0)


def test_the_formula_at_points_worked_out_by_hand() -> None:
    # f(1/255) = ln 2 / ln 256 = 1/8 and f(15/255) = 1/2, so k = ⌊255 · 9/16 + ½⌋ and ⌊255 · 3/4 + ½⌋
    np.testing.assert_array_equal(mu_law_encode([-1, 1 / 255, 15 / 255, 1]), [0, 143, 191, 255])
    assert mu_law_decode(np.array(191)) == pytest.approx((256 ** (127 / 255) - 1) / 255, rel=1e-12)


@given(x=st.floats(-1, 1))
def test_companding_is_off_by_half_a_code_at_most(x: float) -> None:
    companded = np.sign(x) * np.log(1 + 255 * abs(x)) / np.log(256)
    assert abs((companded + 1) * 255 / 2 - mu_law_encode(x)) <= 0.5 + 1e-10


@pytest.mark.parametrize("x", [1.0001, -2, np.nan, [0, np.inf]])
def test_waves_out_of_range(x: Any) -> None:
    with pytest.raises(ValueError, match=r"x: expected numbers in \[−1, 1\], got"):
        mu_law_encode(x)


@pytest.mark.parametrize("k", [256, -1, 0.5, [0, 256]])
def test_codes_out_of_range(k: Any) -> None:
    with pytest.raises(ValueError, match="k: expected integers 0…255, got"):
        mu_law_decode(k)
    with pytest.raises(ValueError, match="levels: expected at least 2, got 1"):
        mu_law_decode(0, 1)


@pytest.mark.parametrize("frequency", [110.0, 200.0, 330.0])
def test_pitches(frequency: float, rng: np.random.Generator) -> None:
    # A string's delay is a whole number of samples and a half.
    tuned = RATE / (round(RATE / frequency - 0.5) + 0.5)
    assert pitch_of(pluck(frequency, 0.5, RATE, rng)[RATE // 10 :]) == pytest.approx(tuned, rel=0.005)
    assert pitch_of(chirp(frequency, frequency, 0.5, RATE, rng)) == pytest.approx(frequency, rel=0.005)
    for name in FORMANTS:
        assert pitch_of(vowel(name, frequency, 0.5, RATE, rng)) == pytest.approx(frequency, rel=0.005)


def test_a_string_follows_its_recursion_and_dies_away(rng: np.random.Generator) -> None:
    y = pluck(200, 1.0, RATE, rng)
    delay = round(RATE / 200 - 0.5)
    n = np.arange(delay + 1, len(y))
    np.testing.assert_allclose(y[n], (y[n - delay] + y[n - delay - 1]) / 2, atol=1e-15)
    assert np.std(y[-delay:]) < 0.5 * np.std(y[:delay])


def test_a_chirp_glides(rng: np.random.Generator) -> None:
    y = chirp(200, 1000, 1.0, RATE, rng)
    for start, expected in ((0.0, 240), (0.45, 600), (0.9, 960)):  # the middle of a tenth of a second
        part = y[int(start * RATE) : int((start + 0.1) * RATE)] * np.hanning(800)
        assert np.argmax(np.abs(np.fft.rfft(part, RATE))) == pytest.approx(expected, abs=15)


def test_a_vowel_is_loudest_at_its_formants(rng: np.random.Generator) -> None:
    for name, formants in FORMANTS.items():
        partials = np.abs(np.fft.rfft(vowel(name, 50, 1.0, RATE, rng)))[50:3900:50]
        let_through = partials * np.arange(1, len(partials) + 1)
        peaks = 1 + np.flatnonzero((np.diff(let_through[:-1]) > 0) & (np.diff(let_through[1:]) < 0))
        np.testing.assert_allclose(50 * (peaks + 1), formants, atol=50)


def test_sounds_are_reproducible_and_of_every_kind(rng: np.random.Generator) -> None:
    waves, kinds = sounds(60, np.random.default_rng(1))
    again, _ = sounds(60, np.random.default_rng(1))
    np.testing.assert_array_equal(waves, again)
    assert waves.shape == (60, 2000)
    assert set(kinds) == set(range(len(KINDS)))
    assert np.abs(waves).max() <= 1
    assert waves.std(1).min() > 0.02
    assert sounds(0, rng)[0].shape == (0, 2000)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: sounds(-1, rng), "n: expected at least 0"),
        (lambda rng: sounds(1, rng, rate=1000), "below half of 1000 Hz, got 800"),
        (lambda rng: sounds(1, rng, seconds=-1), "seconds: expected at least one sample"),
        (lambda rng: sounds(1, rng, seconds=np.nan), "seconds: expected at least one sample"),
        (lambda rng: sounds(1, rng, seconds=np.inf), "seconds: expected at least one sample"),
        (lambda rng: pluck(0, 1, RATE, rng), "frequency: expected above 0"),
        (lambda rng: pluck(4000, 1, RATE, rng), "frequency: .* below half of 8000 Hz"),
        (lambda rng: chirp(100, np.nan, 1, RATE, rng), "end: "),
        (lambda rng: vowel("y", 100, 1, RATE, rng), "name: expected one of a, i, u, got 'y'"),
    ],
)
def test_sounds_that_cannot_be_made(call: Any, message: str, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=message):
        call(rng)


def test_a_wav_file_comes_back(tmp_path: Path, rng: np.random.Generator) -> None:
    x = np.append(rng.uniform(-1, 1, 1000), [-1, 0, 1])
    write_wav(tmp_path / "x.wav", x, RATE)
    back, rate = read_wav(tmp_path / "x.wav")
    assert rate == RATE
    np.testing.assert_allclose(back, x, atol=0.5001 / 32767)  # half a step of 16 bits
    write_wav(tmp_path / "y.wav", back, RATE)
    assert (tmp_path / "x.wav").read_bytes() == (tmp_path / "y.wav").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.wav", "y.wav"]


def test_wav_files_that_are_none(tmp_path: Path) -> None:
    stereo = io.BytesIO()
    with wave.open(stereo, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(bytes(8))
    for content, message in ((b"", "WAV file"), (b"RIFF", "WAV file"), (stereo.getvalue(), "got 2 of 2")):
        (tmp_path / "x.wav").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_wav(tmp_path / "x.wav")
    write_wav(tmp_path / "x.wav", np.zeros(100), RATE)
    whole = (tmp_path / "x.wav").read_bytes()
    for missing in (1, 100):
        (tmp_path / "x.wav").write_bytes(whole[:-missing])
        with pytest.raises(ValueError, match=r"expected 100 samples, got .* bytes: was it cut off"):
            read_wav(tmp_path / "x.wav")
    for x in ([[0.0]], [2.0]):
        with pytest.raises(ValueError, match="x: expected"):
            write_wav(tmp_path / "x.wav", x, RATE)
    with pytest.raises(ValueError, match="rate: expected at least 1, got 0"):
        write_wav(tmp_path / "x.wav", [0.0], 0)
