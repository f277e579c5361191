"""Checks of gradients, masks, flows, densities and samplers, which report the error and its likely cause.

    check_vjp(f, vjp, x, rng=rng)    check_log_det(forward, x, rng=rng)     check_autoregressive(network, x, rng=rng)
    check_kl(kl, q, p, rng=rng)      check_normalised(log_prob, support)    check_bound(bound, log_prob, x, rng=rng)

Each check takes plain functions of NumPy arrays, or of PyTorch or JAX arrays with `convert` (see docs/checking.md). It
returns None, or raises AssertionError if the check fails or would pass for any function. `parametrize_with_checks` and
`python -m tinygen.testing` run those that apply to a distribution or a bijection. `tinygen.testing.strategies`, which
requires Hypothesis, draws inputs for property tests.
"""

from .adjoint import check_adjoint
from .autoregressive import check_autoregressive, receptive_field
from .bound import check_bound
from .conditional import check_conditional
from .contracts import Subject
from .densities import check_normalised, check_normalised_density, enumerate_support
from .derivatives import check_gradient, check_jvp, check_vjp
from .equivariant import check_equivariant
from .gradients import check_grads, check_parameter_grads
from .invertible import check_invertible
from .kl import check_kl
from .log_det import check_log_det
from .parametrize import parametrize_with_checks
from .reparameterised import check_reparameterised
from .sampling import check_sampler

__all__ = [
    "Subject",
    "check_adjoint",
    "check_autoregressive",
    "check_bound",
    "check_conditional",
    "check_equivariant",
    "check_gradient",
    "check_grads",
    "check_invertible",
    "check_jvp",
    "check_kl",
    "check_log_det",
    "check_normalised",
    "check_normalised_density",
    "check_parameter_grads",
    "check_reparameterised",
    "check_sampler",
    "check_vjp",
    "enumerate_support",
    "parametrize_with_checks",
    "receptive_field",
]
