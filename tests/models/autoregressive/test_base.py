"""The base class, and tests of all autoregressive models: normalisation, samples, dtypes and errors."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from helpers.models import small_gated_pixelcnn, small_made, small_pixel_rnn, small_pixelcnn, small_wavenet

from tinygen.autograd import Array, Tensor
from tinygen.distributions import Categorical
from tinygen.models import MADE
from tinygen.models.autoregressive.base import Autoregressive
from tinygen.testing import check_autoregressive, check_normalised, check_sampler, enumerate_support


class Markov(Autoregressive):
    """A Markov chain of three binary variables."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__((3,), Categorical(2))
        self.table = rng.normal(size=(3, 2))  # logits given the previous value; the last row is for the first variable

    def evaluate(self, x: Array, labels: Array | None, rng: np.random.Generator | None) -> Tensor:
        previous = np.concatenate([np.full((len(x), 1), 2), x[:, :-1]], 1)
        return Tensor(self.table[previous])


def test_log_prob_is_sum_over_variables(rng: np.random.Generator) -> None:
    model = Markov(rng)
    p = np.exp(model.table) / np.exp(model.table).sum(-1, keepdims=True)
    assert np.exp(model.log_prob(np.array([[1, 0, 0]])).item()) == pytest.approx(p[2, 1] * p[1, 0] * p[0, 0], rel=1e-12)
    check_normalised(model.log_prob, enumerate_support(2, (3,)))


def test_base_class_raises_not_implemented_error() -> None:
    model = Autoregressive((3,), Categorical(2))
    for call in (lambda: model(np.zeros((1, 3), int)), lambda: model.sample(1, np.random.default_rng(0))):
        with pytest.raises(NotImplementedError):
            call()


