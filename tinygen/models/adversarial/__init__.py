"""Chapter 4: adversarial models, which have a sampler but no likelihood."""
