"""The chain rule around a network, and what all models that stand on it keep: what they are, return and refuse."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from helpers.contract import randomised

from tinygen.autograd import Array, Tensor
from tinygen.distributions import Categorical
from tinygen.models import MADE, GatedPixelCNN, PixelCNN, PixelRNN, WaveNet
from tinygen.models.autoregressive.base import Autoregressive
from tinygen.testing import check_autoregressive, check_normalised, check_sampler, enumerate_support


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


def test_the_network_is_the_subclass_s_own() -> None:
    bare = Autoregressive((3,), Categorical(2))
    for call in (lambda: bare(np.zeros((1, 3), int)), lambda: bare.sample(1, np.random.default_rng(0))):
        with pytest.raises(NotImplementedError):
            call()


@pytest.mark.parametrize(
    ("shape", "classes", "message"),
    [((), 0, "shape: "), ((3, 0), 0, "shape: "), ((3,), -1, "classes: expected at least 0")],
)
def test_settings_that_make_no_model(shape: tuple[int, ...], classes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Autoregressive(shape, Categorical(2), classes)


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


SHAPE = (3, 4, 1)
MODELS: dict[str, Callable[..., Autoregressive]] = {
    "MADE": partial(MADE, hidden=(9, 9)),
    "MADE of two orders": partial(MADE, hidden=(9, 9), orders=2),
    "PixelRNN": partial(PixelRNN, hidden=5, layers=2),
    "PixelCNN": partial(PixelCNN, channels=6, blocks=2),
    "GatedPixelCNN": partial(GatedPixelCNN, channels=4, layers=3),
    "WaveNet": partial(WaveNet, channels=4, dilations=(1, 2, 4)),
}
each_model = pytest.mark.parametrize("kind", MODELS)


def small(kind: str, levels: int = 3, shape: tuple[int, ...] = SHAPE, **settings: Any) -> Autoregressive:
    rng = np.random.default_rng(0)
    return randomised(MODELS[kind](shape, levels, rng, **settings), rng)


@each_model
def test_given_a_label_its_probabilities_sum_to_one(kind: str) -> None:
    model, support = small(kind, 3, (2, 2, 1), classes=2), enumerate_support(3, (2, 2, 1))
    of_label = [lambda x, k=k: model.log_prob(x, np.full(len(x), k)).value for k in range(2)]
    for log_prob in of_label:
        check_normalised(log_prob, support)
    assert np.abs(of_label[0](support) - of_label[1](support)).max() > 0.1


@each_model
def test_given_a_label_it_sees_what_is_earlier_and_draws_by_its_probabilities(
    kind: str, rng: np.random.Generator
) -> None:
    settings = {"hidden": (40, 40)} if "MADE" in kind else {}
    model = small(kind, 3, (2, 2, 1), classes=2, **settings)
    order = model.net.order(0) if isinstance(model, MADE) else None
    labels = np.array([0, 1, 1, 0])
    check_autoregressive(lambda x: model(x, labels), rng.integers(0, 3, (4, 2, 2, 1)), axes=3, order=order, rng=rng)
    check_sampler(
        lambda n, rng: model.sample(n, rng, np.ones(n, int)),
        lambda x: model.log_prob(x, np.ones(len(x), int)),
        enumerate_support(3, (2, 2, 1)),
        20_000,
        rng=rng,
    )


@each_model
def test_of_no_examples_there_are_no_log_probs(kind: str) -> None:
    assert small(kind).log_prob(np.zeros((0, *SHAPE), int)).shape == (0,)


@each_model
def test_boolean_examples_are_examples_of_two_levels(kind: str, rng: np.random.Generator) -> None:
    model, x = small(kind, 2), rng.integers(0, 2, (3, *SHAPE))
    np.testing.assert_array_equal(model.log_prob(x.astype(bool)).value, model.log_prob(x.astype(np.uint8)).value)


@each_model
def test_loss_is_minus_the_mean_log_prob(kind: str, rng: np.random.Generator) -> None:
    model, x = small(kind), rng.integers(0, 3, (5, *SHAPE))
    assert model.loss(x).item() == pytest.approx(-model.log_prob(x).value.mean(), rel=1e-12)


@pytest.mark.parametrize("kind", ["PixelCNN", "GatedPixelCNN"])
def test_dropout_is_in_the_loss_alone_and_needs_a_generator(kind: str, rng: np.random.Generator) -> None:
    model, x = small(kind, dropout=0.5), rng.integers(0, 3, (5, *SHAPE))
    assert model.loss(x).item() == pytest.approx(-model.log_prob(x).value.mean(), rel=1e-12)
    assert abs(model.loss(x, rng=rng).item() - model.loss(x).item()) > 1e-3


@each_model
def test_same_seed_same_bits_and_float32_throughout(kind: str) -> None:
    model, labels = MODELS[kind](SHAPE, 4, np.random.default_rng(0), classes=3), np.array([0, 1, 2])
    a, b = (model.sample(3, np.random.default_rng(1), labels) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert model(a, labels).dtype == model.log_prob(a, labels).dtype == np.float32
    assert next(model.draw(a, np.random.default_rng(1), labels)).dtype == np.float32
    assert model.sample(0, np.random.default_rng(1), labels[:0]).shape == (0, *SHAPE)


@each_model
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, *SHAPE)), "x: expected integers"),
        (np.zeros((2, 4, 3, 1), int), r"x: .*shape \(2, 4, 3, 1\)"),
        (np.zeros((2, 3, 4), int), r"x: .*shape \(2, 3, 4\)"),
        (np.zeros((2, 3, 4, 3), int), r"x: .*shape \(2, 3, 4, 3\)"),
        (np.full((2, *SHAPE), 3), "x: .*values 3…3"),
        (np.full((2, *SHAPE), -1), "x: .*values -1…-1"),
        (np.zeros((2, *SHAPE), int).tolist(), "x: expected a NumPy array, got list"),
    ],
)
def test_examples_that_are_none(kind: str, x: Any, message: str) -> None:
    model = small(kind)
    for call in (model, model.log_prob, model.loss):
        with pytest.raises(ValueError, match=f"^{message}"):
            call(x)


@each_model
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "some"),
        ([0, 1], "a NumPy array, got list"),
        (np.array([0.0, 1]), ".*float64"),
        (np.array([0]), ".*shape"),
        (np.array([0, 2]), ".*values 0…2"),
        (np.array([-1, 0]), ".*values -1…0"),
    ],
)
def test_labels_that_are_none(kind: str, labels: Any, message: str, rng: np.random.Generator) -> None:
    model, x = small(kind, classes=2), np.zeros((2, *SHAPE), int)
    for call in (
        lambda: model(x, labels),
        lambda: model.log_prob(x, labels),
        lambda: model.sample(2, rng, labels),
        lambda: next(model.draw(x, rng, labels)),
    ):
        with pytest.raises(ValueError, match=f"^labels: expected {message}"):
            call()


@each_model
def test_labels_where_there_are_no_classes(kind: str, rng: np.random.Generator) -> None:
    for call in (
        lambda: small(kind).log_prob(np.zeros((1, *SHAPE), int), np.array([0])),
        lambda: small(kind).sample(1, rng, np.array([0])),
    ):
        with pytest.raises(ValueError, match=r"^labels: expected none"):
            call()


@each_model
@pytest.mark.parametrize("canvas", [np.zeros((1, 3, 5, 1), int), np.zeros((1, *SHAPE)), np.zeros((1, *SHAPE), np.int8)])
def test_canvases_that_cannot_be_drawn_on(kind: str, canvas: Array, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=r"^x: expected integers that hold 300 levels"):
        next(small(kind, 300).draw(canvas, rng))
    with pytest.raises(ValueError, match=r"^x: expected a NumPy array, got list"):
        next(small(kind, 300).draw(canvas.tolist(), rng))


@each_model
def test_fewer_than_no_samples(kind: str, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=r"^n: expected at least 0, got -1"):
        small(kind).sample(-1, rng)
