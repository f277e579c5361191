"""A call that fails is explained by the argument whose type does not match its annotation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import ArrayLike, DTypeLike, NDArray

from tinygen.arguments import Explained, checked, explained
from tinygen.autograd import Tensor, TensorLike


@checked
def everything(
    n: int = 1, x: float = 0.5, flag: bool = False, name: str = "", array: NDArray[Any] | None = None,
    tensor: TensorLike = 0.0, like: ArrayLike = 0.0, dtype: DTypeLike = float, sizes: Sequence[int] = (),
    pair: tuple[float, float] = (0.0, 1.0), shape: tuple[int, ...] = (), f: Callable[..., Any] = len,
    choice: Literal["a", "b"] = "a", rng: np.random.Generator | None = None, unknown: Missing = 0,  # type: ignore[name-defined]  # noqa: F821
) -> None:  # fmt: skip
    """Do nothing."""


@pytest.mark.parametrize(
    ("argument", "good", "bad", "expected"),
    [
        ("n", np.int64(3), 2.0, "an integer"),
        ("n", -1, True, "an integer"),
        ("n", 2**40, 2**70, "an integer below 2⁶³"),
        ("x", 1, "1", "a number"),
        ("x", np.float32(1), np.ones(2), "a number"),
        ("flag", np.bool_(True), 1, "a bool"),
        ("name", "a", 1, "a string"),
        ("array", np.ones(2), [1.0], "an array of numbers or None"),
        ("array", None, np.array(["a"]), "an array of numbers or None"),
        ("tensor", Tensor([1.0]), "1", "numbers"),
        ("tensor", [[1, 2], [3, 4]], [[1], [2, 3]], "numbers"),
        ("tensor", np.float32(1), None, "numbers"),
        ("like", (1, 2), {}, "numbers, not a Tensor"),
        ("like", np.ones(2), Tensor([1.0]), "numbers, not a Tensor"),
        ("dtype", "f4", 0.5, "a dtype"),
        ("sizes", [1, 2], 3, "a sequence, not int"),
        ("sizes", (), "12", "a sequence, not str"),
        ("sizes", np.array([1]), [1.5], "a sequence in which every item is an integer"),
        ("pair", [0, 1], (0.0,), "a tuple of 2"),
        ("shape", (1, 2), ("a",), "a sequence in which every item is an integer"),
        ("f", abs, 1, "a function"),
        ("choice", "b", "c", "one of 'a', 'b'"),
        ("rng", np.random.default_rng(0), 0, "a np.random.Generator, such as .* or None"),
    ],
)
def test_types_are_compared_with_annotations(argument: str, good: Any, bad: Any, expected: str) -> None:
    everything(**{argument: good})
    with pytest.raises(TypeError, match=f"^{argument}: expected {expected}, got "):
        everything(**{argument: bad})


def test_an_annotation_for_type_checkers_only_accepts_anything() -> None:
    everything(unknown=object())


@explained
def inverse(x: float, scale: float = 1.0) -> float:
    if scale < 0:
        raise ValueError(f"scale: expected at least 0, got {scale}")
    return scale / x


def test_a_call_that_succeeds_is_not_checked() -> None:
    assert inverse(np.array(2.0)) == 0.5  # type: ignore[arg-type]


def test_an_error_of_another_type_is_replaced_and_kept_as_cause() -> None:
    with pytest.raises(TypeError, match=r"^x: expected a number, got 'half'$") as info:
        inverse("half")  # type: ignore[arg-type]
    assert isinstance(info.value.__cause__, TypeError)


def test_errors_about_values_are_unchanged() -> None:
    with pytest.raises(ZeroDivisionError):
        inverse(0)
    with pytest.raises(ValueError, match="scale: expected at least 0"):
        inverse("half", -1)  # type: ignore[arg-type]  # names an argument already


def test_constructors_and_public_methods_of_explained_classes_name_arguments() -> None:
    class Layer(Explained):
        def __init__(self, n: int) -> None:
            self.n = n

        def power(self, x: float) -> float:
            return float(x) ** self.n

    with pytest.raises(TypeError, match=r"n: expected an integer, got 1\.5"):
        Layer(1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="x: expected a number, got None"):
        Layer(2).power(None)  # type: ignore[arg-type]
