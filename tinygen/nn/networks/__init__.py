"""Networks that are passed to models as arguments: `couplings` for flows, `images` for VAEs and GANs."""
