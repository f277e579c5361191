"""A normalising flow: a bijection f and the base distribution of its noise.

    ln p(x) = ln p_base(f(x)) + ln|det ∂f/∂x|,      x = f⁻¹(z),   z ~ p_base

Checked by: tests/bijections/test_flow.py
"""

import numpy as np

from ..autograd import Array, Tensor, TensorLike, no_grad
from ..autograd.tensor import array_of
from ..checks import as_finite, at_least, batch_shape, check_context, check_positive, require
from ..distributions import Distribution, StandardNormal, StandardUniform
from ..distributions.distribution import check_samples, mean_loss
from ..nn import Module
from .bijection import Bijection, Context


class Flow(Module):
    """The distribution of x = f⁻¹(z), z ~ base.

    Args:
        bijection: the map f from data to noise.
        base: the distribution of z, such as `StandardNormal`.
        shape: shape of an event of x; by default base.shape.

    Shapes: x (N, *shape); context (N, C), None if the bijection is unconditional; log_prob (N,), in nats per example.
    Raises: ValueError if x or the context has the wrong shape or is not finite, if x is not floating-point, or if a
    sample is not finite, because the parameters are not.

    Example:
        >>> from tinygen.bijections import Affine
        >>> from tinygen.distributions import StandardNormal
        >>> flow = Flow(Affine(0.5), StandardNormal((2,)))  # x ~ N(0, 4)
        >>> round(flow.log_prob(np.zeros((1, 2))).item(), 4)  # −ln(2π · 4)
        -3.2242
    """

    def __init__(
        self, bijection: Bijection, base: Distribution[TensorLike], shape: tuple[int, ...] | None = None
    ) -> None:
        self.bijection, self.base, self.context = bijection, base, bijection.context
        self.shape = base.shape if shape is None else tuple(shape)

    def log_prob(self, x: TensorLike, context: Context = None) -> Tensor:
        """Return ln p(x | context)."""
        x, context = self._checked(x, context)
        z, log_det = self.bijection.forward(x, context)
        return self.base.log_prob(z) + log_det

    def loss(self, x: TensorLike, context: Context = None, *, rng: np.random.Generator | None = None) -> Tensor:
        """Return the mean of −ln p(x | context) in nats per example. It is deterministic: rng is not used."""
        return mean_loss(-self.log_prob(x, context))

    def initialise(self, x: TensorLike, context: Context = None) -> None:
        """Set data-dependent parameters, such as those of `ActNorm`, from a first batch x, before training."""
        x, context = self._checked(x, context)
        with no_grad():
            self.bijection.initialise(x, context)

    def draw(self, n: int, rng: np.random.Generator, context: Context = None) -> tuple[Tensor, Tensor]:
        """Draw x (n, *shape) by the reparameterisation trick. Return x and ln p(x) (n,), both differentiable."""
        context = self._checked_context(n, context)
        if isinstance(self.base, Flow):
            z, log_base = self.base.draw(n, rng)
        else:
            z = Tensor(self._noise(n, rng))
            log_base = self.base.log_prob(z)
        x, log_det = self.bijection.inverse(z, context)
        check_samples(x.value)
        return x, log_base - log_det

    def sample(self, n: int, rng: np.random.Generator, context: Context = None, *, temperature: float = 1.0) -> Array:
        """Draw n examples (n, *shape).

        Args:
            temperature: T > 0 scales the noise of a base `StandardNormal`, as in Glow: z ~ N(0, T² I). With T < 1,
                samples are less diverse and of higher density.
        """
        context = self._checked_context(n, context)
        check_positive(temperature=temperature)
        scalable = temperature == 1 or isinstance(self.base, StandardNormal)
        require(scalable, "temperature", f"1 for a flow with a base {type(self.base).__name__}", temperature)
        with no_grad():
            return check_samples(self.bijection.to_data(self._noise(n, rng, temperature), context).value)

    def _noise(self, n: int, rng: np.random.Generator, temperature: float = 1.0) -> Array:
        z = (self.base.sample(n, rng) * temperature).astype(self.dtype)
        # In float32, numbers from 0 to 1 may round to 1, which Logit maps to ∞.
        return np.minimum(z, np.nextafter(z.dtype.type(1), 0)) if isinstance(self.base, StandardUniform) else z

    def _checked(self, x: TensorLike, context: Context) -> tuple[TensorLike, Context]:
        dtype = array_of(x).dtype
        require(dtype.kind == "f", "x", f"floats of shape {batch_shape(self.shape)}", dtype)
        x = as_finite("x", x, self.shape, self.dtype)
        return x, self._checked_context(len(array_of(x)), context)

    def _checked_context(self, n: int, context: Context) -> Context:
        at_least(0, n=n)
        check_context(context, n, self.context)
        return None if context is None else as_finite("context", context, np.shape(context)[1:], self.dtype)
