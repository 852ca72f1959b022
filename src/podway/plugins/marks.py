"""Marks on devices that say whose they are: network, container and interface, in the alias.

In: an attachment. Out: the text that `ip link` shows as alias of the host's device. By it DEL finds
what is outside a namespace that is gone, and GC what belongs to attachments that are not valid any
more; other people's devices bear none. The kernel keeps 255 bytes (IFALIASZ): longer marks are
hashed.
"""

from podway.plugins.digests import sha512_hex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.cni.requests import Request

MAX_MARK_BYTES = 255
_HASH_DIGITS = 64


def attachment_mark(network: str, container_id: str, ifname: str) -> str:
    """Return the alias of a device that belongs to one attachment: ``cni:net/c1/eth0``."""
    mark = f"{network_mark(network)}{container_id}/{ifname}"
    if len(mark.encode()) <= MAX_MARK_BYTES:
        return mark
    return f"{network_mark(network)}{_hash(container_id)}/{ifname}"


def network_mark(network: str) -> str:
    """Return what all marks of *network* begin with."""
    # Neither networks nor containers have a slash in their names.
    return f"cni:{network if len(network) <= _HASH_DIGITS else _hash(network)}/"


def mark_of(request: "Request") -> str:
    """Return the mark of the attachment that *request* is about."""
    return attachment_mark(request.config.name, request.container_id, request.ifname)


def valid_marks(request: "Request") -> frozenset[str]:
    """Return the marks of the attachments that a GC must leave alone."""
    return frozenset(
        attachment_mark(request.config.name, each.container_id, each.ifname)
        for each in request.config.valid_attachments or ()
    )


def _hash(name: str) -> str:
    return sha512_hex(name)[:_HASH_DIGITS]
