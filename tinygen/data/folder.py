"""The folder of downloaded files. Files are complete and verified; otherwise an error says which file to put there.

Checked by: tests/data/test_folder.py
"""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..files import write_atomically

T = TypeVar("T")


class DataFileError(OSError):
    """A data file is missing, unreadable or not the published one. The message has the file, folder, URL and hash."""


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Args:
        name: of the file in the data folder.
        url: where it is downloaded from. The last part differs from `name` if the download is converted.
        digest: its hash, for error messages; the function that reads the file verifies it.
    """

    name: str
    url: str
    digest: str

    @property
    def source_name(self) -> str:
        """The last part of the URL, under which a browser would save the download."""
        return self.url.rpartition("/")[2]


def data_folder() -> Path:
    """Return the folder of data files: $TINYGEN_DATA, or else $XDG_CACHE_HOME/tinygen, or else ~/.cache/tinygen.

    It need not exist, and it may be read-only if the requested files are in it.
    """
    if named := os.environ.get("TINYGEN_DATA"):
        return Path(named).expanduser()
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification says that relative paths must be ignored.
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "tinygen"


def load(file: RemoteFile, read: Callable[[bytes], T], convert: Callable[[bytes], bytes] = bytes) -> T:
    """Return read(content) of a file in the data folder. The first call downloads the file if it is not there.

    The folder is searched for `file.name`, then for `file.source_name`, saved by a browser.

    Args:
        read: decodes and verifies the content, or raises ValueError. Only content that it accepts is written.
        convert: maps the content of the download to that of the file.

    Raises: DataFileError if the file is not available or not the published one; ImportError if pooch is missing.
    """
    folder = data_folder()
    kept, source = folder / file.name, folder / file.source_name
    try:
        if kept.exists():
            return read(kept.read_bytes())
        if source.exists():
            return read(convert(source.read_bytes()))
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"{folder} is read-only and has no {file.name}")
        content = convert(download(file.url))
        value = read(content)
        write_atomically(kept, content)
    except (OSError, ValueError) as error:
        raise DataFileError(
            f"{file.name}: {error}; put {file.source_name} from {file.url} into {folder} (or set TINYGEN_DATA to "
            f"its folder), and delete any bad copy of {file.name}; expected {file.digest}"
        ) from error
    return value


def download(url: str) -> bytes:
    """Return the content of a URL, with a progress bar. Nothing is written to disk.

    Raises: OSError if the download fails or is incomplete; ImportError if pooch or tqdm is missing.
    """
    purpose = f"downloading {url}"
    pooch = optional("pooch", purpose)
    optional("tqdm", purpose)
    body = io.BytesIO()
    # On an HTTP error, pooch raises without closing the response, which would leave its socket open.
    hooks = {"response": lambda response, **_: None if response.ok else response.close()}
    pooch.HTTPDownloader(progressbar=True, timeout=30, hooks=hooks)(url, body, None)
    return body.getvalue()


def optional(module: str, purpose: str) -> Any:
    """Import a module of the `examples` extra. Raises ImportError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f'{purpose} needs {module}; install it with: pip install -e ".[examples]"') from error
