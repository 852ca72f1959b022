"""A node as flanneld writes it on its Kubernetes Node, read and written. Pure.

In: a `NodeRecord`, a `Claim`, the network. Out: the model's `Node`, or the patch that makes the
Node say it. With the usual prefix a node of a VXLAN network carries::

    flannel.alpha.coreos.com/kube-subnet-manager: "true"
    flannel.alpha.coreos.com/backend-type:        vxlan
    flannel.alpha.coreos.com/backend-data:        {"VNI":1,"VtepMAC":"12:c6:65:89:b4:e3"}
    flannel.alpha.coreos.com/public-ip:           192.168.64.3

and backend-v6-data, public-ipv6 likewise. The subnets are not among them: they are spec.podCIDRs,
which kube-controller-manager gives once in a Node's life. Operators may write public-ip-overwrite
(or node-public-ip) and the same with ipv6, which win over what the node found out itself.
"""

from collections.abc import Mapping
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network
from typing import Any

import msgspec
from msgspec import Struct

from podway.errors import ConfigError
from podway.model.addresses import Family, IPAddress, IPNetwork, family_of, prefix_contains
from podway.model.networks import Network
from podway.model.nodes import Claim, Lease, Node, Wish
from podway.store.flannel_data import (
    UNNAMED_BACKENDS,
    FlannelDataError,
    parse_backend_data,
    parse_public_ip,
    render_backend_data,
)
from podway.store.kube_objects import NodeRecord
from podway.store.protocol import ClaimRefused

DEFAULT_PREFIX = "flannel.alpha.coreos.com/"
MANAGED = "kube-subnet-manager"
BACKEND_TYPE = "backend-type"
# What flanneld gives as reason and message of the condition.
_CONDITION_REASON = "FlannelIsUp"
_CONDITION_MESSAGE = "Flannel is running on this node"


class _Names(Struct, frozen=True):
    """The annotations of one family."""

    data: str
    public_ip: str
    overwrite: str
    interface: str


_NAMES = {
    Family.IPV4: _Names("backend-data", "public-ip", "public-ip-overwrite", "node-public-ip"),
    Family.IPV6: _Names(
        "backend-v6-data", "public-ipv6", "public-ipv6-overwrite", "node-public-ipv6"
    ),
}


def parse_prefix(text: str) -> str:
    """Return what stands before each annotation's name, by flannel's rules for its flag.

    ``flannel.alpha.coreos.com`` gets a slash, ``example.com/blue`` a hyphen.

    Raises:
        ConfigError: no annotation can begin so.
    """
    domain, slash, name = text.partition("/")
    rule = "must be a lower-case domain, with at most one slash, such as flannel.alpha.coreos.com"
    plain = all(part.isascii() and part.islower() for part in (domain, name) if part)
    if not domain or "/" in name or not plain or any(each.isspace() for each in text):
        raise ConfigError("prefix of annotations", text, rule)
    if not slash:
        return f"{text}/"
    return text if not name or name.endswith("-") else f"{text}-"


# -- reading


def parse_node(record: NodeRecord, network: Network | None) -> Node | None:
    """Return the node that *record* describes, None when it is not on our network (yet).

    Args:
        record: the Node.
        network: against which subnets are checked; None while it is not known.

    Raises:
        FlannelDataError: an annotation or a subnet cannot be used; names it.
    """
    annotations = record.annotations
    if annotations.get(MANAGED) != "true":
        return None
    backend = annotations.get(BACKEND_TYPE, "") or _unnamed_backend(network)
    leases = tuple(
        Lease(
            subnet=subnet,
            public_ip=parse_public_ip(names.public_ip, annotations[names.public_ip], family),
            data=parse_backend_data(backend, annotations.get(names.data, "")),
        )
        for family, subnet in _subnets(record, network).items()
        if (names := _NAMES[family]).public_ip in annotations
    )
    return Node(name=record.name, backend=backend, leases=leases) if leases else None


def _unnamed_backend(network: Network | None) -> str:
    """Return the backend of a node that names none, as some of flannel's do."""
    if network is not None and network.backend_name in UNNAMED_BACKENDS:
        return network.backend_name
    return "udp"


def _subnets(record: NodeRecord, network: Network | None) -> dict[Family, IPNetwork]:
    """Return spec.podCIDRs by family. Raises `FlannelDataError` for what breaks a rule."""
    subnets: dict[Family, IPNetwork] = {}
    for text in record.pod_cidrs:
        subnet = _subnet(text)
        family = family_of(subnet)
        if family in subnets:
            raise FlannelDataError(f"spec.podCIDRs {record.pod_cidrs}: at most one per family")
        prefixes = network.prefixes(family) if network is not None else ()
        if prefixes and not any(prefix_contains(prefix, subnet) for prefix in prefixes):
            listed = ", ".join(map(str, prefixes))
            rule = (
                f"lies outside of the network {listed}: net-conf.json and "
                "kube-controller-manager's --cluster-cidr must agree"
            )
            raise FlannelDataError(f"spec.podCIDRs: {subnet} {rule}")
        subnets[family] = subnet
    return dict(sorted(subnets.items()))


