"""Small parameters are updated together: `split` inverts `join`, and a step gives the bits of separate updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Array, Parameter
from tinygen.optim import SGD, Adam, AdamW, NonFiniteGradientError, Optimizer, buckets

shapes = st.lists(st.lists(st.integers(0, 4), max_size=3).map(tuple), min_size=1, max_size=8)
orders = st.sampled_from(["C", "F"])


def normal(shape: tuple[int, ...], order: Any, dtype: Any, seed: int) -> Array:
    return np.array(np.random.default_rng(seed).normal(size=shape), dtype, order=order)


@given(shapes=shapes, orders=st.lists(orders, min_size=8), small=st.integers(-1, 20), single=st.integers(0, 255))
def test_split_inverts_join(shapes: list[tuple[int, ...]], orders: list[str], small: int, single: int) -> None:
    dtypes = [np.float32 if single >> i & 1 else np.float64 for i in range(8)]
    arrays = [normal(shape, orders[i], dtypes[i], i) for i, shape in enumerate(shapes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buckets, "_SMALL", small)
        partition = buckets.Buckets([Parameter(array, array.dtype) for array in arrays])
    joined = partition.join(arrays)
    assert len(joined) == sum(array.size > small for array in arrays) + len(
        {array.dtype for array in arrays if array.size <= small}
    )
    for array, copy in zip(arrays, partition.split(joined), strict=True):
        assert copy.dtype == array.dtype
        np.testing.assert_array_equal(copy, array, strict=True)
        assert not array.size or any(np.shares_memory(copy, bucket) for bucket in joined) or not array.flags.carray


@pytest.mark.parametrize("make", [lambda ps: SGD(ps, 0.1, 0.9, nesterov=True), Adam, lambda ps: AdamW(ps, 0.01)])
@given(shapes=shapes, order=orders, small=st.integers(0, 20))
def test_steps_are_bitwise_those_of_separate_parameters(
    make: Callable[..., Optimizer], shapes: list[tuple[int, ...]], order: str, small: int
) -> None:
    results, norms = [], []
    for limit in (-1, small):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(buckets, "_SMALL", limit)
            ps = [Parameter(normal(shape, order, np.float32, i)) for i, shape in enumerate(shapes)]
            optimizer = make(ps)
        for step in range(3):
            optimizer.step([normal(shape, order, np.float32, 10 * step + i) for i, shape in enumerate(shapes)])
        results.append([p.value for p in ps] + list(optimizer.state().values()))
        norms.append(optimizer.gradient_norm)
    for separate, together in zip(*results, strict=True):
        np.testing.assert_array_equal(together, separate, strict=True)
    assert norms[1] == pytest.approx(norms[0], rel=1e-5)  # float32 sums in another order


@pytest.mark.parametrize(("bad", "fault"), [(np.nan, "1 of 3 entries are NaN"), (1e30, "whose squares overflow")])
@pytest.mark.parametrize("index", [0, 2, 3])
def test_error_names_the_gradient_and_nothing_changes(bad: float, fault: str, index: int) -> None:
    optimizer = Adam([Parameter(np.ones(3)) for _ in range(4)])
    gradients = [np.ones(3, np.float32) for _ in range(4)]
    gradients[index][1] = bad
    with pytest.raises(NonFiniteGradientError, match=rf"gradients\[{index}\].*{fault}"):
        optimizer.step(gradients)
    assert optimizer.steps == 0
    assert all(p.value.tolist() == [1, 1, 1] for p in optimizer.parameters)
