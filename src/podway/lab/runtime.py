"""The part of a container runtime that a pod needs: a namespace, and the CNI plugin called for it.

A lab's pod is a sandbox without a container. The plugin is the production executable, started in
its node's namespace with the configuration on standard input and CNI_* in the environment, as
libcni does; its result is kept and given back to DEL and CHECK (SPEC 1.1.0, section 4).
"""

import json
import os
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import msgspec

from podway.lab.errors import LabError, NoSuchLab, PluginFailed
from podway.lab.interrupts import uninterrupted
from podway.lab.names import check_pod_name, lab_dir, namespace_of, netns_path, node_name
from podway.lab.namespaces import create_namespace, delete_namespace, exists, run_in
from podway.lab.specs import LabSpec
from podway.lab.state import Pod, forget_pod, natural, read_pods, write_pod

CNI_VERSION = "1.1.0"
NETWORK_NAME = "podway"
POD_IFNAME = "eth0"
# One plugin call is a process of its own; more of them side by side than this only queue.
CALLS_AT_ONCE = 8


def add_pods(spec: LabSpec, names: Sequence[str], node: str | None = None) -> list[Pod]:
    """Make pods called *names*, all of them or none.

    Args:
        spec: of the lab.
        names: of the pods.
        node: on which; None spreads them, the emptiest node first.

    Raises:
        NoSuchLab: there is no such node.
        LabError: a pod of that name is there already.
        PluginFailed: the plugin refused.
    """
    present = read_pods(spec.name)
    _check_new(spec, names, node, present)
    nodes = [node] * len(names) if node else spread(spec, present, len(names))
    with ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="pod") as workers, uninterrupted():
        calls = [
            workers.submit(_add_pod, spec, name, where)
            for name, where in zip(names, nodes, strict=True)
        ]
    failures = [error for call in calls if (error := call.exception()) is not None]
    if failures:
        remove_pods(spec, [call.result() for call in calls if call.exception() is None])
        raise failures[0]
    return [call.result() for call in calls]


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
    """Remove *pods*: DEL, then their namespaces. Raises `PluginFailed`; the pod is kept then."""
    with ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="pod") as workers, uninterrupted():
        calls = [workers.submit(_remove_pod, spec, pod) for pod in pods]
    for call in calls:
        call.result()


def check_pod(spec: LabSpec, pod: Pod) -> None:
    """Call CHECK for *pod*. Raises `PluginFailed` when the pod is not as it was made."""
    _call(spec, "CHECK", pod, pod.result)


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


def _add_pod(spec: LabSpec, name: str, node: str) -> Pod:
    blank = Pod(name=name, node=node, container_id=secrets.token_hex(32), result={})
    namespace = namespace_of(spec.name, name)
    with ExitStack() as undo:
        create_namespace(namespace)
        undo.callback(delete_namespace, namespace)
        pod = msgspec.structs.replace(blank, result=_call(spec, "ADD", blank))
        write_pod(spec.name, pod)
        undo.pop_all()
    return pod


def _remove_pod(spec: LabSpec, pod: Pod) -> None:
    _call(spec, "DEL", pod, pod.result)
    namespace = namespace_of(spec.name, pod.name)
    if exists(namespace):
        delete_namespace(namespace)
    forget_pod(spec.name, pod.name)


def _call(
    spec: LabSpec, command: str, pod: Pod, previous: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Run the plugin on the pod's node and return its answer, {} for an empty one."""
    executables = lab_dir(spec.name) / "cni"
    exit_code, stdout, _ = run_in(
        namespace_of(spec.name, pod.node),
        [str(executables / "podway")],
        stdin=json.dumps(plugin_configuration(spec, pod.node, previous)).encode(),
        environment={
            "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": pod.container_id,
            "CNI_NETNS": str(netns_path(spec.name, pod.name)),
            "CNI_IFNAME": POD_IFNAME,
            "CNI_PATH": str(executables),
            "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE={spec.name};K8S_POD_NAME={pod.name}",
        },
    )
    return parse_plugin_answer(f"{command} of pod {pod.name} on {pod.node}", exit_code, stdout)


def plugin_configuration(
    spec: LabSpec, node: str, previous: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return what libcni would give the plugin on standard input. Pure."""
    return {
        "cniVersion": CNI_VERSION,
        "name": NETWORK_NAME,
        "type": "podway",
        "agentSocket": str(lab_dir(spec.name) / node / "run" / "cni.sock"),
        **({} if previous is None else {"prevResult": previous}),
    }


def parse_plugin_answer(what: str, exit_code: int, stdout: bytes) -> dict[str, Any]:
    """Return the plugin's result. Raises `PluginFailed`. Pure."""
    try:
        answer = json.loads(stdout) if stdout.strip() or exit_code else {}
    except ValueError as error:
        shown = stdout[:200].decode("utf-8", "replace")
        raise PluginFailed(0, f"{what}: the plugin ended with {exit_code}: {shown!r}") from error
    if exit_code:
        details = f" ({answer['details']})" if answer.get("details") else ""
        code = int(answer.get("code", 0))
        raise PluginFailed(code, f"{what}: {answer.get('msg')}{details} (CNI error {code})")
    return dict(answer)
