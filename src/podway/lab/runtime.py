"""The part of a container runtime that a pod needs: a namespace, and CNI plugins called for it.

A lab's pod is a sandbox without a container: `pod_networks` says which plugins connect it,
`plugin_calls` calls them, and what they answered is kept for DEL and CHECK.
"""

import secrets
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import TypeVar

from msgspec.structs import replace

from podway.lab.errors import LabError, NoSuchLab
from podway.lab.interrupts import uninterrupted
from podway.lab.names import check_pod_name, lab_dir, namespace_of, node_name
from podway.lab.namespaces import create_namespace, delete_namespace, exists
from podway.lab.plugin_calls import attach, check, detach
from podway.lab.pod_networks import CLUSTER_ATTACHMENT, HOST, Attachment
from podway.lab.specs import LabSpec
from podway.lab.state import Pod, forget_pod, natural, read_pods, write_pod
from podway.lab.underlay import underlay_addresses
from podway.plugins.install import install

# One plugin call is a process of its own; more of them side by side than this only queue.
CALLS_AT_ONCE = 8
T = TypeVar("T")


def add_pods(
    spec: LabSpec,
    names: Sequence[str],
    node: str | None = None,
    attachment: Attachment = CLUSTER_ATTACHMENT,
) -> list[Pod]:
    """Make pods called *names*, all of them or none.

    Args:
        spec: of the lab.
        names: of the pods.
        node: on which; None spreads them, the emptiest node first.
        attachment: how they are connected.

    Raises:
        NoSuchLab: there is no such node.
        LabError: a pod of that name is there already.
        PluginFailed: the plugin refused.
    """
    present = read_pods(spec.name)
    _check_new(spec, names, node, present)
    if attachment.joined:
        node = _home_node(spec, present, attachment.joined, node)
    nodes = [node] * len(names) if node else spread(spec, present, len(names))
    blanks = [
        _blank(spec, present, name, where, attachment)
        for name, where in zip(names, nodes, strict=True)
    ]
    _check_ports(present, blanks)
    _install(spec, attachment)
    calls: list[Future[Pod]] = []
    with ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="pod") as workers:
        try:
            with uninterrupted():
                calls += [workers.submit(_add_pod, spec, blank) for blank in blanks]
            return [call.result() for call in calls]
        except BaseException:
            with uninterrupted():
                remove_pods(spec, _end(calls))
            raise


def spread(spec: LabSpec, present: Sequence[Pod], count: int) -> list[str]:
    """Return a node for each of *count* new pods: always one with the fewest. Pure."""
    load = {node_name(number): 0 for number in spec.nodes}
    for pod in present:
        load[pod.node] = load.get(pod.node, 0) + 1
    chosen = []
    for _ in range(count):
        node = min(load, key=lambda name: (load[name], natural(name)))
        load[node] += 1
        chosen.append(node)
    return chosen


def free_names(present: Sequence[Pod], count: int) -> list[str]:
    """Return *count* names of the form ``p1`` that no pod has yet. Pure."""
    taken = {pod.name for pod in present}
    candidates = (f"p{number}" for number in range(1, len(taken) + count + 1))
    return [name for name in candidates if name not in taken][:count]


def remove_pods(spec: LabSpec, pods: Sequence[Pod]) -> None:
    """Remove *pods*: DEL, then their namespaces.

    Raises:
        LabError: another pod shares the network of one of them; nothing was removed.
        PluginFailed: the pod is kept then.
    """
    _check_not_joined(spec, pods)
    calls: list[Future[None]] = []
    with ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="pod") as workers:
        try:
            with uninterrupted():
                calls += [workers.submit(_remove_pod, spec, pod) for pod in pods]
            wait(calls)
        finally:
            with uninterrupted():
                _end(calls)
    for call in calls:
        call.result()


def _end(calls: Sequence[Future[T]]) -> list[T]:
    """Begin none of *calls* any more, wait for those under way, return what has succeeded."""
    for call in calls:
        call.cancel()
    wait(calls)
    return [call.result() for call in calls if not call.cancelled() and call.exception() is None]


def check_pod(spec: LabSpec, pod: Pod) -> None:
    """Call CHECK for *pod*. Raises `PluginFailed` when the pod is not as it was made."""
    check(spec, pod)


