"""Files are replaced whole, whoever else writes them and whatever goes wrong."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tinygen.files import write_whole


def test_a_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    for content in (b"old", b"new"):
        write_whole(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == content
    write_whole(str(tmp_path / "file"), b"")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(number: int) -> None:
        raise OSError("disk full")

    write_whole(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_whole(tmp_path / "file", b"half of it")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_two_threads_do_not_meet_in_one_partial_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both, errors = threading.Barrier(2, timeout=10), list[BaseException]()
    monkeypatch.setattr(os, "fsync", lambda number: both.wait())  # both have written, neither has renamed

    def write(content: bytes) -> None:
        try:
            write_whole(tmp_path / "file", content)
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
