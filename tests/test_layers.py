"""The layout of docs/architecture.md: each layer imports only from layers above it, and sizes stay within limits."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "tinygen"

# From top to bottom, as names below tinygen. An entry covers the modules below it unless they have an entry themselves.
LAYERS = [
    {"arguments"},
    {"kernels.runtime"},
    {"kernels.reference"},
    {"kernels"},
    {"autograd.numpy_calls", "autograd.grad_mode"},
    {"autograd.taps", "autograd.tensor"},
    {"autograd.operands"},
    {"autograd.parameter"},
    {"autograd.backward"},
    {
        "autograd.elementwise",
        "autograd.special",
        "autograd.shape",
        "autograd.along_axis",
        "autograd.reduce",
        "autograd.linalg",
        "autograd.einsum",
        "autograd.mlp",
        "autograd.fused",
    },
    {"autograd.conv"},
    {"autograd.derivatives", "autograd.graph"},
    {"autograd"},
    {"checks", "files", "recorded", "version"},
    {"nn"},
    {"distributions"},
    {"ode"},
    {"bijections"},
    {"optim", "data", "distributed", "training", "metrics", "plot"},
    {"models"},
    {"saving", "interchange"},
    {"testing"},
    {"__main__"},
]
# Within a layer, an entry may import only entries that precede it in one of these lists.
ORDER_WITHIN_LAYER = [
    [
        "autograd.elementwise",
        "autograd.special",
        "autograd.shape",
        "autograd.along_axis",
        "autograd.reduce",
        "autograd.linalg",
        "autograd.einsum",
        "autograd.mlp",
        "autograd.fused",
    ],
    ["optim", "data", "metrics", "plot", "distributed", "training"],
]
# The package's __init__ re-exports names from many layers, so no other module may import it.
UNLAYERED = {""}

# Limits in lines. Every exception below has a reason; the goal is to have no exceptions.
FILE_LIMIT = 300
MODEL_LIMIT = 200
EXAMPLE_LIMIT = 100
FUNCTION_LIMIT = 50  # not counting the docstring
AUTOGRAD_LIMIT = 2_960
PACKAGE_LIMIT = 22_700

LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}


def modules() -> dict[str, Path]:
    """Map each module's name below tinygen to its path; '' is the package itself."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: set[str]) -> set[str]:
    """Return the modules of tinygen that a file imports, at any depth of its code, as names below tinygen."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    package = [part for part in package if part]
    found = set()
    for statement in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.Import):
            targets = [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            parent = package[: len(package) - statement.level + 1]
            base = ["tinygen", *parent] if statement.level else []
            start = ".".join([*base, *(statement.module or "").split(".")]).strip(".")
            # `from .x import y` imports the module x.y if there is one, else x.
            targets = [f"{start}.{alias.name}" for alias in statement.names]
        else:
            continue
        for target in targets:
            if target.split(".")[0] != "tinygen":
                continue
            below = target.split(".")[1:]
            while ".".join(below) not in known:
                below.pop()
            found.add(".".join(below))
    return found


def layer(name: str) -> tuple[int, str]:
    """Return the depth of a module's layer and the most specific entry of LAYERS that covers the module."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        entry = ".".join(parts[:length])
        for depth, entries in enumerate(LAYERS):
            if entry in entries:
                return depth, entry
    raise AssertionError(f"tinygen.{name} has no layer: add it to LAYERS and to docs/architecture.md")


def may_import(name: str, other: str) -> bool:
    (depth, entry), (other_depth, other_entry) = layer(name), layer(other)
    if entry == other_entry:
        return True
    if depth == other_depth:
        return any(
            entry in order and other_entry in order and order.index(other_entry) < order.index(entry)
            for order in ORDER_WITHIN_LAYER
        )
    return other_depth < depth


MODULES = modules()


@pytest.mark.parametrize("name", sorted(set(MODULES) - UNLAYERED))
def test_module_imports_only_from_layers_above(name: str) -> None:
    wrong = sorted(
        f"tinygen.{other}"
        for other in imports(name, MODULES[name], set(MODULES)) - {name}
        if other in UNLAYERED or not may_import(name, other)
    )
    assert not wrong, f"tinygen.{name} imports {', '.join(wrong)}, which is not in a layer above it"


