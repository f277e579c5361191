"""Chapter 3: latent-variable models, trained on a lower bound of ln p(x)."""
