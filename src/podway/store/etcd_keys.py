"""The keys of one network in etcd: flannel's, and podway's own beside them. Pure.

::

    PREFIX/config                                net-conf.json                      flannel
    PREFIX/subnets/10.5.52.0-24                  a lease (see `flannel_data`)       flannel
    PREFIX/podway/nodes/NAME                     {"Key":..., "PublicIP":...}        podway
    PREFIX/podway/reservations/NAME              {"Subnets":[...]}                  podway
    PREFIX/podway/ipv6/fd00:12:13::-56           NAME                               podway

flannel knows no names, only public addresses; a node's record gives its lease a name, for as long
as the lease is still that of this address. flannel reads ``subnets*`` alone, so it never sees ours.

A lease of both families is one key that begins with its IPv4 subnet. So a claim can ask that no key
begins with that subnet, but not that nobody has the IPv6 one; that is what ``ipv6`` is for.
"""

from typing import TypeAlias

import msgspec
from msgspec import Struct

from podway.model.addresses import IPNetwork
from podway.store.codec import parse_subnet
from podway.store.flannel_data import FlannelDataError

Subnets: TypeAlias = tuple[IPNetwork, ...]


class EtcdKeys(Struct, frozen=True):
    """Keys under one *prefix*, as etcd takes them: bytes."""

    prefix: str

    @property
    def root(self) -> bytes:
        """What all keys begin with."""
        return f"{self.prefix}/".encode()

    @property
    def config(self) -> bytes:
        """The network's configuration."""
        return self.root + b"config"

    @property
    def subnets(self) -> bytes:
        """What the keys of leases begin with."""
        return self.root + b"subnets/"

    @property
    def nodes(self) -> bytes:
        """What the keys of nodes' records begin with."""
        return self.root + b"podway/nodes/"

    @property
    def reservations(self) -> bytes:
        """What the keys of reservations by name begin with."""
        return self.root + b"podway/reservations/"

    @property
    def ipv6(self) -> bytes:
        """What the keys that hold IPv6 subnets begin with."""
        return self.root + b"podway/ipv6/"


class NodeRecord(Struct, frozen=True, kw_only=True):
    """Which lease is the node's: its key, and the public address that it must still have."""

    key: str
    public_ip: str


class _NodeBody(Struct, frozen=True, kw_only=True, rename="pascal"):
    key: str
    public_ip: str = msgspec.field(name="PublicIP")


class _ReservationBody(Struct, frozen=True, kw_only=True, rename="pascal"):
    subnets: tuple[str, ...]


def render_record(record: NodeRecord) -> bytes:
    """Return *record* as its value in etcd."""
    return msgspec.json.encode(_NodeBody(key=record.key, public_ip=record.public_ip))


def parse_record(value: bytes) -> NodeRecord:
    """Return the record that `render_record` wrote. Raises FlannelDataError."""
    try:
        body = msgspec.json.decode(value, type=_NodeBody)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise FlannelDataError(f"record of a node cannot be read: {error}") from error
    return NodeRecord(key=body.key, public_ip=body.public_ip)


def render_reservation(subnets: Subnets) -> bytes:
    """Return *subnets*, kept for one node, as their value in etcd."""
    return msgspec.json.encode(_ReservationBody(subnets=tuple(str(each) for each in subnets)))


def parse_reservation(value: bytes) -> Subnets:
    """Return the subnets that `render_reservation` wrote. Raises FlannelDataError."""
    try:
        body = msgspec.json.decode(value, type=_ReservationBody)
        return tuple(parse_subnet(text) for text in body.subnets)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise FlannelDataError(f"reservation cannot be read: {error}") from error
