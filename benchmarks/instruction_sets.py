"""The instruction set that each library runs, as the library itself reports it.

    python -m benchmarks.instruction_sets [--save]

Environment variables make the libraries emulate an instruction set (`python -m benchmarks --isa AVX2`). PyTorch's
matrix products are MKL's, which reports no instruction set on a CPU that is not Intel's.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import timing
from benchmarks.record import Row, instruction_set, report

CONVOLUTION = "import torch; torch.nn.functional.conv2d(torch.ones(4, 8, 16, 16), torch.ones(8, 8, 3, 3))"
PRODUCT = "import torch; torch.ones(256, 256) @ torch.ones(256, 256)"
IN_JAX = "import jax, jax.numpy as jnp; jax.jit(lambda a: jnp.tanh(a @ a).sum())(jnp.ones((256, 256)))"


def output(code: str, **environment: str) -> str:
    """Return what Python prints when it runs this code in a fresh process."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True).stdout


def xla_vector_bits() -> str:
    """Return the width of the registers in the code that XLA generates."""
    with tempfile.TemporaryDirectory() as folder:
        output(IN_JAX, XLA_FLAGS=f"{os.environ.get('XLA_FLAGS', '')} --xla_dump_to={folder}")
        text = "".join(path.read_text(encoding="utf-8") for path in Path(folder).glob("*ir-with-opt.ll"))
    widths = [32 * int(lanes) for lanes in re.findall(r"<(\d+) x float>", text)]
    return f"vectors of {max(widths, default=32)} bits"


def rows() -> Iterator[Row]:
    import torch
    from numba.core import config
    from threadpoolctl import threadpool_info

    blas = next((pool["architecture"] for pool in threadpool_info() if pool["internal_api"] == "openblas"), "not used")
    onednn = re.search(r"cpu,isa:(.*)", output(CONVOLUTION, ONEDNN_VERBOSE="1"))
    mkl = re.search(r"for Intel\(R\) 64 architecture (.*?),", output(PRODUCT, MKL_VERBOSE="1"))
    found = {
        "tinygen, SIMD tiles": instruction_set(),
        "tinygen, other kernels (Numba)": f"CPU {config.CPU_NAME or 'of the host'}",
        "NumPy, products (OpenBLAS)": f"kernels for {blas}",
        "PyTorch, own kernels": torch.backends.cpu.get_cpu_capability(),
        "PyTorch, convolutions (oneDNN)": onednn[1] if onednn else "not used",
        "PyTorch, products (MKL)": f"“{mkl[1]}”" if mkl else "not used",
    }
    if timing.jax_is_installed():
        found["JAX, all kernels (XLA)"] = xla_vector_bits()
    for library, value in found.items():
        yield Row("library", library, {"runs": value})


if __name__ == "__main__":
    args = timing.parse_arguments(__doc__)
    report("instruction_sets", rows(), args)
