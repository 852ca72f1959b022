"""Tell systemd how this service fares (sd_notify(3)); without systemd nothing happens."""

import os
import socket

NOTIFY_SOCKET = "NOTIFY_SOCKET"
WATCHDOG_USEC = "WATCHDOG_USEC"


def is_supervised() -> bool:
    """Tell whether a service manager wants to be told."""
    return os.environ.get(NOTIFY_SOCKET, "").startswith(("/", "@"))


def notify(*assignments: str) -> bool:
    """Send *assignments* (``READY=1``, ``STATUS=3 peers``, ``STOPPING=1``, ``WATCHDOG=1``).

    Returns whether a service manager listens. A service that cannot report goes on serving, so a
    socket that does not take the datagram counts as nobody there.
    """
    if not is_supervised():
        return False
    path = os.environ[NOTIFY_SOCKET]
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.settimeout(0)
        try:
            sender.sendto("\n".join(assignments).encode(), address)
        except OSError:
            return False
    return True


def watchdog_interval_s() -> float | None:
    """Return how often to send ``WATCHDOG=1``: half of what systemd grants; None: not asked for."""
    granted_us = os.environ.get(WATCHDOG_USEC, "")
    return int(granted_us) / 2e6 if granted_us.isdigit() and int(granted_us) else None
