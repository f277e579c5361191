"""einsum: forms of subscripts beside those drawn in test_primitives.py, and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygen.autograd as ag
from tinygen.autograd import Tensor
from tinygen.testing import check_grads

Shapes = list[tuple[int, ...]]
FORMS: list[tuple[str, Shapes]] = [
    ("ij,jk->ik", [(2, 3), (3, 4)]),
    ("ij,jk", [(2, 1), (3, 4)]),  # an axis of length 1 broadcasts
    ("bij,bjk->bik", [(1, 2, 3), (4, 3, 2)]),
    ("ba", [(2, 3)]),  # the output is sorted: a transposition
    (" i j , j -> i ", [(2, 3), (3,)]),
    (",i", [(), (3,)]),
    ("i,i", [(3,), (3,)]),
    ("i,j->", [(2,), (3,)]),
    ("ii->i", [(3, 3)]),
    ("ii", [(3, 3)]),
    ("iji->ji", [(2, 3, 2)]),
    ("iijj->ji", [(2, 2, 3, 3)]),
    ("iii", [(2, 2, 2)]),
    ("ii,ii->i", [(3, 3), (3, 3)]),
    ("...ij,...jk->...ik", [(5, 1, 2, 3), (4, 3, 2)]),
    ("i...,...", [(2, 3), (3,)]),
    ("...a->a...", [(2, 3, 4)]),
    ("...", [(2, 3)]),
    ("...,...->...", [(1, 3), (2, 1)]),
    ("...i,...i->...", [(2, 0), (2, 0)]),
    ("ij,jk->ik", [(2, 0), (0, 3)]),
    ("ij,jk,kl,lm->im", [(2, 3), (3, 4), (4, 2), (2, 3)]),
    ("ij,ik,il->ijkl", [(2, 1), (2, 3), (2, 2)]),
    # The path of NumPy multiplies these four, and three of these five, in one step.
    ("bca,cdea,ecb,abe->aeb", [(4, 4, 3), (4, 3, 2, 3), (2, 4, 4), (3, 4, 2)]),
    ("a,eb,dabc,eac,dbea->cedb", [(3,), (3, 1), (3, 3, 1, 4), (3, 3, 4), (3, 1, 3, 3)]),
    ("aB,Bc->ac", [(2, 3), (3, 2)]),
]


@pytest.mark.parametrize(("subscripts", "shapes"), FORMS)
def test_forms_match_numpy(subscripts: str, shapes: Shapes, rng: np.random.Generator) -> None:
    xs = [rng.normal(size=shape) for shape in shapes]
    y, expected = ag.einsum(subscripts, *map(Tensor, xs)), np.einsum(subscripts, *xs)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y.value, expected, rtol=1e-12, atol=1e-14)
    if all(x.size for x in xs):
        check_grads(lambda *ts: ag.einsum(subscripts, *ts), *xs, rng=rng)


ERRORS: list[tuple[str, Shapes]] = [
    ("ij,jk->ik", [(2, 3), (4, 5)]),
    ("ij->k", [(2, 3)]),
    ("ij->ii", [(2, 2)]),
    ("ii", [(2, 3)]),
    ("ii->i", [(1, 3)]),
    ("ij", [(2,)]),
    ("i", [(2, 3)]),
    ("i,j", [(2,)]),
    ("i", [(2,), (2,)]),
    ("i.j", [(2, 2)]),
    ("i->i->i", [(2,)]),
    ("i1", [(2, 2)]),
    ("...i,...i->...i", [(2, 3), (4, 3)]),
    ("...i->i", [(2, 3)]),
]


@pytest.mark.parametrize(("subscripts", "shapes"), ERRORS)
def test_wrong_subscripts_are_rejected_by_name(subscripts: str, shapes: Shapes) -> None:
    with pytest.raises(ValueError, match=r"^einsum: subscripts and operands: got .* and shapes \("):
        ag.einsum(subscripts, *map(np.ones, shapes))


def test_other_forms_of_arguments_are_rejected_by_name() -> None:
    x: Any = np.ones(2)
    with pytest.raises(TypeError, match="subscripts"):
        ag.einsum(x, [0])
    with pytest.raises(ValueError, match="operands: expected at least one"):
        ag.einsum("i")


def test_integers_keep_their_dtype() -> None:
    x = np.full((2, 3), 100, np.int8)
    y = ag.einsum("ij->i", x)
    assert y.dtype == np.int8
    np.testing.assert_array_equal(y.value, np.einsum("ij->i", x))


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int64, np.float16])
@pytest.mark.parametrize("subscripts", ["ij,ik->", "ij,ik->i", "ik,ij->j", "ij,k->i"])
def test_gradients_beside_operands_of_other_dtypes(subscripts: str, dtype: Any, rng: np.random.Generator) -> None:
    """A label of integers that is summed alone gives int64, so the product is computed in float64."""
    shapes = [tuple({"i": 2, "j": 3, "k": 4}[a] for a in term) for term in subscripts.split("->")[0].split(",")]
    ones = [np.ones(shape, dtype) for shape in shapes]
    place = subscripts.split("->")[0].split(",").index("ij")
    x = ag.Tensor(rng.normal(size=(2, 3)).astype(np.float32))
    operands = [x if i == place else one for i, one in enumerate(ones)]
    y = ag.einsum(subscripts, *operands)
    assert y.dtype == np.result_type(np.float32, dtype)
    expected = ag.einsum(subscripts, *[np.float64(1) * getattr(each, "value", each) for each in operands])
    np.testing.assert_allclose(y.value, expected.value, rtol=1e-5, atol=1e-6)
    gradient = ag.grad(y.sum(), [x])[0]
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(gradient.value, np.full((2, 3), 4.0))
