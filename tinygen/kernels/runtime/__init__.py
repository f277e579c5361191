"""What kernels are built on: SIMD register tiles, the worker pool, memory layout, the allocator."""
