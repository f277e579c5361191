"""Compiled kernels: cached on disk, and compiled again wherever the cache cannot be used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tinygen

pytestmark = pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled")

# Two kernels, one of them for two signatures, so that their order in the cache matters.
PROGRAM = """
import warnings, numpy as np
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from tinygen.kernels import adam, special
    x = np.linspace(-2, 2, 5)
    for dtype in (np.float64, np.float32):
        new = adam.adam(x.astype(dtype), x.astype(dtype), *np.zeros((2, 5), dtype), [1, 1, 1, 1, 1, 1])
        np.testing.assert_allclose(new, x - x / (np.abs(x) + 1), rtol=1e-6)
    np.testing.assert_allclose(special.log_ndtr(np.zeros(1)), np.log(0.5))
for warning in caught:
    print(warning.message)
print("hits", sum(sum(kernel.stats.cache_hits.values()) for kernel in (adam._adam, special._map)))
"""


def run(package: Path | None = None, **environment: str) -> list[str]:
    """Run the program in a new process and return the lines that it prints."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    if package is not None:
        environment = {"PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=inherited | environment, cwd=package, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_a_second_process_loads_what_the_first_compiled(tmp_path: Path) -> None:
    assert run(NUMBA_CACHE_DIR=str(tmp_path)) == ["hits 0"]
    assert run(NUMBA_CACHE_DIR=str(tmp_path)) == ["hits 3"]


def test_runs_and_warns_once_where_nothing_is_writable(tmp_path: Path) -> None:
    package = tmp_path / "tinygen"
    shutil.copytree(Path(tinygen.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [package, *(path for path in package.rglob("*") if path.is_dir())]:
        (folder / "__pycache__").touch()  # a file, so that even root cannot create the folder
        folder.chmod(0o555)
    warning, hits = run(tmp_path, HOME=os.devnull)
    assert "set the environment variable NUMBA_CACHE_DIR to a writable folder" in warning
    assert hits == "hits 0"
    assert run(tmp_path, HOME=os.devnull, NUMBA_CACHE_DIR=str(tmp_path / "cache")) == ["hits 0"]


@pytest.mark.parametrize("pattern", ["*.nbi", "*.nbc"])
def test_replaces_damaged_files(tmp_path: Path, pattern: str) -> None:
    run(NUMBA_CACHE_DIR=str(tmp_path))
    damaged = sorted(tmp_path.rglob(pattern))
    assert len(damaged) >= 2
    for path, damage in zip(damaged, [b"", b"\0" * 5000, b"\x80\x04not a pickle"], strict=False):
        path.write_bytes(damage)
    run(NUMBA_CACHE_DIR=str(tmp_path))
    assert run(NUMBA_CACHE_DIR=str(tmp_path)) == ["hits 3"]


def test_ignores_a_kernel_of_another_signature(tmp_path: Path) -> None:
    """Two processes that compile at the same time may both choose the first free file name of a kernel."""
    run(NUMBA_CACHE_DIR=str(tmp_path))
    first, second = sorted(tmp_path.rglob("adam*.nbc"))
    shutil.copy(first, second)
    run(NUMBA_CACHE_DIR=str(tmp_path))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_runs_and_warns_once_on_a_full_disk(tmp_path: Path) -> None:
    full = f"""
import builtins
real = builtins.open
builtins.open = lambda path, mode="r", *rest, **more: real(
    "/dev/full" if str(path).startswith({str(tmp_path)!r}) and "w" in mode else path, mode, *rest, **more)
"""
    (tmp_path / "sitecustomize.py").write_text(full)
    (warning, hits) = run(NUMBA_CACHE_DIR=str(tmp_path), PYTHONPATH=f"{tmp_path}{os.pathsep}{os.getcwd()}")
    assert "No space left on device" in warning
    assert hits == "hits 0"
