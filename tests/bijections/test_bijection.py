"""Chains and inverses: composed in the right order, with log-determinants of the map just applied."""

import numpy as np
import pytest

from tinygen.bijections import Affine, Bijection, Chain, Inverse, Logit, Permute


def chain() -> Chain:
    return Chain(Affine(np.array([2.0, 0.5]), 0.1), Permute(np.array([1, 0])), Affine(3.0))


def test_data_passes_the_first_one_first(rng: np.random.Generator) -> None:
    x = rng.normal(size=(4, 2))
    z, log_det = chain().forward(x)
    np.testing.assert_allclose(z.value, 3 * (x * [2, 0.5] + 0.1)[:, ::-1], rtol=1e-14)
    np.testing.assert_allclose(log_det.value, np.full(4, np.log(2 * 0.5 * 3 * 3)), rtol=1e-14)


def test_there_and_back(rng: np.random.Generator) -> None:
    for bijection in (chain(), Inverse(chain()), Chain(Inverse(Logit()), Logit())):
        x = rng.normal(size=(4, 2))
        z, there = bijection.forward(x)
        back, here = bijection.inverse(z)
        np.testing.assert_allclose(back.value, x, atol=1e-12)
        np.testing.assert_allclose(here.value, -there.value, atol=1e-12)
        assert there.shape == here.shape == (4,)


def test_an_inverse_is_the_same_map_the_other_way(rng: np.random.Generator) -> None:
    x = rng.normal(size=(4, 2))
    for a, b in ((Inverse(chain()).forward(x), chain().inverse(x)), (Inverse(chain()).inverse(x), chain().forward(x))):
        np.testing.assert_array_equal(a[0].value, b[0].value)
        np.testing.assert_array_equal(a[1].value, b[1].value)


def test_a_chain_of_nothing_and_a_map_that_is_not_defined() -> None:
    with pytest.raises(ValueError, match="bijections: expected at least one"):
        Chain()
    for method in ("forward", "inverse"):
        with pytest.raises(NotImplementedError):
            getattr(Bijection(), method)(np.zeros((1, 2)))
