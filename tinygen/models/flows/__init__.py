"""Chapter 2: normalising flows, an invertible map and a base distribution."""
