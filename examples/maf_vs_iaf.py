"""Claim: a MAF evaluates densities in one pass and samples in D steps; an IAF does the opposite.

    python examples/maf_vs_iaf.py [--seed 0] [--out out/maf_vs_iaf] [--quick]

Trains:   nothing; untrained flows of two layers are timed on 256 examples of D variables, without gradients.
Compares: the slopes d ln(seconds) / d ln(D) over the upper half of the values of D; 1 means time proportional to D.
          Both directions compute each hidden unit once, so the slow one shows the overhead of D sequential steps.
Prints:   slopes, and the time of the slow direction relative to the fast one at the largest D.
Plots:    seconds_over_dims.png.
Source:   Papamakarios, Pavlakou & Murray, "Masked Autoregressive Flow for Density Estimation", 2017; Kingma et al.,
          "Improving Variational Inference with Inverse Autoregressive Flow", 2016.
"""

import time
from collections.abc import Callable

import numpy as np
from common.reporting import parse_arguments, report, subplots
from matplotlib.figure import Figure

from tinygen import no_grad, plot
from tinygen.models import IAF, MAF


def milliseconds(call: Callable[[], object]) -> float:
    """Return the time of the fastest of seven runs; interference from other processes only slows runs down."""
    times = []
    for _ in range(7):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def plot_times(dims: list[int], times: dict[str, np.ndarray], slopes: dict[str, float]) -> Figure:
    figure, panels = subplots(7.2, 3.4, 1, 2, sharey=True)
    for name, curve in times.items():
        flow, task = name.split()
        axes, colour = panels[int(task == "sample")], plot.COLOURS[int(flow == "iaf")]
        axes.loglog(dims, curve, "o-", color=colour, markersize=3.5, linewidth=1.6)
        text, offset = f"{flow.upper()}, slope {slopes[name]:.1f}", {"xytext": (-4, 8), "textcoords": "offset points"}
        axes.annotate(text, (dims[-1], curve[-1]), ha="right", color=colour, fontsize=9, **offset)
    for axes, title in zip(panels, ("density evaluation", "sampling"), strict=True):
        axes.set_title(title, fontsize=10, color=plot.INK, loc="left")
        axes.set_xlabel("number of variables D", fontsize=9, color=plot.INK)
        axes.set_xticks(dims, [str(dim) for dim in dims], minor=False)
        axes.set_xticks([], minor=True)
    panels[0].set_ylabel("time for 256 examples (ms)", fontsize=9, color=plot.INK)
    return figure


def main() -> None:
    args = parse_arguments(__doc__ or "", "maf_vs_iaf")
    start, dims = time.perf_counter(), [2, 4, 8, 16] if args.quick else [2, 4, 8, 16, 32, 64]
    rounds: list[dict[str, list[float]]] = []
    for i in range(1 if args.quick else 5):
        rounds.append({f"{flow} {task}": [] for flow in ("maf", "iaf") for task in ("density", "sample")})
        for dim in dims:
            rng = np.random.default_rng(args.seed + i)
            x = rng.standard_normal((256, dim), dtype=np.float32)
            for name, flow in (("maf", MAF(dim, rng, layers=2)), ("iaf", IAF(dim, rng, layers=2))):
                with no_grad():
                    rounds[-1][f"{name} density"].append(milliseconds(lambda: flow.log_prob(x)))  # noqa: B023
                    rounds[-1][f"{name} sample"].append(milliseconds(lambda: flow.sample(256, rng)))  # noqa: B023
    times = {name: np.median([each[name] for each in rounds], axis=0) for name in rounds[0]}
    upper = len(dims) // 2
    slopes = {name: float(np.polyfit(np.log(dims[upper:]), np.log(t[upper:]), 1)[0]) for name, t in times.items()}
    metrics = {f"{name.replace(' ', '_')}_slope": value for name, value in slopes.items()}
    for name, slow, fast in (("maf", "sample", "density"), ("iaf", "density", "sample")):
        ratios = [each[f"{name} {slow}"][-1] / each[f"{name} {fast}"][-1] for each in rounds]
        print(f"{name.upper()}, D = {dims[-1]}: time({slow}) / time({fast}) = {np.median(ratios):.1f}")
        print(f"     ({min(ratios):.1f}…{max(ratios):.1f} over {len(ratios)} rounds)")
        metrics[f"{name}_{slow}_over_{fast}"] = float(np.median(ratios))
    plot.save(plot_times(dims, times, slopes), args.out / "seconds_over_dims.png")
    report(args.out, {**metrics, "seconds": time.perf_counter() - start}, {}, "")


if __name__ == "__main__":
    main()