@pytest.mark.parametrize(
    ("shape", "classes", "message"),
    [((), 0, "shape: "), ((3, 0), 0, "shape: "), ((3,), -1, "classes: expected at least 0")],
)
def test_rejects_invalid_settings(shape: tuple[int, ...], classes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Autoregressive(shape, Categorical(2), classes)


@pytest.mark.parametrize(
    ("levels", "scale"),
    [(2, [-1, 1]), (3, [-1, -1 / 3, 1 / 3]), (4, [-1, -1 / 3, 1 / 3, 1]), (17, (2 * np.arange(17) - 17) / 17)],
)
def test_rescale_maps_no_level_to_zero(levels: int, scale: list[float]) -> None:
    model = Autoregressive((levels,), Categorical(levels))
    x = model.rescale(np.arange(levels), np.float32)
    assert x.dtype == np.float32
    assert np.abs(x).min() > 1 / (levels + 1)
    np.testing.assert_allclose(x, scale, rtol=1e-6)


SHAPE = (3, 4, 1)
MODELS: dict[str, Callable[..., Autoregressive]] = {
    "MADE": small_made,
    "MADE with two orders": partial(small_made, orders=2),
    "PixelRNN": partial(small_pixel_rnn, layers=2),
    "PixelCNN": small_pixelcnn,
    "GatedPixelCNN": small_gated_pixelcnn,
    "WaveNet": small_wavenet,
}
each_model = pytest.mark.parametrize("kind", MODELS)


def small_model(kind: str, levels: int = 3, shape: tuple[int, ...] = SHAPE, **settings: Any) -> Autoregressive:
    return MODELS[kind](shape, levels, **settings)


@each_model
def test_probabilities_given_a_label_sum_to_one(kind: str) -> None:
    model, support = small_model(kind, 3, (2, 2, 1), classes=2), enumerate_support(3, (2, 2, 1))
    log_probs = [lambda x, k=k: model.log_prob(x, np.full(len(x), k)).value for k in range(2)]
    for log_prob in log_probs:
        check_normalised(log_prob, support)
    assert np.abs(log_probs[0](support) - log_probs[1](support)).max() > 0.1


@each_model
def test_conditional_model_is_autoregressive_and_samples_follow_log_prob(kind: str, rng: np.random.Generator) -> None:
    settings = {"hidden": (40, 40)} if "MADE" in kind else {}
    model = small_model(kind, 3, (2, 2, 1), classes=2, **settings)
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
def test_log_prob_of_empty_batch_is_empty(kind: str) -> None:
    assert small_model(kind).log_prob(np.zeros((0, *SHAPE), int)).shape == (0,)


@each_model
def test_boolean_and_integer_examples_have_equal_log_prob(kind: str, rng: np.random.Generator) -> None:
    model, x = small_model(kind, 2), rng.integers(0, 2, (3, *SHAPE))
    np.testing.assert_array_equal(model.log_prob(x.astype(bool)).value, model.log_prob(x.astype(np.uint8)).value)


@each_model
def test_loss_is_mean_of_negative_log_prob(kind: str, rng: np.random.Generator) -> None:
    model, x = small_model(kind), rng.integers(0, 3, (5, *SHAPE))
    assert model.loss(x).item() == pytest.approx(-model.log_prob(x).value.mean(), rel=1e-12)


@pytest.mark.parametrize("kind", ["PixelCNN", "GatedPixelCNN"])
def test_dropout_is_applied_only_in_loss_with_rng(kind: str, rng: np.random.Generator) -> None:
    model, x = small_model(kind, dropout=0.5), rng.integers(0, 3, (5, *SHAPE))
    assert model.loss(x).item() == pytest.approx(-model.log_prob(x).value.mean(), rel=1e-12)
    assert abs(model.loss(x, rng=rng).item() - model.loss(x).item()) > 1e-3


@each_model
def test_samples_are_reproducible_and_outputs_are_float32(kind: str) -> None:
    model, labels = small_model(kind, 4, classes=3).astype(np.float32), np.array([0, 1, 2])
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
def test_rejects_invalid_examples(kind: str, x: Any, message: str) -> None:
    model = small_model(kind)
    for call in (model, model.log_prob, model.loss):
        with pytest.raises(ValueError, match=f"^{message}"):
            call(x)


@each_model
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "integers 0…1, got none"),
        ([0, 1], "a NumPy array, got list"),
        (np.array([0.0, 1]), ".*float64"),
        (np.array([0]), ".*shape"),
        (np.array([0, 2]), ".*values 0…2"),
        (np.array([-1, 0]), ".*values -1…0"),
    ],
)
def test_rejects_invalid_labels(kind: str, labels: Any, message: str, rng: np.random.Generator) -> None:
    model, x = small_model(kind, classes=2), np.zeros((2, *SHAPE), int)
    for call in (
        lambda: model(x, labels),
        lambda: model.log_prob(x, labels),
        lambda: model.sample(2, rng, labels),
        lambda: next(model.draw(x, rng, labels)),
    ):
        with pytest.raises(ValueError, match=f"^labels: expected {message}"):
            call()


@each_model
def test_unconditional_model_rejects_labels(kind: str, rng: np.random.Generator) -> None:
    for call in (
        lambda: small_model(kind).log_prob(np.zeros((1, *SHAPE), int), np.array([0])),
        lambda: small_model(kind).sample(1, rng, np.array([0])),
    ):
        with pytest.raises(ValueError, match=r"^labels: expected none"):
            call()


@each_model
@pytest.mark.parametrize("x", [np.zeros((1, 3, 5, 1), int), np.zeros((1, *SHAPE)), np.zeros((1, *SHAPE), np.int8)])
def test_draw_rejects_unsuitable_buffer(kind: str, x: Array, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=r"^x: expected an integer array \(n, 3, 4, 1\) that can hold 300 levels"):
        next(small_model(kind, 300).draw(x, rng))
    with pytest.raises(ValueError, match=r"^x: expected a NumPy array, got list"):
        next(small_model(kind, 300).draw(x.tolist(), rng))


@each_model
def test_rejects_negative_number_of_samples(kind: str, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=r"^n: expected at least 0, got -1"):
        small_model(kind).sample(-1, rng)
