"""Which CNI executables there are: the name that a configuration's ``type`` uses, and its module.

Read by `install` and the command line. A module of this table is called as the plugin, with ``_``
for ``-``, which is how executables that delegate to another find it (`delegation`). It has a
function ``main()`` without arguments that answers one CNI call and ends the process, and, unless it
is ``podway`` itself, a `podway.plugins.skeleton.CniPlugin` called ``PLUGIN``.
"""

from podway.cni.values import Value
from podway.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


class Plugin(Value):
    """One executable.

    Attributes:
        name: of the file, as ``type`` in a network configuration.
        module: where its ``main()`` is.
        about: what it does, in one line.
    """

    name: str
    module: str
    about: str


# In the order of names, `podway` first.
PLUGINS: "Final" = (
    Plugin(
        name="podway",
        module="podway.plugins.podway",
        about="attaches a pod to podway's network; asks the agent",
    ),
    Plugin(
        name="bandwidth",
        module="podway.plugins.bandwidth",
        about="limits what a container may receive and send",
    ),
    Plugin(
        name="bridge",
        module="podway.plugins.bridge",
        about="attaches a container to a bridge of the node",
    ),
    Plugin(
        name="host-local",
        module="podway.plugins.host_local",
        about="IPAM: gives addresses from pools of this node, kept in files",
    ),
    Plugin(
        name="dhcp",
        module="podway.plugins.dhcp",
        about="IPAM: leases from DHCP servers, kept by its daemon",
    ),
    Plugin(
        name="dummy",
        module="podway.plugins.dummy",
        about="an interface that leads nowhere, to hold addresses",
    ),
    Plugin(
        name="flannel",
        module="podway.plugins.flannel",
        about="attaches by another plugin, in the subnet that flannel gave the node",
    ),
    Plugin(
        name="firewall",
        module="podway.plugins.firewall",
        about="lets a container's traffic pass the host's firewall",
    ),
    Plugin(
        name="host-device",
        module="podway.plugins.host_device",
        about="a device of the host, moved into the container and back",
    ),
    Plugin(
        name="ipvlan",
        module="podway.plugins.ipvlan",
        about="an interface that shares the MAC address of a device of the host",
    ),
    Plugin(
        name="loopback",
        module="podway.plugins.loopback",
        about="brings the container's lo up",
    ),
    Plugin(
        name="macvlan",
        module="podway.plugins.macvlan",
        about="an interface with a MAC address of its own on a device of the host",
    ),
    Plugin(
        name="portmap",
        module="podway.plugins.portmap",
        about="publishes ports of a container on the host",
    ),
    Plugin(
        name="ptp",
        module="podway.plugins.ptp",
        about="a pair of devices between container and host, and routes on both ends",
    ),
    Plugin(
        name="sbr",
        module="podway.plugins.sbr",
        about="what a container sends from an address goes by that address' own routes",
    ),
    Plugin(
        name="tap",
        module="podway.plugins.tap",
        about="a tap device in the container, for a virtual machine or another process",
    ),
    Plugin(
        name="tuning",
        module="podway.plugins.tuning",
        about="kernel parameters and properties of an interface that is there already",
    ),
    Plugin(
        name="vlan",
        module="podway.plugins.vlan",
        about="an interface for one VLAN of a device of the host",
    ),
    Plugin(
        name="vrf",
        module="podway.plugins.vrf",
        about="puts a container's interface into a routing domain of its own",
    ),
    Plugin(
        name="static",
        module="podway.plugins.static",
        about="IPAM: gives the addresses that the configuration or the runtime says",
    ),
)


def find_plugins(names: tuple[str, ...]) -> tuple[Plugin, ...]:
    """Return the plugins called *names*, in that order; all of them for no names.

    Raises:
        ConfigError: one of them does not exist.
    """
    by_name = {plugin.name: plugin for plugin in PLUGINS}
    for name in names:
        if name not in by_name:
            raise ConfigError("plugin", name, f"must be one of {', '.join(by_name)}")
    return tuple(by_name[name] for name in names) if names else PLUGINS
