"""Chain and Inverse: order of composition, round trips and log-determinants."""

import numpy as np
import pytest

from tinygen.bijections import Affine, Bijection, Chain, Inverse, Logit, Permute


def chain() -> Chain:
    return Chain(Affine(np.array([2.0, 0.5]), 0.1), Permute(np.array([1, 0])), Affine(3.0))


def test_chain_applies_first_bijection_first(rng: np.random.Generator) -> None:
    x = rng.normal(size=(4, 2))
    z, log_det = chain().forward(x)
    np.testing.assert_allclose(z.value, 3 * (x * [2, 0.5] + 0.1)[:, ::-1], rtol=1e-14)
    np.testing.assert_allclose(log_det.value, np.full(4, np.log(2 * 0.5 * 3 * 3)), rtol=1e-14)


def test_round_trip_recovers_x_and_negates_log_det(rng: np.random.Generator) -> None:
    for bijection in (chain(), Inverse(chain()), Chain(Inverse(Logit()), Logit())):
        x = rng.normal(size=(4, 2))
        z, log_det = bijection.forward(x)
        x_again, inverse_log_det = bijection.inverse(z)
        np.testing.assert_allclose(x_again.value, x, atol=1e-12)
        np.testing.assert_allclose(inverse_log_det.value, -log_det.value, atol=1e-12)
        assert log_det.shape == inverse_log_det.shape == (4,)


def test_inverse_exchanges_forward_and_inverse(rng: np.random.Generator) -> None:
    x = rng.normal(size=(4, 2))
    for a, b in ((Inverse(chain()).forward(x), chain().inverse(x)), (Inverse(chain()).inverse(x), chain().forward(x))):
        np.testing.assert_array_equal(a[0].value, b[0].value)
        np.testing.assert_array_equal(a[1].value, b[1].value)


def test_rejects_empty_chain() -> None:
    with pytest.raises(ValueError, match="bijections: expected at least one"):
        Chain()


def test_base_class_is_abstract() -> None:
    for method in ("forward", "inverse"):
        with pytest.raises(NotImplementedError):
            getattr(Bijection(), method)(np.zeros((1, 2)))
