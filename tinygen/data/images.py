"""Three data sets of handwritten digits: 8×8 digits, binarised MNIST and MNIST.

Checked by: tests/data/test_images.py
"""

import gzip
import hashlib
import io
import math
import struct
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..arguments import explained
from ..checks import require
from ..files import import_optional, read_npz
from .folder import load

MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MNIST_FILES = {  # split: (prefix, MD5 of the images, MD5 of the labels)
    "train": ("train", "f68b3c2dcbeaaa9fbdd348bbdeb94873", "d53e105ee54ea40749a09fcbcd1e9432"),
    "test": ("t10k", "9fb629c4189551a2d022fa330f9573f3", "ec29112dd5afa0611ce80d1b7f02629c"),
}

MNIST_SIZE = 60_000 * 28 * 28  # values in the largest file

BINARIZED_MNIST_URL = "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/"
BINARIZED_MNIST_FILES = {  # split: (number of images, SHA-256 of the packed pixels)
    "train": (50_000, "727146c35424b019f3e350e1e69faa05644a0abaf787e3f4e1a9632220a13906"),
    "valid": (10_000, "a256ac44ae26be720fad8616a05ed6ecfd1619930d9a208379bb2a4405df5b6d"),
    "test": (10_000, "9fcd8da6f0fdf09b2ba30fe63a0bb784042a0de82563172530229b983e294ff2"),
}


