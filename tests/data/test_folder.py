"""The data folder: every file in it is complete and verified, even if a download fails or is wrong."""

import hashlib
import http.server
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tinygen.data import DataFileError, data_folder, folder

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT complete, truncated, altered, or not at all, depending on the first part of the data_dir."""

    requests: list[str]

    def do_GET(self) -> None:
        behaviour = self.path.split("/")[1]
        self.requests.append(self.path)
        if behaviour == "missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write({"truncated": CONTENT[:-100], "altered": CONTENT[::-1]}.get(behaviour, CONTENT))

    def log_message(self, *args: object) -> None:
        """Suppress log messages."""


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """A local server: its address and the list of requested paths."""
    Handler.requests = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}", Handler.requests
        listening.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TINYGEN_DATA", str(tmp_path / "data"))
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    return tmp_path / "data"


def verified(content: bytes) -> bytes:
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise ValueError("wrong SHA-256")
    return content


def fetch(address: str, behaviour: str) -> bytes:
    return folder.load("kept.bin", [f"{address}/{behaviour}/source.bin"], f"SHA-256 {SHA256}", verified)


def test_file_is_downloaded_once_and_kept(server: tuple[str, list[str]], data_dir: Path) -> None:
    address, requests = server
    assert fetch(address, "complete") == CONTENT
    assert fetch(address, "complete") == CONTENT
    assert requests == ["/complete/source.bin"]
    assert [p.name for p in data_dir.iterdir()] == ["kept.bin"]
    assert (data_dir / "kept.bin").read_bytes() == CONTENT


def test_download_is_converted_before_it_is_read_and_kept(server: tuple[str, list[str]], data_dir: Path) -> None:
    url = f"{server[0]}/altered/source.bin"
    assert folder.load("kept.bin", [url], "", verified, convert=lambda content: content[::-1]) == CONTENT
    assert (data_dir / "kept.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("behaviour", ["truncated", "altered", "missing"])
def test_bad_download_leaves_no_file(server: tuple[str, list[str]], data_dir: Path, behaviour: str) -> None:
    with pytest.raises(DataFileError) as error:
        fetch(server[0], behaviour)
    for part in ("kept.bin", f"put source.bin from {server[0]}/{behaviour}/source.bin into {data_dir} ", SHA256):
        assert part in str(error.value)
    assert list(data_dir.iterdir()) == []
    assert fetch(server[0], "complete") == CONTENT, "a later attempt must succeed"


@pytest.mark.parametrize("bad", ["truncated", "altered", "missing"])
def test_the_next_mirror_is_tried(server: tuple[str, list[str]], data_dir: Path, bad: str) -> None:
    address, requests = server
    urls = ["http://127.0.0.1:0/source.bin", *(f"{address}/{behaviour}/source.bin" for behaviour in (bad, "complete"))]
    assert folder.load("sub/kept.bin", urls, "", verified) == CONTENT
    assert requests == [f"/{bad}/source.bin", "/complete/source.bin"]
    assert (data_dir / "sub" / "kept.bin").read_bytes() == CONTENT


def test_error_of_every_mirror_is_reported(server: tuple[str, list[str]], data_dir: Path) -> None:
    urls = [f"{server[0]}/{behaviour}/source.bin" for behaviour in ("missing", "altered")]
    with pytest.raises(DataFileError) as error:
        folder.load("sub/kept.bin", urls, "", verified)
    for part in ("404", "wrong SHA-256", f"put source.bin from {urls[0]} or {urls[1]} into {data_dir / 'sub'} "):
        assert part in str(error.value)


def test_refused_connection_leaves_no_file(data_dir: Path) -> None:
    with pytest.raises(DataFileError, match=r"put source\.bin from http://127\.0\.0\.1:0/any/source\.bin"):
        fetch("http://127.0.0.1:0", "any")
    assert list(data_dir.iterdir()) == []


def test_manually_added_file_is_used_and_unchanged(data_dir: Path) -> None:
    data_dir.mkdir()
    for name in ("kept.bin", "source.bin"):
        (data_dir / name).write_bytes(CONTENT)
        assert fetch("http://127.0.0.1:0", "any") == CONTENT
        assert [p.name for p in data_dir.iterdir()] == [name]
        (data_dir / name).unlink()


def test_bad_manually_added_file_is_reported_and_unchanged(server: tuple[str, list[str]], data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "kept.bin").write_bytes(CONTENT[:-1])
    with pytest.raises(DataFileError, match=r"wrong SHA-256; .* delete any bad copy of kept\.bin"):
        fetch(server[0], "complete")
    assert (data_dir / "kept.bin").read_bytes() == CONTENT[:-1]
    assert server[1] == []


def test_read_only_folder_with_the_file_works(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data_dir.mkdir()
    (data_dir / "kept.bin").write_bytes(CONTENT)
    # Root may write despite the permissions, so the functions that write are replaced as well.
    monkeypatch.setattr(Path, "mkdir", forbidden)
    monkeypatch.setattr(folder, "write_atomically", forbidden)
    data_dir.chmod(0o555)
    try:
        assert fetch("http://127.0.0.1:0", "any") == CONTENT
    finally:
        data_dir.chmod(0o755)


def forbidden(*_: object, **__: object) -> None:
    raise AssertionError("wrote to a read-only folder")


def test_read_only_folder_without_the_file_is_reported_before_downloading(
    server: tuple[str, list[str]], data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(DataFileError, match=r"is read-only and does not contain kept\.bin"):
        fetch(server[0], "complete")
    assert server[1] == []


def test_folder_that_cannot_be_created_is_reported(server: tuple[str, list[str]], data_dir: Path) -> None:
    data_dir.write_bytes(b"a file instead of a folder")
    with pytest.raises(DataFileError, match="TINYGEN_DATA"):
        fetch(server[0], "complete")


@pytest.mark.parametrize("module", ["pooch", "tqdm"])
def test_missing_extra_error_says_how_to_install_it(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf'needs {module}; install it with: pip install -e "\.\[examples\]"'):
        fetch("http://127.0.0.1:0", "any")


def test_data_folder_follows_the_environment_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for named, expected in {"~/mine": "mine", "": "cache/tinygen"}.items():
        monkeypatch.setenv("TINYGEN_DATA", named)
        assert data_folder() == tmp_path / expected
    monkeypatch.delenv("TINYGEN_DATA")
    for ignored in ("relative", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert data_folder() == tmp_path / ".cache" / "tinygen"
