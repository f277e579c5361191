"""The folder of downloaded data files. If a file is missing or wrong, the error says what to put where.

Checked by: tests/data/test_folder.py
"""

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ..files import import_optional, write_atomically

T = TypeVar("T")


class DataFileError(OSError):
    """Error for a data file that is missing, unreadable or modified. The message has its name, folder, URL and hash."""


def data_folder() -> Path:
    """Return the folder of data files: $TINYGEN_DATA, or else $XDG_CACHE_HOME/tinygen, or else ~/.cache/tinygen.

    It need not exist, and it may be read-only if the requested files are in it.
    """
    if named := os.environ.get("TINYGEN_DATA"):
        return Path(named).expanduser()
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification says that relative paths must be ignored.
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "tinygen"


def load(
    name: str, urls: Sequence[str], digest: str, read: Callable[[bytes], T], convert: Callable[[bytes], bytes] = bytes
) -> T:
    """Read a file in the data folder with `read`, and return the result. Download the file first if it is missing.

    Args:
        name: path of the file in the data folder.
        urls: where to download the file from; the next one is tried if a download fails or `read` rejects its content.
            A copy beside the file, saved by a browser, is used instead.
        digest: hash of the file for error messages; `read` verifies it.
        read: decodes and verifies the content, or raises ValueError. Only content that it accepts is written.
        convert: converts the downloaded content to the content of the file.

    Raises: DataFileError if the file is not available or not the published one; ImportError if pooch is missing.
    """
    file = data_folder() / name
    source = file.with_name(urls[0].rpartition("/")[2])
    try:
        if file.exists():
            return read(file.read_bytes())
        if source.exists():
            return read(convert(source.read_bytes()))
        file.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(file.parent, os.W_OK):
            raise PermissionError(f"{file.parent} is read-only and does not contain {file.name}")
        content, value = _download_from_any(urls, read, convert)
        write_atomically(file, content)
    except (OSError, ValueError) as error:
        raise DataFileError(
            f"{name}: {error}; put {source.name} from {' or '.join(urls)} into {file.parent} (or set TINYGEN_DATA to "
            f"another data folder), and delete any bad copy of {name}; expected {digest}"
        ) from error
    return value


def _download_from_any(
    urls: Sequence[str], read: Callable[[bytes], T], convert: Callable[[bytes], bytes]
) -> tuple[bytes, T]:
    """Return the converted content of the first URL that `read` accepts, and the value that it returns."""
    faults = []
    for url in urls:
        try:
            content = convert(download(url))
            return content, read(content)
        except (OSError, ValueError) as error:
            faults.append(f"{url}: {error}")
    raise OSError("; ".join(faults))


def download(url: str) -> bytes:
    """Return the content of a URL, with a progress bar. Nothing is written to disk.

    Raises: OSError if the download fails or is incomplete; ImportError if pooch or tqdm is missing.
    """
    purpose = f"downloading {url}"
    pooch = import_optional("pooch", purpose)
    import_optional("tqdm", purpose)
    body = io.BytesIO()
    # On an HTTP error, pooch raises without closing the response, which would leave its socket open.
    hooks = {"response": lambda response, **_: None if response.ok else response.close()}
    pooch.HTTPDownloader(progressbar=True, timeout=30, hooks=hooks)(url, body, None)
    return body.getvalue()
