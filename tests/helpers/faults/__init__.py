"""Wrong implementations of everything that the checkers name: one table of faults per checker."""

from . import densities, dependence, derivatives, flows
from .table import Table

TABLES: dict[str, Table] = {
    "check_vjp": derivatives.VJP_TABLE,
    "check_jvp": derivatives.JVP,
    "check_gradient": derivatives.GRADIENT,
    "check_grads": derivatives.GRADS,
    "check_adjoint": derivatives.ADJOINT,
    "check_autoregressive": dependence.AUTOREGRESSIVE,
    "check_conditional": dependence.CONDITIONAL,
    "check_equivariant": dependence.EQUIVARIANT,
    "check_log_det": flows.LOG_DET,
    "check_invertible": flows.INVERTIBLE,
    "check_normalised": densities.NORMALISED,
    "check_normalised_density": densities.DENSITY,
    "check_sampler": densities.SAMPLER,
    "check_kl": densities.KL,
    "check_bound": densities.BOUND,
    "check_reparameterised": densities.REPARAMETERISED,
}
