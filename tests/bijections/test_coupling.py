"""Couplings: one half as it was, the other changed by it, and undone; each mask cuts what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Array, Parameter, Tensor, TensorLike, exp, matmul, tanh
from tinygen.bijections import AdditiveCoupling, AffineCoupling, Bijection, Chain, Mask
from tinygen.bijections.coupling import board_of, fields_of
from tinygen.nn import Module
from tinygen.testing import check_grads, check_invertible, check_log_det, check_parameter_grads

SHAPES = {
    "half": [(2,), (5,), (4, 2, 1), (3, 2, 2)],
    "channel": [(3,), (2, 3, 2), (1, 2, 3)],
    "checkerboard": [(2,), (6,), (2, 4, 1), (4, 2, 2)],
}
MASKS = [(name, shape) for name, shapes in SHAPES.items() for shape in shapes]


class Everything(Module):
    """A network in which every number of the half, and of the context, moves every output."""

    def __init__(self, n_in: tuple[int, ...], n_out: tuple[int, ...], rng: np.random.Generator, context: int = 0):
        a, b = int(np.prod(n_in)), int(np.prod(n_out))
        self.w = Parameter(rng.normal(size=(a, b)) * 0.7, np.float64)
        self.context_layer = Parameter(rng.normal(size=(context, b)), np.float64) if context else None
        self.shape = n_out

    def __call__(self, a: Tensor, context: TensorLike | None = None) -> Tensor:
        h = matmul(a.reshape(len(a), -1), self.w)
        h = h if self.context_layer is None or context is None else h + matmul(context, self.context_layer)
        return 2 * tanh(h).reshape(len(a), *self.shape)


def coupling(
    kind: Any, name: str, shape: tuple[int, ...], rng: np.random.Generator, flipped: bool = False, context: int = 0
) -> Any:
    mask = Mask(name, shape, flipped)
    *place, channels = mask.shapes[1]
    out = (*place, channels * (2 if issubclass(kind, AffineCoupling) else 1))
    made = kind(mask, Everything(mask.shapes[0], out, rng, context)).astype(np.float64)
    if isinstance(made, AffineCoupling):
        made.w.assign(rng.normal(size=made.w.shape) * 0.7)
    return made


@given(
    where=st.sampled_from(MASKS),
    kind=st.sampled_from([AdditiveCoupling, AffineCoupling]),
    context=st.sampled_from([0, 2]),
    seed=st.integers(0, 2**32),
)
def test_invertible_with_the_log_det_of_its_jacobian(
    where: tuple[str, tuple[int, ...]], kind: Any, context: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    both = Chain(*(coupling(kind, *where, rng, flipped, context) for flipped in (False, True)))
    x, contexts = rng.normal(size=(3, *where[1])), rng.normal(size=(3, context)) if context else None
    check_invertible(both, x, context=contexts, rng=rng)
    check_log_det(both, x, context=contexts, rng=rng)


@pytest.mark.parametrize(("name", "shape"), MASKS)
@pytest.mark.parametrize("flipped", [False, True])
def test_one_half_is_passed_on_and_the_other_changed_by_it(
    name: str, shape: tuple[int, ...], flipped: bool, rng: np.random.Generator
) -> None:
    changed = np.broadcast_to(changed_places(name, shape), shape) != flipped
    affine = coupling(AffineCoupling, name, shape, rng, flipped)
    x = rng.normal(size=(2, *shape))
    z = affine.forward(x)[0].value
    np.testing.assert_array_equal(z != x, np.broadcast_to(changed, x.shape))
    moved = x + np.where(changed, 0, rng.normal(size=x.shape))  # every changed number hears of what is passed on
    assert np.all((affine.forward(moved)[0].value != z)[:, changed])
    for i in np.argwhere(changed):  # and of no other changed one
        moved = x.copy()
        moved[0][tuple(i)] += 1
        assert np.count_nonzero(affine.forward(moved)[0].value != z) == 1


def changed_places(name: str, shape: tuple[int, ...]) -> Array:
    """Say from the definition of the mask which places are changed; broadcasts to the shape."""
    places = np.indices(shape)
    if name == "checkerboard":
        return places[: 1 if len(shape) == 1 else 2].sum(0) % 2 == 1  # type: ignore[no-any-return]
    axis = 0 if name == "half" else len(shape) - 1
    return places[axis] >= shape[axis] // 2  # type: ignore[no-any-return]


@given(where=st.sampled_from(MASKS), flipped=st.booleans(), seed=st.integers(0, 2**32))
def test_join_puts_together_what_cut_took_apart(where: tuple[str, tuple[int, ...]], flipped: bool, seed: int) -> None:
    mask, x = Mask(*where, flipped), np.random.default_rng(seed).normal(size=(3, *where[1]))
    a, b = mask.split(x)
    assert (a.shape[1:], b.shape[1:]) == mask.shapes
    np.testing.assert_array_equal(mask.merge(a, b).value, x)


def test_gradients(rng: np.random.Generator) -> None:
    for name, shape in (("half", (3,)), ("checkerboard", (2, 2, 1))):
        affine = coupling(AffineCoupling, name, shape, rng, context=2)
        x, contexts = rng.normal(size=(3, *shape)), rng.normal(size=(3, 2))
        check_parameter_grads(
            lambda a=affine, x=x, c=contexts: a.forward(x, c)[1] + a.forward(x, c)[0].reshape(3, -1).sum(1),  # type: ignore[misc]
            affine.parameters(),
            rng=rng,
        )


def test_the_scale_is_bounded_whatever_the_network_says(rng: np.random.Generator) -> None:
    affine = AffineCoupling(Mask("half", (2,)), lambda a, context: Tensor(np.full((len(a), 2), 1e30, np.float32)))
    z, log_det = affine.forward(np.ones((3, 2), np.float32))
    np.testing.assert_allclose(log_det.value, 1.0, rtol=1e-6)
    assert np.all(np.isfinite(z.value))


class SeesBothHalves(AffineCoupling):
    """Its network is given the half that it changes."""

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        a, b = self.mask.split(x)
        s, t = self._scale_and_shift(a + 0.1 * b, context)
        return self.mask.merge(a, b * exp(s) + t), s.sum(1)

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        a, b = self.mask.split(z)
        s, t = self._scale_and_shift(a + 0.1 * b, context)
        return self.mask.merge(a, (b - t) * exp(-s)), -s.sum(1)


class SignFlipped(AffineCoupling):
    """Its log_det has the wrong sign in both directions, so that they still add up to 0."""

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        z, log_det = super().forward(x, context)
        return z, -log_det

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        x, log_det = super().inverse(z, context)
        return x, -log_det


def test_a_network_that_sees_both_halves_is_rejected(rng: np.random.Generator) -> None:
    wrong, x = coupling(SeesBothHalves, "half", (4,), rng), rng.normal(size=(3, 4))
    for check in (check_invertible, check_log_det):
        with pytest.raises(AssertionError):
            check(wrong, x, rng=rng)


def test_a_flipped_sign_is_rejected(rng: np.random.Generator) -> None:
    wrong, x = coupling(SignFlipped, "half", (4,), rng), rng.normal(size=(3, 4))
    check_invertible(wrong, x, rng=rng)  # which cannot see it
    with pytest.raises(AssertionError, match="sign is flipped"):
        check_log_det(wrong, x, rng=rng)


@pytest.mark.parametrize("kind", [AdditiveCoupling, AffineCoupling])
def test_a_coupling_that_starts_at_zero_is_refused(kind: Any, rng: np.random.Generator) -> None:
    idle = coupling(kind, "half", (4,), rng)
    idle.network.w.assign(np.zeros(idle.network.w.shape))
    for check in (check_invertible, check_log_det):
        with pytest.raises(AssertionError, match="identity"):
            check(idle, rng.normal(size=(3, 4)), rng=rng)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("chequers", (2,), "mask: expected 'half', 'channel' or 'checkerboard', got 'chequers'"),
        ("half", (2, 2), "shape: expected"),
        ("half", (1,), "at least two"),
        ("half", (1, 4, 4), "at least two"),
        ("channel", (4, 4, 1), "at least two"),
        ("checkerboard", (3,), "even lengths"),
        ("checkerboard", (4, 3, 2), "even lengths"),
        ("checkerboard", (0,), "at least two"),
    ],
)
def test_events_that_cannot_be_cut(name: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mask(name, shape)


@pytest.mark.parametrize("kind", [AdditiveCoupling, AffineCoupling])
def test_inputs_and_networks_of_another_shape(kind: Any, rng: np.random.Generator) -> None:
    right: Bijection = coupling(kind, "half", (4,), rng)
    for x in (np.zeros((2, 5)), np.zeros((2, 4, 1)), np.zeros(4)):
        for direction in (right.forward, right.inverse):
            with pytest.raises(ValueError, match=r"x: expected \(N, 4\)"):
                direction(x)
    wrong = kind(Mask("half", (4,)), lambda a, context: Tensor(np.zeros((len(a), 1))))
    with pytest.raises(ValueError, match="network: expected to return"):
        wrong.forward(np.zeros((2, 4)))


@given(
    shape=st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2)),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_fields_of_a_chessboard(shape: tuple[int, int, int, int], seed: int) -> None:
    n, height, width, channels = shape
    rng = np.random.default_rng(seed)
    board, c = rng.normal(size=(n, 2 * height, 2 * width, channels)), channels
    fields = [fields_of(board, colour).value for colour in (0, 1)]
    assert [image.shape for image in fields] == [(n, height, width, 2 * c)] * 2
    for i, j in np.ndindex(height, width):
        block = board[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        diagonals = [(block[:, 0, 0], block[:, 1, 1]), (block[:, 0, 1], block[:, 1, 0])]
        for image, diagonal in zip(fields, diagonals, strict=True):
            np.testing.assert_array_equal(image[:, i, j], np.concatenate(diagonal, -1))
    np.testing.assert_array_equal(board_of(*fields).value, board)
    if n:
        for colour in (0, 1):
            check_grads(lambda x, colour=colour: fields_of(x * x, colour), board, order=2, rng=rng, draws=1)
        check_grads(lambda a, b: board_of(a * b, b * b), *fields, order=2, rng=rng, draws=1)
