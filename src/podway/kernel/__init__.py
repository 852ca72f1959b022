"""Effects: reading and writing kernel state. `protocol` is the contract, real and fake alike."""
