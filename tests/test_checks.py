"""Shared argument checks: valid arguments pass, and each error message names the argument."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from tinygen.checks import (
    as_finite,
    as_levels,
    as_reals,
    as_returned_number,
    at_least,
    broadcasts,
    check_array,
    check_context,
    check_counts,
    check_event,
    check_integers,
    check_labels,
    check_nonnegative,
    check_odd,
    check_rate,
    check_rng,
    require,
)


@pytest.mark.parametrize(
    "call",
    [
        lambda: require(np.bool_(True), "x", "this", "that"),
        lambda: at_least(1, layers=1, width=np.int64(2)),  # type: ignore[arg-type]
        lambda: check_odd(3, size=3),
        lambda: check_nonnegative(penalty=0, kinetic=np.float32(0.5)),  # type: ignore[arg-type]
        lambda: check_rate("dropout", 0.0),
        lambda: check_counts("shape", (3, 1)),
        lambda: check_array("x", np.zeros((0, 3))),
        lambda: check_event("x", np.zeros((0, 2, 3)), (2, 3)),
        lambda: check_event("x", np.zeros(5), ()),
        lambda: check_context(None, 3, 0),
        lambda: check_context(np.zeros((3, 2)), 3, 2),
        lambda: check_context(None, 3),
        lambda: check_context(np.zeros((3, 7)), 3),
        lambda: check_integers("k", np.array([0, 2]), (2,), 3),
        lambda: check_integers("k", np.zeros((0, 2), int), (0, 2), 3),
        lambda: check_labels(None, 3, 0),
        lambda: check_labels(np.array([1, 0]), 2, 2),
    ],
)
def test_accepts_valid_arguments(call: Callable[[], Any]) -> None:
    assert call() is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: require(False, "x", "this", "that"), "x: expected this, got that$"),
        (lambda: at_least(1, layers=1, width=0), "width: expected at least 1, got 0"),
        (lambda: at_least(0, n=2.5), r"n: expected an integer, got 2\.5"),  # type: ignore[arg-type]
        (lambda: at_least(0, n="2"), "n: expected an integer, got '2'"),  # type: ignore[arg-type]
        *[
            (partial(check_nonnegative, first=1.0, second=value), f"second: expected a finite number .*, got {got}")
            for value, got in ((-0.1, "-0.1"), (math.inf, "inf"), (math.nan, "nan"))
        ],
        (lambda: check_nonnegative(x="1"), "x: expected a finite number .*, got '1'"),  # type: ignore[arg-type]
        (lambda: check_odd(3, first_size=5, size=4), "size: expected an odd integer of at least 3, got 4"),
        (lambda: check_odd(3, size=1), "size: expected an odd integer of at least 3, got 1"),
        (lambda: check_odd(3, size=3.5), "size: expected an odd integer of at least 3, got 3.5"),  # type: ignore[arg-type]
        (lambda: check_odd(3, size="3"), "size: expected an odd integer of at least 3, got 3"),  # type: ignore[arg-type]
        (lambda: check_rate("dropout", 1.0), "dropout: expected at least 0 and below 1, got 1.0"),
        (lambda: check_rate("dropout", -0.1), "dropout: "),
        (lambda: check_rate("dropout", np.nan), "dropout: "),
        (lambda: check_counts("shape", ()), r"shape: expected one or more integers of at least 1, got \(\)"),
        (lambda: check_counts("shape", (3, 0)), r"shape: .* got \(3, 0\)"),
        (lambda: check_counts("shape", (3.0, 4)), r"shape: .* got \(3.0, 4\)"),  # type: ignore[arg-type]
        (lambda: check_counts("shape", 784), "shape: .* got 784"),  # type: ignore[arg-type]
        (lambda: check_array("x", [0, 1]), "x: expected a NumPy array, got list"),
        (lambda: check_event("z", np.zeros((2, 3)), (2,)), r"z: expected shape \(N, 2\), got \(2, 3\)"),
        (lambda: check_event("z", np.zeros(()), ()), r"z: expected shape \(N,\), got \(\)"),
        (lambda: as_finite("x", [[0.0]], (1,), np.float32), "x: expected a NumPy array, got list"),
        (lambda: as_finite("x", np.array([[None]]), (1,), np.float32), "x: expected real numbers, got object"),
        (lambda: as_finite("x", np.array([[1e39]]), (1,), np.float32), "x: expected finite numbers, got 1 that are"),
        (lambda: as_finite("x", np.array([[70_000]]), (1,), np.float16), "x: expected finite numbers, got 1 that are"),
        (
            lambda: as_finite("x", np.array([[65_535]], np.uint16), (1,), np.float16),
            "x: expected finite numbers, got 1",
        ),
        (lambda: as_reals("x", ["0.5"]), "x: expected real numbers, got <U3$"),
        (lambda: as_reals("x", [0.5 + 0j]), "x: expected real numbers, got complex128$"),
        (lambda: as_returned_number("f", 1j), "f: expected a function that returns a number, got one that returned 1j"),
        (lambda: as_finite("x", np.zeros(3), (1,), np.float32), r"x: expected shape \(N, 1\), got \(3,\)"),
        (lambda: check_context(None, 3, 2), r"context: expected shape \(3, 2\), got none"),
        (lambda: check_context(np.zeros((3, 2)), 3, 0), r"context: expected none, got \(3, 2\)"),
        (lambda: check_context(np.zeros((4, 2)), 3, 2), r"context: expected shape \(3, 2\), got \(4, 2\)"),
        (
            lambda: check_context(np.zeros(3, int), 3, 5),
            r"context: expected shape \(3, 5\), .* np.eye\(5\)\[labels\], got \(3,\)",
        ),
        (lambda: check_context(np.zeros((4, 2)), 3), r"context: expected shape \(3, C\), got \(4, 2\)"),
        (lambda: check_integers("k", [0, 1], (2,), 3), "k: expected a NumPy array, got list"),  # type: ignore[arg-type]
        (lambda: check_integers("k", np.array([0, 3]), (2,), 3), "k: expected integers 0…2 .* values 0…3"),
        (lambda: check_integers("k", np.zeros(2), (2,), 3), "k: .* got float64"),
        (lambda: check_integers("k", np.array(["a"]), (1,), 3), "k: .* got <U1"),
        (lambda: check_integers("k", np.zeros(2, bool), (2,), 3), "k: .* got bool"),
        (lambda: check_integers("k", np.zeros(2, int), (3,), 3), r"k: .* of shape \(3,\)"),
        (lambda: as_levels([[0, 1]], (2,), 3), "x: expected a NumPy array, got list"),  # type: ignore[arg-type]
        (lambda: as_levels(np.zeros((1, 2)), (2,), 3), r"x: expected integers 0…2 of shape \(1, 2\), got float64"),
        (lambda: as_levels(np.zeros((1, 3), int), (2,), 3), r"x: .* of shape \(1, 2\), got int64 of shape \(1, 3\)"),
        (lambda: as_levels(np.full((1, 2), 3), (2,), 3), "x: .* got values 3…3"),
        (lambda: as_levels(np.full((1, 2), -1), (2,), 3), "x: .* got values -1…-1"),
        (lambda: check_labels([1, 0], 2, 2), "labels: expected a NumPy array, got list"),  # type: ignore[arg-type]
        (lambda: check_labels(None, 2, 2), "labels: expected integers 0…1, got none"),
        (lambda: check_labels(np.zeros(2, int), 2, 0), "labels: expected none for a model without classes, got some"),
        (lambda: check_labels(np.zeros(2), 2, 2), "labels: .* got float64"),
        (lambda: check_labels(np.zeros(3, int), 2, 2), r"labels: .* of shape \(3,\)"),
        (lambda: check_labels(np.array([0, 2]), 2, 2), "labels: .* got values 0…2"),
        (lambda: check_rng(0), r"rng: expected a np.random.Generator, such as np.random.default_rng\(seed\), got 0"),  # type: ignore[arg-type]
    ],
)
def test_error_names_the_invalid_argument(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


@pytest.mark.parametrize("dtype", [bool, np.uint8])
def test_as_levels_returns_int64(dtype: type) -> None:
    x = as_levels(np.array([[0, 1]], dtype), (2,), 2)
    assert x.dtype == np.int64
    assert x.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("shape", "onto"), [((), (2,)), ((3,), (2, 3)), ((1, 3), (2, 3)), ((2, 1), (2, 1)), ((3,), (2, 1))]
)
def test_broadcasts_agrees_with_numpy(shape: tuple[int, ...], onto: tuple[int, ...]) -> None:
    assert broadcasts(shape, onto) == (np.broadcast_shapes(shape, onto) == onto)
