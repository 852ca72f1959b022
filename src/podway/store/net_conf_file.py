"""The network's configuration as a file: net-conf.json of a mounted ConfigMap, read and read again.

In: a path. Out: its network, or why there is none, whenever that changes. The kubelet replaces the
files of a ConfigMap by swapping a symbolic link, a minute or so after somebody edited it; a look at
the file every few seconds costs one system call and needs no watch that could break.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from msgspec import Struct

from podway.errors import ConfigError
from podway.model.networks import Network
from podway.store.flannel_data import parse_net_conf
from podway.store.net_conf_remarks import tell_unknown_keys

_MAX_BYTES = 1 << 20


class NetConf(Struct, frozen=True):
    """What the file says: a network, or the error for which there is none."""

    network: Network | None
    error: str = ""


def read_net_conf(path: Path) -> NetConf:
    """Return what *path* says now."""
    try:
        text = read_text(path)
    except OSError as error:
        reason = error.strerror or str(error)
        return NetConf(None, f"{path}: {reason}: the network's configuration must be there")
    try:
        network = parse_net_conf(text)
    except ConfigError as error:
        return NetConf(None, f"the network configuration {path} cannot be used: {error}")
    tell_unknown_keys(text)
    return NetConf(network)


def read_text(path: Path) -> bytes:
    """Return the text of *path*, as far as a configuration can be long. Raises OSError."""
    with path.open("rb") as file:
        return file.read(_MAX_BYTES)


async def follow_net_conf(path: Path, look_s: float) -> AsyncIterator[NetConf]:
    """Yield what *path* says whenever that is something else, for ever; look every *look_s*."""
    said: NetConf | None = None
    seen: tuple[int, ...] | None = (-1,)
    while True:
        stamp = _stamp(path)
        if stamp != seen:
            conf = read_net_conf(path)
            if conf != said:
                yield conf
            # An edit between the two looks is seen with the next one.
            seen, said = stamp, conf
        await asyncio.sleep(look_s)


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
