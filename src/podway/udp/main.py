"""The relay's process: ``python -m podway.udp.main SOCKET CONFIG``, CONFIG as JSON.

Opens everything, and only when all of it is open goes into the background: whoever started it knows
then that it works, or has its errno and reason as JSON on standard output and exit code 1. The
process belongs to nobody, so it outlives the agent, and has no privilege left: it needs none to
read and write what is open. It ends when it is told to, or when its device is gone.
"""

import errno
import gc
import json
import os
import signal
import socket
import sys
from contextlib import suppress

from podway.udp.capabilities import drop_capabilities
from podway.udp.control import ControlError, RelayConfig, decode_config
from podway.udp.peers import Prefixes
from podway.udp.relay import Relay
from podway.udp.server import ControlServer
from podway.udp.sockets import open_udp
from podway.udp.tun import await_link, open_tun

_NOBODY = 65534
# As the kernel's own forwarding has: a busy node shall not starve its network.
_PRECEDENCE = -10
_PACKED_BYTES = {socket.AF_INET: 4, socket.AF_INET6: 16}


def main(path: str, config_text: str) -> int:
    """Start the relay that *config_text* says, with its control socket at *path*."""
    try:
        config = decode_config(json.loads(config_text))
        listener = _listen(path)
        relay = _open(config)
        _give_up_privileges()
    except (OSError, ValueError, ControlError) as error:
        number = error.errno if isinstance(error, OSError) else errno.EINVAL
        print(json.dumps({"errno": number or errno.EIO, "reason": str(error)}))  # noqa: T201
        return 1
    if os.fork():
        os._exit(0)
    # A process group of its own, so that no terminal's Ctrl-C ends it, but no session: with a
    # session comes a share of the CPU of its own (sched(7), autogroup), and the way from the
    # relay to whoever gets the packet would lead from one share to another.
    os.setpgrp()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _silence()
    ControlServer(listener, config, relay)
    gc.freeze()
    signal.signal(signal.SIGTERM, lambda *_: relay.stop())
    with suppress(OSError):  # the device is gone, and with it what there was to do
        relay.run()
    return 0


def _open(config: RelayConfig) -> Relay:
    tun = open_tun(config.dev)
    sockets = {}
    for address in config.addresses:
        opened = open_udp(address, config.port)
        sockets[_PACKED_BYTES[opened.family]] = opened
    await_link(config.dev)
    return Relay(tun, sockets, Prefixes(list(config.subnets)))


def _listen(path: str) -> socket.socket:
    """Return a listening socket at *path*, for this user alone; what was there is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    temporary = f"{path}.{os.getpid()}"
    old = os.umask(0o177)
    try:
        listener.bind(temporary)
        listener.listen()
        os.rename(temporary, path)  # noqa: PTH104
    finally:
        os.umask(old)
    return listener


def _silence() -> None:
    """Let go of the terminal, and of whoever waits for the end of our output."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    os.close(nothing)


def _give_up_privileges() -> None:
    """Become nobody, with precedence over what does not carry packets.

    Where even root may not change who it is (a container, a unit with few capabilities), it stays
    root in name and gives up its capabilities.

    Raises:
        OSError: the kernel does not let us give up what we have.
    """
    with suppress(OSError):
        os.nice(_PRECEDENCE)
    os.chdir("/")
    if os.geteuid() != 0:
        return
    try:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    except PermissionError:
        drop_capabilities()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
