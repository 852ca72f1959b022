"""What the daemon does for the executables: ADD, DEL, CHECK, GC and STATUS of the ``dhcp`` plugin.

In: a request, and the open namespace. Out: a result. Called by `server`. Holds all leases of the
node; those of before its start are found on disk and gone on with.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from podway.cni.dhcp_conf import DhcpConf, parse_dhcp_conf
from podway.cni.errors import CHECK_FAILED, INVALID_CONFIG, INVALID_NETNS, CniError
from podway.cni.requests import Request
from podway.cni.results import Result, parse_result
from podway.dhcp.client import Keeping, LeaseClient
from podway.dhcp.interfaces import Place, PlaceHolder
from podway.dhcp.lease_files import Key, LeaseFiles, read_boot_id
from podway.dhcp.leases import result_of
from podway.dhcp.packets import MAC_BYTES
from podway.dhcp.states import Identity, Patience, Phase
from podway.kernel.logs import get_log
from podway.netlink.netns import identity

# RFC 2132: the length of an option is one byte; one of them is the identifier's type.
MAX_CLIENT_ID_BYTES: Final = 254
# After a restart, leases are confirmed not faster than this, and within this time.
_CONFIRMED_PER_S: Final = 50
_MOST_DELAY_S: Final = 10.0
_NO_MAC: Final = bytes(MAC_BYTES)
_log = get_log("podway.dhcp")


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """How the daemon was started.

    Attributes:
        state_dir: where leases are kept.
        host_prefix: before paths of namespaces, for a daemon in a container.
        broadcast: servers are to answer by broadcast.
        patience: how long to wait for servers.
    """

    state_dir: Path
    host_prefix: str = ""
    broadcast: bool = False
    patience: Patience = field(default_factory=Patience)


class DhcpService:
    """All leases of a node."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._clients: dict[Key, LeaseClient] = {}
        self._files = LeaseFiles(settings.state_dir, read_boot_id())
        self._keeping = Keeping(settings.patience, self._files, self._forget)

    @property
    def clients(self) -> Mapping[Key, LeaseClient]:
        """Whose leases there are."""
        return self._clients

    def resume(self) -> None:
        """Go on with the leases on disk."""
        records = tuple(self._files.read())
        longest_s = min(len(records) / _CONFIRMED_PER_S, _MOST_DELAY_S)
        for record in records:
            client = LeaseClient(
                record.key,
                PlaceHolder(record.place),
                self._identity(record.client_id, record.requested, record.provided),
                self._keeping,
            )
            self._clients[record.key] = client
            client.resume(record.lease, random.uniform(0, longest_s))  # noqa: S311
        if records:
            _log.info("leases of before", count=len(records))

    def close(self) -> None:
        """End without giving leases back: the next daemon goes on with them."""
        for client in self._clients.values():
            client.close()

    async def serve(self, request: Request, descriptor: int | None) -> Result | None:
        """Do what *request* asks; return the result of an ADD.

        Args:
            request: of the executable.
            descriptor: of the network namespace; borrowed.

        Raises:
            CniError: as the command's failures have it.
        """
        conf = parse_dhcp_conf(request)
        match request.command:
            case "ADD":
                return await self._add(request, conf, descriptor)
            case "DEL":
                self._release(_key_of(request))
            case "CHECK":
                self._check(request)
            case "GC":
                self._collect(request)
            case _:
                # STATUS: whoever hears this answer can be served.
                pass
        return None

    async def _add(self, request: Request, conf: DhcpConf, descriptor: int | None) -> Result:
        if descriptor is None:
            raise CniError(INVALID_NETNS, "ADD came without a network namespace")
        key = _key_of(request)
        path = self._settings.host_prefix + request.netns
        place = Place(path, identity(descriptor), request.ifname)
        client = self._clients.get(key)
        if client is not None and client.lease is not None and client.place == place:
            return result_of(client.lease, conf)
        if client is None or client.place != place or not client.is_acquiring:
            self._release(key)
            client = LeaseClient(
                key,
                PlaceHolder(place, descriptor),
                self._identity(_client_id(key), conf.requested, dict(conf.provided)),
                self._keeping,
            )
            self._clients[key] = client
        try:
            return result_of(await client.acquire(), conf)
        except CniError:
            if self._clients.get(key) is client:
                self._release(key)
            raise

    def _check(self, request: Request) -> None:
        key = _key_of(request)
        client = self._clients.get(key)
        if client is None or client.lease is None:
            state = "has run out" if client and client.phase is Phase.EXPIRED else "is not known"
            raise CniError(
                CHECK_FAILED,
                f"the lease of {key.ifname} of container {key.container_id} {state}: "
                "detach the container and attach it again",
            )
        previous = request.config.prev_result
        if previous is None:
            raise CniError(INVALID_CONFIG, "prevResult is missing: CHECK of dhcp needs it")
        result = parse_result(previous, request.config.cni_version)
        address = f"{client.lease.address}/{client.lease.prefix_bits}"
        if address not in {ip.address for ip in result.ips}:
            raise CniError(CHECK_FAILED, f"prevResult lacks {address}, for which there is a lease")

    def _collect(self, request: Request) -> None:
        """Give back what belongs to attachments of this network that are not valid any more."""
        network = request.config.name
        valid = {
            Key(network, each.container_id, each.ifname)
            for each in request.config.valid_attachments or ()
        }
        for key in tuple(self._clients):
            if key.network == network and key not in valid:
                _log.info("lease of nobody", network=key.network, container=key.container_id)
                self._release(key)

    def _release(self, key: Key) -> None:
        client = self._clients.pop(key, None)
        if client is not None:
            client.release()

    def _forget(self, client: LeaseClient) -> None:
        if self._clients.get(client.key) is client:
            del self._clients[client.key]

    def _identity(
        self, client_id: bytes, requested: tuple[int, ...], provided: Mapping[int, bytes]
    ) -> Identity:
        return Identity(
            mac=_NO_MAC,
            client_id=client_id,
            requested=requested,
            provided=provided,
            broadcast=self._settings.broadcast,
        )


def _key_of(request: Request) -> Key:
    return Key(request.config.name, request.container_id, request.ifname)


def _client_id(key: Key) -> bytes:
    """Return option 61 as the reference plugin has it, so that servers give the same addresses."""
    told = f"{key.container_id}/{key.network}/{key.ifname}".encode()
    return b"\0" + told[:MAX_CLIENT_ID_BYTES]
