"""JSON and MessagePack nested so deeply that no decoder follows: unreadable, as other junk is."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from podway.errors import PodwayError
from podway.store.codec import decode_node, decode_subnets
from podway.store.etcd_keys import parse_record, parse_reservation
from podway.store.etcd_messages import Fault, RangeResponse, WatchResponse, decode
from podway.store.flannel_data import parse_lease, parse_net_conf
from podway.store.kube_objects import decode_event, decode_page, decode_pod_node
from podway.store.kube_objects import decode_node as decode_kube_node
from podway.store.kubeconfig import login_by_kubeconfig
from podway.store.wire import decode_client_frame, decode_hub_frame

DEPTH = 100_000
DEEP = b'{"metadata":{"name":"x"},"x":' + b"[" * DEPTH + b"]" * DEPTH + b"}"
PACKED = b"\x81\xa1x" + b"\x91" * DEPTH + b"\xc0"

DECODERS: dict[str, Callable[[], object]] = {
    "event": lambda: decode_event(b'{"type":"ADDED","object":%s}' % DEEP, "p/"),
    "list": lambda: decode_page(DEEP, "p/"),
    "node": lambda: decode_kube_node(DEEP, "p/"),
    "pod": lambda: decode_pod_node(DEEP),
    "record": lambda: parse_record(DEEP),
    "reservation": lambda: parse_reservation(DEEP),
    "lease": lambda: parse_lease("10.9.1.0-24", DEEP, name="x"),
    "net-conf": lambda: parse_net_conf(DEEP),
    "etcd range": lambda: decode(RangeResponse, DEEP),
    "etcd watch": lambda: decode(WatchResponse, DEEP),
    "etcd fault": lambda: decode(Fault, DEEP),
    "hub's node": lambda: decode_node(PACKED),
    "hub's subnets": lambda: decode_subnets(PACKED),
    "hub's frame": lambda: decode_hub_frame(PACKED),
    "client's frame": lambda: decode_client_frame(PACKED),
}


@pytest.mark.parametrize("name", list(DECODERS))
def test_too_deep(name: str) -> None:
    with pytest.raises((PodwayError, msgspec.DecodeError)):
        DECODERS[name]()


def test_a_kubeconfig_too_deep(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_bytes(DEEP)
    with pytest.raises(PodwayError):
        login_by_kubeconfig(path)
