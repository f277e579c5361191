"""Mask: which elements each part has, and that merge undoes split."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.masks import MASKS, in_second_part
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Tensor
from tinygen.bijections import Mask
from tinygen.bijections.coupling_masks import interleave, merge_parities, split_parities
from tinygen.testing import check_grads


@given(case=st.sampled_from(MASKS), flipped=st.booleans(), seed=st.integers(0, 2**32))
def test_merge_undoes_split(case: tuple[str, tuple[int, ...]], flipped: bool, seed: int) -> None:
    mask, x = Mask(*case, flipped), np.random.default_rng(seed).normal(size=(3, *case[1]))
    a, b = mask.split(x)
    assert (a.shape[1:], b.shape[1:]) == mask.shapes
    np.testing.assert_array_equal(mask.merge(a, b).value, x)


@pytest.mark.parametrize(("name", "shape"), MASKS)
@pytest.mark.parametrize("flipped", [False, True])
def test_split_matches_definition(name: str, shape: tuple[int, ...], flipped: bool, rng: np.random.Generator) -> None:
    x, in_b = rng.normal(size=(1, *shape)), in_second_part(name, shape) != flipped
    a, b = Mask(name, shape, flipped).split(x)
    np.testing.assert_array_equal(np.sort(a.value.ravel()), np.sort(x[0][~in_b]))
    np.testing.assert_array_equal(np.sort(b.value.ravel()), np.sort(x[0][in_b]))


@given(
    shape=st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2)),
    seed=st.integers(0, 2**32 - 1),
)
def test_checkerboard_parities(shape: tuple[int, int, int, int], seed: int) -> None:
    n, height, width, channels = shape
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2 * height, 2 * width, channels))
    parities = [pixels.value for pixels in split_parities(x)]
    assert [pixels.shape for pixels in parities] == [(n, height, width, 2 * channels)] * 2
    for i, j in np.ndindex(height, width):
        block = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        diagonals = [(block[:, 0, 0], block[:, 1, 1]), (block[:, 0, 1], block[:, 1, 0])]
        for pixels, diagonal in zip(parities, diagonals, strict=True):
            np.testing.assert_array_equal(pixels[:, i, j], np.concatenate(diagonal, -1))
    np.testing.assert_array_equal(merge_parities(*map(Tensor, parities)).value, x)
    if n:
        for parity in (0, 1):
            check_grads(lambda x, parity=parity: split_parities(x * x)[parity], x, order=2, rng=rng, draws=1)
        check_grads(lambda a, b: merge_parities(a * b, b * b), *parities, order=2, rng=rng, draws=1)


def test_interleaved_columns_and_their_derivatives(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(2, 3, 2))
    x = interleave(Tensor(a), Tensor(b)).value
    np.testing.assert_array_equal(x, np.stack([a[:, 0], b[:, 0], a[:, 1], b[:, 1]], 1))
    check_grads(lambda a, b: interleave(a * b, b * b), a, b, order=2, rng=rng, draws=1)
    assert interleave(Tensor(a[:0]), Tensor(b[:0])).shape == (0, 4)
    with pytest.raises(ValueError, match="all input arrays must have the same shape"):
        interleave(Tensor(a), Tensor(b[:1]))


def test_parities_of_different_shapes_are_refused() -> None:
    a = Tensor(np.zeros((5, 2, 2, 2)))
    for shape in ((1, 2, 2, 2), (5, 2, 2, 1), (5, 1, 2, 2)):
        with pytest.raises(ValueError, match=r"b: expected the shape of a, \(5, 2, 2, 2\), got"):
            merge_parities(a, Tensor(np.zeros(shape)))


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("chequers", (2,), "mask: expected 'half', 'channel' or 'checkerboard', got 'chequers'"),
        ("half", (2, 2), r"shape: expected \(D,\) or \(height, width, channels\), got \(2, 2\)"),
        ("half", (1,), "at least two elements"),
        ("half", (1, 4, 4), "at least two elements"),
        ("channel", (4, 4, 1), "at least two elements"),
        ("checkerboard", (3,), "shape: expected an even height and width"),
        ("checkerboard", (4, 3, 2), "shape: expected an even height and width"),
        ("checkerboard", (0,), "at least two elements"),
    ],
)
def test_rejects_shapes_that_cannot_be_split(name: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mask(name, shape)
