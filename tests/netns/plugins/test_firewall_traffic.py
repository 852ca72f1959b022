"""The ``firewall`` executable: which connections come about, and which do not."""

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import Document, Runtime, connect, read_example, with_previous
from netns.plugins.firewalled_bridges import OURS, attach, both_backends, firewall, traces


def forward_nothing(host: Netns, backend: str) -> None:
    """Let the host drop what it should forward, as careful ones do."""
    if backend == "nftables":
        hook = "{ type filter hook forward priority filter; policy drop; }"
        host.exec("nft", f"table inet filter {{ chain forward {hook}; }}")
    else:
        for program in ("iptables", "ip6tables"):
            host.exec(program, "-P", "FORWARD", "DROP")


def passes(client: Netns, server: Netns, address: str) -> bool:
    """Tell whether a connection comes about within half a second."""
    try:
        connect(client, server, address, within_s=0.5)
    except TimeoutError:
        return False
    return True


@both_backends
def test_traffic(backend: str, runtime: Runtime, make_netns: MakeNetns) -> None:
    host, pod, outside = runtime.host, make_netns(), make_netns()
    forward_nothing(host, backend)
    config = with_previous(firewall(runtime, backend=backend), attach(host, pod))
    attach(host, outside, 9, "br2")
    assert not passes(pod, outside, "10.2.0.9")
    assert runtime.add(config, pod) == config["prevResult"]
    assert connect(pod, outside, "10.2.0.9") == "10.1.0.5"
    assert connect(pod, outside, "fd02::9") == "fd01::5"
    assert not passes(outside, pod, "10.1.0.5"), "it may be answered, not called"
    assert runtime.call("CHECK", config, pod).code == 0
    for _ in range(2):
        assert runtime.call("DEL", config, pod).code == 0
        assert traces(runtime, *OURS) == []
    assert not passes(pod, outside, "10.2.0.9")
    assert not passes(pod, outside, "fd02::9")


@both_backends
def test_the_administrator_is_asked_first(
    backend: str, runtime: Runtime, make_netns: MakeNetns
) -> None:
    host, pod, outside = runtime.host, make_netns(), make_netns()
    keys = {"backend": backend, "iptablesAdminChainName": "MINE"}
    runtime.add(with_previous(firewall(runtime, **keys), attach(host, pod)), pod)
    attach(host, outside, 9, "br2")
    assert passes(pod, outside, "10.2.0.9")
    if backend == "nftables":
        host.exec("nft", "add", "rule", "inet", "filter", "MINE", "drop")
    else:
        host.exec("iptables", "-A", "MINE", "-j", "DROP")
    assert not passes(pod, outside, "10.2.0.9")


@both_backends
@pytest.mark.parametrize("policy", ["open", "same-bridge", "isolated"])
def test_policies(policy: str, backend: str, runtime: Runtime, make_netns: MakeNetns) -> None:
    host = runtime.host
    config = firewall(runtime, backend=backend, ingressPolicy=policy)
    pods = {}
    for name, number, bridge in (("a", 5, "br1"), ("b", 6, "br1"), ("c", 5, "br2")):
        pods[name] = make_netns()
        result = attach(host, pods[name], number, bridge)
        network = {**config, "name": bridge}
        runtime.add(with_previous(network, result), pods[name], container_id=name)
        told = with_previous(network, result)
        assert runtime.call("CHECK", told, pods[name], container_id=name).code == 0
    host.exec("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")
    between = policy == "open"
    assert passes(pods["a"], pods["c"], "10.2.0.5") is between
    assert passes(pods["c"], pods["a"], "fd01::5") is between
    assert passes(host, pods["a"], "10.1.0.5")
    if backend == "iptables":
        # Inside a bridge packets pass chain FORWARD of families ip and ip6 alone.
        assert passes(pods["a"], pods["b"], "10.1.0.6") is (policy != "isolated")


def test_the_legacy_kind(runtime: Runtime, make_netns: MakeNetns, legacy_path: Document) -> None:
    host, pod, outside = runtime.host, make_netns(), make_netns()
    result = attach(host, pod)
    attach(host, outside, 9, "br2")
    host.exec("iptables-legacy", "-P", "FORWARD", "DROP")
    keys = {"backend": "iptables", "ingressPolicy": "same-bridge"}
    config = with_previous(firewall(runtime, **keys), result)
    for _ in range(2):
        runtime.add(config, pod, **legacy_path)
    assert runtime.call("CHECK", config, pod, **legacy_path).code == 0
    assert connect(pod, outside, "10.2.0.9") == "10.1.0.5"
    saved = host.exec("iptables-legacy-save", "-t", "filter")
    assert saved.count("-s 10.1.0.5/32") == 1
    assert runtime.call("DEL", firewall(runtime, **keys), "").code == 0
    assert "10.1.0.5" not in host.exec("iptables-legacy-save", "-t", "filter")
    assert not passes(pod, outside, "10.2.0.9")


def test_the_example_of_the_manual(runtime: Runtime, make_netns: MakeNetns) -> None:
    host, pod, outside = runtime.host, make_netns(), make_netns()
    forward_nothing(host, "iptables")
    attach(host, outside, 9, "br2")
    example = {**read_example("firewall"), "dataDir": str(runtime.directory / "firewall")}
    config = with_previous(example, attach(host, pod))
    runtime.add(config, pod)
    assert connect(pod, outside, "10.2.0.9") == "10.1.0.5"
    assert runtime.call("CHECK", config, pod).code == 0
    assert runtime.call("DEL", config, pod).code == 0
    assert traces(runtime, *OURS) == []