@dataclass(frozen=True, eq=False)
class Images:
    """One split of an image data set: pixels in 0 … levels − 1, and the labels if there are any.

    Shapes: pixels (N, H, W, C) uint8; labels (N,) int64 or None.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    levels: int

    def __len__(self) -> int:
        return len(self.pixels)


@explained
def digits(split: Literal["train", "test"], *, threshold: int | None = None) -> Images:
    """Return one split of the 8×8 digits that scikit-learn includes: 17 levels, or 2 if there is a threshold.

        pixel ← 1 if pixel ≥ threshold else 0

    Shapes: pixels (1437, 8, 8, 1) and labels (1437,) in "train", the first images; 360 in "test", the last ones.
    Raises: ValueError for an unknown split or a threshold outside 1 … 16; ImportError without scikit-learn.
    Source: Alpaydin & Kaynak, "Optical recognition of handwritten digits", UCI repository, 1998 (its test part).

    Example:
        >>> train = digits("train", threshold=8)
        >>> train.pixels.shape, train.levels, train.labels[:5]
        ((1437, 8, 8, 1), 2, array([0, 1, 2, 3, 4]))
    """
    part = {"train": slice(None, 1437), "test": slice(1437, None)}[_check_split(split, ("train", "test"))]
    valid = threshold is None or threshold in range(1, 17)
    require(valid, "threshold", "None or an integer 1…16", repr(threshold))
    bundle = import_optional("sklearn.datasets", "digits").load_digits()
    pixels = bundle.images[part, :, :, None].astype(np.uint8)
    labels = bundle.target[part].astype(np.int64)
    if threshold is None:
        return Images(pixels, labels, levels=17)
    return Images((pixels >= threshold).astype(np.uint8), labels, levels=2)


@explained
def mnist(split: Literal["train", "test"]) -> Images:
    """Return one split of MNIST, 28×28 digits in 256 levels. The first call downloads it into `data_folder()`.

    Shapes: pixels (60000, 28, 28, 1) and labels (60000,) in "train"; 10000 in "test".
    Raises: ValueError for an unknown split; DataFileError if a file is not available or not the published one.
    Source: LeCun, Bottou, Bengio & Haffner, "Gradient-based learning applied to document recognition", 1998.
    """
    prefix, pixels_md5, labels_md5 = MNIST_FILES[_check_split(split, tuple(MNIST_FILES))]
    pixels = _load_idx(f"{prefix}-images-idx3-ubyte.gz", pixels_md5)
    labels = _load_idx(f"{prefix}-labels-idx1-ubyte.gz", labels_md5)
    return Images(pixels[..., None], labels.astype(np.int64), levels=256)


@explained
def binarized_mnist(split: Literal["train", "valid", "test"]) -> Images:
    """Return one split of static binarised MNIST: every pixel was set to 1 with probability equal to its grey value.

    There are no labels. The first call downloads up to 78 MB of text and stores up to 1.6 MB in `data_folder()`.

    Shapes: pixels (50000, 28, 28, 1) of 0 and 1 in "train"; 10000 each in "valid" and "test".
    Raises: ValueError for an unknown split; DataFileError if a file is not available or not the published one.
    Source: Larochelle & Murray, "The neural autoregressive distribution estimator", 2011, after
    Salakhutdinov & Murray, "On the quantitative analysis of deep belief networks", 2008.
    """
    n, sha256 = BINARIZED_MNIST_FILES[_check_split(split, tuple(BINARIZED_MNIST_FILES))]
    stem = f"binarized_mnist_{split}"
    url, digest = f"{BINARIZED_MNIST_URL}{stem}.amat", f"SHA-256 {sha256} of its packed pixels"
    pixels = load(f"{stem}.npz", url, digest, partial(_unpack, n=n, sha256=sha256), _pack)
    return Images(pixels, None, levels=2)


def _check_split(split: str, splits: tuple[str, ...]) -> str:
    require(split in splits, "split", f"one of {', '.join(map(repr, splits))}", repr(split))
    return split


def _load_idx(name: str, md5: str) -> NDArray[np.uint8]:
    def read(content: bytes) -> NDArray[np.uint8]:
        got = hashlib.md5(content, usedforsecurity=False).hexdigest()
        require(got == md5, "MD5", md5, got)
        return _decode_idx(content)

    return load(name, MNIST_URL + name, f"MD5 {md5}", read)


def _decode_idx(content: bytes) -> NDArray[np.uint8]:
    """Decode a gzipped IDX file of unsigned bytes, whose content has been verified.

    0, 0, 8, d  |  d big-endian uint32 sizes  |  prod(sizes) values, the last axis fastest
    """
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        dimensions = file.read(4)[3]
        shape = struct.unpack(f">{dimensions}I", file.read(4 * dimensions))
        size = math.prod(shape)
        require(size <= MNIST_SIZE, "IDX file", f"at most {MNIST_SIZE:,} values", f"{size:,}")
        raw = file.read(size + 1)  # a few megabytes can claim, and fill, any amount of memory
    require(len(raw) == size, "IDX file", f"{size:,} values", "more" if len(raw) > size else f"{len(raw):,}")
    return np.frombuffer(raw, np.uint8).reshape(shape).copy()


def _pack(text: bytes) -> bytes:
    """Convert lines of 784 numbers 0 or 1 to an .npz file with eight pixels per byte."""
    bits = np.frombuffer(text.translate(None, delete=b" \t\r\n"), np.uint8) - ord("0")
    if bits.size % 784 or (bits > 1).any():  # characters below "0" wrap around to large numbers
        raise ValueError(f"source: expected lines of 784 numbers 0 or 1, got {bits.size} characters without whitespace")
    content = io.BytesIO()
    np.savez_compressed(content, packed=np.packbits(bits.reshape(-1, 784), axis=1))
    return content.getvalue()


def _unpack(content: bytes, n: int, sha256: str) -> NDArray[np.uint8]:
    """Return the pixels (n, 28, 28, 1) of an .npz file written by _pack."""
    try:
        packed = read_npz(content, max_bytes=98 * n + 1000)["packed"]  # and the header of the .npy format
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds of errors for damaged files
        raise ValueError(f"not a complete .npz file with a key 'packed': {error}") from error
    fits = packed.dtype == np.uint8 and packed.shape == (n, 98)
    require(fits, "packed", f"uint8 of shape ({n}, 98)", f"{packed.dtype} of shape {packed.shape}")
    got = hashlib.sha256(packed.tobytes()).hexdigest()
    require(got == sha256, "SHA-256 of the packed pixels", sha256, got)
    return np.unpackbits(packed, axis=1).reshape(n, 28, 28, 1)
