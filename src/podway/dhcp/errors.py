"""What can go wrong in the DHCP daemon, beside `podway.cni.errors.CniError` for its callers.

::

    PodwayError
    ├── PacketError     bytes from the network are no DHCP message, or no datagram that carries one
    ├── LeaseError      a server's message cannot be used
    └── InterfaceError  the interface or its namespace cannot be used, or is gone
"""

from podway.errors import PodwayError


class PacketError(PodwayError):
    """Bytes from the network are not what they should be."""


class LeaseError(PodwayError):
    """A server's message is well formed, but nothing that a container could use."""


class InterfaceError(PodwayError):
    """An interface cannot be used.

    Attributes:
        is_gone: it, or its namespace, does not exist any more.
    """

    def __init__(self, message: str, *, is_gone: bool = False) -> None:
        super().__init__(message)
        self.is_gone = is_gone
