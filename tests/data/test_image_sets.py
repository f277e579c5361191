"""Image data sets: their content, and rejection of damaged or wrong files."""

import gzip
import hashlib
import io
import os
import re
import struct
import sys
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tinygen.data import DataFileError, Images, binarized_mnist, cifar10, digits, fashion_mnist, image_sets, mnist

Small: TypeAlias = tuple[Callable[[str], Images], Images, Path]


def idx(values: NDArray[np.uint8]) -> bytes:
    """Encode an array as gzipped IDX."""
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return gzip.compress(header + values.tobytes(), mtime=0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder, and URLs that cannot be reached."""
    monkeypatch.setenv("TINYGEN_DATA", str(tmp_path))
    # Connections to port 0 are always refused, even without a network.
    for name in image_sets.MIRRORS:
        monkeypatch.setitem(image_sets.MIRRORS, name, ("http://127.0.0.1:0/",))
    return tmp_path


def test_digits_match_scikit_learn_in_order() -> None:
    train, test = digits("train"), digits("test")
    assert (train.pixels.shape, test.pixels.shape, train.levels) == ((1437, 8, 8, 1), (360, 8, 8, 1), 17)
    assert train.labels is not None
    assert test.labels is not None
    assert (len(train), len(test)) == (len(train.labels), len(test.labels))
    assert train.pixels.dtype == np.uint8
    assert train.labels.dtype == np.int64
    from sklearn.datasets import load_digits

    bundle = load_digits()
    np.testing.assert_array_equal(np.concatenate([train.pixels, test.pixels])[..., 0], bundle.images)
    np.testing.assert_array_equal(np.concatenate([train.labels, test.labels]), bundle.target)
    assert (train.pixels.min(), train.pixels.max()) == (0, 16)


@pytest.mark.parametrize("threshold", [1, 8, 16])
def test_threshold_gives_binary_pixels(threshold: int) -> None:
    grey, binary = digits("test"), digits("test", threshold=threshold)
    assert binary.levels == 2
    np.testing.assert_array_equal(binary.pixels == 1, grey.pixels >= threshold)
    assert set(np.unique(binary.pixels)) == {0, 1}


@pytest.mark.parametrize("threshold", [0, 17, -1, 7.5, "8"])
def test_digits_rejects_invalid_thresholds(threshold: int) -> None:
    with pytest.raises(ValueError, match=r"threshold: expected None or an integer 1…16, got"):
        digits("train", threshold=threshold)


def test_unknown_splits_are_rejected() -> None:
    with pytest.raises(ValueError, match="split: expected one of 'train', 'test', got 'valid'"):
        digits("valid")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="split: expected one of 'train', 'test', got 'dev'"):
        mnist("dev")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="split: expected one of 'train', 'valid', 'test', got ''"):
        binarized_mnist("")  # type: ignore[arg-type]


def test_missing_scikit_learn_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r'digits needs sklearn.*pip install -e "\.\[examples\]"'):
        digits("train")


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)))
def test_decode_idx_restores_encoded_values(values: NDArray[np.uint8]) -> None:
    decoded = image_sets._decode_idx(idx(values))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, values)


def test_decode_idx_checks_the_claimed_size_before_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_sets, "MNIST_SIZE", 1000)
    content = idx(np.zeros((10**4, 10**3), np.uint8))
    hidden = gzip.compress(b"\0\0\x08\1\0\0\0\7" + bytes(10**7))  # more values than the header claims
    tracemalloc.start()
    with pytest.raises(ValueError, match="IDX file: expected at most 1,000 values, got 10,000,000"):
        image_sets._decode_idx(content)
    with pytest.raises(ValueError, match="IDX file: expected 7 values, got more"):
        image_sets._decode_idx(hidden)
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


def test_unpack_checks_the_claimed_size_before_reading() -> None:
    content = io.BytesIO()
    np.savez_compressed(content, packed=np.zeros((10**5, 98), np.uint8))
    tracemalloc.start()
    with pytest.raises(ValueError, match="expected at most 1,980 bytes of arrays, got 9,800,"):
        image_sets._unpack(content.getvalue(), 10, "")
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


SMALL: dict[Any, tuple[str, str]] = {  # loader: subfolder of the data folder, table of hashes
    mnist: ("", "MNIST_FILES"),
    fashion_mnist: ("fashion-mnist", "FASHION_MNIST_FILES"),
}


@pytest.fixture(params=SMALL, ids=lambda loader: loader.__name__)
def small(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Small:
    """A loader whose test split has three images in the data folder, with patched hashes; the images; their folder."""
    loader = request.param
    subfolder, table = SMALL[loader]
    (folder / subfolder).mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (3, 28, 28), np.uint8), np.array([7, 2, 1], np.uint8)
    files = {"t10k-images-idx3-ubyte.gz": idx(pixels), "t10k-labels-idx1-ubyte.gz": idx(labels)}
    for name, content in files.items():
        (folder / subfolder / name).write_bytes(content)
    md5s = [hashlib.md5(content, usedforsecurity=False).hexdigest() for content in files.values()]
    monkeypatch.setitem(getattr(image_sets, table), "t10k", tuple(md5s))
    return loader, Images(pixels[..., None], labels.astype(np.int64), 256), folder / subfolder


def test_mnist_reads_the_files_in_the_folder(small: Small) -> None:
    load, expected, _ = small
    test = load("test")
    np.testing.assert_array_equal(test.pixels, expected.pixels)
    np.testing.assert_array_equal(test.labels, expected.labels)
    assert (test.levels, len(test), len(test.classes)) == (256, 3, 10)
    assert test.pixels.dtype == np.uint8


def test_mnist_rejects_other_data_of_the_same_shape(small: Small) -> None:
    load, expected, folder = small
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(idx(expected.pixels[::-1, ..., 0]))
    with pytest.raises(DataFileError, match="MD5: expected") as error:
        load("test")
    md5 = getattr(image_sets, SMALL[load][1])["t10k"][0]
    for part in (path.name, f"http://127.0.0.1:0/{path.name}", str(folder), md5):
        assert part in str(error.value)


def test_mnist_without_a_network_says_what_to_put_where(small: Small) -> None:
    load, _, folder = small
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.unlink()
    with pytest.raises(DataFileError, match=rf"put {path.name} from http://127\.0\.0\.1:0/{path.name} into {folder} "):
        load("test")


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mnist_rejects_damaged_files(small: Small, data: st.DataObject) -> None:
    load, _, folder = small
    content = bytearray(idx(np.array([7, 2, 1], np.uint8)))
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(bytes(content)[: data.draw(st.integers(0, len(content)))])
    with pytest.raises(DataFileError, match="MD5: expected"):
        load("test")


def test_mnist_and_fashion_mnist_do_not_share_files(folder: Path) -> None:
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(b"of MNIST")
    with pytest.raises(DataFileError, match=r"Connection|refused|port"):
        fashion_mnist("test")


def tar(files: dict[str, bytes]) -> bytes:
    """Return a .tar.gz archive, with its checksum in the header of gzip."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, file in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(file)
            archive.addfile(member, io.BytesIO(file))
    return content.getvalue()


@pytest.fixture
def small_cifar(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An archive with two images per file, in the data folder: the pixels (12, 32, 32, 3) and the labels (12,)."""
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (12, 32, 32, 3), np.uint8), rng.integers(0, 10, 12).astype(np.uint8)
    records = [bytes([k]) + x.transpose(2, 0, 1).tobytes() for x, k in zip(pixels, labels, strict=True)]
    names = ["data_batch_1.bin", *(f"data_batch_{i}.bin" for i in (3, 2, 4, 5)), "test_batch.bin"]  # in any order
    order = [0, 2, 1, 3, 4, 5]
    content = tar({name: b"".join(records[2 * i : 2 * i + 2]) for name, i in zip(names, order, strict=True)})
    monkeypatch.setattr(image_sets, "CIFAR10_IMAGES", 2)
    monkeypatch.setattr(image_sets, "CIFAR10_SHA256", hashlib.sha256(content).hexdigest())
    (folder / image_sets.CIFAR10_ARCHIVE).write_bytes(content)
    return pixels, labels


def test_cifar10_reads_the_archive_in_the_folder(small_cifar: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    pixels, labels = small_cifar
    train, test = cifar10("train"), cifar10("test")
    np.testing.assert_array_equal(train.pixels, pixels[:10])
    np.testing.assert_array_equal(train.labels, labels[:10])
    np.testing.assert_array_equal(test.pixels, pixels[10:])
    np.testing.assert_array_equal(test.labels, labels[10:])
    assert (test.levels, len(test.classes), test.pixels.flags.c_contiguous) == (256, 10, True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_cifar10_rejects_damaged_archives(small_cifar: object, folder: Path, data: st.DataObject) -> None:
    path = folder / image_sets.CIFAR10_ARCHIVE
    original = path.read_bytes()
    content = bytearray(original)
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(0, 255))
    content = content[: data.draw(st.sampled_from([len(content), len(content) - 1, 100, 0]))]
    try:
        path.write_bytes(content)
        if bytes(content) == original:
            assert len(cifar10("test")) == 2
        else:
            with pytest.raises(DataFileError, match="SHA-256: expected") as error:
                cifar10("test")
            assert f"put {path.name} from http://127.0.0.1:0/{path.name} into {folder}" in str(error.value)
    finally:
        path.write_bytes(original)


def test_cifar10_rejects_files_of_another_size(
    small_cifar: object, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_sets, "CIFAR10_IMAGES", 3)
    with pytest.raises(DataFileError, match=r"test_batch\.bin: expected 3 records of 3073 bytes, got 6146"):
        cifar10("test")


def test_hashes_of_all_files_are_distinct_and_complete() -> None:
    md5s = [
        md5
        for table in (image_sets.MNIST_FILES, image_sets.FASHION_MNIST_FILES)
        for pair in table.values()
        for md5 in pair
    ]
    sha256s = [sha256 for _, sha256 in image_sets.BINARIZED_MNIST_FILES.values()] + [image_sets.CIFAR10_SHA256]
    assert len({*md5s, *sha256s}) == 8 + 4
    assert all(re.fullmatch("[0-9a-f]{32}", md5) for md5 in md5s)
    assert all(re.fullmatch("[0-9a-f]{64}", sha256) for sha256 in sha256s)


def amat(pixels: NDArray[np.uint8]) -> bytes:
    """Encode binary images in the published text format, one line of 784 numbers per image."""
    return b"".join(b" ".join(b"%d" % v for v in row) + b" \n" for row in pixels.reshape(len(pixels), 784).tolist())


def npz(**arrays: NDArray[np.generic]) -> bytes:
    """Encode arrays as a compressed .npz file."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    return content.getvalue()


@pytest.fixture
def four(folder: Path, monkeypatch: pytest.MonkeyPatch) -> NDArray[np.uint8]:
    """Four images as the "valid" split, with a patched hash and without a file in the folder."""
    pixels = np.random.default_rng(0).integers(0, 2, (4, 28, 28, 1), np.uint8)
    sha256 = hashlib.sha256(np.packbits(pixels.reshape(4, 784), axis=1).tobytes()).hexdigest()
    monkeypatch.setitem(image_sets.BINARIZED_MNIST_FILES, "valid", (4, sha256))
    return pixels


def test_binarized_mnist_reads_packed_files_and_text(four: NDArray[np.uint8], folder: Path) -> None:
    packed = np.packbits(four.reshape(4, 784), axis=1)
    for name, content in {"npz": npz(packed=packed), "amat": amat(four)}.items():
        path = folder / f"binarized_mnist_valid.{name}"
        path.write_bytes(content)
        valid = binarized_mnist("valid")
        np.testing.assert_array_equal(valid.pixels, four)
        assert valid.labels is None
        assert valid.levels == 2
        assert valid.pixels.dtype == np.uint8
        path.unlink()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a complete .npz"),
        (b"PK\x03\x04", "not a complete .npz"),
        (npz(packed=np.zeros((4, 98), np.uint8))[:-30], "not a complete .npz"),
        (npz(unpacked=np.zeros((4, 98), np.uint8)), "not a complete .npz file with a key 'packed'"),
        (npz(packed=np.zeros((4, 98), np.int8)), r"uint8 of shape \(4, 98\), got int8"),
        (npz(packed=np.zeros((2, 196), np.uint8)), r"got uint8 of shape \(2, 196\)"),
        (npz(packed=np.zeros((4, 98), np.uint8)), "SHA-256 of the packed pixels: expected"),
        (npz(packed=np.array([[None]], object)), "expected numbers, object"),
    ],
)
def test_binarized_mnist_rejects_bad_packed_files(
    four: NDArray[np.uint8], folder: Path, content: bytes, message: str
) -> None:
    path = folder / "binarized_mnist_valid.npz"
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=message) as error:
        binarized_mnist("valid")
    # The message contains the folder, the URL and the expected hash.
    sha256 = image_sets.BINARIZED_MNIST_FILES["valid"][1]
    for part in (str(folder), "http://127.0.0.1:0/binarized_mnist_valid.amat", sha256):
        assert part in str(error.value)
    assert path.read_bytes() == content, "the user's file must not change"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_binarized_mnist_never_returns_wrong_pixels_for_random_damage(
    four: NDArray[np.uint8], folder: Path, data: st.DataObject
) -> None:
    damaged = bytearray(npz(packed=np.packbits(four.reshape(4, 784), axis=1)))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    (folder / "binarized_mnist_valid.npz").write_bytes(damaged)
    try:
        pixels = binarized_mnist("valid").pixels
    except DataFileError:
        return
    np.testing.assert_array_equal(pixels, four)


