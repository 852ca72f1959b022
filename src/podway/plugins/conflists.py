"""The network configuration list that makes a runtime call ``podway``.

In: what a user chose. Out: the text of ``10-podway.conflist``. Called by `install`. SPEC 1.1.0,
"Network configuration format".
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from podway.cni.frames import DEFAULT_AGENT_SOCKET, parse_socket_path
from podway.cni.names import check_network_name
from podway.cni.podway_conf import ATTACH_KINDS, MTU_BYTES
from podway.errors import ConfigError

# Runtimes take the first file in the order of names.
CONFLIST_NAME: Final = "10-podway.conflist"
# Every runtime in use reads 1.0.0. One with libcni 1.2 or newer also reads cniVersions, takes the
# newest of them, and so gets GC and STATUS; older ones pass over that key.
CONFLIST_VERSION: Final = "1.0.0"
CONFLIST_VERSIONS: Final = ("1.0.0", "1.1.0")


@dataclass(frozen=True, slots=True)
class Conflist:
    """What goes into the network configuration; None leaves a key out.

    Attributes:
        directory: where the runtime reads configurations (``/etc/cni/net.d``).
        network: its name.
        attach: "bridge" or "routed"; None: as the agent is configured.
        mtu_bytes: of the pods' interfaces.
        agent_socket: where the agent listens.
        replace: replace a configuration that differs.
    """

    directory: Path
    network: str = "podway"
    attach: str | None = None
    mtu_bytes: int | None = None
    agent_socket: str | None = None
    replace: bool = False


def render_conflist(conflist: Conflist) -> bytes:
    """Return the network configuration list (SPEC 1.1.0, "Network configuration format").

    Raises:
        ConfigError, CniError: a value breaks a rule of the plugin.
    """
    check_network_name(conflist.network)
    document = {
        "cniVersion": CONFLIST_VERSION,
        "cniVersions": CONFLIST_VERSIONS,
        "name": conflist.network,
        "plugins": [_plugin_entry(conflist)],
    }
    return (json.dumps(document, indent=2) + "\n").encode()


def _plugin_entry(conflist: Conflist) -> dict[str, object]:
    entry: dict[str, object] = {"type": "podway", "capabilities": {"ips": True, "mac": True}}
    if conflist.attach is not None:
        if conflist.attach not in ATTACH_KINDS:
            raise ConfigError("attach", conflist.attach, f"must be one of {list(ATTACH_KINDS)}")
        entry["attach"] = conflist.attach
    if conflist.mtu_bytes is not None:
        least, most = MTU_BYTES
        if not least <= conflist.mtu_bytes <= most:
            raise ConfigError("mtu", conflist.mtu_bytes, f"must be {least} to {most} bytes")
        entry["mtu"] = conflist.mtu_bytes
    if conflist.agent_socket is not None:
        entry["agentSocket"] = parse_socket_path(conflist.agent_socket, DEFAULT_AGENT_SOCKET)
    return entry
