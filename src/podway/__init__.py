"""podway: Kubernetes and container networking, decided in Python and forwarded by the kernel."""

__version__ = "0.1.0"
