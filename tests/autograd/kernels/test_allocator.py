"""Freed memory is kept: touching a large array of the size just freed brings no new pages."""

import resource
import subprocess
import sys

import pytest

PROGRAM = """
import resource, numpy as np
if {keep}:
    from tinygen.autograd.kernels.allocator import keep_freed_memory
    assert keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    arrays = [np.ones(3 << 20, np.uint8) for _ in range(20)]  # below the size for which NumPy asks for huge pages
    del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(min(faults() for _ in range(5)))
"""


def faults(keep: bool) -> int:
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(keep=keep)], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_kept_memory_needs_no_new_pages() -> None:
    pages = 20 * (3 << 20) // resource.getpagesize()
    assert faults(keep=False) > pages / 2
    assert faults(keep=True) < pages / 10
