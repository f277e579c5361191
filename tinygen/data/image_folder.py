"""Folders of your own PNG and JPEG files as arrays. Every file is checked; errors name all files that cannot be used.

Checked by: tests/data/test_image_folder.py
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..arguments import explained
from ..checks import at_least, require
from ..files import import_optional
from .image_sets import Images

SUFFIXES = (".jpeg", ".jpg", ".png")
OTHER_PICTURES = (".bmp", ".gif", ".heic", ".tif", ".tiff", ".webp")  # not skipped silently, as other files are
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")  # of Pillow, with 8 bits or less per channel
SHOWN = 10  # faults in the message of an error

Size = tuple[int, int]  # height and width


@explained
def images(
    folder: str | Path,
    *,
    size: int | Size | None = None,
    resize: bool = False,
    crop: bool = False,
    channels: Literal[1, 3] = 3,
    levels: int = 256,
    labels: bool = False,
) -> Images:
    """Return all PNG and JPEG files in a folder and its subfolders, sorted by their paths.

        pixel ← ⌊pixel · levels / 256⌋

    Hidden files and files that are not pictures are skipped. Photographs are turned upright as their EXIF data say.
    Use `Images.split` for a training, a validation and a test set.

    Args:
        size: height and width of the result, or one number for both. By default, the size of the first file.
        resize: scale each picture to `size`; a pixel is the mean of the pixels that it covers.
        crop: cut `size` out of the centre of each picture. With `resize`, it is first scaled to the smallest picture
            that covers `size`, with the same ratio of its sides. If both are False, another size is an error.
        channels: 3 for RGB, 1 for grey; files of the other kind are converted.
        levels: number of values of a pixel, at most 256.
        labels: label each picture with its subfolder of `folder`; `classes` are the sorted names of these subfolders.

    Shapes: pixels (N, *size, channels) uint8; labels (N,) or None.
    Raises: ValueError if an argument is invalid, there are no files, or some are damaged, animated, transparent, of
        another size, or have 16 bits per channel; ImportError without Pillow.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from PIL import Image
        >>> with TemporaryDirectory() as folder:
        ...     Image.new("RGB", (64, 48), "white").save(f"{folder}/white.png")
        ...     images(folder, size=32, resize=True, crop=True, levels=8).pixels.shape
        (1, 32, 32, 3)
    """
    folder, wanted = Path(folder), _check_size(size, resize or crop)
    at_least(1, channels=channels)
    require(channels in (1, 3), "channels", "1 or 3", channels)
    at_least(2, levels=levels)
    require(levels <= 256, "levels", "at most 256", levels)
    pixels: list[NDArray[np.uint8]] = []
    faults = []
    files = _files(folder)
    for file in files:
        name = file.relative_to(folder).as_posix()
        try:
            picture = _fit(_decode(file, channels, None if resize or crop else wanted), wanted, resize, crop)
            pixels.append(np.asarray(picture).reshape(picture.height, picture.width, channels))
            wanted = wanted or (picture.height, picture.width)
            require(not labels or "/" in name, "labels", "a file in a subfolder", "one in the folder itself")
        except ValueError as error:
            faults.append(f"{name}: {error}")
    if faults:
        listed = "; ".join(faults[:SHOWN]) + (" …" if len(faults) > SHOWN else "")
        raise ValueError(f"{folder}: {len(faults)} of {len(files)} files cannot be used: {listed}")
    quantised = (np.stack(pixels).astype(np.uint16) * levels >> 8).astype(np.uint8)
    subfolders = [file.relative_to(folder).parts[0] for file in files]
    classes, indices = np.unique(subfolders, return_inverse=True)
    return Images(quantised, indices, levels, tuple(classes.tolist())) if labels else Images(quantised, None, levels)


def _check_size(size: int | Size | None, needed: bool) -> Size | None:
    if size is None:
        require(not needed, "size", "a height and a width if resize or crop is set", "None")
        return None
    height, width = (size, size) if isinstance(size, int | np.integer) else size
    at_least(1, size=height)
    at_least(1, size=width)
    return height, width


def _files(folder: Path) -> list[Path]:
    """Return the PNG and JPEG files below a folder, and other pictures, for which `_decode` raises an error."""
    require(folder.is_dir(), "folder", "an existing folder", str(folder))
    below = sorted((path.relative_to(folder).as_posix(), path) for path in folder.rglob("*"))
    visible = [path for name, path in below if not any(part.startswith(".") for part in name.split("/"))]
    found = [path for path in visible if path.suffix.lower() in SUFFIXES + OTHER_PICTURES and path.is_file()]
    require(bool(found), "folder", f"PNG or JPEG files in {folder}", f"none ({len(below)} other entries)")
    return found


def _decode(file: Path, channels: int, size: Size | None) -> Any:
    """Return a picture in RGB or grey. Its header is checked before it is decoded, as a small file can claim any size.

    Pillow's limit is PIL.Image.MAX_IMAGE_PIXELS.
    """
    require(file.suffix.lower() in SUFFIXES, "file", "PNG or JPEG", f"{file.suffix}; convert or move it")
    pillow = _pillow("Image")
    with _readable(), file.open("rb") as stream:
        depth = stream.read(25)[24:]  # of a PNG file
        with pillow.open(stream, formats=("PNG", "JPEG")) as picture:
            is_png = picture.format == "PNG"
            if size is not None:
                turned_or_not = sorted(picture.size) == sorted(size)
                require(turned_or_not, "size", _shown(size), f"{_shown(picture.size[::-1])}; pass resize or crop")
            require(not (is_png and depth == b"\x10"), "pixels", "8 bits per channel", 16)
            require(picture.mode in MODES, "pixels", "grey or RGB", picture.mode)
            require(not (is_png and picture.is_animated), "file", "one picture", "an animation")
            picture.verify()  # the checksums of a PNG file
        with pillow.open(stream, formats=("PNG", "JPEG")) as picture:
            upright = _pillow("ImageOps").exif_transpose(picture)
        if "A" in upright.mode or "transparency" in upright.info:
            transparent = np.count_nonzero(np.asarray(upright.convert("RGBA"))[..., 3] < 255)
            require(transparent == 0, "pixels", "opaque ones; put the picture on a background", f"{transparent} others")
        return upright.convert("RGB" if channels == 3 else "L")


@contextmanager
def _readable() -> Iterator[None]:
    """Convert the errors of Pillow to ValueError."""
    pillow = _pillow("Image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pillow.DecompressionBombWarning)
            yield
    except ValueError:
        raise
    except pillow.UnidentifiedImageError as error:
        raise ValueError("file: expected PNG or JPEG, got another format, or a damaged header") from error
    except Exception as error:  # OSError, SyntaxError, and those of zlib and struct
        raise ValueError(f"file: expected a complete picture, got one that cannot be read ({error})") from error


def _fit(picture: Any, size: Size | None, resize: bool, crop: bool) -> Any:
    """Return a picture of the given size, which must be its own if neither `resize` nor `crop` is set."""
    own, box = (picture.height, picture.width), _pillow("Image").Resampling.BOX
    if size is None or own == size:
        return picture
    height, width = size
    if resize and crop:
        return _pillow("ImageOps").fit(picture, (width, height), box)
    if resize:
        return picture.resize((width, height), box)
    require(crop, "size", _shown(size), f"{_shown(own)}; pass resize or crop")
    require(own[0] >= height and own[1] >= width, "size", f"at least {_shown(size)}", f"{_shown(own)}; pass resize")
    top, left = (own[0] - height) // 2, (own[1] - width) // 2
    return picture.crop((left, top, left + width, top + height))


def _pillow(module: str) -> Any:
    return import_optional(f"PIL.{module}", "tinygen.data.images", "images")


def _shown(size: Size) -> str:
    return f"{size[0]}×{size[1]} (height × width)"
