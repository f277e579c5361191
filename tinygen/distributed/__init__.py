"""Training, sampling and evaluation in several processes under MPI. See docs/distributed.md."""

from .evaluation import mean_log_prob, sample

__all__ = ["mean_log_prob", "sample"]
