"""Results of comparisons: printed as tables, and merged into `benchmarks/results/CPU.json`, one comparison at a time.

A comparison is a module of this package with a function `rows`. `python -m benchmarks.NAME` prints its rows and, with
`--save`, replaces its earlier results for this CPU and instruction set. PyTorch is not imported here, so that the
tables can be rendered without it (`benchmarks.tables`).

Checked by: tests/benchmarks/test_record.py
"""

import argparse
import datetime
import json
import math
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import cpus
from tinygen.files import write_atomically
from tinygen.kernels.runtime.registers import VECTOR_BYTES

RESULTS = Path(__file__).parent / "results"
MAX_OTHERS = 0.05  # share of the CPU time; threads that wait for each other lose more than this share
LIBRARIES = ("tinygen", "numpy", "numba", "torch", "jax")

# Variables that keep every library from wider registers. `benchmarks.instruction_sets` shows their effect.
EMULATION = {
    "AVX2": {
        "TINYGEN_VECTOR_BYTES": "32",
        "NUMBA_CPU_NAME": "haswell",
        "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    },
    "SSE": {
        "TINYGEN_VECTOR_BYTES": "16",
        "NUMBA_CPU_NAME": "nehalem",
        "OPENBLAS_CORETYPE": "Nehalem",
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2",
    },
}


class Row(NamedTuple):
    """One row: the table it belongs to (with the unit), its label, and a number or a name per column."""

    table: str
    label: str
    values: dict[str, float | str]


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, got {text!r}")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that every comparison has."""
    parser.add_argument("--threads", type=_at_least_one, default=2, help="threads per library (default: 2)")
    parser.add_argument("--quick", action="store_true", help="smoke test: small sizes, too few repetitions to rely on")
    parser.add_argument("--save", type=Path, nargs="?", const=RESULTS, help="folder of the JSON file to merge into")


def instruction_set() -> str:
    """Return the instruction set that tinygen's kernels are compiled for."""
    narrow = "NEON" if platform.machine() in ("aarch64", "arm64") else "SSE"
    return {64: "AVX-512", 32: "AVX2", 16: narrow}[VECTOR_BYTES]


def cpu() -> str:
    """Return the CPU's name with family and model, which tell generations apart where the name does not."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(re.findall(r"^(model name|cpu family|model)\s*: (.*)$", text, flags=re.MULTILINE))
    name = re.sub(r"\(R\)|\(TM\)| CPU| Processor", "", fields.get("model name", platform.machine()))
    numbers = [
        f"{key} {fields[field]}" for key, field in (("family", "cpu family"), ("model", "model")) if field in fields
    ]
    return " ".join([name.strip(), *numbers])


def emulated() -> bool:
    """Return whether the libraries are kept from instructions that this CPU has."""
    return any(name in os.environ for name in EMULATION["AVX2"])


def environment(threads: int) -> dict[str, Any]:
    """Return what a result depends on besides the CPU and its instruction set."""
    command = ["git", "-C", str(RESULTS.parent), "rev-parse", "--short=10", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "commit": commit,
        "date": datetime.date.today().isoformat(),
        "threads": threads,
        "cpus": os.cpu_count(),
        "emulated": emulated(),
        "versions": {"python": platform.python_version(), **versions()},
    }


def cpu_times() -> tuple[float, float, float]:
    """Return the seconds of CPU time so far: of all CPUs together, of all processes, of this one and its children.

    All are zero where there is no /proc/stat, which has the first two.
    """
    try:
        text = Path("/proc/stat").read_text(encoding="utf-8")
    except OSError:
        return 0.0, 0.0, 0.0
    ticks = [int(field) / os.sysconf("SC_CLK_TCK") for field in text.splitlines()[0].split()[1:9]]
    own = os.times()
    return sum(ticks), sum(ticks) - ticks[3] - ticks[4], own.user + own.system + own.children_user + own.children_system


def share_of_others(before: tuple[float, ...], after: tuple[float, ...]) -> float:
    """Return the share of the CPU time between two calls of `cpu_times` that went to other processes."""
    total, busy, own = (b - a for a, b in zip(before, after, strict=True))
    return round(max(0.0, busy - own) / total, 3) if total else 0.0


def versions() -> dict[str, str]:
    """Return the version of every installed library."""
    installed = {dist.name: dist.version for dist in metadata.distributions() if dist.name in LIBRARIES}
    return {name: installed[name] for name in LIBRARIES if name in installed}


def report(name: str, rows: Iterable[Row], args: argparse.Namespace) -> None:
    """Print rows as they are measured; with `--save`, merge them into the file of this CPU when all are there.

    Exits with an error instead of merging them if other processes used the CPUs.
    """
    facts, before, start = environment(args.threads), cpu_times(), time.perf_counter()
    done: list[Row] = []
    header = None
    for row in rows:
        done.append(row)
        columns = (row.table, *row.values)
        if columns != header:
            print(("" if header is None else "\n") + line(columns) + "\n" + line(["---"] * len(columns)))
            header = columns
        print(line([row.label, *map(shown, row.values.values())]), flush=True)
    facts["seconds"] = round(time.perf_counter() - start)
    facts["other processes"] = share_of_others(before, cpu_times())
    if 0 < cpus.longest < math.inf:
        facts["round trip, ns"] = rounded(1e9 * cpus.longest)
    if not args.save or args.quick:
        return
    if facts["other processes"] > MAX_OTHERS:
        sys.exit(f"not saved: other processes took {facts['other processes']:.0%} of the CPU time")
    if cpus.changed() or cpus.longest == math.inf:
        sys.exit("not saved: two threads shared a CPU, or had a cache in common at some times only (benchmarks.cpus)")
    merge(args.save / file_name(), name, facts, done)


def file_name() -> str:
    """Return the name of this CPU's results."""
    return re.sub(r"[^a-z0-9]+", "-", cpu().lower()).strip("-") + ".json"


def merge(path: Path, name: str, facts: dict[str, Any], rows: Iterable[Row]) -> None:
    """Replace the results of one comparison under the current instruction set; keep all others."""
    content: dict[str, Any] = {"cpu": cpu(), "comparisons": {}}
    if path.exists():
        content = json.loads(path.read_text(encoding="utf-8"))
    listed = [[row.table, row.label, {key: rounded(value) for key, value in row.values.items()}] for row in rows]
    content["comparisons"].setdefault(instruction_set(), {})[name] = {**facts, "rows": listed}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, as_json(content).encode())


def as_json(content: dict[str, Any]) -> str:
    """Format results with each row on one line, so that a change of one row is a change of one line."""
    lines: list[str] = []

    def placeholder(row: Any) -> str:
        lines.append(json.dumps(row, ensure_ascii=False))
        return f"row {len(lines) - 1}"

    comparisons = {
        isa: {name: {**run, "rows": [placeholder(row) for row in run["rows"]]} for name, run in found.items()}
        for isa, found in content["comparisons"].items()
    }
    text = json.dumps({**content, "comparisons": comparisons}, ensure_ascii=False, indent=1)
    return re.sub(r'"row (\d+)"', lambda match: lines[int(match[1])], text) + "\n"


def rounded(value: float | str) -> float | str:
    """Round a number to four significant digits."""
    return float(f"{value:.4g}") if isinstance(value, int | float) else value


def shown(value: float | str) -> str:
    """Format a number with three significant digits, without an exponent."""
    if isinstance(value, str):
        return value
    digits = max(0, 2 - len(str(int(abs(value)))) + 1) if abs(value) >= 1 else 2 if abs(value) >= 0.1 else 4
    return f"{value:.{digits}f}"


def line(cells: Iterable[str]) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"
