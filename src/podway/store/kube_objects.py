"""Kubernetes' objects as far as podway reads them: JSON of the API server to small values.

In: lists, watch lines, single Nodes, error Statuses. Out: `NodeRecord`s and `WatchEvent`s. A Node
is 5 to 20 KiB of JSON, most of it images and conditions that change with every heartbeat; msgspec
passes over what the types below do not name, at about a gigabyte per second, so that a heartbeat
costs some microseconds here and is the same record as before.

Source: Kubernetes API conventions (resourceVersion, watch, bookmarks), core/v1 Node.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

import msgspec
from msgspec import Struct, field

from podway.store.protocol import StoreError

EventKind: TypeAlias = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


class NodeRecord(Struct, frozen=True, kw_only=True):
    """What podway wants of one Node.

    Attributes:
        name: of the Node.
        uid: another one under the same name is another Node.
        revision: resourceVersion; grows with every change of the object.
        annotations: those that begin with the prefix, without it.
        pod_cidrs: spec.podCIDRs as they stand there.
        network_unavailable: status of that condition, "" where it is missing.
    """

    name: str
    uid: str
    revision: int
    annotations: Mapping[str, str] = {}
    pod_cidrs: tuple[str, ...] = ()
    network_unavailable: str = ""


class WatchEvent(Struct, frozen=True):
    """One line of a watch; a bookmark has no record."""

    kind: EventKind
    revision: int
    record: NodeRecord | None = None


class ApiStatus(Struct):
    """``v1.Status``: why the API server says no."""

    code: int = 0
    reason: str = ""
    message: str = ""


class NodePage(Struct):
    """A part of a list of Nodes; *next_page* is "" on the last."""

    records: list[NodeRecord]
    revision: int
    next_page: str


class _Meta(Struct, rename="camel"):
    name: str = ""
    uid: str = ""
    resource_version: str = ""
    annotations: dict[str, str] | None = None
    next_page: str = field(default="", name="continue")


class _Condition(Struct):
    type: str = ""
    status: str = ""


class _Spec(Struct):
    pod_cidr: str = field(default="", name="podCIDR")
    pod_cidrs: list[str] | None = field(default=None, name="podCIDRs")


class _Status(Struct):
    conditions: list[_Condition] | None = None


class _Node(Struct):
    metadata: _Meta
    spec: _Spec = field(default_factory=_Spec)
    status: _Status = field(default_factory=_Status)


class _NodeList(Struct):
    metadata: _Meta
    items: list[_Node] | None = None


class _Line(Struct):
    type: str
    object: msgspec.Raw


_node = msgspec.json.Decoder(_Node)
_node_list = msgspec.json.Decoder(_NodeList)
_line = msgspec.json.Decoder(_Line)
_status = msgspec.json.Decoder(ApiStatus)


class Unreadable(StoreError):  # noqa: N818  (what the bytes are)
    """Bytes that no API server should send: torn, or not Kubernetes."""


class WatchFailed(StoreError):  # noqa: N818  (likewise)
    """The API server ended a watch with an error.

    Attributes:
        status: what it said.
    """

    def __init__(self, status: ApiStatus) -> None:
        super().__init__(status.message or status.reason or f"error {status.code}")
        self.status = status


def decode_node(data: bytes, prefix: str) -> NodeRecord:
    """Return the Node *data*, with annotations under *prefix*. Raises `Unreadable`."""
    try:
        return _record(_node.decode(data), prefix)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _unreadable("Node", data, error) from error


class _PodSpec(Struct, rename="camel"):
    node_name: str = ""


class _Pod(Struct):
    spec: _PodSpec


def decode_pod_node(data: bytes) -> str:
    """Return on which Node the pod *data* runs. Raises `Unreadable`."""
    try:
        return msgspec.json.decode(data, type=_Pod).spec.node_name
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _unreadable("Pod", data, error) from error


def decode_page(data: bytes, prefix: str) -> NodePage:
    """Return the list of Nodes *data*. Raises `Unreadable`."""
    try:
        page = _node_list.decode(data)
        return NodePage(
            [_record(item, prefix) for item in page.items or ()],
            int(page.metadata.resource_version),
            page.metadata.next_page,
        )
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _unreadable("list of Nodes", data, error) from error


def decode_event(line: bytes, prefix: str) -> WatchEvent | None:
    """Return the event *line* of a watch; None for a kind of event that is yet to be invented.

    Raises:
        Unreadable: it is torn or foreign.
        WatchFailed: it is the API server's last word on this watch.
    """
    try:
        outer = _line.decode(line)
        if outer.type == "ERROR":
            raise WatchFailed(_status.decode(outer.object))
        if outer.type not in get_args(EventKind):
            return None
        node = _node.decode(outer.object)
        if outer.type == "BOOKMARK":
            return WatchEvent("BOOKMARK", int(node.metadata.resource_version))
        record = _record(node, prefix)
        return WatchEvent(outer.type, record.revision, record)  # type: ignore[arg-type]
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _unreadable("event", line, error) from error


def decode_status(data: bytes) -> ApiStatus | None:
    """Return the Status *data*, None when it is something else (a gateway's page, say)."""
    try:
        return _status.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _record(node: _Node, prefix: str) -> NodeRecord:
    meta, spec = node.metadata, node.spec
    if not meta.name:
        raise ValueError("a Node without a name")
    cidrs = spec.pod_cidrs or ([spec.pod_cidr] if spec.pod_cidr else [])
    start = len(prefix)
    return NodeRecord(
        name=meta.name,
        uid=meta.uid,
        revision=int(meta.resource_version),
        annotations={
            key[start:]: value
            for key, value in (meta.annotations or {}).items()
            if key.startswith(prefix)
        },
        pod_cidrs=tuple(cidrs),
        network_unavailable=next(
            (
                condition.status
                for condition in node.status.conditions or ()
                if condition.type == "NetworkUnavailable"
            ),
            "",
        ),
    )


def _unreadable(what: str, data: bytes, error: Exception) -> Unreadable:
    shown = data[:60].decode("utf-8", "replace")
    return Unreadable(f"{what} of {len(data)} bytes, {shown!r}..., cannot be read: {error}")
