"""GAN: optimal critics, both losses and their gradients, the gradient penalty, a short training run, errors."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from helpers.models import small_gan
from hypothesis import given
from hypothesis import strategies as st

from tinygen.autograd import Array, Parameter, Tensor, TensorLike, add, grad, sigmoid, tanh
from tinygen.models import GAN
from tinygen.models.adversarial.gan import OBJECTIVES
from tinygen.nn import Linear, Module, Sequential
from tinygen.optim import Adam
from tinygen.testing import check_parameter_grads
from tinygen.training import fit


def parameters(network: Any) -> list[Parameter]:
    return network.parameters()  # type: ignore[no-any-return]


def densities(seed: int) -> tuple[Array, Array]:
    """Return two random distributions on twelve points: p of the data and q of the generator."""
    p, q = 0.8 * np.random.default_rng(seed).dirichlet(np.ones(12), 2) + 0.2 / 12  # bounded away from 0
    return p, q


def game_value(p: Array, q: Array, c: TensorLike) -> Tensor:
    """Return E_p ln σ(c) + E_q ln σ(−c), the negated loss of the critic, with exact expectations over the points."""
    large = np.full(12, 1e4)  # makes one of the two terms of the loss exactly 0
    loss = OBJECTIVES["minimax"].critic
    losses: Tensor = p * loss(add(c, 0.0), Tensor(-large)) + q * loss(Tensor(large), add(c, 0.0))
    return -losses.sum()


@given(seed=st.integers(0, 2**32))
def test_optimal_critic_is_p_over_p_plus_q_and_attains_jensen_shannon_divergence(seed: int) -> None:
    p, q = densities(seed)
    rng = np.random.default_rng(seed)
    best = np.log(p) - np.log(q)
    m = (p + q) / 2
    divergence = 0.5 * (p * np.log(p / m)).sum() + 0.5 * (q * np.log(q / m)).sum()
    value = game_value(p, q, best).item()
    np.testing.assert_allclose(sigmoid(best).value, p / (p + q), rtol=1e-12)
    assert value == pytest.approx(2 * divergence - np.log(4), abs=1e-6)
    for size in (1e-2, 1.0):  # any other critic has a lower value
        assert game_value(p, q, best + size * rng.normal(size=12)).item() < value


@given(seed=st.integers(0, 2**32))
def test_optimal_least_squares_critic_is_p_over_p_plus_q(seed: int) -> None:
    (p, q), loss = densities(seed), OBJECTIVES["least-squares"].critic
    c = Tensor(p / (p + q))
    losses = p * loss(c, Tensor(np.zeros(12))) + q * loss(Tensor(np.ones(12)), c)  # the other term is 0
    np.testing.assert_allclose(grad(losses.sum(), [c])[0].value, 0, atol=1e-12)


def test_training_converges_to_optimal_critic() -> None:
    p, q = densities(0)
    c = Parameter(np.zeros(12), np.float64)
    optimizer = Adam([c], lambda step: 0.2 * 0.99**step)
    for _ in range(800):
        optimizer.step(grad(-game_value(p, q, c), [c]))
    np.testing.assert_allclose(sigmoid(c).value, p / (p + q), atol=1e-3)
    best = game_value(p, q, np.log(p) - np.log(q)).item()
    assert game_value(p, q, c).item() == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("logit", [2.0, 10.0, 30.0])
def test_minimax_generator_loss_saturates_and_non_saturating_loss_does_not(logit: float) -> None:
    c = Tensor(np.array([-logit, logit]))  # a critic that confidently rejects, and one that confidently accepts
    slopes = {name: grad(each.generator(c).sum(), [c])[0].value for name, each in OBJECTIVES.items()}
    np.testing.assert_allclose(slopes["minimax"], -sigmoid(c).value, rtol=1e-12)
    np.testing.assert_allclose(slopes["non-saturating"], -sigmoid(-c).value, rtol=1e-12)
    np.testing.assert_allclose(slopes["least-squares"], c.value - 1, rtol=1e-12)
    np.testing.assert_allclose(slopes["wasserstein"], -1, rtol=1e-12)
    assert abs(slopes["minimax"][0]) < np.exp(-logit)
    assert abs(slopes["non-saturating"][0]) > 0.8


def test_gradient_penalty_of_linear_critic_is_exact(rng: np.random.Generator) -> None:
    gan = small_gan("wasserstein", rng)
    gan.critic = Linear(3, 1, rng)
    gan.critic.astype(np.float64)
    w = gan.critic.w
    real, fake = rng.normal(size=(5, 3)), rng.normal(size=(5, 3))
    penalty = gan.gradient_penalty(real, fake, rng)
    norm = np.linalg.norm(w.value)
    assert penalty.item() == pytest.approx((norm - 1) ** 2, rel=1e-9)
    np.testing.assert_allclose(grad(penalty, [w])[0].value, 2 * (norm - 1) * w.value / norm, rtol=1e-8)


def test_losses_are_batch_means_plus_lambda_times_penalty(rng: np.random.Generator) -> None:
    x = rng.normal(size=(5, 3))
    for objective in OBJECTIVES:
        assert small_gan(objective, rng).penalty == (10 if objective == "wasserstein" else 0)
        for penalty in (0.0, 0.3, 4.0):
            gan = small_gan(objective, rng, penalty)
            gan.critic = Linear(3, 1, rng).astype(np.float64)
            fake, excess = gan.sample(5, np.random.default_rng(1)), np.linalg.norm(gan.critic.w.value) - 1
            terms = OBJECTIVES[objective].critic(gan.criticise(x), gan.criticise(fake)).value
            expected = terms.mean() + penalty * excess**2
            assert seeded(gan.critic_loss, x).item() == pytest.approx(expected, rel=1e-9)
            terms = OBJECTIVES[objective].generator(gan.criticise(fake)).value
            assert seeded(gan.generator_loss, x).item() == pytest.approx(terms.mean(), rel=1e-12)


class Square(Module):
    """C(x) = ½ ‖x‖², whose gradient norm at x̂ is ‖x̂‖."""

    def __call__(self, x: TensorLike) -> Tensor:
        x = Tensor(x) if not isinstance(x, Tensor) else x
        return 0.5 * (x * x).sum(1)


def test_gradient_penalty_averages_over_segments(rng: np.random.Generator) -> None:
    # Detects ε = 1 (only the data) and one ε for the whole batch (the same point on every segment).
    gan = small_gan("wasserstein", rng)
    gan.critic = Square()
    real, fake = np.tile([4.0, 0.0, 0.0], (20_000, 1)), np.zeros((20_000, 3))
    penalty = gan.gradient_penalty(real, fake, rng).item()  # E (4 ε − 1)² over ε ~ U[0, 1] = 16/3 − 4 + 1 = 7/3
    assert penalty == pytest.approx(7 / 3, abs=0.08)  # four standard errors; at ε = 1 it is 9, at ε = ½ it is 1


def test_losses_match_formulas_of_the_papers() -> None:
    """Compare with the table in gan.py, computed in plain NumPy."""
    r, f = np.array([0.3, -1.2]), np.array([-0.4, 2.0])

    def s(c: Array) -> Array:
        return 1 / (1 + np.exp(-c))

    cross_entropy = -np.log(s(r)) - np.log(s(-f))
    expected = {
        "minimax": (cross_entropy, np.log(s(-f))),
        "non-saturating": (cross_entropy, -np.log(s(f))),
        "least-squares": ((r - 1) ** 2 / 2 + f**2 / 2, (f - 1) ** 2 / 2),
        "wasserstein": (f - r, -f),
    }
    assert expected.keys() == OBJECTIVES.keys()
    for name, (critic, generator) in expected.items():
        np.testing.assert_allclose(OBJECTIVES[name].critic(Tensor(r), Tensor(f)).value, critic, rtol=1e-12)
        np.testing.assert_allclose(OBJECTIVES[name].generator(Tensor(f)).value, generator, rtol=1e-12)


def test_gradient_penalty_draws_one_epsilon_per_example(rng: np.random.Generator) -> None:
    gan, calls = small_gan("wasserstein", rng), []
    critic = gan.critic
    gan.critic = lambda x: calls.append(x.value) or critic(x)  # type: ignore[union-attr,func-returns-value]
    gan.gradient_penalty(np.tile([1.0, 2.0, 4.0], (50, 1)), np.zeros((50, 3)), rng)
    epsilon = calls[0] / [1.0, 2.0, 4.0]
    np.testing.assert_allclose(epsilon, epsilon[:, :1].repeat(3, 1), rtol=1e-12)
    assert len(set(epsilon[:, 0])) == 50


def seeded(loss: Any, x: Array) -> Tensor:
    """Evaluate a loss with the same noise in every call."""
    return loss(x, rng=np.random.default_rng(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_gradients_match_finite_differences(objective: str, rng: np.random.Generator) -> None:
    gan, x = small_gan(objective, rng, 0.7), rng.normal(size=(4, 3))
    critics = parameters(gan.critic)
    if objective == "wasserstein":
        critics = critics[:-1]  # the last bias cancels: its gradient is 0
    for loss, trained in ((gan.critic_loss, critics), (gan.generator_loss, parameters(gan.generator))):
        check_parameter_grads(partial(seeded, loss, x), trained, rng=rng)


def test_loss_has_dtype_of_parameters(rng: np.random.Generator) -> None:
    gan, x = small_gan("wasserstein", rng).astype(np.float32), rng.integers(0, 9, (4, 3))
    losses = [gan.critic_loss(x.astype(dtype), rng=np.random.default_rng(1)) for dtype in (float, np.float32, np.uint8)]
    assert [loss.dtype for loss in losses] == [np.float32] * 3
    assert losses[0].item() == losses[1].item() == losses[2].item()


def test_critic_loss_does_not_depend_on_generator_parameters(rng: np.random.Generator) -> None:
    gan = small_gan("non-saturating", rng)
    with pytest.raises(ValueError, match="does not"):
        grad(gan.critic_loss(rng.normal(size=(4, 3)), rng=rng), parameters(gan.generator))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_training_fits_a_normal_distribution(objective: str) -> None:
    rng = np.random.default_rng(0)
    data = (rng.normal(size=(2000, 1)) * 0.5 + 2).astype(np.float32)
    generator = Linear(1, 1, rng)
    critic = Sequential(Linear(1, 16, rng), tanh, Linear(16, 1, rng))
    # In one dimension λ = 10 is too large: a critic whose slope starts at −1 could not reach slope 1.
    gan = GAN((1,), 1, generator, critic, objective, 0.1 if objective == "wasserstein" else None)
    optimizers = [Adam(critic.parameters(), 2e-2, (0.5, 0.9)), Adam(generator.parameters(), 1e-2, (0.5, 0.9))]
    fit(
        [gan.critic_loss, gan.generator_loss],
        gan,
        data,
        optimizer=optimizers,
        turns=[0, 0, 1],
        batch_size=64,
        steps=900,
        rng=rng,
        progress=False,
    )
    # GAN training oscillates, so the tolerances are wide; before training the mean is 0.
    x = gan.sample(2000, rng)
    assert x.mean() == pytest.approx(2, abs=0.3)
    assert x.std() == pytest.approx(0.5, abs=0.3)


BAD_INPUT: list[tuple[Any, str]] = [
    (lambda gan, rng: small_gan("hinge", rng), "objective: expected one of minimax"),
    (lambda gan, rng: small_gan("minimax", rng, -1.0), "penalty: expected a finite number of at least 0"),
    (lambda gan, rng: small_gan("minimax", rng, float("nan")), "penalty: expected a finite number of at least 0"),
    (lambda gan, rng: small_gan("minimax", rng, float("inf")), "penalty: expected a finite number of at least 0"),
    (lambda gan, rng: GAN((3,), 0, gan.generator, gan.critic), "latent: expected at least 1"),
    (lambda gan, rng: gan.critic_loss(np.zeros((2, 4)), rng=rng), "x: expected shape"),
    (lambda gan, rng: gan.critic_loss(np.zeros((0, 3)), rng=rng), "x: expected one or more"),
    (lambda gan, rng: gan.critic_loss(np.full((2, 3), np.nan), rng=rng), "x: expected finite"),
    (lambda gan, rng: gan.sample(-1, rng), "n: expected at least 0"),
    (lambda gan, rng: GAN((4,), 2, gan.generator, gan.critic).sample(2, rng), "generator: expected"),
    (
        lambda gan, rng: GAN((3,), 2, gan.generator, lambda x: Tensor(x) * 1.0).critic_loss(np.ones((2, 3)), rng=rng),
        "critic: expected one",
    ),
]


@pytest.mark.parametrize(("call", "message"), BAD_INPUT)
def test_rejects_invalid_input(call: Any, message: str, rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match=message):
        call(small_gan("non-saturating", rng), rng)


def test_rejects_a_critic_that_is_averaged_over_the_batch(rng: np.random.Generator) -> None:
    gan = small_gan("minimax", rng)
    gan.critic = lambda x: add(x, 0.0).mean()
    with pytest.raises(ValueError, match=r"^critic: expected one number per example, .*, got \(\)"):
        gan.criticise(gan.generate(4, rng))
