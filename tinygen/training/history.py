"""The history of a training run: losses and validation results, saved as lines of JSON.

Checked by: tests/training/test_history.py
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..files import write_atomically


@dataclass(frozen=True)
class Record:
    """Mean training loss since the previous record, and the validation result if there is one, after `step` steps."""

    step: int
    epoch: float
    loss: float
    valid: float | None = None


@dataclass
class History:
    """All records of a run, in the unit of its loss."""

    unit: str
    records: list[Record] = field(default_factory=list)

    @property
    def best(self) -> Record | None:
        """The first record with the lowest validation result, or None if every result is None or NaN."""
        valid = [record for record in self.records if record.valid is not None and not math.isnan(record.valid)]
        return min(valid, key=lambda record: math.inf if record.valid is None else record.valid, default=None)

    def latest(self, steps: int) -> str:
        """Return the last record of a run of `steps` steps as text."""
        record = self.records[-1]
        valid = "" if record.valid is None else f", valid {record.valid:.4g}"
        return f"step {record.step}/{steps}: {record.loss:.4g}{valid} {self.unit}"

    def save(self, path: str | Path) -> None:
        """Write one line of JSON per record. The file is replaced atomically."""
        lines = [json.dumps({**asdict(record), "unit": self.unit}) + "\n" for record in self.records]
        write_atomically(path, "".join(lines).encode())

    @classmethod
    def load(cls, path: str | Path) -> History:
        """Read a file written by `save`."""
        rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
        unit = rows[0]["unit"] if rows else ""
        return cls(unit, [Record(row["step"], row["epoch"], row["loss"], row["valid"]) for row in rows])
