"""The documentation names only files, functions and modules that exist, and its diagram agrees with the layer test."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_layers import LAYERS, MODULES, layer

ROOT = Path(__file__).parent.parent
LINKED = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "examples" / "README.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts),
]
# The changelog names paths of earlier versions.
CURRENT = [path for path in LINKED if path.name != "CHANGELOG.md"]
SOURCES = sorted((ROOT / "tinygen").rglob("*.py"))

LINK = re.compile(r"\]\(([^)\s]+)\)")
# A path from the root, or a pattern such as examples/{a,b}.py; the last part may be a placeholder in capitals.
PATH = re.compile(r"(?<![\w./])(?:tinygen|tests|examples|benchmarks|docs)(?:/[\w.{},-]+)+/?")
DEFINITION = re.compile(r"`(tinygen/[\w/]+\.py): ([\w.]+)`")
MODULE = re.compile(r"`((?:tinygen|benchmarks)(?:\.\w+)+)`|python -m (benchmarks\.(?!NAME)\w+)")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def missing_links(text: str, folder: Path) -> list[str]:
    """Return the relative links whose targets do not exist."""
    targets = [link.split("#")[0] for link in LINK.findall(text) if "://" not in link]
    return [target for target in targets if target and not (folder / target).exists()]


def expand_braces(pattern: str) -> list[str]:
    """Expand `a/{b,c}.py` to `a/b.py` and `a/c.py`."""
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        return [pattern]
    options = match[1].split(",")
    return [path for option in options for path in expand_braces(pattern.replace(match[0], option, 1))]


def missing_paths(text: str) -> list[str]:
    """Return the paths in a text that do not exist; the last part of `examples/NAME.py` is a placeholder."""
    paths = [path for found in PATH.findall(text) for path in expand_braces(found.rstrip(".,"))]
    return [path for path in paths if not re.search(r"/[A-Z]+(\.\w+)?$", path) and not (ROOT / path).exists()]


def missing_file_names(text: str) -> list[str]:
    """Return the file names without a folder, such as `conv.py`, that do not exist in the repository."""
    folders = ("tinygen", "tests", "examples", "benchmarks")
    names = {path.name for folder in folders for path in (ROOT / folder).rglob("*.py")}
    return [name for name in re.findall(r"`(\w+\.py)`", text) if name not in names]


def definitions(path: Path) -> set[str]:
    """Return the names that a file defines: functions, classes, `Class.method`, and assigned names."""
    found = set()
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            found.add(statement.name)
        if isinstance(statement, ast.ClassDef):
            found |= {f"{statement.name}.{f.name}" for f in statement.body if isinstance(f, ast.FunctionDef)}
        if isinstance(statement, ast.Assign):
            found |= {target.id for target in statement.targets if isinstance(target, ast.Name)}
    return found


def missing_definitions(text: str) -> list[str]:
    """Return the references `path: name` to a name that the file does not define."""
    return [f"{path}: {name}" for path, name in DEFINITION.findall(text) if name not in definitions(ROOT / path)]


def missing_modules(text: str) -> list[str]:
    """Return the dotted names that are neither a module nor a name in one."""
    missing = []
    for name in (first or second for first, second in MODULE.findall(text)):
        path = ROOT.joinpath(*name.split("."))
        parent = path.parent if path.parent.is_dir() else path.parent.with_suffix(".py")
        exists = path.is_dir() or path.with_suffix(".py").is_file()
        source = parent / "__init__.py" if parent.is_dir() else parent
        if not exists and not (source.is_file() and re.search(rf"\b{path.name}\b", source.read_text(encoding="utf-8"))):
            missing.append(name)
    return missing


def checked_by(source: str) -> list[str]:
    """Return the test files in the "Checked by:" notes of a source file. A note may span several lines."""
    notes = re.findall(r"Checked by: (.*?)(?:\n\s*\n|\"\"\"|\n\s*\w+: )", source, flags=re.DOTALL)
    return [path for note in notes for path in re.findall(r"tests/[\w/]+\.py", note)]


@pytest.mark.parametrize("path", LINKED, ids=name_of)
def test_relative_links_resolve(path: Path) -> None:
    assert not missing_links(path.read_text(encoding="utf-8"), path.parent)


@pytest.mark.parametrize("path", CURRENT, ids=name_of)
def test_named_files_definitions_and_modules_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not missing_paths(text)
    assert not missing_file_names(text)
    assert not missing_definitions(text)
    assert not missing_modules(text)


def test_every_checked_by_path_exists() -> None:
    named = {(name_of(path), test) for path in SOURCES for test in checked_by(path.read_text(encoding="utf-8"))}
    assert len(named) > 50
    assert not sorted((source, test) for source, test in named if not (ROOT / test).is_file())


def test_source_files_name_only_existing_files() -> None:
    sources = [path for folder in ("tinygen", "examples", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    found = {name_of(path): missing_paths(path.read_text(encoding="utf-8")) for path in sources}
    assert not {source: missing for source, missing in found.items() if missing}


def test_missing_targets_are_reported() -> None:
    assert missing_links("[a](nothing.md) [b](README.md#how) [c](https://example.org/x)", ROOT) == ["nothing.md"]
    text = "`tinygen/nothing.py`, examples/{made,nothing}.py, `examples/NAME.py`, tests/test_docs.py."
    assert missing_paths(text) == ["tinygen/nothing.py", "examples/nothing.py"]
    assert missing_file_names("`conv.py`, `nothing.py`") == ["nothing.py"]
    path = "tinygen/training/fit.py"
    assert missing_definitions(f"`{path}: fit` and `{path}: nothing`") == [f"{path}: nothing"]
    assert missing_modules("`tinygen.nn.Conv`, `tinygen.nothing`, python -m benchmarks.mlp") == ["tinygen.nothing"]
    assert checked_by('"""Text.\n\nChecked by: tests/a.py and\n    tests/b.py\n"""') == ["tests/a.py", "tests/b.py"]


def diagram() -> Iterator[str]:
    """Yield the names below tinygen in the diagram of docs/architecture.md, from top to bottom.

    Each line has module names separated by ` · ` and a remark. Lines without a folder belong to the folder above.
    """
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    lines = text.split("## Layers")[1].split("```")[1].splitlines()
    folder = ""
    for line in filter(str.strip, lines):
        match = re.match(r"tinygen/(\S*)\s+(.*)", line)
        folder, rest = (match[1].replace("/", "."), match[2]) if match else (folder, line.strip())
        names = re.split(r"\s{3,}", rest)[0]
        yield from (folder + name for name in names.split(" · "))


def test_diagram_lists_existing_modules_in_the_order_of_the_layers() -> None:
    names = list(diagram())
    assert not [name for name in names if name not in MODULES]
    depths = [layer(name)[0] for name in names]
    assert depths == sorted(depths)
    # The __init__ of autograd only re-exports names.
    covered = {layer(name)[1] for name in names} | {"autograd"}
    assert covered >= {entry for entries in LAYERS for entry in entries if entry in MODULES}


def test_glossary_is_sorted_and_every_term_has_one_line_and_one_link() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    entries = [line for line in text.splitlines() if line.startswith("- ")]
    terms = [match[1].lower() for line in entries if (match := re.match(r"- \*\*(.+?)\*\*: ", line))]
    assert len(terms) == len(entries) >= 40
    assert terms == sorted(terms)
    assert not [line for line in entries if len(LINK.findall(line)) != 1]