@pytest.mark.parametrize("damage", [b"0 1 2 ", b"0 1 0", b"0.0 1.0 ", b"\xff"])
def test_binarized_mnist_rejects_bad_text(four: NDArray[np.uint8], folder: Path, damage: bytes) -> None:
    (folder / "binarized_mnist_valid.amat").write_bytes(amat(four) + damage)
    with pytest.raises(DataFileError, match="lines of 784 numbers 0 or 1"):
        binarized_mnist("valid")


@pytest.mark.skipif("TINYGEN_DATA" not in os.environ, reason="needs TINYGEN_DATA")
@pytest.mark.parametrize(
    ("name", "fraction"), [("binarized_mnist_train", 0.1306), ("binarized_mnist_valid", 0.1311), ("t10k", 0.1325)]
)
def test_published_files_have_known_means(name: str, fraction: float) -> None:
    if not any(Path(os.environ["TINYGEN_DATA"]).glob(f"{name}*")):
        pytest.skip(f"no {name} in TINYGEN_DATA")
    if name == "t10k":
        data = mnist("test")
        assert data.labels is not None
        assert data.labels[:5].tolist() == [7, 2, 1, 0, 4]
    else:
        data = binarized_mnist("train" if name.endswith("train") else "valid")
    assert data.pixels.mean() / (data.levels - 1) == pytest.approx(fraction, abs=1e-4)
