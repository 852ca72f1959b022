"""What a user can ask a lab to be, and which labs cannot be. Pure."""

from typing import Literal, TypeAlias

from msgspec import Struct

from podway.errors import ArgumentError
from podway.lab.names import check_lab_name
from podway.model.addresses import Family
from podway.model.backends import BackendName
from podway.model.networks import Attach

StoreName: TypeAlias = Literal["hub", "etcd", "kubernetes"]
# Backends whose peers must be on the node's own subnet.
BY_NEXT_HOP = frozenset({"host-gw", "extension"})
MAX_NODES = 250
MIN_MTU = 1280
MAX_MTU = 65535


class LabSpec(Struct, frozen=True, kw_only=True):
    """What the user asked for.

    Attributes:
        name: of the lab.
        nodes: numbers of the nodes, ascending; node 3 is called ``n3``.
        backend: how pods of different nodes reach each other.
        attach: how pods meet their node.
        families: of underlay and pods.
        routed_underlay: every node in a subnet of its own, with a router between them.
        mtu: of the underlay, in bytes.
        store: what the agents share: a hub, an etcd, or a Kubernetes API server and its etcd.
        etcd: the program, where there is one in the lab.
        kube_apiserver: likewise.
        feature_gates: what that must be told.
    """

    name: str
    nodes: tuple[int, ...]
    backend: BackendName = "vxlan"
    attach: Attach = "bridge"
    families: tuple[Family, ...] = (Family.IPV4,)
    routed_underlay: bool = False
    mtu: int = 1500
    store: StoreName = "hub"
    etcd: str = ""
    kube_apiserver: str = ""
    feature_gates: str = ""


def check_spec(spec: LabSpec) -> LabSpec:
    """Return *spec*. Raises `ConfigError` when no lab can be like that."""
    check_lab_name(spec.name)
    if not spec.nodes or len(spec.nodes) > MAX_NODES or not 1 <= spec.nodes[-1] <= MAX_NODES:
        raise ArgumentError("--nodes", len(spec.nodes), f"must be 1 to {MAX_NODES}")
    if not MIN_MTU <= spec.mtu <= MAX_MTU:
        raise ArgumentError("--mtu", spec.mtu, f"must be {MIN_MTU} to {MAX_MTU} bytes")
    if spec.backend in BY_NEXT_HOP and spec.routed_underlay:
        rule = (
            f"cannot work on a routed underlay: {spec.backend} makes each node the next hop for "
            "its pods, and a next hop must be on the node's own subnet; use --backend vxlan"
        )
        raise ArgumentError("--backend", spec.backend, rule)
    if spec.backend == "ipip" and spec.families != (Family.IPV4,):
        rule = "carries IPv4 alone: leave --dual and --ipv6 out, or use --backend vxlan"
        raise ArgumentError("--backend", spec.backend, rule)
    return spec
