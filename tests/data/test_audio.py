"""Audio: encoding inverts decoding, tones have the requested pitch, WAV files survive a round trip."""

from __future__ import annotations

import io
import tracemalloc
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinygen.data import audio
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
    """Return a wave's frequency in Hz from the first high peak of its autocorrelation, refined by a parabola."""
    x = x - x.mean()
    correlation = np.fft.irfft(np.abs(np.fft.rfft(x, 2 * len(x))) ** 2)[: len(x) // 2]
    correlation /= len(x) - np.arange(len(correlation))  # the number of products at each lag
    first = int(np.argmax(correlation < 0))
    lag = first + int(np.argmax(correlation[first:] > 0.85 * correlation[first:].max()))
    while correlation[lag + 1] > correlation[lag]:
        lag += 1
    a, b, c = correlation[lag - 1 : lag + 2]
    return float(RATE / (lag + (a - c) / (2 * (a - 2 * b + c))))


@given(levels=st.integers(2, 1024))
def test_encode_inverts_decode_for_every_code(levels: int) -> None:
    codes = np.arange(levels)
    x = mu_law_decode(codes, levels)
    np.testing.assert_array_equal(mu_law_encode(x, levels), codes)
    np.testing.assert_allclose(x, -x[::-1], atol=1e-15)
    assert (x[0], x[-1]) == (-1, 1)
    assert np.all(np.diff(x) > 0)


def test_companding_matches_values_computed_by_hand() -> None:
    # f(1/255) = ln 2 / ln 256 = 1/8 and f(15/255) = 1/2, so k = ⌊255 · 9/16 + ½⌋ and ⌊255 · 3/4 + ½⌋
    np.testing.assert_array_equal(mu_law_encode([-1, 1 / 255, 15 / 255, 1]), [0, 143, 191, 255])
    assert mu_law_decode(np.array(191)) == pytest.approx((256 ** (127 / 255) - 1) / 255, rel=1e-12)


@pytest.mark.parametrize(("dtype", "levels"), [("u1", 256), ("i1", 128), ("u2", 65536), ("i2", 32768), (">u2", 65536)])
def test_mu_law_decode_of_small_integers(dtype: str, levels: int) -> None:
    codes = np.arange(levels)
    np.testing.assert_array_equal(mu_law_decode(codes.astype(dtype), levels), mu_law_decode(codes, levels))


@given(x=st.floats(-1, 1))
def test_companding_error_is_at_most_half_a_code(x: float) -> None:
    companded = np.sign(x) * np.log(1 + 255 * abs(x)) / np.log(256)
    assert abs((companded + 1) * 255 / 2 - mu_law_encode(x)) <= 0.5 + 1e-10


@pytest.mark.parametrize("x", [1.0001, -2, np.nan, [0, np.inf]])
def test_encode_rejects_waves_out_of_range(x: Any) -> None:
    with pytest.raises(ValueError, match=r"x: expected numbers in \[−1, 1\], got"):
        mu_law_encode(x)


@pytest.mark.parametrize("k", [256, -1, 0.5, [0, 256]])
def test_decode_rejects_invalid_codes(k: Any) -> None:
    with pytest.raises(ValueError, match="k: expected integers 0…255, got"):
        mu_law_decode(k)


def test_decode_rejects_fewer_than_two_levels() -> None:
    with pytest.raises(ValueError, match="levels: expected at least 2, got 1"):
        mu_law_decode(0, 1)


@pytest.mark.parametrize("frequency", [110.0, 200.0, 330.0])
def test_tones_have_the_requested_pitch(frequency: float, rng: np.random.Generator) -> None:
    # The period of a string is an integer number of samples plus a half.
    tuned = RATE / (round(RATE / frequency - 0.5) + 0.5)
    assert pitch_of(pluck(frequency, 0.5, RATE, rng)[RATE // 10 :]) == pytest.approx(tuned, rel=0.005)
    assert pitch_of(chirp(frequency, frequency, 0.5, RATE, rng)) == pytest.approx(frequency, rel=0.005)
    for name in FORMANTS:
        assert pitch_of(vowel(name, frequency, 0.5, RATE, rng)) == pytest.approx(frequency, rel=0.005)


def test_plucked_string_follows_its_recursion_and_decays(rng: np.random.Generator) -> None:
    y = pluck(200, 1.0, RATE, rng)
    delay = round(RATE / 200 - 0.5)
    n = np.arange(delay + 1, len(y))
    np.testing.assert_allclose(y[n], (y[n - delay] + y[n - delay - 1]) / 2, atol=1e-15)
    assert np.std(y[-delay:]) < 0.5 * np.std(y[:delay])


def test_chirp_frequency_changes_linearly(rng: np.random.Generator) -> None:
    y = chirp(200, 1000, 1.0, RATE, rng)
    for start, expected in ((0.0, 240), (0.45, 600), (0.9, 960)):  # frequency at the centre of each window of 0.1 s
        part = y[int(start * RATE) : int((start + 0.1) * RATE)] * np.hanning(800)
        assert np.argmax(np.abs(np.fft.rfft(part, RATE))) == pytest.approx(expected, abs=15)


def test_vowel_spectrum_peaks_at_its_formants(rng: np.random.Generator) -> None:
    for name, formants in FORMANTS.items():
        harmonics = np.abs(np.fft.rfft(vowel(name, 50, 1.0, RATE, rng)))[50:3900:50]
        response = harmonics * np.arange(1, len(harmonics) + 1)
        peaks = 1 + np.flatnonzero((np.diff(response[:-1]) > 0) & (np.diff(response[1:]) < 0))
        np.testing.assert_allclose(50 * (peaks + 1), formants, atol=50)
        f = 50.0 * np.arange(1, len(response) + 1)
        expected = 1 / np.prod([np.abs(1 - (f / F) ** 2 + 1j * f * 100 / F**2) for F in formants], axis=0)
        np.testing.assert_allclose(response / response[0], expected / expected[0], rtol=1e-9)


def test_sounds_are_reproducible_and_include_every_kind(rng: np.random.Generator) -> None:
    waves, kinds = sounds(60, np.random.default_rng(1))
    again, _ = sounds(60, np.random.default_rng(1))
    np.testing.assert_array_equal(waves, again)
    assert waves.shape == (60, 2000)
    assert set(kinds) == set(range(len(KINDS)))
    assert np.abs(waves).max() <= 1
    assert waves.std(1).min() > 0.02
    assert sounds(0, rng)[0].shape == (0, 2000)


def test_pitches_are_log_uniform(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    pitches: list[float] = []
    ends: list[float] = []

    def recorder(drawn: list[float], frequencies: slice) -> Callable[..., Wave]:
        def tone(*arguments: Any) -> Wave:
            drawn.extend(arguments[frequencies])
            return np.zeros(2000)

        return tone

    monkeypatch.setattr(audio, "pluck", recorder(pitches, slice(0, 1)))
    monkeypatch.setattr(audio, "vowel", recorder(pitches, slice(1, 2)))
    monkeypatch.setattr(audio, "chirp", recorder(ends, slice(0, 2)))
    sounds(3000, rng)
    for drawn, octaves in ((pitches, 1), (ends, 3)):
        u = np.sort(np.log2(np.array(drawn) / 100) / octaves)
        distance = np.abs(u - (np.arange(len(u)) + 0.5) / len(u)).max()  # Kolmogorov & Smirnov's
        assert distance < 2.5 / np.sqrt(len(u))  # exceeded with a probability of 7e-6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda rng: sounds(-1, rng), "n: expected at least 0"),
        (lambda rng: sounds(1, rng, rate=1000), "rate: expected above 1600 Hz, .* got 1000"),
        (lambda rng: sounds(1, rng, seconds=-1), "seconds: expected at least one sample"),
        (lambda rng: sounds(1, rng, seconds=np.nan), "seconds: expected at least one sample"),
        (lambda rng: sounds(1, rng, seconds=np.inf), "seconds: expected at least one sample"),
        (lambda rng: pluck(0, 1, RATE, rng), "frequency: expected above 0"),
        (lambda rng: pluck(4000, 1, RATE, rng), "frequency: .* below rate / 2 = 4000 Hz, got 4000"),
        (lambda rng: chirp(100, np.nan, 1, RATE, rng), "end: "),
        (lambda rng: vowel("y", 100, 1, RATE, rng), "name: expected one of a, i, u, got 'y'"),
    ],
)
def test_tones_reject_invalid_arguments(call: Any, message: str, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=message):
        call(rng)


def test_read_wav_restores_what_write_wav_wrote(tmp_path: Path, rng: np.random.Generator) -> None:
    x = np.append(rng.uniform(-1, 1, 1000), [-1, 0, 1])
    write_wav(tmp_path / "x.wav", x, RATE)
    back, rate = read_wav(tmp_path / "x.wav")
    assert rate == RATE
    np.testing.assert_allclose(back, x, atol=0.5001 / 32767)  # half a step of 16 bits
    write_wav(tmp_path / "y.wav", back, RATE)
    assert (tmp_path / "x.wav").read_bytes() == (tmp_path / "y.wav").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.wav", "y.wav"]


def test_read_wav_rejects_other_files(tmp_path: Path) -> None:
    stereo = io.BytesIO()
    with wave.open(stereo, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(bytes(8))
    for content, message in ((b"", "WAV file"), (b"RIFF", "WAV file"), (stereo.getvalue(), r"got \(2, 2\)")):
        (tmp_path / "x.wav").write_bytes(content)
        with pytest.raises(ValueError, match=rf"x\.wav: expected .*{message}"):
            read_wav(tmp_path / "x.wav")


@pytest.mark.parametrize("missing", [1, 100])
def test_read_wav_rejects_truncated_files(missing: int, tmp_path: Path) -> None:
    write_wav(tmp_path / "x.wav", np.zeros(100), RATE)
    (tmp_path / "x.wav").write_bytes((tmp_path / "x.wav").read_bytes()[:-missing])
    with pytest.raises(ValueError, match=rf"expected 200 bytes of samples, got {200 - missing}; is it truncated"):
        read_wav(tmp_path / "x.wav")


@given(where=st.integers(0, 63), value=st.integers(0, 255), length=st.integers(0, 64))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_read_wav_names_the_file_whatever_byte_is_damaged(where: int, value: int, length: int, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    write_wav(path, np.zeros(10), RATE)
    content = bytearray(path.read_bytes())
    content[where] = value
    path.write_bytes(content[: max(length, where)] if length % 2 else content)
    message = f"{path}: expected"
    try:
        read_wav(path)
    except ValueError as error:
        message = str(error)
    assert message.startswith(f"{path}: expected")
    assert "()" not in message


def test_read_wav_reads_no_more_than_the_file_has(tmp_path: Path) -> None:
    write_wav(tmp_path / "x.wav", np.zeros(10), RATE)
    content = (tmp_path / "x.wav").read_bytes()
    claimed = (2**32 - 64).to_bytes(4, "little")
    (tmp_path / "x.wav").write_bytes(content[:4] + claimed + content[8:40] + claimed + content[44:])
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"expected 4294967232 bytes of samples, got 20; is it truncated\?"):
        read_wav(tmp_path / "x.wav")
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


def test_write_wav_rejects_invalid_arguments(tmp_path: Path) -> None:
    for x in ([[0.0]], [2.0]):
        with pytest.raises(ValueError, match="x: expected"):
            write_wav(tmp_path / "x.wav", x, RATE)
    with pytest.raises(ValueError, match="rate: expected at least 1, got 0"):
        write_wav(tmp_path / "x.wav", [0.0], 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("dtype", "levels"), [(np.uint8, 256), (np.int8, 128), (np.uint16, 65536), (np.int16, 32768)])
def test_mu_law_decodes_small_integers(dtype: Any, levels: int) -> None:
    codes = np.arange(levels)
    np.testing.assert_array_equal(mu_law_decode(codes.astype(dtype), levels), mu_law_decode(codes, levels))
