"""Effects: reading and writing kernel state. `protocol` is the contract of real and fake kernels."""
