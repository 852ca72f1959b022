"""The examples in the manuals of plugins that stand behind another one, as a runtime calls them."""

import json
from pathlib import Path
from typing import Any

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import Document, Runtime, devices, link_of, with_previous

_MANUAL = Path(__file__).parents[3] / "docs" / "reference" / "cni"


def list_of(plugin: str, runtime: Runtime) -> list[Document]:
    """Return the plugins of an example's list, each as it is called; IPAM's data are the test's."""
    text = (_MANUAL / f"{plugin}.md").read_text(encoding="utf-8")
    example: Document = json.loads(text.partition("```json\n")[2].partition("```")[0])
    plugins = [
        {"cniVersion": example["cniVersion"], "name": example["name"], **each}
        for each in example["plugins"]
    ]
    assert plugins[-1]["type"] == plugin
    plugins[0]["ipam"]["dataDir"] = str(runtime.directory)
    if plugin == "tuning":
        plugins[-1]["dataDir"] = str(runtime.directory / "tuning")
    return plugins


@pytest.fixture
def host(runtime: Runtime) -> Netns:
    """Return the host's namespace, with a device to attach to."""
    runtime.host.ip("link", "add", "eth1", "type", "veth", "peer", "name", "far")
    runtime.host.ip("link", "set", "eth1", "up")
    return runtime.host


def seen_of(pod: Netns, plugin: str) -> Any:
    """Return something that the plugin does, as others see it."""
    if plugin == "tuning":
        return link_of(pod, "eth0")["mtu"]
    if plugin == "sbr":
        return {each["src"] for each in json.loads(pod.ip("-j", "rule"))}
    if plugin == "vrf":
        return link_of(pod, "eth0")["master"]
    return None


@pytest.mark.parametrize(
    ("plugin", "seen"),
    [
        pytest.param("bandwidth", None, marks=pytest.mark.kernel("ifb")),
        pytest.param("tuning", 1400),
        pytest.param("sbr", {"all", "10.62.0.2"}, marks=pytest.mark.kernel("macvlan")),
        pytest.param("vrf", "blue", marks=pytest.mark.kernel("vrf")),
    ],
)
def test_the_example_of_the_manual(
    runtime: Runtime, host: Netns, make_netns: MakeNetns, plugin: str, seen: object
) -> None:
    pod, plugins = make_netns(), list_of(plugin, runtime)
    before = devices(host)
    result = runtime.add(plugins[0], pod)
    for config in plugins[1:]:
        assert runtime.call("STATUS", config).code == 0
        result = runtime.add(with_previous(config, result), pod)
    assert seen_of(pod, plugin) == seen
    for config in plugins:
        assert runtime.call("CHECK", with_previous(config, result), pod).code == 0
    for config in reversed(plugins):
        assert runtime.call("DEL", with_previous(config, result), pod).code == 0
    assert devices(host) == before
    assert devices(pod) == set()
