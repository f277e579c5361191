"""The chain rule around a network: what is checked at its boundary, and that a subclass has to define the network."""

import numpy as np
import pytest

from tinygen.autograd import Array, Tensor
from tinygen.distributions import Categorical, Distribution
from tinygen.models.autoregressive import Autoregressive
from tinygen.testing import check_normalised, enumerate_support


class Markov(Autoregressive):
    """A chain of three variables, each told of the one before: the smallest model there is."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__((3,), Categorical(2))
        self.table = rng.normal(size=(3, 2))  # the last row is for the first variable

    def evaluate(self, x: Array, labels: Array | None, rng: np.random.Generator | None) -> Tensor:
        before = np.concatenate([np.full((len(x), 1), 2), x[:, :-1]], 1)
        return Tensor(self.table[before])


def test_log_prob_is_the_sum_over_the_variables(rng: np.random.Generator) -> None:
    model = Markov(rng)
    p = np.exp(model.table) / np.exp(model.table).sum(-1, keepdims=True)
    assert np.exp(model.log_prob(np.array([[1, 0, 0]])).item()) == pytest.approx(p[2, 1] * p[1, 0] * p[0, 0], rel=1e-12)
    check_normalised(model.log_prob, enumerate_support(2, (3,)))
    assert isinstance(model, Distribution)


def test_the_network_is_the_subclass_s_own() -> None:
    bare = Autoregressive((3,), Categorical(2))
    for call in (lambda: bare(np.zeros((1, 3), int)), lambda: bare.sample(1, np.random.default_rng(0))):
        with pytest.raises(NotImplementedError):
            call()


@pytest.mark.parametrize(
    ("shape", "labels", "message"),
    [((), 0, "shape: "), ((3, 0), 0, "shape: "), ((3,), -1, "labels: expected at least 0")],
)
def test_settings_that_make_no_model(shape: tuple[int, ...], labels: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Autoregressive(shape, Categorical(2), labels)


@pytest.mark.parametrize(
    ("levels", "scale"),
    [(2, [-1, 1]), (3, [-1, -1 / 3, 1 / 3]), (4, [-1, -1 / 3, 1 / 3, 1]), (17, (2 * np.arange(17) - 17) / 17)],
)
def test_scaled_keeps_clear_of_zero_padding(levels: int, scale: list[float]) -> None:
    model = Autoregressive((levels,), Categorical(levels))
    x = model.scaled(np.arange(levels), np.float32)
    assert x.dtype == np.float32
    assert np.abs(x).min() > 1 / (levels + 1)
    np.testing.assert_allclose(x, scale, rtol=1e-6)
