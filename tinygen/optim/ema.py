"""Exponential moving average of parameters.

Checked by: tests/optim/test_ema.py
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from ..arguments import checked, explained
from ..autograd import Array, Parameter
from ..autograd.parameter import adopt, cast
from ..checks import check_rate
from ..nn.module import State
from .states import distinct_parameters, matching_state


class EMA:
    """Exponential moving average of parameters: θ̄ ← θ̄ + (1 − decay)(θ − θ̄), initialised to θ.

    The averages are float64: in float32, changes of θ̄ below half a unit in its last place would be lost.

    Raises: TypeError or ValueError for invalid parameters, as in Optimizer; ValueError unless 0 ≤ decay < 1.
    Source: Polyak & Juditsky, "Acceleration of stochastic approximation by averaging", 1992, which weights all steps
    equally.

    Example:
        >>> p = Parameter([0.0])
        >>> ema = EMA([p], decay=0.75)
        >>> p.assign([4.0])
        >>> ema.update()
        >>> with ema.averaged():
        ...     p.item()
        1.0
        >>> p.item()
        4.0
    """

    @checked
    def __init__(self, parameters: Iterable[Parameter], decay: float) -> None:
        check_rate("decay", decay)
        self.parameters = distinct_parameters("EMA", parameters)
        self.decay = float(decay)
        self.averages = [p.value.astype(np.float64) for p in self.parameters]

    def update(self) -> None:
        """Update the averages with the current values of the parameters; call it after every step."""
        pairs = zip(self.averages, self.parameters, strict=True)
        self.averages = [mean + (1 - self.decay) * (parameter.value - mean) for mean, parameter in pairs]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Return a context manager that replaces the parameters by their averages.

        At exit it restores the parameters; values and dtypes that were assigned in between are lost.
        """
        values = [p.value for p in self.parameters]
        averages = [cast(f"EMA.{i}", self.averages[i], p.dtype) for i, p in enumerate(self.parameters)]
        try:
            for parameter, mean in zip(self.parameters, averages, strict=True):
                adopt(parameter, mean)
            yield
        finally:
            for parameter, value in zip(self.parameters, values, strict=True):
                adopt(parameter, value)

    def state(self) -> State:
        """Return a copy of the state by name: the averages."""
        return {str(i): mean.copy() for i, mean in enumerate(self.averages)}

    @explained
    def load(self, state: Mapping[str, Array]) -> None:
        """Restore a state returned by `state`. Raises ValueError and changes nothing if it does not fit."""
        self.averages = list(self.check_state(state).values())

    @explained
    def check_state(self, state: Mapping[str, Array]) -> State:
        """Return a copy of a state in float64. Raises ValueError if `load` would."""
        return matching_state("EMA", self.state(), state)
