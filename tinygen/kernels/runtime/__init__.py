"""Infrastructure of the kernels: SIMD register tiles, the worker pool, memory layout, the allocator."""
