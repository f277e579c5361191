"""What the optimisers and the moving average have in common: parameters, and states that must fit them.

Checked by: tests/optim/test_optimizers.py, tests/optim/test_ema.py
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..autograd import Array, Parameter, Tensor
from ..autograd.parameter import cast
from ..checks import require
from ..nn.module import State, check_fit


def matching_dtypes(owner: str, arrays: Sequence[Array], parameters: Sequence[Parameter]) -> list[Array]:
    """Return the arrays in the dtypes of the parameters. Raises ValueError if a finite number overflows in it."""
    pairs = enumerate(zip(arrays, parameters, strict=True))
    return [array if array.dtype == p.dtype else cast(f"{owner}.{i}", array, p.dtype) for i, (array, p) in pairs]


def matching_state(owner: str, own: State, state: Mapping[str, Array]) -> State:
    """Return a copy of a state in the dtypes of `own`.

    Raises: ValueError unless it has the names and shapes of `own`, and finite numbers in the range of their dtypes.
    """
    check_fit(owner, own, state)
    arrays = {name: cast(f"{owner}.{name}", state[name], array.dtype) for name, array in own.items()}
    for name, array in arrays.items():
        require(bool(np.isfinite(array).all()), f"{owner}.{name}", "finite numbers", "NaN or infinite ones")
    return arrays


def distinct_parameters(owner: str, parameters: Iterable[Parameter]) -> list[Parameter]:
    """Return the parameters as a list.

    Raises: TypeError or ValueError unless they are distinct Parameters of floating-point numbers.
    """
    iterable = isinstance(parameters, Iterable) and not isinstance(parameters, Tensor)
    given = list(parameters) if iterable else []
    wrong = [f"an iterable with a {type(p).__name__}" for p in given if not isinstance(p, Parameter)]
    wrong += [f"one of {p.dtype}" for p in given if isinstance(p, Parameter) and p.dtype.kind != "f"]
    if wrong or not iterable:
        got = wrong[0] if wrong else f"one {type(parameters).__name__}"
        expected = "an iterable of floating-point Parameters"
        raise TypeError(f"{owner} parameters: expected {expected}, got {got}; pass model.parameters()")
    n, distinct = len(given), len({id(p) for p in given})
    require(0 < n == distinct, f"{owner} parameters", "one or more, all distinct", f"{distinct} distinct of {n}")
    return given
