"""State dictionaries: the named arrays that a module, an optimiser or a parameter average is saved as.

Checked by: tests/nn/test_module.py, tests/optim/test_optimizers.py
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from ..autograd import Array

State: TypeAlias = dict[str, Array]


def check_fit(owner: str, own: Mapping[str, Array], state: Mapping[str, Array]) -> None:
    """Check that `state` has the names, shapes and kinds of dtype of `own`.

    Raises: ValueError that lists every array which is missing, unknown or of the wrong shape or kind of dtype.
    """
    faults = [f"{name} of shape {own[name].shape} is missing" for name in own if name not in state]
    faults += [f"{name} is unknown" for name in state if name not in own]
    for name in own.keys() & state.keys():
        expected, got = own[name], np.asarray(state[name])
        if got.shape != expected.shape:
            faults.append(f"{name}: expected shape {expected.shape}, got {got.shape}")
        elif not np.can_cast(got.dtype, expected.dtype, "same_kind"):
            faults.append(f"{name}: expected dtype {expected.dtype}, got {got.dtype}")
    if faults:
        raise ValueError(f"{owner}: the state does not match, nothing was loaded: " + "; ".join(sorted(faults)))
