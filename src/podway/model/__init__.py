"""Frozen values that everything else speaks in: what a cluster is, and what a kernel should hold.

No module here has effects. Cluster side: `networks`, `nodes`, `endpoints`. Kernel side: `kernel`.
"""
