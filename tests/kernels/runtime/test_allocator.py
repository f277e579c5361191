"""Freed memory is kept: touching large arrays of the sizes just freed causes no page faults."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import numpy as np
from tinygen.kernels.runtime.allocator import keep_freed_memory
keep_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(3 << 20, np.uint8) for _ in range(20)]  # below the size for which NumPy asks for huge pages
    del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(min(faults() for _ in range(5)))
"""


def run(keep: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TINYGEN_KEEP_MEMORY": keep}
    return subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, check=False)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_kept_memory_causes_no_page_faults() -> None:
    pages = 20 * (3 << 20) // os.sysconf("SC_PAGESIZE")
    assert int(run(keep="0").stdout) > pages / 2
    assert int(run(keep="1024").stdout) < pages / 10


@pytest.mark.parametrize("wanted", ["-1", "much", "1.5", ""])
def test_rejects_an_invalid_amount(wanted: str) -> None:
    assert f"expected a non-negative integer (MiB), got {wanted!r}" in run(wanted).stderr
