"""Chapter 1: autoregressive models, which factorise ln p(x) by the chain rule."""
