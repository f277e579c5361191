"""A state is named arrays: what a module, an optimiser or an average of parameters is saved as and restored from.

Checked by: tests/nn/test_module.py, tests/optim/test_optimizers.py
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from ..autograd import Array

State: TypeAlias = dict[str, Array]


def check_fit(owner: str, own: Mapping[str, Array], state: Mapping[str, Array]) -> None:
    """Raise ValueError, naming every array that is missing, unknown, or of another shape or kind than the owner's."""
    faults = [f"{name} of shape {own[name].shape} is missing" for name in own if name not in state]
    faults += [f"{name} is unknown" for name in state if name not in own]
    for name in own.keys() & state.keys():
        here, there = own[name], np.asarray(state[name])
        if there.shape != here.shape:
            faults.append(f"{name}: expected shape {here.shape}, got {there.shape}")
        elif not np.can_cast(there.dtype, here.dtype, "same_kind"):
            faults.append(f"{name}: expected dtype {here.dtype}, got {there.dtype}")
    if faults:
        raise ValueError(f"{owner}: the state does not fit, nothing was loaded: " + "; ".join(sorted(faults)))
