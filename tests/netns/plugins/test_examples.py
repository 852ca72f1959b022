"""The lists in ``examples/cni``, as a runtime calls them: one plugin after the other, and back."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from netns.conftest import Netns
from netns.plugins.cni_runtime import Document, Runtime, devices, with_previous

MANUALS = Path(__file__).parents[3] / "docs" / "reference" / "cni"
LISTS = sorted((Path(__file__).parents[3] / "examples" / "cni").glob("*.conflist"))
PORTS = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]


def plugins_of(path: Path, runtime: Runtime) -> list[Document]:
    """Return each plugin's configuration as libcni makes it; their data are the test's."""
    conflist: Document = json.loads(path.read_text())
    shared = {"cniVersion": conflist["cniVersion"], "name": conflist["name"]}
    plugins = [{**shared, **each} for each in conflist["plugins"]]
    for plugin in plugins:
        if plugin.get("capabilities", {}).get("portMappings"):
            plugin["runtimeConfig"] = {"portMappings": PORTS}
        if "ipam" in plugin:
            plugin["ipam"]["dataDir"] = str(runtime.directory)
        if plugin["type"] in {"firewall", "tuning"}:
            plugin["dataDir"] = str(runtime.directory / plugin["type"])
    return plugins


@pytest.mark.kernel("ifb")
@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in LISTS])
def test_a_container_comes_and_goes(path: Path, runtime: Runtime, pod: Netns) -> None:
    before, plugins = devices(runtime.host), plugins_of(path, runtime)
    result: Document = {}
    for plugin in plugins:
        result = runtime.add(with_previous(plugin, result) if result else plugin, pod)
    assert addresses_in(pod) == {each["address"] for each in result["ips"]}
    assert "8080" in runtime.host.exec("iptables-save", "-t", "nat")
    assert pod.exec("cat", "/proc/sys/net/core/somaxconn").strip() == "1024"
    assert "rate 100Mbit" in runtime.host.exec("tc", "qdisc", "show")
    for plugin in plugins:
        assert runtime.call("CHECK", with_previous(plugin, result), pod).code == 0
    for plugin in reversed(plugins):
        assert runtime.call("DEL", with_previous(plugin, result), pod).code == 0
    assert devices(runtime.host) - before == {"cni-containers"}
    assert "8080" not in runtime.host.exec("iptables-save", "-t", "nat")
    assert runtime.reserved("containers") == set()


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in LISTS])
def test_every_key_is_in_the_manual_of_its_plugin(path: Path) -> None:
    """A plugin passes over a key that it does not know."""
    for plugin in json.loads(path.read_text())["plugins"]:
        for each in [plugin, *([plugin["ipam"]] if "ipam" in plugin else [])]:
            manual = (MANUALS / f"{each['type']}.md").read_text()
            unknown = [key for key in each if not re.search(rf"[`\"]{key}[`\"]", manual)]
            assert unknown == [], each["type"]


def addresses_in(pod: Netns) -> set[str]:
    """Return the container's addresses, but for the kernel's own."""
    shown: list[dict[str, Any]] = json.loads(pod.ip("-j", "address", "show", "dev", "eth0"))
    found = [each for link in shown for each in link.get("addr_info", ())]
    return {f"{each['local']}/{each['prefixlen']}" for each in found if each["scope"] == "global"}
