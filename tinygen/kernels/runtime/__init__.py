"""Infrastructure of the kernels: SIMD register tiles, threads, memory layout, the allocator."""
