"""Time several ways of doing one thing fairly on a noisy machine: in turns, in one process, medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

Candidate = Callable[[], object]


def medians(candidates: Mapping[str, Candidate], rounds: int = 5, seconds: float = 0.1) -> dict[str, float]:
    """Milliseconds per call: the median over `rounds` turns of each turn's median.

    Every other round runs in reverse, so that none always profits from what ran before it. A pause before each turn
    lets the spinning threads of other libraries fall asleep.
    """
    turns: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds):
        names = list(candidates)
        for name in names if turn % 2 == 0 else reversed(names):
            time.sleep(min(0.06, seconds))
            turns[name].append(_one_turn(candidates[name], seconds))
    return {name: statistics.median(times) * 1e3 for name, times in turns.items()}


def _one_turn(candidate: Candidate, seconds: float) -> float:
    candidate()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or (time.perf_counter() < end and len(times) < 200):
        start = time.perf_counter()
        candidate()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
