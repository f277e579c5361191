"""The machinery below the kernels: SIMD register tiles, a worker pool, array layout. A reader may skip it."""
