"""The user-space tunnel (`podway.udp`) as if it were the kernel's: read and written by operations.

A relay is a process beside the agent. What it was told it can say again, so its configuration and
its peers are observed state like routes are: an agent that starts finds what the last one left, and
writes the difference. A relay that ends is noticed by its connection and shows up as a device whose
state is gone; the next pass starts it again. One that ends over and over is started after a pause.
"""

import errno
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from ipaddress import ip_address, ip_network
from pathlib import Path

from podway.diff.operations import Operation, Verb
from podway.kernel.errors import worded
from podway.kernel.protocol import KernelError
from podway.model.kernel import KernelObject, Key, UdpPeer, UdpRelay
from podway.udp.control import ControlError, RelayClient, RelayConfig
from podway.udp.launch import start_relay
from podway.udp.limits import Allowance
from podway.udp.peers import Peer

# What goes into one message.
_PEERS_MAX = 1000
# How often a relay may be started: so often at once, so often a second from then on.
_STARTS, _STARTS_PER_S = 4, 1.0


class Relays:
    """The relays of one namespace, by their devices.

    Args:
        directory: where their sockets lie.
        inside: a context in which a process is started in the namespace.
        watch: has the kernel's descriptor become readable when the one given does.
    """

    def __init__(
        self,
        directory: Path,
        inside: Callable[[], AbstractContextManager[None]],
        watch: Callable[[int], None],
    ) -> None:
        self._directory = directory
        self._inside = inside
        self._watch = watch
        self._clients: dict[str, RelayClient] = {}
        self._starts: dict[str, Allowance] = {}

    def read(self, dev: str) -> dict[Key, KernelObject]:
        """Return the relay of device *dev* and its peers; nothing where none runs."""
        client = self._connect(dev)
        if client is None:
            return {}
        try:
            config, peers = client.state()
        except (OSError, ControlError):
            self._forget(dev)
            return {}
        items: list[KernelObject] = [_relay_of(config)]
        items += [_peer_of(dev, peer) for peer in peers]
        return {item.key: item for item in items}

    def apply(self, operations: Sequence[Operation]) -> list[KernelError | None]:
        """Carry out *operations*, of relays or of peers; one entry each, None for success."""
        outcomes: list[KernelError | None] = []
        for run in _runs(operations):
            outcomes += self._apply_run(run)
        return outcomes

    def ended(self) -> list[str]:
        """Return the devices whose relay has ended since the last call."""
        gone = [dev for dev, client in self._clients.items() if client.has_ended()]
        for dev in gone:
            self._forget(dev)
        return gone

    def close(self) -> None:
        """Close the connections; the relays go on."""
        for dev in list(self._clients):
            self._forget(dev)

    # --- inside ---------------------------------------------------------------------------------

    def _apply_run(self, run: Sequence[Operation]) -> list[KernelError | None]:
        """Carry out operations of one device and kind; peers' go together."""
        dev = str(run[0].key.parts[0])
        try:
            with worded(
                f"{run[0]}" if len(run) == 1 else f"{len(run)} peers of the relay of {dev}"
            ):
                if run[0].key.kind == "relay":
                    self._write_relay(dev, run[0])
                else:
                    self._write_peers(dev, run)
        except KernelError as error:
            return [error] * len(run)
        return [None] * len(run)

    def _write_relay(self, dev: str, operation: Operation) -> None:
        """Start, replace or end a relay; one that is replaced hands its peers on."""
        old = self.read(dev)
        if operation.verb is Verb.DELETE:
            self._stop(dev)
            return
        desired = operation.desired
        assert isinstance(desired, UdpRelay)
        if old.get(desired.key) == desired:
            return
        self._stop(dev)
        self._start(desired)
        peers = [item for item in old.values() if isinstance(item, UdpPeer)]
        fitting = {address.version for address in desired.addresses}
        self._set(dev, [peer for peer in peers if peer.public_ip.version in fitting])

    def _start(self, relay: UdpRelay) -> None:
        allowance = self._starts.setdefault(relay.dev, Allowance(_STARTS, _STARTS_PER_S))
        if not allowance.take(time.monotonic()):
            reason = "it has ended again and again; it is started once a second"
            raise KernelError(errno.EAGAIN, f"start the relay of {relay.dev}", reason)
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._inside():
            start_relay(str(self._path(relay.dev)), _config_of(relay))

    def _stop(self, dev: str) -> None:
        client = self._connect(dev)
        if client is not None:
            with suppress(OSError, ControlError):
                client.stop()
        self._forget(dev)

    def _write_peers(self, dev: str, run: Sequence[Operation]) -> None:
        gone = [str(op.key.parts[1]) for op in run if op.verb is Verb.DELETE]
        peers = [op.desired for op in run if isinstance(op.desired, UdpPeer)]
        client = self._connect(dev)
        if client is None:
            if peers:
                raise KernelError(errno.ENOTCONN, f"tell the relay of {dev}", "it does not run")
            return
        try:
            if gone:
                client.delete(gone)
            self._set(dev, peers)
        except ControlError as error:
            raise KernelError(errno.EINVAL, f"tell the relay of {dev}", str(error)) from error

    def _set(self, dev: str, peers: Sequence[UdpPeer]) -> None:
        client = self._connect(dev)
        for first in range(0, len(peers), _PEERS_MAX):
            if client is None:
                raise KernelError(errno.ENOTCONN, f"tell the relay of {dev}", "it does not run")
            client.set([_wire_peer(peer) for peer in peers[first : first + _PEERS_MAX]])

    def _connect(self, dev: str) -> RelayClient | None:
        client = self._clients.get(dev)
        if client is None:
            try:
                client = RelayClient(str(self._path(dev)))
            except OSError:
                return None
            self._clients[dev] = client
            self._watch(client.fileno())
        return client

    def _forget(self, dev: str) -> None:
        client = self._clients.pop(dev, None)
        if client is not None:
            client.close()

    def _path(self, dev: str) -> Path:
        return self._directory / f"{dev}.sock"


def _runs(operations: Sequence[Operation]) -> list[list[Operation]]:
    """Return *operations* in runs: of one device's peers, or a relay alone."""
    runs: list[list[Operation]] = []
    for operation in operations:
        joins = (
            runs
            and operation.key.kind == "udppeer" == runs[-1][0].key.kind
            and operation.key.parts[0] == runs[-1][0].key.parts[0]
        )
        if joins:
            runs[-1].append(operation)
        else:
            runs.append([operation])
    return runs


def _config_of(relay: UdpRelay) -> RelayConfig:
    return RelayConfig(
        dev=relay.dev,
        port=relay.port,
        addresses=tuple(map(str, relay.addresses)),
        subnets=tuple(map(str, relay.subnets)),
    )


def _relay_of(config: RelayConfig) -> UdpRelay:
    return UdpRelay(
        dev=config.dev,
        port=config.port,
        addresses=tuple(map(ip_address, config.addresses)),
        subnets=tuple(map(ip_network, config.subnets)),
    )


def _wire_peer(peer: UdpPeer) -> Peer:
    return Peer(str(peer.prefix), (str(peer.public_ip), peer.port), peer.segments)


def _peer_of(dev: str, peer: Peer) -> UdpPeer:
    return UdpPeer(
        dev=dev,
        prefix=ip_network(peer.prefix),
        public_ip=ip_address(peer.where[0]),
        port=peer.where[1],
        segments=peer.segments,
    )
