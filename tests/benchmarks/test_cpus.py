"""Measurements wait until two threads have a CPU each and a cache in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks import cpus


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "waited", 0.0)
    monkeypatch.setattr(cpus, "longest", 0.0)


def measuring(monkeypatch: pytest.MonkeyPatch, *seconds: float) -> Iterator[float]:
    """Let `round_trip` return these values, then the last one forever; the iterator has those not yet returned."""
    values = iter(seconds)
    monkeypatch.setattr(cpus, "round_trip", lambda: next(values, seconds[-1]))
    return values


def test_a_round_trip_is_measured() -> None:
    assert cpus.round_trip() > 1e-9  # infinity where the test has one CPU


def test_the_wait_ends_with_the_first_short_round_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    left = measuring(monkeypatch, 5e-7, float("inf"), 7e-8, 9e-8)
    cpus.wait_for_cpus(2)
    assert list(left) == [9e-8]
    assert cpus.longest == 7e-8


def test_the_wait_ends_when_patience_is_exhausted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "PATIENCE", 0.2)
    measuring(monkeypatch, 5e-7)
    cpus.wait_for_cpus(2)
    assert 0.2 <= cpus.waited < 5
    assert cpus.longest == 5e-7
    before = cpus.waited
    cpus.wait_for_cpus(2)  # does not wait again
    assert cpus.waited - before < 0.05


def test_one_thread_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    left = measuring(monkeypatch, 5e-7, 5e-7)
    cpus.wait_for_cpus(1)
    assert len(list(left)) == 2
