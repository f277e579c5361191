"""Chapter 2: flows, which are an invertible map and a base distribution."""
