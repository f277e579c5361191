"""Chapter 4: adversarial models, which sample without a likelihood."""