def _subnet(text: str) -> IPNetwork:
    try:
        if "%" in text or not text.rpartition("/")[2].isdigit():
            raise ValueError("must be an address and the length of a prefix")  # noqa: TRY301
        return IPv6Network(text) if ":" in text else IPv4Network(text)
    except ValueError as error:
        raise FlannelDataError(f"spec.podCIDRs: {text!r}: {error}") from error


# -- claiming


def plan_claim(claim: Claim, record: NodeRecord, network: Network | None) -> Node:
    """Return the node that *claim* and its Node make together.

    Raises:
        ClaimRefused: the Node has no subnet for a family of the claim, one outside of the network,
            or an operator's annotation is no address.
    """
    try:
        subnets = _subnets(record, network)
        leases = tuple(_lease(wish, record, subnets) for wish in claim.wishes)
    except FlannelDataError as error:
        raise ClaimRefused(f"Node {claim.name}: {error}") from error
    ordered = sorted(leases, key=lambda lease: lease.family)
    return Node(name=claim.name, backend=claim.backend, leases=tuple(ordered))


def _lease(wish: Wish, record: NodeRecord, subnets: Mapping[Family, IPNetwork]) -> Lease:
    subnet = subnets.get(wish.family)
    if subnet is None:
        raise ClaimRefused(_explain_missing(record, wish.family))
    return Lease(subnet=subnet, public_ip=_public_ip(wish, record), data=wish.data)


def _explain_missing(record: NodeRecord, family: Family) -> str:
    if not record.pod_cidrs:
        return (
            f"Node {record.name} has no spec.podCIDRs yet: kube-controller-manager gives them when "
            "it runs with --allocate-node-cidrs=true and --cluster-cidr (kubeadm: podSubnet)"
        )
    has = ", ".join(record.pod_cidrs)
    return (
        f"Node {record.name} has no {family.label} subnet in its spec.podCIDRs ({has}), and the "
        f"network has {family.label}: net-conf.json and --cluster-cidr must agree"
    )


def _public_ip(wish: Wish, record: NodeRecord) -> IPAddress:
    names = _NAMES[wish.family]
    for name in (names.overwrite, names.interface):
        if text := record.annotations.get(name):
            return parse_public_ip(name, text, wish.family)
    return wish.public_ip


def named_interfaces(record: NodeRecord) -> tuple[IPAddress, ...]:
    """Return the addresses by which an operator chose interfaces on the node itself.

    Raises:
        FlannelDataError: one is no address.
    """
    return tuple(
        parse_public_ip(names.interface, text, family)
        for family, names in _NAMES.items()
        if (text := record.annotations.get(names.interface))
    )


# -- writing


def render_annotations(node: Node) -> dict[str, str | None]:
    """Return the annotations of *node* without prefix; None: must not be there."""
    texts: dict[str, str | None] = {
        BACKEND_TYPE: "" if node.backend in UNNAMED_BACKENDS else node.backend,
        MANAGED: "true",
    }
    for family, names in _NAMES.items():
        lease = node.lease(family)
        texts[names.data] = None if lease is None else render_backend_data(lease.data)
        texts[names.public_ip] = None if lease is None else str(lease.public_ip)
    return texts


def no_annotations() -> dict[str, str | None]:
    """Return the same for a node that is on no network."""
    names = [name for each in _NAMES.values() for name in (each.data, each.public_ip)]
    return dict.fromkeys((BACKEND_TYPE, MANAGED, *names))


def render_patch(
    record: NodeRecord,
    texts: Mapping[str, str | None],
    prefix: str,
    *,
    available_since: datetime | None = None,
) -> bytes | None:
    """Return the strategic merge patch that makes *record* say *texts*; None when it does.

    Args:
        record: the Node as it is; only while it is still this very one does the patch apply.
        texts: annotations without prefix; None: must not be there.
        prefix: of the annotations.
        available_since: also say that the Node's network is available, if it says anything else.
    """
    changed = {
        f"{prefix}{name}": text
        for name, text in texts.items()
        if record.annotations.get(name) != text
    }
    patch: dict[str, Any] = {}
    if changed:
        patch["metadata"] = {"annotations": changed}
    if available_since is not None and record.network_unavailable != "False":
        patch["status"] = {"conditions": [_condition(available_since)]}
    if not patch:
        return None
    patch.setdefault("metadata", {})["uid"] = record.uid
    return msgspec.json.encode(patch)


def _condition(since: datetime) -> dict[str, str]:
    moment = since.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": "NetworkUnavailable",
        "status": "False",
        "reason": _CONDITION_REASON,
        "message": _CONDITION_MESSAGE,
        "lastTransitionTime": moment,
        "lastHeartbeatTime": moment,
    }
