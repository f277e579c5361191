"""Claim: a MAF evaluates densities in one pass and samples in D steps; an IAF does the opposite.

    python examples/maf_vs_iaf.py [--seeds 5] [--out out/maf_vs_iaf] [--quick]

Trains:   nothing; untrained flows of two layers of D = 2 … 64 variables are timed on 256 examples, without gradients.
Compares: the evaluations of a network, which are counted: one per layer in the fast direction, one per layer and
          variable in the slow one. Counts do not depend on the machine, but times do. For times, the claim is only that
          at D = 64 the slow direction takes more than 3 times as long as the fast one, within each seed.
Prints:   counts per layer, the ratios of the times and the verdict.
Plots:    passes_and_seconds.png.
Time:     less than a minute on two cores (measured: 0.0 minutes of CPU time; 0.1 minutes beside other processes).
Source:   Papamakarios, Pavlakou & Murray, "Masked Autoregressive Flow for Density Estimation", 2017; Kingma et al.,
          "Improved Variational Inference with Inverse Autoregressive Flow", 2016.
"""

import itertools
import timeit
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
from common.claims import Effect
from common.figures import subplots
from common.report import Report
from common.storage import Results
from common.study import study
from common.training import Training

from tinygen import no_grad, plot
from tinygen.models import IAF, MAF
from tinygen.nn.masked import MaskedMLP

FLOWS, DIMS, LAYERS = {"MAF": MAF, "IAF": IAF}, [2, 4, 8, 16, 32, 64], 2


def passes(call: Callable[[], object]) -> int:
    """Return how often a call evaluates a network: as a whole, or for one variable."""
    count, whole, one_by_one = itertools.count(), MaskedMLP.__call__, MaskedMLP.one_by_one

    def counted(net: MaskedMLP, *args: Any, **options: Any) -> Any:
        next(count)
        return whole(net, *args, **options)

    def each_counted(net: MaskedMLP, *args: Any) -> Any:
        for variable in one_by_one(net, *args):
            next(count)
            yield variable

    with patch.object(MaskedMLP, "__call__", counted), patch.object(MaskedMLP, "one_by_one", each_counted):
        call()
    return next(count)


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """Return the time of the fastest of several runs; interference from other processes only slows runs down."""
    return min(timeit.repeat(call, number=1, repeat=repeats)) * 1e3


def train(run: Training) -> Results:
    curves: dict[str, list[float]] = {f"{task}_{what}": [] for task in ("density", "sampling") for what in ("ms", "n")}
    for dim in DIMS:
        rng = run.rng()
        x, flow = rng.standard_normal((256, dim), dtype=np.float32), FLOWS[run.setting](dim, rng, layers=LAYERS)
        calls = {"density": lambda: flow.log_prob(x), "sampling": lambda: flow.sample(256, rng)}  # noqa: B023
        with no_grad():
            for task, call in calls.items():
                curves[f"{task}_n"].append(passes(call) / LAYERS)
                curves[f"{task}_ms"].append(milliseconds(call, run.steps))
    slow, fast = ("sampling", "density") if run.setting == "MAF" else ("density", "sampling")
    results: Results = {name: np.array(curve) for name, curve in curves.items()}
    results |= {"passes, fast": curves[f"{fast}_n"][-1], "passes, slow": curves[f"{slow}_n"][-1]}
    return results | {"time ratio": curves[f"{slow}_ms"][-1] / curves[f"{fast}_ms"][-1]}


def show(report: Report) -> None:
    report.unit = f"evaluations and times at D = {DIMS[-1]}"
    effects = []
    for flow in FLOWS:
        for end, n in (("fast", 1), ("slow", DIMS[-1])):
            values = report.values(f"passes, {end}", flow)
            effects.append(Effect(f"{flow} {end}", values, "passes", above=n - 0.5, below=n + 0.5))
        effects.append(Effect(f"{flow} slow/fast", report.values("time ratio", flow), "×", above=3))
    report.decide(*effects)
    figure, panels = subplots(9.2, 3.4, 1, 4, sharex=True)
    for j, (what, task) in enumerate((what, task) for what in ("n", "ms") for task in ("density", "sampling")):
        for flow, colour in zip(report.results, plot.COLOURS, strict=False):
            curve = np.median(report.values(f"{task}_{what}", flow), axis=0)
            panels[j].plot(DIMS, curve, "os"[flow == "IAF"] + "-", color=colour, ms=4, lw=1.6, label=flow)
        panels[j].set(title=task, xlabel="number of variables D", xticks=DIMS[3:], ylim=(0, None))
        panels[j].set_ylabel("evaluations per network" if what == "n" else "time for 256 examples (ms)")
        panels[j].legend(fontsize=7, frameon=False)
    report.save(figure, "passes_and_seconds.png")


if __name__ == "__main__":
    study(train, show, list(FLOWS), steps=7, quick=1)
