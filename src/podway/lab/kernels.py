"""Can this machine carry a lab's backend? Found out by making a device, in a namespace of the lab.

An agent would say the same, one operation after the other, and try for ever; who makes a lab is
better served by one sentence at once.
"""

import errno
import shutil
from ipaddress import IPv4Address

from podway.diff.operations import Operation, Verb
from podway.errors import ConfigError
from podway.kernel.protocol import KernelError
from podway.kernel.wireguard_process import PROGRAM
from podway.lab.namespaces import carry_out, kernel_of
from podway.lab.specs import LabSpec
from podway.model.kernel import Ipip, Link
from podway.netlink import NetlinkError, NetlinkSocket
from podway.netlink.constants import NETLINK_GENERIC
from podway.netlink.wireguard import get_wireguard_family

_PROBE = "podway-probe"


def check_kernel(spec: LabSpec, namespace: str) -> None:
    """Make and delete what the backend of *spec* needs, in *namespace*.

    Raises:
        ConfigError: this machine cannot; says what is missing and what to do.
        KernelError: the kernel refuses for another reason.
    """
    match spec.backend:
        case "ipip":
            _check_ipip(namespace)
        case "wireguard":
            _check_wireguard()
        case _:
            pass


def _check_ipip(namespace: str) -> None:
    link = Link(name=_PROBE, kind=Ipip(local=IPv4Address("192.0.2.1")))
    make = Operation(Verb.CREATE, link.key, desired=link)
    delete = Operation(Verb.DELETE, link.key, observed=link)
    try:
        with kernel_of(namespace) as kernel:
            carry_out(kernel, [make, delete])
    except KernelError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        rule = (
            "this kernel has no such tunnels: load the module (modprobe ipip), "
            "or choose another --backend (vxlan is the nearest)"
        )
        raise ConfigError("--backend", "ipip", rule) from error


def _check_wireguard() -> None:
    if shutil.which(PROGRAM) is not None:
        return
    try:
        with NetlinkSocket(NETLINK_GENERIC) as netlink:
            netlink.request(get_wireguard_family())
    except NetlinkError as error:
        if not error.is_not_found:
            raise
        rule = (
            "this kernel has no WireGuard and there is no wireguard-go to stand in: "
            "install it (apt-get install wireguard-go), or choose another --backend"
        )
        raise ConfigError("--backend", "wireguard", rule) from error
