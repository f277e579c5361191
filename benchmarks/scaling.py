"""Training steps in tinygen and PyTorch on 1, 2, 4, … threads, and where they share the CPUs with another process.

Every number is measured in fresh processes. The largest number of threads is four times that of the CPUs.

- busy: on all CPUs, while another process keeps one of them busy; relative to the time on one thread of an idle machine
- side by side: the rate of two processes, each with a thread per CPU, relative to that of two with one thread each

    python -m benchmarks.scaling [--quick] [--save]
"""

import argparse
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.cpus import wait_for_cpus
from benchmarks.fresh import Step, steps_per_second
from benchmarks.record import Row, add_arguments, report
from benchmarks.threads import busy_process

CASES = {  # name: module and index of the case
    "Gated PixelCNN, 8 layers of 32, 28×28": ("pixelcnn", 3),
    "Gated PixelCNN, 5 layers of 32, 8×8": ("pixelcnn", 5),
    "WaveNet, 10 layers of 32, 8 × 2048": ("wavenet", 0),
}


def thread_counts(cpus: int) -> list[int]:
    """Return 1, 2, 4, … up to the number of CPUs, and four times as many as CPUs."""
    powers = [2**i for i in range(cpus.bit_length()) if 2**i < cpus]
    return [*powers, cpus, 4 * cpus]


def situations(step: Step, cpus: int, seconds: float, quick: bool) -> dict[str, float | str]:
    """Return ms per step for every thread count, then the two ratios of the module's docstring."""
    counts = thread_counts(cpus)
    rates = {}
    for n in counts:
        wait_for_cpus(1 if quick else 2)  # also for one thread, so that all are measured in the same state
        rates[n] = steps_per_second([step], n, seconds, quick)[0]
    values: dict[str, float | str] = {f"{n} thread{'s' * (n > 1)}": 1e3 / rate for n, rate in rates.items()}
    with busy_process():
        values["busy / 1 thread"] = rates[1] / steps_per_second([step], cpus, seconds, quick)[0]
    pair = [sum(steps_per_second([step, step], n, seconds, quick)) for n in (cpus, 1)]
    return {**values, "side by side": pair[0] / pair[1]}


def rows(quick: bool) -> Iterator[Row]:
    cpus, seconds = len(os.sched_getaffinity(0)), 0.1 if quick else 1.5
    chosen = {"MADE": ("made", 0)} if quick else CASES
    for name, (module, index) in chosen.items():
        theirs = "PyTorch, NHWC" if module == "pixelcnn" else "PyTorch"
        for library in ("tinygen", theirs):
            values = situations(Step(module, index, library), cpus, seconds, quick)
            yield Row("step by threads, ms", f"{name}, {library.split(',')[0]}", values)


def figure(results: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Draw the time against the number of threads: a panel per training step, a line per library."""
    from matplotlib.figure import Figure

    steps: dict[str, list[str]] = {}
    for label in results:
        steps.setdefault(label.rpartition(", ")[0], []).append(label)
    canvas = Figure(figsize=(4 * len(steps), 3.4), layout="constrained")
    for axes, (name, labels) in zip(canvas.subplots(1, len(steps), squeeze=False).flat, steps.items(), strict=True):
        for label in labels:
            times = {int(key.split()[0]): ms for key, ms in results[label].items() if key[0].isdigit()}
            axes.plot([str(n) for n in times], list(times.values()), "o-", label=label.rpartition(", ")[2])
        axes.set(title=name, xlabel="threads", ylabel="time of a step, ms")
        axes.set_ylim(bottom=0)
        axes.title.set_fontsize(9)
        axes.legend(fontsize=8)
    canvas.savefig(path, dpi=80)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    args = parser.parse_args()
    report("scaling", rows(args.quick), args)
