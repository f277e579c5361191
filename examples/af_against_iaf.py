"""Autoregressive flow against inverse autoregressive flow: which pays for the density, and which for a sample?

python examples/af_against_iaf.py [--seed 0] [--out out/af_against_iaf] [--quick]

Both are one bijection of two layers, read in opposite ways, timed on 256 examples of D variables without derivatives.
A curve is summed up by its slope, d ln(seconds) / d ln D, over the upper half of the D: 1 is a time in proportion to D.
The slow way computes each unit once, as the fast one does, but in D steps: what is seen is the cost of a step.
"""

import time
from collections.abc import Callable

import numpy as np
from common.reporting import arguments, panels, report
from matplotlib.figure import Figure

from tinygen import no_grad, plot
from tinygen.models import IAF, MAF


def milliseconds(call: Callable[[], object]) -> float:
    """Time a call: the best of seven, since whatever disturbs it makes it longer."""
    times = []
    for _ in range(7):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def picture(dims: list[int], times: dict[str, np.ndarray], slopes: dict[str, float]) -> Figure:
    figure, both = panels(7.2, 3.4, 1, 2, sharey=True)
    for name, curve in times.items():
        flow, task = name.split()
        panel, colour = both[int(task == "sample")], plot.COLOURS[int(flow == "iaf")]
        panel.loglog(dims, curve, "o-", color=colour, markersize=3.5, linewidth=1.6)
        panel.annotate(
            f"{flow.upper()}, slope {slopes[name]:.1f}",
            (dims[-1], curve[-1]),
            (-4, 8),
            textcoords="offset points",
            ha="right",
            color=colour,
            fontsize=9,
        )
    for panel, title in zip(both, ("density", "sampling"), strict=True):
        panel.set_title(title, fontsize=10, color=plot.INK, loc="left")
        panel.set_xlabel("number of variables D", fontsize=9, color=plot.INK)
        panel.set_xticks(dims, [str(dim) for dim in dims], minor=False)
        panel.set_xticks([], minor=True)
    both[0].set_ylabel("milliseconds for 256 examples", fontsize=9, color=plot.INK)
    return figure


def main() -> None:
    args = arguments(__doc__ or "", "af_against_iaf")
    start, dims = time.perf_counter(), [2, 4, 8, 16] if args.quick else [2, 4, 8, 16, 32, 64]
    rounds: list[dict[str, list[float]]] = []
    for turn in range(1 if args.quick else 5):
        rounds.append({f"{flow} {task}": [] for flow in ("maf", "iaf") for task in ("density", "sample")})
        for dim in dims:
            rng = np.random.default_rng(args.seed + turn)
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
        print(f"{name.upper()}: at D = {dims[-1]} its {slow} takes {np.median(ratios):.1f} times as long as its {fast}")
        print(f"     ({min(ratios):.1f}…{max(ratios):.1f} in {len(ratios)} rounds)")
        metrics[f"{name}_{slow}_over_{fast}"] = float(np.median(ratios))
    plot.save(picture(dims, times, slopes), args.out / "seconds_over_dims.png")
    report(args.out, {**metrics, "seconds": time.perf_counter() - start}, {}, "")


if __name__ == "__main__":
    main()
