"""Chapter 2: normalising flows, each an invertible map with a base distribution."""
