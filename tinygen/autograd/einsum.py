"""Sums of products in Einstein's notation, as products of two matrices at a time.

A label stands for one axis; two operands that share labels are multiplied as stacks of matrices:

    batch   labels of both that are needed later     a (batch, left, inner)
    inner   labels of both that are not: summed      b (batch, inner, right)
    left, right   labels of one of them              a b (batch, left, right)

All steps are operations, so the derivatives follow.

Checked by: tests/autograd/test_einsum.py, tests/autograd/test_primitives.py
"""

import math
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain
from typing import TypeAlias

import numpy as np

from .elementwise import astype
from .linalg import matmul
from .operands import real
from .reduce import sum
from .shape import index, reshape, transpose
from .tensor import Tensor, TensorLike, array_of, node, primitive

# A letter, or for the axes of an ellipsis their position counted from the last, −1.
Labels: TypeAlias = tuple[str | int, ...]
Labelled: TypeAlias = tuple[TensorLike, Labels]


@primitive
def einsum(subscripts: str, *operands: TensorLike) -> Tensor:
    """Multiply the operands, and sum over all labels that are not in the output, as np.einsum.

    Args:
        subscripts: a letter for each axis of each operand, and after "->" those of the output; without "->", the
            letters that occur once, sorted. "..." stands for further axes, which broadcast.

    A letter that occurs twice in one operand takes its diagonal. Three or more operands are multiplied in the order of
    np.einsum_path.

    Raises: ValueError if the subscripts do not fit the operands.

    Example:
        >>> x = Tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> einsum("ij,jk->ik", x, x).value.tolist(), einsum("ii->i", x).value.tolist(), einsum("ii", x).item()
        ([[7.0, 10.0], [15.0, 22.0]], [1.0, 4.0], 5.0)
    """
    if not operands:
        raise ValueError("einsum: operands: expected at least one, got none")
    values = [real("einsum", x) for x in operands]
    shapes = [v.shape for v in values]
    try:
        inputs, output, path = _plan(subscripts, *shapes)
    except ValueError as error:
        got = " and ".join(map(str, shapes))
        raise ValueError(f"einsum: subscripts and operands: got {subscripts!r} and shapes {got}: {error}") from error
    terms = [_diagonal(x, labels) for x, labels in zip(operands, inputs, strict=True)]
    for places in path:
        group = [terms.pop(place) for place in sorted(places, reverse=True)]
        first = group.pop()
        while group:
            second = group.pop()
            first = _product(first, second, {*output}.union(*[labels for _, labels in [*terms, *group]]))
        terms.append(first)
    x, labels = _summed(*terms[0], output)
    y = transpose(x, [labels.index(label) for label in output])
    dtype = np.result_type(*values)  # sums of integers are int64; NumPy's einsum keeps the dtype
    if y.dtype == dtype:
        return y
    return astype(y, dtype) if dtype.kind == "f" else node("einsum", y.value.astype(dtype))


@lru_cache(maxsize=1024)
def _plan(subscripts: str, *shapes: tuple[int, ...]) -> tuple[list[Labels], Labels, list[tuple[int, ...]]]:
    """Return the labels of the inputs and of the output, and which operands to multiply in each step."""
    dummies = [np.broadcast_to(0.0, shape) for shape in shapes]
    _, *path = np.einsum_path(subscripts, *dummies, optimize="greedy")[0]  # raises errors for wrong subscripts
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    inputs = []
    for term, shape in zip(left.split(","), shapes, strict=True):
        labels = _expanded(term, len(shape) - len(term.replace("...", "")))
        if any(labels.count(a) > 1 and n != shape[labels.index(a)] for a, n in zip(labels, shape, strict=True)):
            raise ValueError(f"a label that occurs twice in {term!r} has axes of different lengths in {shape}")
        inputs.append(labels)
    every = [*chain.from_iterable(inputs)]
    ellipsis = -min([0, *[label for label in every if isinstance(label, int)]])
    if arrow:
        if ellipsis and "..." not in right:
            raise ValueError(f"expected '...' in the output, since it stands for {ellipsis} axes of the operands")
        return inputs, _expanded(right, ellipsis), path
    return (
        inputs,
        _expanded("..." + "".join(sorted(a for a in {*left} - {*",."} if every.count(a) == 1)), ellipsis),
        path,
    )


def _expanded(term: str, ellipsis: int) -> Labels:
    """Return the labels of a term: its letters, with −n … −1 in place of '...' for n axes."""
    before, dots, after = term.partition("...")
    return (*before, *(range(-ellipsis, 0) if dots else ()), *after)


def _diagonal(x: TensorLike, labels: Labels) -> Labelled:
    """Replace axes of the same label by one, which runs along their diagonal."""
    for label in {a for a in labels if labels.count(a) > 1}:
        places = [i for i, a in enumerate(labels) if a == label]
        others = [i for i, a in enumerate(labels) if a != label]
        diagonal = np.arange(array_of(x).shape[places[0]])
        x = index(transpose(x, [*places, *others]), (diagonal,) * len(places))
        labels = (label, *[labels[i] for i in others])
    return x, labels


def _summed(x: TensorLike, labels: Labels, keep: Iterable[str | int]) -> Labelled:
    """Sum over the labels that are not in `keep`."""
    axes = tuple([i for i, label in enumerate(labels) if label not in keep])
    return (sum(x, axes), tuple([label for label in labels if label in keep])) if axes else (x, labels)


def _product(first: Labelled, second: Labelled, keep: set[str | int]) -> Labelled:
    """Multiply two operands, and sum over the labels that are not in `keep`."""
    # An axis of length 1 broadcasts: drop it from the operand in which it is.
    long = [{label for label, n in zip(ls, array_of(x).shape, strict=True) if n != 1} for x, ls in (first, second)]
    a, of_a = _summed(*first, {*first[1]} - (long[1] - long[0]))
    b, of_b = _summed(*second, {*second[1]} - (long[0] - long[1]))
    a, of_a = _summed(a, of_a, keep.union(of_b))
    b, of_b = _summed(b, of_b, keep.union(of_a))
    batch = [label for label in of_a if label in of_b and label in keep]
    inner = [label for label in of_a if label in of_b and label not in keep]
    left, right = [label for label in of_a if label not in of_b], [label for label in of_b if label not in of_a]
    size = dict(zip((*of_a, *of_b), (*array_of(a).shape, *array_of(b).shape), strict=True))
    n_batch, n_left, n_inner, n_right = (math.prod(size[a] for a in group) for group in (batch, left, inner, right))
    a = reshape(transpose(a, [of_a.index(label) for label in [*batch, *left, *inner]]), (n_batch, n_left, n_inner))
    b = reshape(transpose(b, [of_b.index(label) for label in [*batch, *inner, *right]]), (n_batch, n_inner, n_right))
    if not inner:
        y = a * b  # an outer product
    else:
        y = matmul(a, b) if batch else matmul(reshape(a, (n_left, n_inner)), reshape(b, (n_inner, n_right)))
    labels = (*batch, *left, *right)
    return reshape(y, [size[label] for label in labels]), labels
