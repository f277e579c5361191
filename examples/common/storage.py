"""Results of finished trainings in .npz files, and a hash of the code that produced them."""

from __future__ import annotations

import ast
import io
import zlib
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tinygen.files import write_atomically

Results: TypeAlias = dict[str, Any]  # name → number or array

# Files of common/ that a training does not depend on.
PRESENTATION = {
    *("arguments", "claims", "parallel", "report", "storage", "study", "table", "training"),
    *("coverage_plots", "figures", "flow_plots", "spectrograms", "vae_plots", "warped_grids"),
}


def fingerprint(example: Path) -> str:
    """Return a hash of the code that trains: an example without its function `show`, and what it uses of common/.

    Comments and docstrings do not count. A change of tinygen itself does not count either.
    """
    sources, waiting = dict[Path, str](), [example]
    while waiting:
        path = waiting.pop()
        body = [
            each for each in ast.parse(path.read_text(encoding="utf-8")).body[1:] if getattr(each, "name", "") != "show"
        ]
        sources[path] = "\n".join(map(ast.unparse, body))
        modules = [each.module.split(".") for each in body if isinstance(each, ast.ImportFrom) and each.module]
        names = {name[1] for name in modules if name[0] == "common"} - PRESENTATION
        waiting += [used for name in names if (used := Path(__file__).with_name(f"{name}.py")) not in sources]
    return f"{zlib.crc32(repr([sources[path] for path in sorted(sources)]).encode()):08x}"


def save(path: Path, results: Results) -> None:
    content = io.BytesIO()
    np.savez(content, **results)
    write_atomically(path, content.getvalue())


def load(path: Path) -> Results:
    with np.load(path, allow_pickle=False) as file:
        return {name: array.item() if array.ndim == 0 else array for name, array in file.items()}
