"""Coupling layers: inverse, log-determinant, and which elements depend on which."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from helpers.flows import check_bijection, random_context
from helpers.masks import MASKS, in_second_part
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Parameter, Tensor, TensorLike, matmul, tanh
from tinygen.bijections import (
    AdditiveCoupling,
    AffineCoupling,
    AffineTransformer,
    Bijection,
    Chain,
    Coupling,
    Mask,
    MixtureCDF,
    RationalQuadraticSpline,
)
from tinygen.nn import Module
from tinygen.testing import check_invertible, check_log_det, check_parameter_grads


class DenseNetwork(Module):
    """A network in which every output depends on every input and every element of the context."""

    def __init__(self, n_in: tuple[int, ...], n_out: tuple[int, ...], rng: np.random.Generator, context: int = 0):
        a, b = int(np.prod(n_in)), int(np.prod(n_out))
        self.w = Parameter(rng.normal(size=(a, b)) * 0.7, np.float64)
        self.context_layer = Parameter(rng.normal(size=(context, b)), np.float64) if context else None
        self.shape, self.scale = n_out, 2.0

    def __call__(self, a: Tensor, context: TensorLike | None = None) -> Tensor:
        h = matmul(a.reshape(len(a), -1), self.w)
        h = h if self.context_layer is None or context is None else h + matmul(context, self.context_layer)
        return self.scale * tanh(h).reshape(len(a), *self.shape)


MIXTURE = partial(Coupling, transformer=MixtureCDF(2, bound=1.0))
SPLINE = partial(Coupling, transformer=RationalQuadraticSpline(3))
SMOOTH = [AdditiveCoupling, AffineCoupling, MIXTURE]  # finite differences fail near a knot of a spline


def random_coupling(
    kind: Any, name: str, shape: tuple[int, ...], rng: np.random.Generator, flipped: bool = False, context: int = 0
) -> Any:
    mask = Mask(name, shape, flipped)
    *position, channels = mask.shapes[1]
    width = kind.keywords["transformer"].width if isinstance(kind, partial) else kind.width
    n_out = (*position, channels * width)
    coupling = kind(mask, DenseNetwork(mask.shapes[0], n_out, rng, context)).astype(np.float64)
    if kind is SPLINE:
        coupling.network.scale = 0.5  # so that finite differences, with their steps, stay within bins
    if isinstance(coupling, AffineCoupling):
        coupling.w.assign(rng.normal(size=coupling.w.shape) * 0.7)
    return coupling


@given(
    case=st.sampled_from(MASKS), kind=st.sampled_from(SMOOTH), size=st.sampled_from([0, 2]), seed=st.integers(0, 2**32)
)
def test_inverse_and_log_det(case: tuple[str, tuple[int, ...]], kind: Any, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    both = Chain(*(random_coupling(kind, *case, rng, flipped, size) for flipped in (False, True)))
    check_bijection(both, rng.normal(size=(3, *case[1])), context=random_context(rng, 3, size), rng=rng)


@pytest.mark.parametrize(("name", "shape"), MASKS)
def test_inverse_and_log_det_of_splines(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    both = Chain(*(random_coupling(SPLINE, name, shape, rng, flipped) for flipped in (False, True)))
    check_bijection(both, rng.normal(size=(3, *shape)), rng=rng)


@pytest.mark.parametrize("kind", [AffineCoupling, SPLINE])
@pytest.mark.parametrize(("name", "shape"), MASKS)
@pytest.mark.parametrize("flipped", [False, True])
def test_transforms_second_part_given_first_part(
    kind: Any, name: str, shape: tuple[int, ...], flipped: bool, rng: np.random.Generator
) -> None:
    transformed = in_second_part(name, shape) != flipped
    coupling = random_coupling(kind, name, shape, rng, flipped)
    x = rng.normal(size=(2, *shape))
    z = coupling.forward(x)[0].value
    np.testing.assert_array_equal(z != x, np.broadcast_to(transformed, x.shape))
    # Every transformed element depends on the part that is passed through …
    moved = x + np.where(transformed, 0, rng.normal(size=x.shape))
    assert np.all((coupling.forward(moved)[0].value != z)[:, transformed])
    # … and on no other transformed element.
    for i in np.argwhere(transformed):
        moved = x.copy()
        moved[0][tuple(i)] += 1
        assert np.count_nonzero(coupling.forward(moved)[0].value != z) == 1


def test_gradients(rng: np.random.Generator) -> None:
    for kind, name, shape in (
        (AffineCoupling, "half", (3,)), (AffineCoupling, "checkerboard", (2, 2, 1)), (SPLINE, "half", (3,))
    ):  # fmt: skip
        affine = random_coupling(kind, name, shape, rng, context=2)
        x, c = rng.normal(size=(3, *shape)), rng.normal(size=(3, 2))
        check_parameter_grads(
            lambda a=affine, x=x, c=c: a.forward(x, c)[1] + a.forward(x, c)[0].reshape(3, -1).sum(1),  # type: ignore[misc]
            affine.parameters(),
            rng=rng,
        )


@pytest.mark.parametrize("name", ["half", "checkerboard"])
def test_affine_coupling_is_a_coupling_with_an_affine_transformer(name: str, rng: np.random.Generator) -> None:
    """With w = 1 and the bound 1. The order of the network's outputs differs: all ŝ then all t, or pairs of them."""
    shape = (4, 2, 3) if name == "half" else (6,)
    affine = random_coupling(AffineCoupling, name, shape, rng)
    affine.w.assign(np.ones(affine.w.shape))

    def pairs(a: Tensor, context: TensorLike | None) -> Tensor:
        y = affine.network(a, context).value
        return Tensor(np.stack(np.split(y, 2, -1), -1).reshape(y.shape))

    coupling, x = Coupling(affine.mask, pairs, AffineTransformer(1.0)), rng.normal(size=(2, *shape))
    for direction in ("forward", "inverse"):
        for ours, theirs in zip(getattr(coupling, direction)(x), getattr(affine, direction)(x), strict=True):
            np.testing.assert_allclose(ours.value, theirs.value, rtol=1e-14, atol=1e-14)


