"""Results are merged comparison by comparison, and printed as they are measured."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import record
from benchmarks.distributed import Exchange, fit_exchange
from benchmarks.growth import fitted_exponent
from benchmarks.record import Row

ROWS = [Row("step, ms", "MLP", {"tinygen": 0.123456, "runs": "AVX2"}), Row("step, ms", "VAE", {"tinygen": 2.0})]


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Report as on a machine without other processes."""
    monkeypatch.setattr(record, "share_of_others", lambda before, after: 0.0)


def test_merge_replaces_one_comparison_and_keeps_the_others(tmp_path: Path) -> None:
    path = tmp_path / "new" / "cpu.json"
    for name, rows in (("mlp", ROWS), ("vae", ROWS[1:]), ("mlp", ROWS[:1])):
        record.merge(path, name, {"commit": name}, rows)
    (comparisons,) = json.loads(path.read_text(encoding="utf-8"))["comparisons"].values()
    assert comparisons["mlp"] == {"commit": "mlp", "rows": [["step, ms", "MLP", {"tinygen": 0.1235, "runs": "AVX2"}]]}
    assert comparisons["vae"]["rows"] == [["step, ms", "VAE", {"tinygen": 2.0}]]


def test_every_row_is_one_line_of_the_file(tmp_path: Path) -> None:
    rows = [*ROWS, Row("step, ms", "7×7, 28² [64]", {"tinygen": 3.0})]
    record.merge(tmp_path / "cpu.json", "mlp", {}, rows)
    lines = (tmp_path / "cpu.json").read_text(encoding="utf-8").splitlines()
    assert sum('"step, ms"' in line and '"tinygen"' in line for line in lines) == len(rows)


@pytest.mark.parametrize("quick", [False, True])
def test_report_saves_unless_quick(
    quick: bool, tmp_path: Path, quiet: None, capsys: pytest.CaptureFixture[str]
) -> None:
    record.report("mlp", ROWS, argparse.Namespace(threads=2, quick=quick, save=tmp_path))
    assert (tmp_path / record.file_name()).exists() != quick
    assert "| MLP | 0.12 | AVX2 |" in capsys.readouterr().out


def test_results_of_a_busy_machine_are_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "share_of_others", lambda before, after: 0.2)
    with pytest.raises(SystemExit, match="other processes took 20%"):
        record.report("mlp", ROWS, argparse.Namespace(threads=2, quick=False, save=tmp_path))
    assert not list(tmp_path.iterdir())


def test_an_interrupted_comparison_keeps_the_old_results(tmp_path: Path, quiet: None) -> None:
    def interrupted() -> object:
        yield ROWS[0]
        raise KeyboardInterrupt

    args = argparse.Namespace(threads=2, quick=False, save=tmp_path)
    record.report("mlp", ROWS, args)
    before = (tmp_path / record.file_name()).read_bytes()
    with pytest.raises(KeyboardInterrupt):
        record.report("mlp", interrupted(), args)  # type: ignore[arg-type]
    assert (tmp_path / record.file_name()).read_bytes() == before


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1234"), (12.34, "12.3"), (1.234, "1.23"), (0.5, "0.50"), (0.0123, "0.0123"), ("a", "a")],
)
def test_numbers_have_three_digits(value: float | str, text: str) -> None:
    assert record.shown(value) == text


def test_exponent_of_a_power_law_is_exact() -> None:
    np.testing.assert_allclose(fitted_exponent({n: 3.0 * n**1.7 for n in (2, 5, 11)}), 1.7)


def test_cpu_time_of_other_processes() -> None:
    assert record.share_of_others((10.0, 5.0, 1.0), (20.0, 11.0, 4.0)) == 0.3
    assert record.share_of_others((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)) == 0.0
    total, busy, own = record.cpu_times()
    assert total >= busy >= own


def test_constants_of_an_exchange_are_recovered_from_its_times() -> None:
    exact = Exchange(alpha=3e-6, beta=5e9, g0=2e-5, gamma=8e9)
    sizes = [(ranks, size) for ranks in (2, 4) for size in (1_000, 100_000, 10_000_000)]
    times = [(exact.seconds(*each), exact.seconds(*each) - exact.g0 - each[1] / exact.gamma) for each in sizes]
    measured = [(*each, *seconds) for each, seconds in zip(sizes, times, strict=True)]
    np.testing.assert_allclose(fit_exchange(measured), exact, rtol=1e-6)
    assert exact.seconds(1, 1_000) == 0
    assert exact.seconds(2, 10**6) == pytest.approx(2 * (3e-6 + 5e5 / 5e9) + 2e-5 + 1e6 / 8e9)
