"""Estimates of ln p(x) over the number of latent numbers, their variances, and what KL each latent number has."""

from collections.abc import Mapping

import numpy as np
from common.estimators import Compared
from common.reporting import panels
from matplotlib.figure import Figure

from tinygen import no_grad, plot
from tinygen.autograd import Array, sigmoid
from tinygen.models import VAE


def picture(found: Mapping[int, Compared], kl: Mapping[int, Array]) -> Figure:
    """Draw both estimates and their variances, and the nats of each latent number; keys are how many there are."""
    (figure, frames), dims = panels(10.2, 3.3, 1, 3), list(found)
    shown = {
        "estimate of ln p(x), nats": [each.log_p for each in found.values()],
        "log₁₀ of a weight's relative variance": [each.log_variance for each in found.values()],
    }
    for panel, (name, each_latent) in zip(frames, shown.items(), strict=False):
        for which, drawn in enumerate(("codes from q(z|x)", "codes from the prior")):
            values = np.array(each_latent)[..., which]  # (dims, repeats)
            bars = np.abs(np.stack([values.min(1), values.max(1)]) - values.mean(1))
            panel.errorbar(dims, values.mean(1), bars, fmt="o-", color=plot.COLOURS[which], ms=4, label=drawn)
        panel.set(xscale="log", xlabel="latent numbers", ylabel=name, xticks=dims, xticklabels=dims)
        panel.minorticks_off()
    for colour, (latent, each) in zip(plot.COLOURS, kl.items(), strict=False):
        frames[2].plot(range(1, latent + 1), each, "o-", color=colour, ms=4, label=f"of {latent}")
    frames[2].set(xlabel="latent number, sorted", ylabel="KL(q ‖ p), nats", ylim=(0, None))
    for panel in frames:
        panel.legend(fontsize=8, frameon=False)
    return figure


def reconstructions(model: VAE, x: Array, rng: np.random.Generator) -> Figure:
    """Show images of 0 and 1, what is expected of each pixel given the mean code of each, and given codes drawn."""
    with no_grad():
        codes = model.posterior(x).mean, rng.standard_normal((len(x), model.latent), np.float32)
        rows = [x, *(sigmoid(model.decoder(z)).value[..., 0] for z in codes)]
    return plot.sample_grid(np.concatenate(rows), row_labels=["data", "reconstructions", "means of samples"])