def test_scale_is_bounded_for_any_network_output() -> None:
    affine = AffineCoupling(Mask("half", (2,)), lambda a, context: Tensor(np.full((len(a), 2), 1e30, np.float32)))
    z, log_det = affine.forward(np.ones((3, 2), np.float32))
    np.testing.assert_allclose(log_det.value, 1.0, rtol=1e-6)
    assert np.all(np.isfinite(z.value))


class SeesBothParts(AffineCoupling):
    """Wrong: the network's input includes the part that is transformed."""

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        a, b = self.mask.split(x)
        b, s = self._forward(b, self._evaluate(a + 0.1 * b, context))
        return self.mask.merge(a, b), s.sum(1)

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        a, b = self.mask.split(z)
        b, s = self._inverse(b, self._evaluate(a + 0.1 * b, context))
        return self.mask.merge(a, b), s.sum(1)


class SignFlipped(AffineCoupling):
    """Wrong: the log_det has the wrong sign in both directions, so that a round trip still adds up to 0."""

    def forward(self, x: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        z, log_det = super().forward(x, context)
        return z, -log_det

    def inverse(self, z: TensorLike, context: TensorLike | None = None) -> tuple[Tensor, Tensor]:
        x, log_det = super().inverse(z, context)
        return x, -log_det


def test_network_that_sees_both_parts_is_rejected(rng: np.random.Generator) -> None:
    wrong, x = random_coupling(SeesBothParts, "half", (4,), rng), rng.normal(size=(3, 4))
    for check in (check_invertible, check_log_det):
        with pytest.raises(AssertionError):
            check(wrong, x, rng=rng)


def test_flipped_sign_is_rejected(rng: np.random.Generator) -> None:
    wrong, x = random_coupling(SignFlipped, "half", (4,), rng), rng.normal(size=(3, 4))
    check_invertible(wrong, x, rng=rng)  # a round trip cannot detect it
    with pytest.raises(AssertionError, match="sign is flipped"):
        check_log_det(wrong, x, rng=rng)


@pytest.mark.parametrize("kind", [AdditiveCoupling, AffineCoupling, SPLINE])
def test_coupling_initialised_to_identity_is_rejected(kind: Any, rng: np.random.Generator) -> None:
    identity = random_coupling(kind, "half", (4,), rng)
    identity.network.w.assign(np.zeros(identity.network.w.shape))
    for check in (check_invertible, check_log_det):
        with pytest.raises(AssertionError, match="identity"):
            check(identity, rng.normal(size=(3, 4)), rng=rng)


@pytest.mark.parametrize("kind", [AdditiveCoupling, AffineCoupling, SPLINE])
def test_rejects_wrong_shapes(kind: Any, rng: np.random.Generator) -> None:
    right: Bijection = random_coupling(kind, "half", (4,), rng)
    for x in (np.zeros((2, 5)), np.zeros((2, 4, 1)), np.zeros(4)):
        for direction in (right.forward, right.inverse):
            with pytest.raises(ValueError, match=r"[xz]: expected shape \(N, 4\)"):
                direction(x)
    wrong = kind(Mask("half", (4,)), lambda a, context: Tensor(np.zeros((len(a), 1))))
    with pytest.raises(ValueError, match="network: expected output of shape"):
        wrong.forward(np.zeros((2, 4)))
