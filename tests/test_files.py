"""Atomic file replacement: concurrent writers and failures never leave a partial file."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tinygen.files import write_atomically


def test_replaces_the_file_and_leaves_no_other_file(tmp_path: Path) -> None:
    for content in (b"old", b"new"):
        write_atomically(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == content
    write_atomically(str(tmp_path / "file"), b"")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


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
