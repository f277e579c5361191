"""Atomic file replacement: concurrent writers and failures never leave a partial file."""

from __future__ import annotations

import ast
import configparser
import io
import os
import re
import threading
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tinygen.files import import_optional, read_npz, write_atomically

ROOT = Path(__file__).parent.parent


def test_replaces_the_file_and_leaves_no_other_file(tmp_path: Path) -> None:
    for content in (b"old", b"new"):
        write_atomically(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == content
    write_atomically(str(tmp_path / "file"), b"")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_keeps_the_permissions_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "private"
    path.touch(mode=0o600)
    write_atomically(path, b"new")
    assert path.stat().st_mode & 0o777 == 0o600


def test_failed_write_keeps_the_old_file_and_leaves_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(number: int) -> None:
        raise OSError("disk full")

    write_atomically(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(tmp_path / "file", b"half of it")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_concurrent_writers_use_separate_partial_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both, errors = threading.Barrier(2, timeout=10), list[BaseException]()
    monkeypatch.setattr(os, "fsync", lambda number: both.wait())  # both have written, neither has renamed

    def write(content: bytes) -> None:
        try:
            write_atomically(tmp_path / "file", content)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(letter * 1000,)) for letter in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert (tmp_path / "file").read_bytes() in (b"a" * 1000, b"b" * 1000)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_removes_partial_files_of_killed_writers_and_no_others(tmp_path: Path) -> None:
    others = [".file.0123", ".file.0123456789abcdeg", ".file2.0123456789abcdef", "file.0123456789abcdef", "[a]"]
    for name in (".file.0123456789abcdef", ".file.ffffffffffffffff", *others):
        (tmp_path / name).touch()
    write_atomically(tmp_path / "file", b"new")
    assert {path.name for path in tmp_path.iterdir()} == {"file", *others}
    (tmp_path / ".[a].0123456789abcdef").touch()
    write_atomically(tmp_path / "[a]", b"new")
    assert {path.name for path in tmp_path.iterdir()} == {"file", *others}


def test_replaces_the_target_of_a_symbolic_link(tmp_path: Path) -> None:
    for folder in ("links", "files"):
        (tmp_path / folder).mkdir()
    target, link, chain = tmp_path / "files" / "file", tmp_path / "links" / "link", tmp_path / "links" / "chain"
    link.symlink_to(Path("..") / "files" / "file")
    chain.symlink_to(link)
    for content in (b"the target does not exist yet", b"it exists"):
        write_atomically(chain, content)
        assert link.is_symlink()
        assert chain.is_symlink()
        assert target.read_bytes() == content
        assert not target.is_symlink()


def npz(**arrays: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    return content.getvalue()


def test_read_npz_returns_what_was_saved() -> None:
    arrays = {
        "scalar": np.array(2.5),
        "empty": np.zeros((0, 3), np.int8),
        "transposed": np.arange(6).reshape(2, 3).T,
        "big_endian": np.arange(3, dtype=">f4"),
        "flag": np.array([True, False]),
    }
    read = read_npz(npz(**arrays), 10_000)
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert np.array_equal(read[name], array)
        assert read[name].dtype == array.dtype
        assert read[name].flags.writeable


def test_read_npz_checks_the_claimed_size_before_reading() -> None:
    content = npz(w=np.zeros(10**7))
    assert len(content) < 10**5
    tracemalloc.start()
    with pytest.raises(ValueError, match="expected at most 100,000 bytes of arrays, got 80,000,1"):
        read_npz(content, 100_000)
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()
    assert read_npz(content, 10**8)["w"].size == 10**7


@pytest.mark.parametrize("shape", ["(4,)", "(2,)", "(1000000000000,)", "(-3,)"])
def test_read_npz_rejects_a_shape_that_is_not_that_of_the_data(shape: str) -> None:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    header = file.getvalue().replace(b"(3,)", shape.encode())
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("w.npy", header.replace(b" " * (len(header) - len(file.getvalue())), b"", 1))
    with pytest.raises(ValueError, match=r"w\.npy"):
        read_npz(content.getvalue(), 10_000)


@pytest.mark.parametrize("array", [np.array([{}], object), np.array(["text"]), np.zeros(2, "i4,f4")])
def test_read_npz_rejects_what_is_not_numbers(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected numbers"):
        read_npz(npz(w=array), 10_000)


def optional_imports() -> Iterator[tuple[str, str]]:
    """Yield the module and the extra of every call of `import_optional` in tinygen."""
    for path in (ROOT / "tinygen").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "import_optional":
                parts = [part.values[0] if isinstance(part, ast.JoinedStr) else part for part in call.args]
                arguments = [part.value if isinstance(part, ast.Constant) else "" for part in parts]
                extra = [keyword.value.value for keyword in call.keywords if isinstance(keyword.value, ast.Constant)]
                yield str(arguments[0]), str([*arguments[2:], *extra, "examples"][0])


def test_every_optional_module_is_in_the_extra_that_its_error_names() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    distributions = {"sklearn": "scikit-learn", "PIL": "pillow"}  # those that are named differently than the module
    found = set(optional_imports())
    assert ("tensorboardX", "tensorboard") in found
    for module, extra in found:
        package = module.partition(".")[0]
        listed = re.findall(r"^[\w-]+", config["options.extras_require"][extra], re.MULTILINE)
        assert distributions.get(package, package) in listed, (module, extra)


def test_import_optional_names_the_extra() -> None:
    with pytest.raises(ImportError, match=r'ghosts needs no_such_module; install .* pip install -e "\.\[attic\]"'):
        import_optional("no_such_module", "ghosts", "attic")
