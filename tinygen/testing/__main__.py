"""Run the checks that apply to a distribution, a bijection or a pair of functions in a file, and print a table.

    python -m tinygen.testing path/to/file.py:name [--x 4,3]
    python -m tinygen.testing path/to/file.py:forward,inverse --x 4,3 --convert torch.from_numpy

Checked by: tests/testing/test_contracts.py
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import require
from .calls import recorded_figures
from .contracts import CHECKS, Subject

WIDTH = 120


def main(arguments: list[str] | None = None) -> int:
    """Print the table; return 1 if a check fails, 2 if there is nothing to check, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tinygen.testing", description="Run all checks that apply.")
    parser.add_argument(
        "target", help="path/to/file.py:name, an object, a factory or a function; or two: forward,inverse"
    )
    parser.add_argument("--x", metavar="SHAPE", help="shape of normally distributed inputs with the batch, such as 4,3")
    parser.add_argument("--context", metavar="SHAPE", help="shape of normally distributed contexts, such as 4,2")
    parser.add_argument("--convert", metavar="NAME", help="what inputs pass through, such as torch.from_numpy")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        subject = _subject(options)
        built = subject.build()
    except (AttributeError, ImportError, OSError, ValueError) as error:
        parser.error(str(error))
    counts = {"passed": 0, "failed": 0, "not applicable": 0}
    for name, check in CHECKS.items():
        status, lines = "not applicable", [check.excluded(subject, built)]
        if not lines[0]:
            with recorded_figures() as figures:
                status, lines = _outcome(check.run, subject, figures)
        counts[status] += 1
        _print(f"{name:<15} {status:<15} ", lines)
    print(", ".join(f"{count} {status}" for status, count in counts.items()))
    return 1 if counts["failed"] else 0 if counts["passed"] else 2


def _outcome(run: Any, subject: Subject, figures: list[str]) -> tuple[str, list[str]]:
    try:
        run(subject, subject.build())
    except AssertionError as error:
        return "failed", [str(error)]
    except Exception as error:
        return "failed", [f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])]
    return "passed", figures or [""]


def _print(head: str, lines: list[str]) -> None:
    for line in lines:
        for part in textwrap.wrap(line, WIDTH - len(head)) or [""]:
            print((head + part).rstrip())
            head = " " * len(head)


def _subject(options: argparse.Namespace) -> Subject:
    require(options.seed >= 0, "--seed", "at least 0", options.seed)
    path, _, names = options.target.rpartition(":")
    if not path:
        raise ValueError(f"target: expected path/to/file.py:name, got {options.target}")
    module = _load(Path(path))
    missing = [name for name in names.split(",") if not hasattr(module, name)]
    if missing:
        public = ", ".join(name for name in vars(module) if not name.startswith("_"))
        raise ValueError(f"target: expected a name in {path}, got {', '.join(missing)}; it defines {public}")
    found = [getattr(module, name) for name in names.split(",")]
    if len(found) > 2:
        raise ValueError(f"target: expected one name, or two for forward and inverse, got {len(found)}")
    rng = np.random.default_rng(options.seed)
    x, context = (_normal(name, getattr(options, name), rng) for name in ("x", "context"))
    convert = _named(options.convert) if options.convert else None
    return Subject(names, found[0] if len(found) == 1 else tuple(found), x, context, convert, options.seed)


def _normal(name: str, shape: str | None, rng: np.random.Generator) -> Any:
    try:
        return None if shape is None else rng.normal(size=tuple(int(side) for side in shape.split(",")))
    except ValueError:
        raise ValueError(f"--{name}: expected a shape such as 4,3, got {shape}") from None


def _named(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ValueError(f"target: expected a Python file, got {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.parent.resolve()))  # its imports of neighbouring files work
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main())
