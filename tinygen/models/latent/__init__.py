"""Chapter 3: latent-variable models, trained by a bound on ln p(x)."""
