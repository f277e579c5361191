"""Generative adversarial network (GAN): a generator trained against a critic that distinguishes its samples from data.

    x = G(z), z ~ N(0, I)             critic C(x): one number, the logit of "x is data" or a Wasserstein potential

    objective         loss of the critic                                loss of the generator
    minimax           −E ln σ(C(x)) − E ln σ(−C(G(z)))                  E ln σ(−C(G(z)))
    non-saturating    the same                                          −E ln σ(C(G(z)))
    least-squares     ½ E (C(x) − 1)² + ½ E C(G(z))²                    ½ E (C(G(z)) − 1)²
    wasserstein       E C(G(z)) − E C(x) + λ E (‖∇C(x̂)‖ − 1)²           −E C(G(z))

Minimax is the zero-sum game of the original paper: with the optimal critic ln(p/q), its value is 2 JSD(p, q) − ln 4. It
saturates: the generator's gradient vanishes where the critic confidently rejects the samples. The non-saturating
objective has the same fixed point but does not saturate. The gradient penalty drives the norm of the Wasserstein
critic's gradient to 1 on the segments between data and samples, x̂ = ε x + (1 − ε) G(z).

Source: Goodfellow et al., "Generative adversarial nets", 2014; Mao et al., "Least squares generative adversarial
networks", 2017; Gulrajani et al., "Improved training of Wasserstein GANs", 2017.
Checked by: tests/models/adversarial/test_gan.py
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...autograd import Array, Tensor, TensorLike, grad, no_grad, softplus, sqrt
from ...autograd.tensor import array_of
from ...bijections.bijection import sum_event
from ...checks import as_finite, at_least, check_array, check_event, check_nonnegative, require
from ...distributions import StandardNormal
from ...distributions.distribution import check_samples, mean_loss
from ...nn import Module

Rng = np.random.Generator
Network = Callable[[TensorLike], Tensor]


class Objective(NamedTuple):
    """The losses of critic and generator per example, (N,), given the critic's outputs (N,) on data and on samples."""

    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


# −ln σ(c) = softplus(−c)
OBJECTIVES = {
    "minimax": Objective(lambda real, fake: softplus(-real) + softplus(fake), lambda fake: -softplus(fake)),
    "non-saturating": Objective(lambda real, fake: softplus(-real) + softplus(fake), lambda fake: softplus(-fake)),
    "least-squares": Objective(
        lambda real, fake: 0.5 * (real - 1) * (real - 1) + 0.5 * fake * fake, lambda fake: 0.5 * (fake - 1) * (fake - 1)
    ),
    "wasserstein": Objective(lambda real, fake: fake - real, lambda fake: -fake),
}


class GAN(Module):
    """A generator and a critic, trained alternately, each with its own loss and optimiser.

        fit([gan.critic_loss, gan.generator_loss], gan, data, turns=[0, 0, 0, 1], optimizer=[adam_c, adam_g], …)

    Args:
        generator: maps z (N, latent) to x (N, *shape).
        critic: maps x (N, *shape) to (N,) or (N, 1).
        objective: "minimax", "non-saturating", "least-squares" or "wasserstein", see the table above.
        penalty: weight λ of the gradient penalty; by default 10 for "wasserstein" and 0 for the others.

    Shapes: data (N, *shape), samples (n, *shape).
    Raises: ValueError if x is not finite or has the wrong shape, or if the output of a network does.

    Example:
        >>> from tinygen.nn import Linear
        >>> rng = np.random.default_rng(0)
        >>> gan = GAN((3,), 2, Linear(2, 3, rng), Linear(3, 1, rng), "wasserstein")
        >>> x = gan.sample(5, rng)
        >>> x.shape, gan.critic_loss(x, rng=rng).shape, gan.generator_loss(x, rng=rng).shape
        ((5, 3), (), ())
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        latent: int,
        generator: Network,
        critic: Network,
        objective: str = "non-saturating",
        penalty: float | None = None,
    ) -> None:
        require(objective in OBJECTIVES, "objective", f"one of {', '.join(OBJECTIVES)}", repr(objective))
        at_least(1, latent=latent)
        penalty = (10.0 if objective == "wasserstein" else 0.0) if penalty is None else penalty
        check_nonnegative(penalty=penalty)
        self.penalty = float(penalty)
        self.shape, self.latent, self.objective = tuple(shape), latent, objective
        self.generator, self.critic = generator, critic
        self.noise = StandardNormal((latent,))

    def critic_loss(self, x: Array, *, rng: Rng) -> Tensor:
        """Return the critic's loss on data x (N, *shape) and on N samples, without gradients of the generator."""
        check_array("x", x)
        real = array_of(as_finite("x", x, self.shape, self.dtype))
        with no_grad():
            fake = self.generate(len(real), rng).value
        loss = mean_loss(OBJECTIVES[self.objective].critic(self.criticise(real), self.criticise(fake)))
        return loss + self.penalty * self.gradient_penalty(real, fake, rng) if self.penalty else loss

    def generator_loss(self, x: Array, *, rng: Rng) -> Tensor:
        """Return the generator's loss on len(x) samples; the values of x are not used."""
        return mean_loss(OBJECTIVES[self.objective].generator(self.criticise(self.generate(len(x), rng))))

    def gradient_penalty(self, real: Array, fake: Array, rng: Rng) -> Tensor:
        """Return E (‖∇C(x̂)‖₂ − 1)² at x̂ = ε x + (1 − ε) G(z), with one ε ~ U[0, 1] per example."""
        check_event("real", real, self.shape)
        check_event("fake", fake, self.shape)
        require(len(real) == len(fake), "fake", f"as many examples as real, {len(real)}", len(fake))
        epsilon = rng.random((len(real), *(1,) * (real.ndim - 1))).astype(fake.dtype)  # (N, 1, …, 1)
        between = Tensor(epsilon * real + (1 - epsilon) * fake)  # (N, *shape)
        (slope,) = grad(self.criticise(between).sum(), [between], create_graph=True)
        excess = sqrt(sum_event(slope * slope) + 1e-12) - 1  # (N,); √ is not differentiable at 0
        return mean_loss(excess * excess)

    def generate(self, n: int, rng: Rng) -> Tensor:
        """Generate n samples (n, *shape), differentiable with respect to the generator's parameters."""
        at_least(0, n=n)
        x = self.generator(self.noise.sample(n, rng).astype(self.dtype))
        require(x.shape == (n, *self.shape), "generator", f"output {(n, *self.shape)}", x.shape)
        return x

    def criticise(self, x: TensorLike) -> Tensor:
        """Return the critic's output for each example of x (N, *shape), as (N,)."""
        check_event("x", x, self.shape)
        c = self.critic(x)
        fits = c.shape[:1] == (c.size,) == (len(array_of(x)),)
        require(fits, "critic", "one number per example, (N,) or (N, 1)", c.shape)
        return c.reshape(-1)

    def sample(self, n: int, rng: Rng) -> Array:
        """Draw n samples (n, *shape). Raises ValueError if one is not finite, because the parameters are not."""
        with no_grad():
            return check_samples(self.generate(n, rng).value)
