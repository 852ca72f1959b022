"""Can this machine carry a lab's backend? Found out by making a device, in a namespace of the lab.

An agent would say the same, one operation after the other, and try for ever; who makes a lab is
better served by one sentence at once.
"""

import errno
import shutil

from podway.diff.operations import Operation, Verb
from podway.errors import ConfigError
from podway.kernel.protocol import KernelError
from podway.kernel.wireguard_process import PROGRAM
from podway.lab.namespaces import carry_out, kernel_of
from podway.lab.specs import LabSpec
from podway.lab.underlay import underlay_addresses
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
            _check_ipip(spec, namespace)
        case "wireguard":
            _check_wireguard()
        case _:
            pass


def _check_ipip(spec: LabSpec, namespace: str) -> None:
    for address in underlay_addresses(spec, spec.nodes[0]):
        link = Link(name=_PROBE, kind=Ipip(local=address))
        make = Operation(Verb.CREATE, link.key, desired=link)
        delete = Operation(Verb.DELETE, link.key, observed=link)
        try:
            with kernel_of(namespace) as kernel:
                carry_out(kernel, [make, delete])
        except KernelError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            module = "ipip" if address.version == 4 else "ip6_tunnel"
            rule = (
                f"this kernel has no {module} devices: load the module ({module}), "
                "or choose another --backend (vxlan is the nearest)"
            )
            raise ConfigError("backend", spec.backend, rule) from error


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
        raise ConfigError("backend", "wireguard", rule) from error