@pytest.mark.parametrize(
    ("name", "other", "allowed"),
    [
        ("models.vae", "nn.layers", True),
        ("nn.layers", "models.vae", False),
        ("nn.layers", "autograd", True),
        ("training", "optim", True),
        ("distributions", "training", False),
        ("autograd.reduce", "autograd.conv", False),
        ("autograd.conv", "kernels.convolution", True),
        ("kernels.convolution", "autograd.tensor", False),
        ("data", "testing.flows", False),
    ],
)
def test_may_import(name: str, other: str, allowed: bool) -> None:
    assert may_import(name, other) is allowed


def test_imports_finds_absolute_relative_and_nested_imports(tmp_path: Path) -> None:
    path = tmp_path / "vae.py"
    path.write_text(
        "import tinygen.data\nfrom tinygen import nn\nfrom ..autograd import exp, taps\nfrom . import gan\n"
        "import numpy\ndef f():\n    from ..testing.gradients import check_grads\n"
    )
    known = {"", "data", "nn", "autograd", "autograd.taps", "models", "models.gan", "testing", "testing.gradients"}
    assert imports("models.vae", path, known) == known - {"", "models", "testing"}


def count_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def functions(source: str) -> Iterator[tuple[str, int]]:
    """Yield the name and the number of lines, without docstring, of each function in a file, including nested ones."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            count = node.end_lineno - node.lineno + 1
            first = node.body[0]
            if ast.get_docstring(node, clean=False) is not None:
                assert first.end_lineno is not None
                count -= first.end_lineno - first.lineno + 1
            yield node.name, count


def exceeding(sizes: dict[str, int], limit: int, exceptions: dict[str, str]) -> dict[str, int]:
    """Return the sizes over the limit that have no exception. Fail if an exception is no longer needed."""
    over = {name: size for name, size in sizes.items() if size > limit}
    stale = [name for name in exceptions if name not in over]
    assert not stale, f"within the limit of {limit} lines now: remove {', '.join(stale)} from the exceptions"
    return {name: size for name, size in over.items() if name not in exceptions}


def test_no_file_exceeds_its_limit() -> None:
    sizes = {str(path.relative_to(ROOT)): count_lines(path) for path in MODULES.values()}
    models = {name: size for name, size in sizes.items() if name.startswith("tinygen/models/")}
    examples = {str(path.relative_to(ROOT)): count_lines(path) for path in (ROOT / "examples").rglob("*.py")}
    assert models
    assert examples
    assert not exceeding(sizes, FILE_LIMIT, LONG_FILES)
    assert not exceeding(models, MODEL_LIMIT, {})
    assert not exceeding(examples, EXAMPLE_LIMIT, {})


def test_no_function_exceeds_its_limit() -> None:
    sizes: dict[str, int] = {}
    for path in MODULES.values():
        for name, size in functions(path.read_text(encoding="utf-8")):
            key = f"{path.relative_to(ROOT)}: {name}"
            sizes[key] = max(size, sizes.get(key, 0))
    assert not exceeding(sizes, FUNCTION_LIMIT, LONG_FUNCTIONS)


def test_packages_stay_within_their_line_budget(capsys: pytest.CaptureFixture[str]) -> None:
    total = sum(map(count_lines, MODULES.values()))
    autograd = sum(map(count_lines, (PACKAGE / "autograd").rglob("*.py")))
    with capsys.disabled():
        print(f"\nlines: autograd {autograd}, tinygen {total}")
    assert autograd <= AUTOGRAD_LIMIT
    assert total <= PACKAGE_LIMIT


def test_functions_counts_lines_without_the_docstring() -> None:
    source = 'def f():\n    """One\n    two."""\n\n    def g():\n        return 1\n\n    return g\n'
    assert sorted(functions(source)) == [("f", 6), ("g", 2)]


def test_exceeding_reports_excess_and_stale_exceptions() -> None:
    assert exceeding({"a": 3, "b": 2, "c": 4}, 2, {"c": "a reason"}) == {"a": 3}
    with pytest.raises(AssertionError, match="remove b from the exceptions"):
        exceeding({"a": 3, "b": 2}, 2, {"b": "a reason"})
