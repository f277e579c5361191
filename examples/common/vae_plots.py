"""Figures of VAEs: estimates of ln p(x), their variance, the KL divergence per latent dimension, reconstructions."""

from collections.abc import Mapping

import numpy as np
from common.importance_sampling import Comparison
from common.reporting import subplots
from matplotlib.figure import Figure

from tinygen import no_grad, plot
from tinygen.autograd import Array, sigmoid
from tinygen.models import VAE


def plot_estimates(results: Mapping[int, Comparison], kl: Mapping[int, Array]) -> Figure:
    """Plot estimates, variances and sorted KL divergences (latent,) in nats; keys are the latent dimensions."""
    (figure, panels), dims = subplots(10.2, 3.3, 1, 3), list(results)
    quantities = {
        "estimate of ln p(x) (nats per image)": [each.log_p for each in results.values()],
        "log₁₀ of the weights' relative variance": [each.log_variance for each in results.values()],
    }
    for axes, (ylabel, repeats) in zip(panels, quantities.items(), strict=False):
        for column, label in enumerate(("z from q(z|x)", "z from the prior")):
            values = np.array(repeats)[..., column]  # (dims, repeats)
            bars = np.abs(np.stack([values.min(1), values.max(1)]) - values.mean(1))
            axes.errorbar(dims, values.mean(1), bars, fmt="o-", color=plot.COLOURS[column], ms=4, label=label)
        axes.set(xscale="log", xlabel="latent dimensions", ylabel=ylabel, xticks=dims, xticklabels=dims)
        axes.minorticks_off()
    for colour, (latent, values) in zip(plot.COLOURS, kl.items(), strict=False):
        label = f"{latent} dimension{'s' if latent > 1 else ''}"
        panels[2].plot(range(1, latent + 1), values, "o-", color=colour, ms=4, label=label)
    panels[2].set(xlabel="latent dimension, sorted by KL", ylabel="KL(q ‖ p) (nats)", ylim=(0, None), xticks=dims)
    for axes in panels:
        axes.legend(fontsize=8, frameon=False)
    return figure


def reconstructions(model: VAE, x: Array, rng: np.random.Generator) -> Figure:
    """Plot binary images x, reconstructions from the posterior mean, and samples, the latter two as probabilities."""
    with no_grad():
        latents = model.posterior(x).mean, rng.standard_normal((len(x), model.latent), np.float32)
        rows = [x, *(sigmoid(model.decoder(z)).value[..., 0] for z in latents)]
    return plot.sample_grid(np.concatenate(rows), row_labels=["data", "reconstructions", "samples (means)"])
