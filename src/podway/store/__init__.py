"""The cluster's store as an agent sees it: `protocol` is the contract, the rest are engines."""
