"""Histories: the JSON format, round trips, and the choice of the best record."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinygen.training import History, Record

numbers = st.floats(allow_nan=False)
records = st.builds(Record, st.integers(0), numbers, numbers, st.none() | numbers)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(records, min_size=1, max_size=5), st.text(max_size=5))
def test_load_restores_what_save_wrote(tmp_path: Path, rows: list[Record], unit: str) -> None:
    History(unit, rows).save(tmp_path / "h.jsonl")
    assert History.load(tmp_path / "h.jsonl") == History(unit, rows)


def test_each_line_is_a_record_with_its_unit(tmp_path: Path) -> None:
    History("nats", [Record(2, 0.5, 1.25), Record(4, 1.0, 1.0, 0.75)]).save(tmp_path / "h.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "h.jsonl").read_text().splitlines()]
    assert lines == [
        {"step": 2, "epoch": 0.5, "loss": 1.25, "valid": None, "unit": "nats"},
        {"step": 4, "epoch": 1.0, "loss": 1.0, "valid": 0.75, "unit": "nats"},
    ]


def test_best_is_the_first_record_with_the_lowest_result() -> None:
    results = [None, math.nan, 2.0, 1.0, 1.0, 3.0]
    history = History("nats", [Record(step, 0.0, 0.0, valid) for step, valid in enumerate(results)])
    assert history.best == history.records[3]


def test_best_is_none_without_a_result() -> None:
    assert History("nats").best is None
    assert History("nats", [Record(0, 0.0, 0.0, None), Record(1, 0.0, 0.0, math.nan)]).best is None


def test_infinite_results_are_not_the_best() -> None:
    rows = [Record(i, 0.0, 0.0, valid) for i, valid in enumerate((1.0, -math.inf, 0.5, 0.1, math.inf, math.nan))]
    assert History("nats", rows).best is rows[3]
    assert History("nats", [rows[1], rows[4], rows[5]]).best is None


def test_each_line_is_standard_json_and_another_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    history = History("nats", [Record(1, 0.5, math.nan, math.inf, (None, 1.0))])
    history.save(path)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    row = json.loads(path.read_text(), parse_constant=refuse)
    assert (row["loss"], row["valid"], row["losses"]) == ("nan", "inf", [None, 1.0])
    (record,) = History.load(path).records
    assert math.isnan(record.loss)
    assert record.valid == math.inf
    for content in (b'{"a": 1}\n', b"\xff\xfe", b"[1]"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"history\.jsonl: expected a file of History\.save"):
            History.load(path)
