"""The folder of downloaded files: each is whole and verified, or an error says what to put where."""

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
    """A data file is missing, unreadable or not the published one; the message names file, folder, URL and hash."""


@dataclass(frozen=True)
class RemoteFile:
    """A published file: the name it is kept under, where it comes from, and what it must hash to.

    `url` is the source and `name` the file kept of it; they end alike unless the source is converted on arrival.
    `digest` is for the reader of an error; the check itself belongs to the function that reads the file.
    Checked by: tests/data/test_folder.py
    """

    name: str
    url: str
    digest: str

    @property
    def source_name(self) -> str:
        """The last part of the URL: what a browser would save the source as."""
        return self.url.rpartition("/")[2]


def data_folder() -> Path:
    """Return the folder of data files: $TINYGEN_DATA, else tinygen/ in $XDG_CACHE_HOME, else ~/.cache/tinygen.

    It need not exist, and it may be read-only if what is asked for is in it.
    Checked by: tests/data/test_folder.py
    """
    if named := os.environ.get("TINYGEN_DATA"):
        return Path(named).expanduser()
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification has a relative path ignored.
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "tinygen"


def load(file: RemoteFile, read: Callable[[bytes], T], convert: Callable[[bytes], bytes] = bytes) -> T:
    """Return read(content) of a file in the data folder, downloading it on the first call.

    Looks for `file.name`, then for its source as a browser would have saved it, then on the network. `read` decodes and
    verifies, raising ValueError; only what it has accepted is written, whole. `convert` makes the file from its source.

    Raises DataFileError if the file cannot be had or is not the published one, ImportError if a download lacks pooch.
    Checked by: tests/data/test_folder.py
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
            f"{file.name}: {error}. To go on, put {file.source_name} from {file.url} into {folder} "
            f"(or the folder that TINYGEN_DATA names), in place of any bad copy. Expected {file.digest}."
        ) from error
    return value


def download(url: str) -> bytes:
    """Return the body behind a URL, with a progress bar; nothing touches the disk.

    Raises OSError if the server cannot be reached, refuses, or stops early; ImportError if pooch or tqdm is missing.
    Checked by: tests/data/test_folder.py
    """
    purpose = f"downloading {url}"
    pooch = optional("pooch", purpose)
    optional("tqdm", purpose)
    body = io.BytesIO()
    # pooch raises on a refusal without closing the response, whose socket then stays open until it is collected.
    hooks = {"response": lambda response, **_: None if response.ok else response.close()}
    pooch.HTTPDownloader(progressbar=True, timeout=30, hooks=hooks)(url, body, None)
    return body.getvalue()


def optional(module: str, purpose: str) -> Any:
    """Import a module of the `examples` extra, or raise an ImportError that says how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f'{purpose} needs {module}; install it with: pip install -e ".[examples]"') from error
