"""Where an agent's directories and sockets lie, by the name of its instance.

The agent makes them, commands and the CNI plugin's configuration name them, `podway uninstall`
clears them away: this is the one place that knows. Import-light, since commands load it first.
"""

import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

DEFAULT_RUN_DIR: Final = Path("/run/podway")
DEFAULT_STATE_DIR: Final = Path("/var/lib/podway")
# Below the run directory: for people's commands, and for the CNI plugin.
AGENT_SOCKET: Final = "agent.sock"
CNI_SOCKET: Final = "cni.sock"
# Below the state directory: what it must not forget.
LEDGER: Final = "agent.db"
_CONNECT_S = 1.0


def own_dir(directory: Path, instance: str) -> Path:
    """Return *directory* as it is called for *instance*; "" is the one without a name."""
    return directory.with_name(f"{directory.name}-{instance}") if instance else directory


def agent_socket_of(instance: str) -> Path:
    """Return where the agent of *instance* listens, unless its run directory is another."""
    return own_dir(DEFAULT_RUN_DIR, instance) / AGENT_SOCKET


def cni_socket_of(instance: str) -> Path:
    """Return where the agent of *instance* serves the CNI plugin, likewise."""
    return own_dir(DEFAULT_RUN_DIR, instance) / CNI_SOCKET


def running_instances() -> list[str]:
    """Return the instances whose agents listen on this machine, sorted; "" has no name."""
    parent, base = DEFAULT_RUN_DIR.parent, DEFAULT_RUN_DIR.name
    named = (path.name.removeprefix(f"{base}-") for path in parent.glob(f"{base}-*"))
    return sorted(each for each in ("", *named) if is_listening(agent_socket_of(each)))


def is_listening(path: Path) -> bool:
    """Tell whether somebody accepts connections on the Unix socket *path*."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, suppress(OSError):
        probe.settimeout(_CONNECT_S)
        probe.connect(str(path))
        return True
    return False
