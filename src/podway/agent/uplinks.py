"""Asks a kernel for the interface that leads to the peers; called in the kernel's thread."""

from podway.compute.uplinks import choose_uplink, join_uplinks
from podway.kernel.protocol import Kernel
from podway.model.addresses import Family
from podway.model.nodes import Uplink, UplinkChoice


def find_uplink(kernel: Kernel, choice: UplinkChoice) -> Uplink | None:
    """Return the uplink that *choice* means, or that of the default routes; None without one.

    The two families may have different ones. What was chosen by the way to an address, or by the
    default routes, is one interface if that has addresses in both families.

    Raises:
        KernelError: the kernel cannot be read.
    """
    if choice.names or choice.patterns:
        found = choose_uplink(kernel.list_uplinks(), choice)
        if found is not None:
            return found
    if choice.reach is not None:
        devices = [kernel.find_way(choice.reach)]
    elif choice:
        devices = []
    else:
        devices = [kernel.find_uplink(), kernel.find_uplink(Family.IPV6)]
    uplinks = [kernel.read_uplink(dev) for dev in devices if dev]
    present = [uplink for uplink in uplinks if uplink is not None]
    return join_uplinks(present) if present else None
