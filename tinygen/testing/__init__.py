"""Is my gradient, mask, density or sampler right? Checkers that say what is wrong, how much, and what it may be.

    check_grads(f, x, rng=rng)      check_autoregressive(net, x, rng=rng)      check_normalised(model.log_prob, support)
    check_invertible(bijection, x, rng=rng)      check_log_det(bijection, x, rng=rng)

Each takes functions, not models (a bijection is two functions), returns None if all is well and raises AssertionError
if not; a check that would hold of anything is refused.
"""

from .autoregressive import check_autoregressive, receptive_field
from .densities import check_normalised, check_normalised_density, check_sampler, chi_square_tail, enumerate_support
from .flows import check_invertible, check_log_det
from .gradients import check_adjoint, check_grads, check_parameter_grads
from .sampling import draw_naively

__all__ = [
    "check_adjoint",
    "check_autoregressive",
    "check_grads",
    "check_invertible",
    "check_log_det",
    "check_normalised",
    "check_normalised_density",
    "check_parameter_grads",
    "check_sampler",
    "chi_square_tail",
    "draw_naively",
    "enumerate_support",
    "receptive_field",
]
