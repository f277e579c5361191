"""Every kind of fault that a checker names is put into two implementations in NumPy and two in PyTorch.

That the tables of faults are complete is tested too: every diagnosis in the source of the checkers must be the answer
to one of them.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.faults import TABLES

from tinygen import testing

LIBRARIES = ["numpy", "pytorch"]
NO_CHECKERS = {"__init__", "__main__", "contracts", "parametrize", "strategies"}


# Parts of the source that are not diagnoses: annotations, values and hints about calls.
OTHER_TEXT = (
    r"Callable|for functions? of|for a function of|.*raised by|at least .* along axis|, integers or|1 or 2 axes"
    r"|cotangent .* of order|\(output"
)


def library(name: str) -> Any:
    if name == "numpy":
        return np
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)  # its threads spin, which delays other processes
    return torch


@functools.cache
def message(checker: str, said: str, which: int, name: str) -> str:
    return TABLES[checker].message(said, which, library(name))


def cases(name: str) -> Iterator[tuple[str, str]]:
    for checker, table in TABLES.items():
        for said in table.faults | (table.in_tinygen if name == "numpy" else {}):
            yield checker, said


def test_every_checker_has_a_table() -> None:
    checkers = {name for name in testing.__all__ if name.startswith("check_")}
    assert checkers - {"check_parameter_grads"} == set(TABLES)  # it has the faults of check_grads


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("checker", TABLES)
def test_right_implementations_are_accepted(checker: str, name: str) -> None:
    if name == "numpy" or TABLES[checker].faults:
        for which in (0, 1):
            TABLES[checker].accepts(which, library(name))


@pytest.mark.parametrize(("name", "checker", "said"), [(name, *case) for name in LIBRARIES for case in cases(name)])
def test_faults_are_named(name: str, checker: str, said: str) -> None:
    for which in (0, 1):
        assert said in message(checker, said, which, name)


@pytest.mark.parametrize("name", LIBRARIES)
def test_every_diagnosis_has_wrong_implementations(name: str) -> None:
    """Faults that only tinygen's own tensors and modules can have are not expected in PyTorch."""
    tinygen = [(*case, "numpy") for case in cases("numpy") if case[1] in TABLES[case[0]].in_tinygen]
    asked = {(*case, name) for case in cases(name)} | set(tinygen)
    messages = [[message(checker, said, which, where) for checker, said, where in asked] for which in (0, 1)]
    missing = [
        place
        for place, pattern in diagnoses().items()
        if not all(any(re.search(pattern, said) for said in each) for each in messages)
    ]
    assert not missing, "\n".join(missing)


def test_diagnoses_are_found_in_the_source() -> None:
    found = list(diagnoses().values())
    for said in ("The sign is flipped: is it the log_det of the other", "the map is the identity", "of .* entries are"):
        assert any(said in pattern.replace("\\", "") for pattern in found)
    assert len(found) > 120


def diagnoses() -> dict[str, str]:
    """Return a pattern for each text of four words or more in the source of the checkers, by its place.

    Docstrings are not among them, and neither are errors in the arguments of a check (TypeError and ValueError), which
    tests/testing/test_bad_inputs.py covers.
    """
    found = {}
    for path in sorted(Path(testing.__file__).parent.glob("*.py")):
        tree, other = ast.parse(path.read_text("utf-8")), set[ast.AST]()
        for node in ast.walk(tree) if path.stem not in NO_CHECKERS else ():
            called = node.exc if isinstance(node, ast.Raise) else node
            name = called.func.id if isinstance(called, ast.Call) and isinstance(called.func, ast.Name) else ""
            docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            if docstring or name in ("TypeError", "ValueError", "record", "require"):
                other |= set(ast.walk(node))
            elif isinstance(node, ast.JoinedStr):
                other |= {part for part in node.values if isinstance(part, ast.Constant)}
            pattern = "" if node in other else _pattern(node)
            if len(pattern.split()) > 3 and not re.match(OTHER_TEXT, pattern.replace("\\", "")):
                found[f"{path.name}: {pattern}"] = pattern
    return found


def _pattern(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.escape(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(re.escape(str(p.value)) if isinstance(p, ast.Constant) else ".*" for p in node.values)
    return ""
