"""Cluster values to bytes and back: for the wire, for the hub's disk and for the agent's own cache.

In: a `Node`, `Claim` or `Network`. Out: msgpack maps (a network is its net-conf.json text, the form
that its operator wrote). Addresses and prefixes are text in there, as people read them, because
msgspec decodes no union of two foreign types. Unknown keys are passed over, so that a newer peer
may add some; a value that breaks a rule is a `CodecError` and never half a node.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import msgspec
from msgspec import Struct

from podway.errors import ConfigError
from podway.model.addresses import Family, IPAddress, IPNetwork
from podway.model.backend_keys import render_backend
from podway.model.networks import Network, parse_network
from podway.model.nodes import BackendData, Claim, Lease, Node, Wish
from podway.model.pools import render_pools
from podway.store.protocol import StoreError


class CodecError(StoreError):
    """Bytes that are no value of ours: torn, foreign, or of a newer version."""


class LeaseBody(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`Lease` as it travels."""

    subnet: str
    public_ip: str
    data: BackendData | None = None


class NodeBody(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`Node` as it travels."""

    name: str
    backend: str
    leases: tuple[LeaseBody, ...]


class WishBody(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`Wish` as it travels."""

    family: Family
    public_ip: str
    data: BackendData | None = None
    subnet: str | None = None
    leave: bool = False


class ClaimBody(Struct, frozen=True, kw_only=True):
    """`Claim` as it travels."""

    name: str
    backend: str
    wishes: tuple[WishBody, ...]
    ttl_s: int


_encoder = msgspec.msgpack.Encoder()
_node_decoder = msgspec.msgpack.Decoder(NodeBody)
_subnets_decoder = msgspec.msgpack.Decoder(tuple[str, ...])


def encode_node(node: Node) -> bytes:
    """Return *node* as msgpack; the same node always gives the same bytes."""
    leases = tuple(
        LeaseBody(subnet=str(lease.subnet), public_ip=str(lease.public_ip), data=lease.data)
        for lease in node.leases
    )
    return _encoder.encode(NodeBody(name=node.name, backend=node.backend, leases=leases))


def decode_node(data: bytes) -> Node:
    """Return the node that `encode_node` wrote.

    Raises:
        CodecError: *data* is none.
    """
    try:
        body = _node_decoder.decode(data)
        leases = tuple(_lease(lease) for lease in body.leases)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise CodecError(f"node of {len(data)} bytes cannot be read: {error}") from error
    return Node(name=body.name, backend=body.backend, leases=leases)


def claim_to_body(claim: Claim) -> ClaimBody:
    """Return *claim* as it travels."""
    wishes = tuple(
        WishBody(
            family=wish.family,
            public_ip=str(wish.public_ip),
            data=wish.data,
            subnet=None if wish.subnet is None else str(wish.subnet),
            leave=wish.leave,
        )
        for wish in claim.wishes
    )
    return ClaimBody(name=claim.name, backend=claim.backend, wishes=wishes, ttl_s=claim.ttl_s)


def claim_from_body(body: ClaimBody) -> Claim:
    """Return the claim that travelled as *body*.

    Raises:
        CodecError: an address or a prefix in it is none.
    """
    try:
        wishes = tuple(_wish(wish) for wish in body.wishes)
    except ValueError as error:
        raise CodecError(f"claim of node {body.name!r} cannot be read: {error}") from error
    return Claim(name=body.name, backend=body.backend, wishes=wishes, ttl_s=body.ttl_s)


def encode_subnets(subnets: Sequence[IPNetwork]) -> bytes:
    """Return *subnets* (a reservation) as a msgpack list of texts."""
    return _encoder.encode(tuple(str(subnet) for subnet in subnets))


def decode_subnets(data: bytes) -> tuple[IPNetwork, ...]:
    """Return the subnets that `encode_subnets` wrote.

    Raises:
        CodecError: *data* is none.
    """
    try:
        return tuple(parse_subnet(text) for text in _subnets_decoder.decode(data))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise CodecError(f"subnets of {len(data)} bytes cannot be read: {error}") from error


def parse_address(text: str) -> IPAddress:
    """Return the address *text*; a ValueError says what is wrong with it."""
    return IPv6Address(text) if ":" in text else IPv4Address(text)


def parse_subnet(text: str) -> IPNetwork:
    """Return the prefix *text* (no host bits); a ValueError says what is wrong with it."""
    return IPv6Network(text) if ":" in text else IPv4Network(text)


def _lease(body: LeaseBody) -> Lease:
    subnet, public_ip = parse_subnet(body.subnet), parse_address(body.public_ip)
    if subnet.version != public_ip.version:
        raise ValueError(f"subnet {subnet} and public address {public_ip} differ in family")
    return Lease(subnet=subnet, public_ip=public_ip, data=body.data)


def _wish(body: WishBody) -> Wish:
    return Wish(
        family=body.family,
        public_ip=parse_address(body.public_ip),
        data=body.data,
        subnet=None if body.subnet is None else parse_subnet(body.subnet),
        leave=body.leave,
    )


def encode_network(network: Network) -> bytes:
    """Return *network* as a net-conf.json text that says everything, defaults too."""
    document = dict(render_pools(network.pools))
    document["Backend"] = render_backend(network.backend)
    document["Attach"] = network.attach
    document["Masquerade"] = network.masquerade
    document["NonMasqueradeCIDRs"] = [str(prefix) for prefix in network.non_masquerade]
    return msgspec.json.encode(document)


def decode_network(text: bytes | str) -> Network:
    """Return the network that net-conf.json *text* describes (`parse_network`, as a store error).

    Raises:
        CodecError: a value breaks its rule; the message names field, value and rule.
    """
    try:
        return parse_network(text)
    except ConfigError as error:
        raise CodecError(f"network configuration cannot be used: {error}") from error
