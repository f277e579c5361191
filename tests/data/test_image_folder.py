"""Folders of pictures: what is read, how it is fitted, labelled and split, and errors that name every bad file."""

from __future__ import annotations

import io
import os
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tinygen.data import Images, images

Image = pytest.importorskip("PIL.Image")
Pixels = NDArray[np.uint8]


def random_pixels(height: int = 6, width: int = 8, channels: int = 3, seed: int = 0) -> Pixels:
    shape = (height, width, channels)[: 3 if channels > 1 else 2]
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def write(path: Path, pixels: Any, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    picture.save(path, **options)
    return path


def fault(folder: Path, **options: Any) -> str:
    with pytest.raises(ValueError, match="files cannot be used") as caught:
        images(folder, **options)
    return str(caught.value)


def test_files_are_read_in_the_order_of_their_paths(tmp_path: Path) -> None:
    names = ["b.png", "a/z.PNG", "a.png", "a/b/c.png"]
    pixels = {name: random_pixels(seed=seed) for seed, name in enumerate(names)}
    for name in names:
        write(tmp_path / name, pixels[name])
    (tmp_path / "notes.txt").write_text("skipped")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "d.png").write_bytes(b"skipped")
    (tmp_path / "._b.png").write_bytes(b"skipped")
    read = images(tmp_path)
    np.testing.assert_array_equal(read.pixels, [pixels[name] for name in sorted(names)])
    assert read.pixels.dtype == np.uint8
    assert (read.levels, read.classes) == (256, ())
    assert read.labels is None


def test_jpeg_is_read_as_pillow_decodes_it(tmp_path: Path) -> None:
    smooth = np.broadcast_to(np.arange(0, 240, 10, dtype=np.uint8)[:, None, None], (24, 16, 3)).copy()
    write(tmp_path / "a.jpg", smooth, quality=95)
    read = images(tmp_path).pixels[0]
    np.testing.assert_array_equal(read, np.asarray(Image.open(tmp_path / "a.jpg")))
    assert np.abs(read.astype(int) - smooth).max() <= 4


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_modes_are_converted_to_grey_or_rgb(tmp_path: Path, mode: str, channels: int) -> None:
    rgb = Image.fromarray(random_pixels())
    picture = rgb.quantize(16) if mode == "P" else rgb.convert(mode)
    write(tmp_path / "a.png", picture)
    read = images(tmp_path, channels=channels).pixels[0]  # type: ignore[arg-type]
    expected = np.asarray(picture.convert("RGB" if channels == 3 else "L")).reshape(6, 8, channels)
    np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize("levels", [2, 3, 8, 255, 256])
