"""Figures of VAEs: estimates of ln p(x), their variance, the KL divergence per latent dimension, reconstructions."""

import numpy as np
from common.figures import subplots
from common.report import Report
from matplotlib.figure import Figure

from tinygen import no_grad, plot
from tinygen.autograd import Array, sigmoid
from tinygen.models import VAE


def plot_estimates(report: Report) -> Figure:
    """Plot estimates and variances over the latent dimensions (mean and range over seeds), and KL divergences."""
    settings = list(report.results)
    figure, panels = subplots(11, 3.5, 1, 3)
    dims = [len(each) for each in report.first("KL_per_dimension").values()]
    quantities = {"log_p": "estimate of ln p(x) (nats per image)", "log_variance": "log₁₀ of Var w / p²"}
    for axes, (name, ylabel) in zip(panels, quantities.items(), strict=False):
        for i, (source, label) in enumerate({"q": "z from q(z|x)", "prior": "z from the prior"}.items()):
            values = [report.values(f"{name}_{source}", setting) for setting in settings]  # (dims, seeds)
            mean = np.array([each.mean() for each in values])
            bars = np.abs([[each.min() for each in values] - mean, [each.max() for each in values] - mean])
            x = np.array(dims) * (0.96, 1.04)[i]  # side by side, because they overlap
            axes.errorbar(x, mean, bars, fmt=("o-", "s--")[i], color=plot.COLOURS[i], ms=4, capsize=2, label=label)
        axes.set(xscale="log", xlabel="number of latent dimensions", ylabel=ylabel, xticks=dims, xticklabels=dims)
        axes.minorticks_off()
    for i, (setting, values) in enumerate(report.first("KL_per_dimension").items()):
        grey = str(0.75 - 0.75 * i / len(settings))  # not the colours of the other panels, which mean something else
        panels[2].plot(range(1, len(values) + 1), values, "oD^vP"[i % 5] + "-", color=grey, ms=4, label=setting)
    panels[2].set(xlabel="latent dimension, sorted by KL", ylabel="KL(q ‖ p) (nats)", ylim=(0, None), xticks=dims)
    for axes in panels:
        axes.legend(fontsize=8, frameon=False)
    return figure


def reconstructions(model: VAE, x: Array, rng: np.random.Generator) -> Array:
    """Return binary images x, reconstructions from the posterior mean, and samples, the latter two as probabilities."""
    with no_grad():
        latents = model.posterior(x).mean, rng.standard_normal((len(x), model.latent), np.float32)
        return np.concatenate([x[..., 0], *(sigmoid(model.decoder(z)).value[..., 0, 0] for z in latents)])
