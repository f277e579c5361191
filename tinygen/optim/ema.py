"""Exponential moving average of parameters.

Checked by: tests/optim/test_ema.py
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from ..arguments import checked, explained
from ..autograd import Array, Parameter
from ..autograd.parameter import adopt
from ..checks import check_rate
from ..nn.module import State
from .optimizers import distinct_parameters, matching_dtypes, matching_state


class EMA:
    """Exponential moving average of parameters: θ̄ ← θ̄ + (1 − decay)(θ − θ̄), initialised to θ.

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
        self.averages = [p.value.copy() for p in self.parameters]
        self._match_dtypes()

    def update(self) -> None:
        """Update the averages with the current values of the parameters; call it after every step."""
        self._match_dtypes()
        pairs = zip(self.averages, self.parameters, strict=True)
        self.averages = [mean + (1 - self.decay) * (parameter.value - mean) for mean, parameter in pairs]

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Return a context manager that replaces the parameters by their averages.

        At exit it restores the parameters; values and dtypes that were assigned in between are lost.
        """
        self._match_dtypes()
        values = [p.value for p in self.parameters]
        try:
            for parameter, mean in zip(self.parameters, self.averages, strict=True):
                adopt(parameter, mean)
            yield
        finally:
            for parameter, value in zip(self.parameters, values, strict=True):
                adopt(parameter, value)

    def state(self) -> State:
        """Return a copy of the state by name: the averages."""
        self._match_dtypes()
        return {str(i): mean.copy() for i, mean in enumerate(self.averages)}

    @explained
    def load(self, state: Mapping[str, Array]) -> None:
        """Restore a state returned by `state`. Raises ValueError and changes nothing if it does not fit."""
        self.averages = list(self.check_state(state).values())

    @explained
    def check_state(self, state: Mapping[str, Array]) -> State:
        """Return a copy of a state in the dtypes of the parameters. Raises ValueError if `load` would."""
        return matching_state("EMA", self.state(), state)

    def _match_dtypes(self) -> None:
        """Convert the averages to the dtypes of the parameters, which `Module.astype` may have changed.

        Raises: TypeError if a parameter is float16, in which small changes of an average are lost.
        """
        for i, parameter in enumerate(self.parameters):
            if parameter.value.dtype == np.float16:
                raise TypeError(f"EMA parameters[{i}]: expected float32 or float64, got float16")
        self.averages = matching_dtypes("EMA", self.averages, self.parameters)
