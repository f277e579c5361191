"""Small parameters concatenated to one vector, so that a step calls NumPy and the kernels once for all of them.

Checked by: tests/optim/test_buckets.py
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..autograd import Array, Parameter

_SMALL = 1 << 12  # elements: copying them takes less time than a call


class Buckets:
    """A partition of parameters: the small ones of each dtype share a bucket, and each large one is alone in one.

    `join` and `split` convert between one array per parameter, in their order, and one array per bucket.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.dtypes = [p.dtype for p in parameters]
        self.shapes = [p.shape for p in parameters]
        buckets: dict[Any, list[int]] = {}
        for i, p in enumerate(parameters):
            buckets.setdefault(p.dtype if p.value.size <= _SMALL else i, []).append(i)
        self.indices = list(buckets.values())
        ends = [np.cumsum([0, *(parameters[i].value.size for i in indices)]).tolist() for indices in self.indices]
        self.bounds = [list(pairwise(stops)) for stops in ends]

    def join(self, arrays: Sequence[Array]) -> list[Array]:
        """Return one array per bucket: a new vector, or the array itself if it is the only one."""
        return [
            arrays[indices[0]] if len(indices) == 1 else np.concatenate([arrays[i] for i in indices], axis=None)
            for indices in self.indices
        ]

    def split(self, joined: Sequence[Array]) -> list[Array]:
        """Return one array per parameter, a view of the array of its bucket."""
        arrays: dict[int, Array] = {}
        for indices, bounds, array in zip(self.indices, self.bounds, joined, strict=True):
            flat = array.reshape(-1)
            for i, (start, stop) in zip(indices, bounds, strict=True):
                arrays[i] = flat[start:stop].reshape(self.shapes[i])
        return [arrays[i] for i in range(len(self.shapes))]