def _check_new(
    spec: LabSpec, names: Sequence[str], node: str | None, present: Sequence[Pod]
) -> None:
    if node is not None:
        check_node(spec, node)
    taken = {pod.name for pod in present}
    for name in names:
        if check_pod_name(name) in taken or exists(namespace_of(spec.name, name)):
            raise LabError(f"lab {spec.name!r} has a pod {name!r} already; choose another name")
    if len(set(names)) != len(names):
        raise LabError("two of the new pods have the same name")


def check_node(spec: LabSpec, node: str) -> int:
    """Return the number of the node called *node*. Raises `NoSuchLab` when there is none."""
    names = {node_name(number): number for number in spec.nodes}
    if node not in names:
        known = ", ".join(names)
        raise NoSuchLab(f"lab {spec.name!r} has no node {node!r} (nodes: {known})")
    return names[node]


def _blank(
    spec: LabSpec, present: Sequence[Pod], name: str, node: str, attachment: Attachment
) -> Pod:
    """Return the pod as it is before any plugin was called."""
    blank = Pod(
        name=name, node=node, container_id=secrets.token_hex(32), result={}, attachment=attachment
    )
    if attachment.network == HOST:
        addresses = underlay_addresses(spec, check_node(spec, node))
        result = {"ips": [{"address": str(address)} for address in addresses]}
        return replace(blank, home=node, result=result)
    if not attachment.joined:
        return blank
    other = next(pod for pod in present if pod.name == attachment.joined)
    return replace(blank, home=other.member, result=other.result)


def _home_node(spec: LabSpec, present: Sequence[Pod], joined: str, node: str | None) -> str:
    """Return the node of the pod called *joined*, which must be *node* if that is given."""
    home = next((pod.node for pod in present if pod.name == joined), None)
    if home is None:
        raise NoSuchLab(f"lab {spec.name!r} has no pod {joined!r} whose network could be shared")
    if node not in {None, home}:
        raise LabError(f"pod {joined!r} is on {home}, so a pod that shares its network is too")
    return home


def _check_ports(present: Sequence[Pod], blanks: Sequence[Pod]) -> None:
    """Refuse a port of a node that another pod has; Docker does so itself, before any plugin."""
    taken = {each: pod.name for pod in present for each in _published(pod)}
    for blank in blanks:
        for node, port, protocol in _published(blank):
            other = taken.setdefault((node, port, protocol), blank.name)
            if other != blank.name:
                text = f"{other!r} has port {port}/{protocol} of {node} already"
                raise LabError(f"pod {text}; publish another one, or choose another node")


def _published(pod: Pod) -> list[tuple[str, int, str]]:
    return [(pod.node, port.host_port, port.protocol) for port in pod.attachment.ports]


def _install(spec: LabSpec, attachment: Attachment) -> None:
    """Put the executables in place that *attachment* takes, if they are not there yet."""
    directory = lab_dir(spec.name) / "cni"
    missing = tuple(name for name in attachment.executables if not (directory / name).exists())
    if missing:
        install(directory, plugins=missing, create_directories=True)


def _add_pod(spec: LabSpec, blank: Pod) -> Pod:
    namespace = namespace_of(spec.name, blank.name)
    with ExitStack() as undo:
        # First of all: whatever kills this process, 'pod rm' knows what to remove.
        write_pod(spec.name, blank)
        undo.callback(forget_pod, spec.name, blank.name)
        if blank.attachment.own_namespace:
            create_namespace(namespace)
            undo.callback(delete_namespace, namespace)
        pod = replace(blank, result=attach(spec, blank) or blank.result)
        write_pod(spec.name, pod)
        undo.pop_all()
    return pod


def _remove_pod(spec: LabSpec, pod: Pod) -> None:
    detach(spec, pod)
    namespace = namespace_of(spec.name, pod.name)
    if pod.attachment.own_namespace and exists(namespace):
        delete_namespace(namespace)
    forget_pod(spec.name, pod.name)


def _check_not_joined(spec: LabSpec, pods: Sequence[Pod]) -> None:
    removed = {pod.name for pod in pods}
    for other in read_pods(spec.name):
        if other.name not in removed and other.home in removed:
            text = f"pod {other.name!r} shares the network of pod {other.home!r}; remove it too"
            raise LabError(text)
