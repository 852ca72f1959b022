"""Leases on disk: one file for each, so that a daemon that starts again goes on with them.

In: what a client must know to go on. Out: the same after a restart. Called by `service`. Files are
replaced in one step and not synced: a lease does not outlive its machine's run, because its
namespace does not; a file of an earlier run of the machine is removed unread. ::

    /var/lib/cni/dhcp/<32 hex digits>.json

The name is a hash of network, container and interface; the content says which they are.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Address
from math import inf
from pathlib import Path
from typing import Any, Final

from podway.dhcp.interfaces import Place
from podway.dhcp.leases import Lease
from podway.dhcp.packets import MAC_BYTES

DEFAULT_STATE_DIR: Final = Path("/var/lib/cni/dhcp")
_FORMAT: Final = 1
_FILE_MODE: Final = 0o600


@dataclass(frozen=True, slots=True)
class Key:
    """An attachment."""

    network: str
    container_id: str
    ifname: str


@dataclass(frozen=True, slots=True)
class Record:
    """What a client must know to go on.

    Attributes:
        key: whose the lease is.
        place: where its interface is.
        client_id: option 61.
        requested: option 55.
        provided: further options.
        lease: what the server gave.
    """

    key: Key
    place: Place
    client_id: bytes
    requested: tuple[int, ...]
    provided: dict[int, bytes]
    lease: Lease


class LeaseFiles:
    """The files of one directory.

    Args:
        directory: made if it is missing.
        boot: of this run of the machine.
    """

    def __init__(self, directory: Path, boot: str) -> None:
        self._directory = directory
        self._boot = boot
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def write(self, record: Record) -> None:
        """Keep *record* in place of what is kept for its attachment.

        Raises:
            OSError: it cannot be written.
        """
        text = json.dumps({"format": _FORMAT, "boot": self._boot, **_document(record)})
        path = self._path(record.key)
        aside = path.with_suffix(".new")
        descriptor = os.open(
            aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE
        )
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
        aside.replace(path)

    def remove(self, key: Key) -> None:
        """Keep nothing for *key* any more."""
        self._path(key).unlink(missing_ok=True)

    def read(self) -> Iterator[Record]:
        """Yield what is kept; remove what is of no use: torn, or of an earlier run."""
        for path in sorted(self._directory.iterdir()):
            record = self._read(path) if path.suffix == ".json" else None
            if record is not None and path == self._path(record.key):
                yield record
            elif path.suffix in {".json", ".new"}:
                path.unlink(missing_ok=True)

    def _read(self, path: Path) -> Record | None:
        try:
            document = json.loads(path.read_bytes())
            if (document["format"], document["boot"]) != (_FORMAT, self._boot):
                return None
            return _parse(document)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def _path(self, key: Key) -> Path:
        # No name has a line feed in it.
        told = f"{key.network}\n{key.container_id}\n{key.ifname}"
        return self._directory / f"{sha256(told.encode()).hexdigest()[:32]}.json"


def read_boot_id() -> str:
    """Return what distinguishes this run of the machine from others."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _document(record: Record) -> dict[str, Any]:
    lease = record.lease
    return {
        "network": record.key.network,
        "containerID": record.key.container_id,
        "ifname": record.key.ifname,
        "netns": record.place.path,
        "netnsIdentity": list(record.place.identity),
        "clientID": record.client_id.hex(),
        "requested": bytes(record.requested).hex(),
        "provided": _hex(record.provided),
        "address": f"{lease.address}/{lease.prefix_bits}",
        "server": str(lease.server),
        "serverMAC": lease.server_mac.hex(),
        "options": _hex(lease.options),
        "times": [
            None if time == inf else time
            for time in (lease.renewal_s, lease.rebinding_s, lease.expiry_s)
        ],
    }


def _parse(document: dict[str, Any]) -> Record:
    """Return the record in *document*; raises what a wrong document makes it raise."""
    address, _, bits = document["address"].partition("/")
    renewal_s, rebinding_s, expiry_s = (
        inf if time is None else float(time) for time in document["times"]
    )
    device, inode = document["netnsIdentity"]
    server_mac = bytes.fromhex(document["serverMAC"])
    if len(server_mac) != MAC_BYTES or not 0 < int(bits) <= 32:
        raise ValueError("no MAC address, or no prefix length")
    if not renewal_s <= rebinding_s <= expiry_s:
        raise ValueError("times are not in order")
    return Record(
        key=Key(str(document["network"]), str(document["containerID"]), str(document["ifname"])),
        place=Place(str(document["netns"]), (int(device), int(inode)), str(document["ifname"])),
        client_id=bytes.fromhex(document["clientID"]),
        requested=tuple(bytes.fromhex(document["requested"])),
        provided=_unhex(document["provided"]),
        lease=Lease(
            address=IPv4Address(address),
            prefix_bits=int(bits),
            server=IPv4Address(document["server"]),
            server_mac=server_mac,
            options=_unhex(document["options"]),
            renewal_s=renewal_s,
            rebinding_s=rebinding_s,
            expiry_s=expiry_s,
        ),
    )


def _hex(options: Any) -> dict[str, str]:
    return {str(code): value.hex() for code, value in options.items()}


def _unhex(options: dict[str, str]) -> dict[int, bytes]:
    values = {int(code): bytes.fromhex(value) for code, value in options.items()}
    if not all(0 < code < 255 for code in values):
        raise ValueError("no number of an option")
    return values
