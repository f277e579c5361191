"""What `import tinygen` brings, and what it does not."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import tinygen

INTERNAL = {"kernels", "checks", "files"}  # what the library's own modules share, and nobody else needs


def fresh(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_the_core_needs_numpy_and_numba_only() -> None:
    optional = "{'matplotlib', 'sklearn', 'tqdm', 'pooch', 'hypothesis', 'torch', 'pytest'}"
    everything = ", ".join(f"tinygen.{name}" for name in dir(tinygen))
    assert fresh(f"import sys, tinygen; {everything}; print({optional} & set(sys.modules))") == "set()\n"


def test_nothing_is_compiled_at_import() -> None:
    # Compilation starts with the first kernel; until then no LLVM module has been made.
    program = """
import numba.core.codegen as codegen
made = []
create = codegen.CPUCodegen.create_library
codegen.CPUCodegen.create_library = lambda self, name, **options: made.append(name) or create(self, name, **options)
import tinygen
print(made)
"""
    assert fresh(program) == "[]\n"


@pytest.mark.parametrize("name", dir(tinygen))
def test_every_name_is_there(name: str) -> None:
    assert getattr(tinygen, name) is not None


def test_every_module_is_there_but_the_internal_ones() -> None:
    found = {module.name for module in pkgutil.iter_modules(tinygen.__path__)}
    assert found - INTERNAL == set(dir(tinygen)) - set(tinygen.__all__)
    assert found >= INTERNAL


def test_a_name_that_is_not() -> None:
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = tinygen.nothing
