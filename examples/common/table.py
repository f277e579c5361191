"""The table that an example prints, and the same numbers as JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from common.report import Report


def numbers(results: Mapping[str, Any]) -> list[str]:
    """Return the names of the results that are numbers, without the durations."""
    return [name for name, value in results.items() if np.ndim(value) == 0 and not name.endswith("_seconds")]


def table(report: Report) -> str:
    """Return the claim, the verdict, one line per setting and result, the baselines and the duration, as text."""
    rows = [(name, f"{value:>9.4g}") for name, value in report.baselines.items()]
    for setting, seeds in report.results.items():
        for name in numbers(next(iter(seeds.values()))):
            v = report.values(name, setting).astype(float)
            spread = f" ± {v.std(ddof=min(1, len(v) - 1)):.2g} over {len(v)} seeds ({v.min():.4g} to {v.max():.4g})"
            rows.append((f"{setting}, {name.replace('_', ' ')}", f"{v.mean():>9.4g}{spread * (len(v) > 1)}"))
    runs = [each for seeds in report.results.values() for each in seeds.values()]
    cpu, wall = (sum(each[f"{clock}_seconds"] for each in runs) / 60 for clock in ("cpu", "wall"))
    width = max(len(name) for name, _ in rows)
    written = {"metrics.json", "table.txt", *(path.name for path in report.args.out.iterdir() if path.is_file())}
    files = ", ".join(sorted(written))
    return "\n".join([
        "", f"  {report.unit}", *(f"  {name:<{width}}  {value}" for name, value in rows), "",
        f"Claim: {report.claim}", report.verdict, f"{report.args.steps} steps; "
        f"CPU {cpu:.1f} min, wall {wall:.1f} min; files in {report.args.out}/: {files}",
    ])  # fmt: skip


def metrics(report: Report) -> dict[str, Any]:
    """Return the verdict, the description of each effect, and all results that are numbers, per seed."""
    found: dict[str, Any] = {"quick": report.quick, "steps": report.args.steps, "baselines": dict(report.baselines)}
    if report.decision is not None:
        found |= {"verdict": report.decision.verdict, "effects": report.decision.effects}
    for setting, seeds in report.results.items():
        names = [name for name, value in next(iter(seeds.values())).items() if np.ndim(value) == 0]
        found[setting] = {"seeds": list(seeds), **{name: report.values(name, setting).tolist() for name in names}}
    return found
