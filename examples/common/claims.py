"""Decide a claim from one effect per seed: reproduced, refuted or undecided.

Every seed trains all models that are compared, with the same split of the data, initial seed and batches. An effect is
computed within each seed, for example the difference of two test losses, so what is common to both cancels. The claim
is that the expected effect is above or below a number that was chosen before the runs. With effects e₁ … eₙ,

    interval = mean ± t · std / √n,     t: quantile of Student's distribution with n − 1 degrees of freedom

    reproduced: the interval is in the claimed region;  refuted: it is outside;  undecided: it contains a boundary.

A wrong decision has a probability of at most 5 % if the effects are normally distributed; the test measures it. A
claim with m effects must hold for each, so every interval has the level 1 − 0.05 / m (Bonferroni).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit  # scipy.stats would take a second longer to import

ERROR = 0.05  # probability of deciding wrongly that a claim is reproduced or refuted


@dataclass(frozen=True)
class Effect:
    """The values of an effect, one per seed, and the region (above, below) that its expectation is claimed to be in."""

    name: str
    values: ArrayLike
    unit: str
    above: float = -math.inf
    below: float = math.inf

    def interval(self, error: float = ERROR) -> tuple[float, float, float]:
        """Return the mean and the ends of the interval that contains the expectation with probability 1 − error."""
        e = np.asarray(self.values, np.float64)
        if e.ndim != 1 or not np.isfinite(e).all():
            raise ValueError(f"{self.name}: expected one finite number per seed, got {self.values!r}")
        if len(e) < 2:  # a single seed does not show how much seeds differ
            return float(e.mean()) if len(e) else math.nan, -math.inf, math.inf
        radius = float(stdtrit(len(e) - 1, 1 - error / 2) * e.std(ddof=1) / math.sqrt(len(e)))
        return float(e.mean()), float(e.mean()) - radius, float(e.mean()) + radius

    def decide(self, error: float = ERROR) -> str:
        _, low, high = self.interval(error)
        if self.above < low and high < self.below:
            return "reproduced"
        return "refuted" if high <= self.above or self.below <= low else "undecided"

    def describe(self, error: float = ERROR) -> str:
        """Return the name, the mean, the interval and the claimed region, as text."""
        if np.size(self.values) == 0:
            return f"{self.name}: not trained yet"
        mean, low, high = self.interval(error)
        width = high - low
        digits = int(np.clip(1 - math.floor(math.log10(width / 2)), 0, 4)) if 0 < width < math.inf else 2
        interval = f"{low:.{digits}f} to {high:.{digits}f}" if math.isfinite(width) else "no interval"
        limits = {"above": self.above, "below": self.below}
        region = " and ".join(f"{word} {limit:g}" for word, limit in limits.items() if math.isfinite(limit))
        unit = f" {self.unit}" * bool(self.unit)
        return f"{self.name}: {mean:.{digits}f}{unit} ({interval}{f'; claimed: {region}' * bool(region)})"


@dataclass(frozen=True)
class Decision:
    """The verdict on a claim, the level of the intervals, the least number of seeds, and a text for each effect."""

    verdict: str
    level: float
    seeds: int
    effects: tuple[str, ...]

    def __str__(self) -> str:
        seeds = f"{self.seeds} seed{'s' * (self.seeds != 1)}"
        return "\n".join([f"{self.verdict} ({100 * self.level:.4g} % intervals, {seeds})", *self.effects])


def decide(*effects: Effect) -> Decision:
    """Return "reproduced" if every effect is, "refuted" if at least one is, and otherwise "undecided".

    At least one effect must have values; one without values, of models that are not trained yet, is undecided.
    """
    error = ERROR / len(effects)
    verdicts = {effect.decide(error) for effect in effects}
    verdict = next(word for word in ("refuted", "undecided", "reproduced") if word in verdicts)
    seeds = min(np.size(effect.values) for effect in effects if np.size(effect.values))
    return Decision(verdict, 1 - error, seeds, tuple(effect.describe(error) for effect in effects))