def test_levels_divide_the_values_evenly(tmp_path: Path, levels: int) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    write(tmp_path / "a.png", values)
    read = images(tmp_path, channels=1, levels=levels)
    np.testing.assert_array_equal(read.pixels[0, ..., 0].ravel(), np.arange(256) * levels // 256)
    assert read.levels == levels
    assert len(np.unique(read.pixels)) == levels


def test_resize_averages_blocks_of_pixels(tmp_path: Path) -> None:
    pixels = random_pixels(12, 8)
    write(tmp_path / "a.png", pixels)
    read = images(tmp_path, size=(3, 4), resize=True).pixels[0]
    assert (
        np.abs(read - pixels.reshape(3, 4, 4, 2, 3).mean((1, 3))).max() <= 1
    )  # Pillow rounds after each of two passes


@pytest.mark.parametrize(("height", "width"), [(6, 8), (7, 4), (4, 4)])
def test_crop_cuts_out_the_centre(tmp_path: Path, height: int, width: int) -> None:
    pixels = random_pixels(height, width)
    write(tmp_path / "a.png", pixels)
    top, left = (height - 4) // 2, (width - 4) // 2
    read = images(tmp_path, size=4, crop=True).pixels[0]
    np.testing.assert_array_equal(read, pixels[top : top + 4, left : left + 4])


@pytest.mark.parametrize("shape", [(8, 20), (20, 8)])
def test_resize_and_crop_covers_the_size_without_distortion(tmp_path: Path, shape: tuple[int, int]) -> None:
    pixels = np.zeros((*shape, 3), np.uint8)
    centre = tuple(slice((n - 8) // 2, (n + 8) // 2) for n in shape)
    pixels[centre] = random_pixels(8, 8)
    write(tmp_path / "a.png", pixels)
    read = images(tmp_path, size=4, resize=True, crop=True).pixels[0]
    assert np.abs(read - pixels[centre].reshape(4, 2, 4, 2, 3).mean((1, 3))).max() <= 1


def test_photographs_are_turned_upright(tmp_path: Path) -> None:
    stored, exif = random_pixels(8, 16), Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate clockwise by 90 degrees
    for name in ("a.jpg", "b.png"):
        write(tmp_path / name, stored, exif=exif)
    read = images(tmp_path, size=(16, 8)).pixels
    np.testing.assert_array_equal(read[1], np.rot90(stored, -1))
    np.testing.assert_array_equal(read[0], np.rot90(np.asarray(Image.open(tmp_path / "a.jpg")), -1))
    assert "a.jpg: size: expected 8×16 (height × width), got 16×8" in fault(tmp_path, size=(8, 16))


def test_the_first_of_several_pictures_in_a_jpeg_is_read(tmp_path: Path) -> None:
    """As many phones write them."""
    one, other = (Image.fromarray(random_pixels(seed=seed)) for seed in (0, 1))
    write(tmp_path / "a.jpg", one, format="MPO", save_all=True, append_images=[other])
    single = io.BytesIO()
    one.save(single, format="JPEG")
    np.testing.assert_array_equal(images(tmp_path).pixels[0], np.asarray(Image.open(single)))


def test_subfolders_are_labels(tmp_path: Path) -> None:
    for name in ("dog/1.png", "cat/2.png", "cat/old/3.png", "zebra/4.png"):
        write(tmp_path / name, random_pixels())
    (tmp_path / "empty").mkdir()
    read = images(tmp_path, labels=True)
    assert read.classes == ("cat", "dog", "zebra")
    assert read.labels is not None
    assert read.labels.tolist() == [0, 0, 1, 2]
    assert read.labels.dtype == np.int64
    write(tmp_path / "a.png", random_pixels())
    assert "a.png: labels: expected a file in a subfolder, got one in the folder itself" in fault(tmp_path, labels=True)


def animation() -> bytes:
    content = io.BytesIO()
    one, other = (Image.fromarray(random_pixels(seed=seed)) for seed in (0, 1))
    one.save(content, format="PNG", save_all=True, append_images=[other])
    return content.getvalue()


def encoded(picture: Any, kind: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(content, format=kind, **options)
    return content.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, data: bytes) -> bytes:
    """Encode a PNG file by hand: Pillow writes neither 16-bit RGB nor wrong sizes."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(data)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks)


RGB = Image.fromarray(random_pixels())
NOISE = encoded(random_pixels(40, 40), "JPEG")
BAD = {
    "empty.png": (b"", "expected PNG or JPEG, got another format, or a damaged header"),
    "text.jpg": (b"a text", "expected PNG or JPEG, got another format"),
    "bmp.png": (encoded(RGB, "BMP"), "expected PNG or JPEG, got another format"),
    "truncated.png": (
        encoded(random_pixels(40, 40))[:-600],
        "expected a complete picture, got one that cannot be read",
    ),
    "truncated.jpg": (
        NOISE[: len(NOISE) // 2],
        "expected a complete picture, got one that cannot be read (image file is",
    ),
    "without end.png": (encoded(RGB)[:-12], "expected a complete picture"),
    "animated.png": (animation(), "expected one picture, got an animation"),
    "16 bits.png": (encoded(random_pixels(channels=1).astype(np.uint16)), "expected 8 bits per channel, got 16"),
    "16 bits rgb.png": (png(2, 1, 16, 2, b"\0" * 13), "expected 8 bits per channel, got 16"),
    "cmyk.jpg": (encoded(RGB.convert("CMYK"), "JPEG"), "expected grey or RGB, got CMYK"),
    "transparent.png": (
        encoded(random_pixels(channels=4)),
        "expected opaque ones; put the picture on a background, got 4",
    ),
    "index.png": (encoded(RGB.quantize(4), transparency=0), "expected opaque ones; put the picture on a background"),
    "bomb.png": (png(50_000, 50_000, 8, 2, b""), "exceeds limit of"),
    "smaller bomb.png": (png(10_000, 10_000, 8, 2, b""), "exceeds limit of"),
    "short data.png": (png(8, 6, 8, 2, b"\0" * 30), "expected a complete picture"),
    "animation.gif": (encoded(RGB, "GIF"), "expected PNG or JPEG, got .gif; convert or move it"),
    "photo.WebP": (b"", "expected PNG or JPEG, got .WebP; convert or move it"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named_with_what_is_wrong(tmp_path: Path, name: str) -> None:
    write(tmp_path / "good.png", RGB)
    (tmp_path / name).write_bytes(BAD[name][0])
    message = fault(tmp_path, size=4, resize=True)
    assert message.startswith(f"{tmp_path}: 1 of 2 files cannot be used: {name}: ")
    assert BAD[name][1] in message
    (tmp_path / name).unlink()
    assert len(images(tmp_path)) == 1


def test_all_bad_files_are_named_up_to_ten(tmp_path: Path) -> None:
    for name, (content, _) in BAD.items():
        (tmp_path / name).write_bytes(content)
    message = fault(tmp_path)
    assert message.startswith(f"{tmp_path}: {len(BAD)} of {len(BAD)} files")
    assert [name in message for name in sorted(BAD)] == [True] * 10 + [False] * (len(BAD) - 10)
    assert message.endswith(" …")


def test_claimed_sizes_are_checked_before_decoding(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(9000, 9000, 8, 2, b""))  # below Pillow's limit; decoding it would fail
    assert "a.png: size: expected 32×32 (height × width), got 9000×9000" in fault(tmp_path, size=32)
    write(tmp_path / "0.png", RGB)
    assert "a.png: size: expected 6×8 (height × width), got 9000×9000" in fault(tmp_path)


@pytest.mark.parametrize("height", [3, 4])
def test_other_sizes_are_rejected_without_resize(tmp_path: Path, height: int) -> None:
    write(tmp_path / "a.png", random_pixels(4, 4))
    write(tmp_path / "b.png", random_pixels(height, 7))
    assert f"b.png: size: expected 4×4 (height × width), got {height}×7 (height × width); pass resize" in fault(
        tmp_path
    )
    if height < 4:
        assert "b.png: size: expected at least 4×4" in fault(tmp_path, size=4, crop=True)
    assert images(tmp_path, size=4, resize=True).pixels.shape == (2, 4, 4, 3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damage_to_a_png_file_never_changes_its_pixels(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(encoded(RGB))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (tmp_path / "a.png").write_bytes(content)
    try:
        read = images(tmp_path)
    except ValueError:
        return
    np.testing.assert_array_equal(read.pixels[0], random_pixels())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size: expected at least 1, got 0"),
        ({"size": (4, -1)}, "size: expected at least 1, got -1"),
        ({"resize": True}, "size: expected a height and a width if resize or crop is set, got None"),
        ({"channels": 2}, "channels: expected 1 or 3, got 2"),
        ({"levels": 1}, "levels: expected at least 2, got 1"),
        ({"levels": 257}, "levels: expected at most 256, got 257"),
    ],
)
def test_arguments_are_checked(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    write(tmp_path / "a.png", RGB)
    with pytest.raises(ValueError, match=message):
        images(tmp_path, **options)


def test_missing_and_empty_folders_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(
        ValueError, match=rf"folder: expected PNG or JPEG files in {tmp_path}, got none \(1 other entries"
    ):
        images(tmp_path)
    with pytest.raises(ValueError, match=r"folder: expected an existing folder, got .*nowhere"):
        images(tmp_path / "nowhere")


def test_missing_pillow_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.png", RGB)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ImportError, match=r'images needs PIL.Image; install it with: pip install -e "\.\[images\]"'):
        images(tmp_path)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root can read every file")
def test_unreadable_files_are_named(tmp_path: Path) -> None:
    write(tmp_path / "a.png", RGB).chmod(0)
    assert "a.png: file: expected a complete picture, got one that cannot be read" in fault(tmp_path)


@given(n=st.integers(1, 60), fractions=st.lists(st.floats(0.05, 1), min_size=1, max_size=3), seed=st.integers(0, 99))
def test_split_divides_the_images(n: int, fractions: list[float], seed: int) -> None:
    fractions = [fraction / sum(fractions) for fraction in fractions]
    whole = Images(np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1), np.arange(n) * 2, 256, ("a",))
    if min(fractions) * n < 1:  # a part may be empty
        return
    parts = whole.split(fractions, np.random.default_rng(seed))
    again = whole.split(fractions, np.random.default_rng(seed))
    assert sorted(pixel for part in parts for pixel in part.pixels.ravel().tolist()) == list(range(n))
    for part, same, fraction in zip(parts, again, fractions, strict=True):
        assert abs(len(part) - fraction * n) <= 1
        assert part.labels is not None
        assert np.array_equal(part.labels, part.pixels.ravel() * 2)
        assert np.array_equal(part.pixels, same.pixels)
        assert (part.levels, part.classes) == (256, ("a",))


def test_split_depends_on_the_seed_and_checks_its_arguments() -> None:
    whole = Images(np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1), None, 256)
    first, second = (whole.split((0.5, 0.5), np.random.default_rng(seed))[0] for seed in (0, 1))
    assert not np.array_equal(first.pixels, second.pixels)
    assert first.labels is None
    for fractions in ((0.5, 0.6), (), (1.5, -0.5)):
        with pytest.raises(ValueError, match="fractions: expected positive numbers with sum 1"):
            whole.split(fractions, np.random.default_rng(0))
    with pytest.raises(ValueError, match="fractions: expected parts with at least one of 100 images, got"):
        whole.split((0.001, 0.999), np.random.default_rng(0))
    with pytest.raises((TypeError, ValueError), match=r"rng: expected a np\.random\.Generator"):
        whole.split((0.5, 0.5), 0)  # type: ignore[arg-type]
