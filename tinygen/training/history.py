"""The history of a training run: losses and validation results, saved as lines of JSON.

Checked by: tests/training/test_history.py
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..files import write_atomically


@dataclass(frozen=True)
class Record:
    """Mean training loss since the previous record, and the validation result if there is one, after `step` steps.

    `losses` are those of all players if there are several, None for a player that took no step since the previous
    record. The learning rate of each player and the norm of the gradients, before clipping, are those of the last step.
    """

    step: int
    epoch: float
    loss: float
    valid: float | None = None
    losses: tuple[float | None, ...] = ()
    lr: tuple[float, ...] = ()
    gradient_norm: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the values by name, without those that are not known."""
        return {name: value for name, value in asdict(self).items() if name == "valid" or value not in ((), None)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Record:
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**given)


@dataclass
class History:
    """All records of a run, in the unit of its loss."""

    unit: str
    records: list[Record] = field(default_factory=list)

    @property
    def best(self) -> Record | None:
        """The first record with the lowest finite validation result, or None."""
        valid = [record for record in self.records if record.valid is not None and math.isfinite(record.valid)]
        return min(valid, key=lambda record: math.inf if record.valid is None else record.valid, default=None)

    def latest(self, steps: int) -> str:
        """Return the last record of a run of `steps` steps as text."""
        record = self.records[-1]
        valid = "" if record.valid is None else f", valid {record.valid:.4g}"
        return f"step {record.step}/{steps}: {record.loss:.4g}{valid} {self.unit}"

    def save(self, path: str | Path) -> None:
        """Write one line of JSON per record. The file is replaced atomically.

        JSON has no numbers that are not finite: they are the strings "nan", "inf" and "-inf".
        """
        rows = [{**record.to_json(), "unit": self.unit} for record in self.records]
        lines = [json.dumps({name: _to_json(value) for name, value in row.items()}) + "\n" for row in rows]
        write_atomically(path, "".join(lines).encode())

    @classmethod
    def load(cls, path: str | Path) -> History:
        """Read a file written by `save`. Raises ValueError for another file."""
        try:
            rows = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
            units = [row.pop("unit") for row in rows]
            records = [Record.from_json({name: _from_json(value) for name, value in row.items()}) for row in rows]
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: expected a file of History.save ({type(error).__name__}: {error})") from error
        return cls(units[0] if units else "", records)


def _to_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_to_json(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_json(item) for item in value]
    return float(value) if isinstance(value, str) else value
