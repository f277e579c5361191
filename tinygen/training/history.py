"""What a training run has measured, a record every so many steps, kept as lines of JSON.

Checked by: tests/training/test_history.py
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..files import write_whole


@dataclass(frozen=True)
class Record:
    """After `step` steps: the mean training loss since the last record, and the validation loss, if there is one."""

    step: int
    epoch: float
    loss: float
    valid: float | None = None


@dataclass
class History:
    """Every record of a run, in the unit of its loss; `best` is the one whose parameters were kept."""

    unit: str
    records: list[Record] = field(default_factory=list)

    @property
    def best(self) -> Record | None:
        """The first record with the lowest validation loss; None if nothing was validated, or never to a number."""
        judged = [record for record in self.records if record.valid is not None and not math.isnan(record.valid)]
        return min(judged, key=lambda record: record.valid if record.valid is not None else math.inf, default=None)

    def save(self, path: str | Path) -> None:
        """Write the records as lines of JSON, all of them or none, so that a kill leaves no half line behind."""
        lines = [json.dumps({**asdict(record), "unit": self.unit}) + "\n" for record in self.records]
        write_whole(path, "".join(lines).encode())

    @classmethod
    def load(cls, path: str | Path) -> History:
        """Read what `save` wrote."""
        rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
        unit = rows[0]["unit"] if rows else ""
        return cls(unit, [Record(row["step"], row["epoch"], row["loss"], row["valid"]) for row in rows])
