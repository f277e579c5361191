"""Distributions: protocols, discrete and continuous likelihoods, base distributions of flows."""

from .discrete import Bernoulli, Categorical, event_log_prob, sample_categorical
from .distribution import Distribution, Likelihood, Output, bits_per_dim
from .gaussian import Gaussian, StandardNormal, StandardUniform
from .logistics import DiscretizedLogistics

__all__ = [
    "Bernoulli", "Categorical", "DiscretizedLogistics", "Distribution", "Gaussian", "Likelihood", "Output",
    "StandardNormal", "StandardUniform", "bits_per_dim", "event_log_prob", "sample_categorical",
]  # fmt: skip
