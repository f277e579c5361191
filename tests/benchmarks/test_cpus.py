"""Measurements wait until two threads have a CPU each and a cache in common."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numba
import numpy as np
import pytest

from benchmarks import cpus


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "waited", 0.0)
    monkeypatch.setattr(cpus, "shortest", float("inf"))
    monkeypatch.setattr(cpus, "longest", 0.0)


def measuring(monkeypatch: pytest.MonkeyPatch, *seconds: float) -> Iterator[float]:
    """Let `round_trip` return these values, then the last one forever; the iterator has those not yet returned."""
    values = iter(seconds)
    monkeypatch.setattr(cpus, "round_trip", lambda: next(values, seconds[-1]))
    return values


pytestmark = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="needs threads in native code")


def test_two_threads_take_turns() -> None:
    words = np.zeros(8, np.int64)
    other = threading.Thread(target=cpus._bounce, args=(words, 1, 50, 1 << 40))
    other.start()
    assert cpus._bounce(words, 0, 50, 1 << 40)
    other.join()
    assert words[0] == 100
    assert cpus.round_trip() > 1e-9


def test_a_thread_does_not_wait_for_ever() -> None:
    words = np.zeros(8, np.int64)
    assert not cpus._bounce(words, 0, 2, 1000)  # the second time, no thread answers
    assert words[0] == 1


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


def test_a_change_of_the_cpus_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpus, "PATIENCE", 0.0)
    for seconds, changed in ((7e-8, False), (1.5e-7, False), (4e-7, True)):
        measuring(monkeypatch, seconds)
        cpus.wait_for_cpus(2)
        assert cpus.changed() == changed


def test_one_thread_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    left = measuring(monkeypatch, 5e-7, 5e-7)
    cpus.wait_for_cpus(1)
    assert len(list(left)) == 2
