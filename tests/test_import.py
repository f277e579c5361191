"""`import tinygen`: public names, required dependencies, and no compilation."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import tinygen

# Shared by the library's modules, not part of the public API.
INTERNAL = {"arguments", "kernels", "checks", "files", "interchange", "recorded", "saving", "version", "__main__"}


def run_in_new_process(program: str) -> str:
    """Run a Python program and return what it prints."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_public_modules_import_only_numpy_and_numba() -> None:
    optional = "{'matplotlib', 'sklearn', 'tqdm', 'pooch', 'hypothesis', 'torch', 'pytest', 'PIL', 'safetensors'}"
    everything = ", ".join(f"tinygen.{name}" for name in dir(tinygen))
    assert run_in_new_process(f"import sys, tinygen; {everything}; print({optional} & set(sys.modules))") == "set()\n"


def test_import_compiles_nothing() -> None:
    program = """
import numba.core.codegen as codegen
built = []  # Numba creates a code library for every function that it compiles
create = codegen.CPUCodegen.create_library
codegen.CPUCodegen.create_library = lambda self, name, **options: built.append(name) or create(self, name, **options)
import tinygen
print(built)
"""
    assert run_in_new_process(program) == "[]\n"


@pytest.mark.parametrize("name", dir(tinygen))
def test_every_listed_name_exists(name: str) -> None:
    assert getattr(tinygen, name) is not None


def test_all_modules_are_listed_except_internal_ones() -> None:
    found = {module.name for module in pkgutil.iter_modules(tinygen.__path__)}
    assert found - INTERNAL == set(dir(tinygen)) - set(tinygen.__all__)
    assert found >= INTERNAL


def test_unknown_name_raises_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = tinygen.nothing
