"""Estimates of ln p(x) over the number of latent numbers, their variances, and what KL each latent number has."""

import numpy as np
from matplotlib.figure import Figure

from tinygen import no_grad, plot
from tinygen.autograd import Array, sigmoid
from tinygen.models import VAE


def picture(found: dict[int, Array], kl: dict[int, Array]) -> Figure:
    """Draw `found`, latent → (repeats, from q or the prior, ln p̂ or log₁₀ variance), and `kl`, latent → nats each."""
    figure = Figure(figsize=(10.2, 3.3), dpi=plot.DPI, facecolor="white", layout="constrained")
    panels, dims = figure.subplots(1, 3), list(found)
    for what, name in enumerate(("estimate of ln p(x), nats", "log₁₀ of a weight's relative variance")):
        for which, drawn in enumerate(("codes from q(z|x)", "codes from the prior")):
            values = np.array([found[latent][:, which, what] for latent in dims])  # (dims, repeats)
            bars = np.abs(np.stack([values.min(1), values.max(1)]) - values.mean(1))
            panels[what].errorbar(dims, values.mean(1), bars, fmt="o-", color=plot.COLOURS[which], ms=4, label=drawn)
        panels[what].set(xscale="log", xlabel="latent numbers", ylabel=name, xticks=dims, xticklabels=dims)
        panels[what].minorticks_off()
    for colour, (latent, each) in zip(plot.COLOURS, kl.items(), strict=False):
        panels[2].plot(range(1, latent + 1), each, "o-", color=colour, ms=4, label=f"{latent} latent numbers")
    panels[2].set(xlabel="latent number, sorted", ylabel="KL(q ‖ p), nats", ylim=(0, None))
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(fontsize=8, frameon=False)
    return figure


def reconstructions(model: VAE, x: Array, rng: np.random.Generator) -> Figure:
    """Show images of 0 and 1, what is expected of each pixel given the mean code of each, and given codes drawn."""
    with no_grad():
        codes = model.posterior(x).mean, rng.standard_normal((len(x), model.latent), np.float32)
        rows = [x, *(sigmoid(model.decoder(z)).value[..., 0] for z in codes)]
    return plot.sample_grid(np.concatenate(rows), row_labels=["data", "reconstructions", "samples"])
