"""Generative adversarial networks: a generator that only samples, and a critic that tells its samples from data.

    x = G(z), z ~ N(0, I)             critic C(x), one number: a logit of "this is data", or a height (Wasserstein)

    objective         the critic lowers                                 the generator lowers
    minimax           −E ln σ(C(x)) − E ln σ(−C(G(z)))                  E ln σ(−C(G(z)))
    non-saturating    the same                                          −E ln σ(C(G(z)))
    least-squares     ½ E (C(x) − 1)² + ½ E C(G(z))²                    ½ E (C(G(z)) − 1)²
    wasserstein       E C(G(z)) − E C(x) + λ E (‖∇C(x̂)‖ − 1)²           −E C(G(z))

Minimax is the game as it stands: against the best critic, ln(p/q), its value is 2 JSD(p, q) − ln 4. But where the
critic wins, the generator's gradient vanishes; the non-saturating objective has the same fixed point without that. The
Wasserstein critic is held to slopes of 1 on the segments between data and samples, x̂ = ε x + (1 − ε) G(z).

Source: Goodfellow et al., "Generative adversarial nets", 2014; Mao et al., "Least squares generative adversarial
networks", 2017; Gulrajani et al., "Improved training of Wasserstein GANs", 2017.
Checked by: tests/models/adversarial/test_gan.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...autograd import Array, Tensor, TensorLike, grad, no_grad, softplus, sqrt
from ...autograd.tensor import array_of
from ...checks import as_finite, at_least
from ...distributions import StandardNormal
from ...nn import Module

Rng = np.random.Generator
Network = Callable[[TensorLike], Tensor]


class Objective(NamedTuple):
    """What each side lowers, of the critic's outputs (N,) on data and on samples: a term of each example, (N,)."""

    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


# −ln σ(c) is softplus(−c)
OBJECTIVES = {
    "minimax": Objective(lambda real, fake: softplus(-real) + softplus(fake), lambda fake: -softplus(fake)),
    "non-saturating": Objective(lambda real, fake: softplus(-real) + softplus(fake), lambda fake: softplus(-fake)),
    "least-squares": Objective(
        lambda real, fake: 0.5 * (real - 1) * (real - 1) + 0.5 * fake * fake, lambda fake: 0.5 * (fake - 1) * (fake - 1)
    ),
    "wasserstein": Objective(lambda real, fake: fake - real, lambda fake: -fake),
}


class GAN(Module):
    """A generator, z (N, latent) to x (N, *shape), and a critic, x to (N,) or (N, 1), with an objective by its name.

    The two are trained in turns, each by a loss and an optimiser of its own:

        fit([gan.critic_loss, gan.generator_loss], gan, data, turns=[0, 0, 0, 1], optimizer=[critic's, generator's], …)

    `penalty` is λ above; by default 10 for the Wasserstein objective and 0 for the others, which may have one, too.
    Shapes: data (N, *shape). Raises ValueError, naming the argument, if the objective is unknown, x has another shape
    or is empty or not finite, or a network's output does not fit.
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
        if objective not in OBJECTIVES:
            raise ValueError(f"objective: expected one of {', '.join(OBJECTIVES)}, got {objective!r}")
        at_least(1, latent=latent)
        self.penalty = (10.0 if objective == "wasserstein" else 0.0) if penalty is None else penalty
        if not self.penalty >= 0:  # nor is NaN
            raise ValueError(f"penalty: expected at least 0, got {self.penalty}")
        self.shape, self.latent, self.objective = tuple(shape), latent, objective
        self.generator, self.critic = generator, critic
        self.noise = StandardNormal((latent,))

    def critic_loss(self, x: Array, *, rng: Rng) -> Tensor:
        """What the critic lowers, of data x (N, *shape) and as many samples; the generator is not part of its graph."""
        real = array_of(as_finite("x", x, self.shape, self.dtype))
        if not len(real):
            raise ValueError(f"x: expected one or more examples, got shape {x.shape}")
        with no_grad():
            fake = self.generate(len(real), rng).value
        value = OBJECTIVES[self.objective].critic(self.criticise(real), self.criticise(fake)).mean()
        return value + self.penalty * self.gradient_penalty(real, fake, rng) if self.penalty else value

    def generator_loss(self, x: Array, *, rng: Rng) -> Tensor:
        """What the generator lowers, of as many samples as there are data in x; the data themselves do not matter."""
        return OBJECTIVES[self.objective].generator(self.criticise(self.generate(len(x), rng))).mean()

    def gradient_penalty(self, real: Array, fake: Array, rng: Rng) -> Tensor:
        """E (‖∇C(x̂)‖₂ − 1)² at x̂ = ε x + (1 − ε) G(z), with an ε ~ U[0, 1] for each example."""
        epsilon = rng.random((len(real), *(1,) * (real.ndim - 1))).astype(fake.dtype)
        between = Tensor(epsilon * real + (1 - epsilon) * fake)
        (slope,) = grad(self.criticise(between).sum(), [between], create_graph=True)
        flat = slope.reshape(len(real), -1)
        excess = sqrt((flat * flat).sum(1) + 1e-12) - 1  # √0 has no derivative
        return (excess * excess).mean()

    def generate(self, n: int, rng: Rng) -> Tensor:
        """Draw n examples (n, *shape) as a function of the generator's parameters."""
        at_least(0, n=n)
        x = self.generator(self.noise.sample(n, rng).astype(self.dtype))
        if x.shape != (n, *self.shape):
            raise ValueError(f"generator: expected {(n, *self.shape)} of noise {(n, self.latent)}, got {x.shape}")
        return x

    def criticise(self, x: TensorLike) -> Tensor:
        """Return the critic's number for each example: (N, *shape) to (N,)."""
        c = self.critic(x)
        if c.size != c.shape[0] or c.shape[0] != np.shape(getattr(x, "value", x))[0]:
            raise ValueError(f"critic: expected one number for each example, (N,) or (N, 1), got {c.shape}")
        return c.reshape(-1)

    def sample(self, n: int, rng: Rng) -> Array:
        """Draw n examples (n, *shape)."""
        with no_grad():
            return self.generate(n, rng).value
