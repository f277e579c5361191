"""One training step of a comparison in a fresh process: its peak memory, or its steps per second.

`Step` names the step; the functions start `python -m benchmarks.fresh`, which builds it and prints a number, or for
`libraries` the names that it found, as JSON.
"""

import argparse
import ctypes
import gc
import importlib
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple


class Step(NamedTuple):
    """The step of one library in a case of `benchmarks.MODULE.cases`, given by its index."""

    module: str
    case: int
    library: str


def libraries(module: str, quick: bool) -> list[tuple[str, list[str]]]:
    """Return the name and the libraries of every case of a module, without JAX."""
    return [(name, found) for name, found in json.loads(_start(module, *["--quick"] * quick).communicate()[0])]


def mebibytes(step: Step, threads: int, quick: bool) -> float:
    """Return how far a process grows in three steps, once three earlier ones have loaded the code. Linux only."""
    return _result(_start(*map(str, step), f"--threads={threads}", *["--quick"] * quick))


def steps_per_second(steps: list[Step], threads: int, seconds: float, quick: bool) -> list[float]:
    """Run steps for `seconds` in simultaneous processes of this many threads each; return the rate of each process."""
    options = [f"--threads={threads}", f"--seconds={seconds}", *["--quick"] * quick]
    processes = [_start(*map(str, step), *options) for step in steps]
    for process in processes:  # every process says when it is ready, and waits for a line
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("start\n")
        process.stdin.flush()
    return [_result(process) for process in processes]


def _start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.fresh", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _result(process: subprocess.Popen[str]) -> float:
    out, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{process.args!r} failed")
    return float(out)


def _measure_memory(step: Step, quick: bool) -> float:
    case = list(importlib.import_module(f"benchmarks.{step.module}").cases(quick))[step.case]
    grown = 0
    for _ in range(2):
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # return all freed memory to the system
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is now what is in use
        before, take = _peak(), case.build(case.batch)[step.library]()
        for _ in range(3):
            take()
        grown = _peak() - before
        del take
    return grown / 1024


def _peak() -> int:
    """Return the largest resident set so far, in KiB."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text(encoding="ascii"))
    assert found
    return int(found[1])


def _measure_rate(step: Step, seconds: float, quick: bool) -> float:
    case = list(importlib.import_module(f"benchmarks.{step.module}").cases(quick))[step.case]
    take = case.build(case.batch)[step.library]()
    for _ in range(2):
        take()
    print("ready", flush=True)
    sys.stdin.readline()
    count, start = 0, time.perf_counter()
    while time.perf_counter() < start + seconds:
        take()
        count += 1
    return count / (time.perf_counter() - start)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module")
    parser.add_argument("case", type=int, nargs="?", default=-1)
    parser.add_argument("library", nargs="?", default="")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.0, help="measure the rate instead of the memory")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()

    from benchmarks import timing
    from tinygen.kernels.runtime.allocator import keep_freed_memory

    timing.use_threads(args.threads)
    if not args.library:
        cases = importlib.import_module(f"benchmarks.{args.module}").cases(args.quick)
        print(json.dumps([[case.name, [name for name in case.build(2) if name != "JAX"]] for case in cases]))
        return
    step = Step(args.module, args.case, args.library)
    if args.seconds or step.library.startswith("tinygen"):
        keep_freed_memory()  # as in `fit`; affects the whole process, including PyTorch
    print(_measure_rate(step, args.seconds, args.quick) if args.seconds else _measure_memory(step, args.quick))


if __name__ == "__main__":
    _main()
