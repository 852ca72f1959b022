"""Plugins called as libcni calls them: a chain, in order for ADD and CHECK, backwards for DEL.

Each plugin is the production executable, started in the pod's node's namespace with the
configuration on standard input and CNI_* in the environment. A plugin of an ADD gets the result of
the one before it; DEL and CHECK get the last one (SPEC 1.1.0, section 4).
"""

import json
import os
from typing import Any

from podway.lab.errors import PluginFailed
from podway.lab.names import lab_dir, namespace_of, netns_path
from podway.lab.namespaces import run_in
from podway.lab.pod_networks import plugin_chain
from podway.lab.specs import LabSpec
from podway.lab.state import Pod

CNI_VERSION = "1.1.0"
POD_IFNAME = "eth0"


def attach(spec: LabSpec, pod: Pod) -> dict[str, Any]:
    """Call ADD for *pod*; return the result, {} where its network takes no plugin.

    Raises:
        PluginFailed: one refused; what the ones before it had made is undone.
    """
    result: dict[str, Any] | None = None
    try:
        for plugin in _chain(spec, pod):
            result = _call(spec, "ADD", pod, plugin, result)
    except PluginFailed as error:
        _undo(spec, pod, error)
        raise
    return result or {}


def _undo(spec: LabSpec, pod: Pod, error: PluginFailed) -> None:
    try:
        detach(spec, pod)
    except PluginFailed as another:
        error.add_note(str(another))


def detach(spec: LabSpec, pod: Pod) -> None:
    """Call DEL for *pod*. Raises `PluginFailed`."""
    for plugin in reversed(_chain(spec, pod)):
        _call(spec, "DEL", pod, plugin, pod.result or None)


def check(spec: LabSpec, pod: Pod) -> None:
    """Call CHECK for *pod*. Raises `PluginFailed` when the pod is not as it was made."""
    for plugin in _chain(spec, pod):
        _call(spec, "CHECK", pod, plugin, pod.result)


def _chain(spec: LabSpec, pod: Pod) -> list[dict[str, Any]]:
    return plugin_chain(spec, pod.node, pod.attachment)


def _call(
    spec: LabSpec,
    command: str,
    pod: Pod,
    plugin: dict[str, Any],
    previous: dict[str, Any] | None,
) -> dict[str, Any]:
    """Run a plugin on the pod's node and return its answer, {} for an empty one."""
    executables = lab_dir(spec.name) / "cni"
    what = f"{command} of pod {pod.name} on {pod.node}"
    try:
        exit_code, stdout, _ = run_in(
            namespace_of(spec.name, pod.node),
            [str(executables / plugin["type"])],
            stdin=json.dumps(configuration(pod.attachment.network, plugin, previous)).encode(),
            environment=_environment(spec, command, pod, plugin["type"]),
        )
    except OSError as error:
        raise PluginFailed(0, f"{what}: {plugin['type']} cannot be started: {error}") from error
    return parse_answer(what, exit_code, stdout)


def _environment(spec: LabSpec, command: str, pod: Pod, plugin: str) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH") or "/usr/sbin:/usr/bin:/sbin:/bin",
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": pod.container_id,
        "CNI_NETNS": str(netns_path(spec.name, pod.member)),
        "CNI_IFNAME": "lo" if plugin == "loopback" else POD_IFNAME,
        "CNI_PATH": str(lab_dir(spec.name) / "cni"),
        "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE={spec.name};K8S_POD_NAME={pod.name}",
    }


def configuration(
    network: str, plugin: dict[str, Any], previous: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return what libcni would give the plugin on standard input. Pure."""
    return {
        "cniVersion": CNI_VERSION,
        "name": network,
        **plugin,
        **({} if previous is None else {"prevResult": previous}),
    }


def parse_answer(what: str, exit_code: int, stdout: bytes) -> dict[str, Any]:
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
