"""The ``firewall`` executable: what passes, with the original as witness, and what is left of it.

firewalld is Debian's, on a bus of the test's own, in the host namespace.
"""

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from shutil import which
from typing import Any, Final

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import (
    Document,
    Runtime,
    config_of,
    connect,
    with_previous,
    without_waiting,
)
from netns.plugins.kills import Victim, kill_everywhere
from netns.plugins.originals import each_first, needs_original
from podway.cni.errors import (
    CHECK_FAILED,
    INVALID_CONFIG,
    LIMITED_CONNECTIVITY,
    UNAVAILABLE,
    UNSUPPORTED_FIELD,
)
from podway.netlink import entered

BACKENDS: Final = ("iptables", "nftables")
READY_WITHIN_S: Final = 20
MANUAL: Final = Path(__file__).parents[3] / "docs" / "reference" / "cni" / "firewall.md"
both_backends = pytest.mark.parametrize("backend", BACKENDS)


def firewall(runtime: Runtime, **keys: Any) -> Document:
    return config_of("firewall", dataDir=str(runtime.directory / "firewall"), **keys)


def result_of(number: int = 5, bridge: str = "br1") -> Document:
    """Return the result of a bridge plugin for container *number*."""
    subnet = bridge.removeprefix("br")
    return {
        "cniVersion": "1.1.0",
        "interfaces": [{"name": bridge}, {"name": "eth0", "sandbox": "/x"}],
        "ips": [
            {"address": f"10.{subnet}.0.{number}/24", "interface": 1},
            {"address": f"fd0{subnet}::{number}/64", "interface": 1},
        ],
    }


def attach(host: Netns, pod: Netns, number: int = 5, bridge: str = "br1") -> Document:
    """Attach a container to a bridge by hand; return the result that a plugin would have."""
    without_waiting(host)
    without_waiting(pod)
    host.exec("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
    subnet, port = bridge.removeprefix("br"), f"{bridge}p{number}"
    if bridge not in host.ip("link"):
        host.ip("link", "add", bridge, "type", "bridge")
        host.ip("addr", "add", f"10.{subnet}.0.1/24", "dev", bridge)
        host.ip("addr", "add", f"fd0{subnet}::1/64", "dev", bridge)
        host.ip("link", "set", bridge, "up")
    host.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", pod.name)
    host.ip("link", "set", port, "master", bridge, "up")
    pod.ip("addr", "add", f"10.{subnet}.0.{number}/24", "dev", "eth0")
    pod.ip("addr", "add", f"fd0{subnet}::{number}/64", "dev", "eth0")
    pod.ip("link", "set", "eth0", "up")
    for gateway in (f"10.{subnet}.0.1", f"fd0{subnet}::1"):
        pod.ip("route", "add", "default", "via", gateway)
    return result_of(number, bridge)


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
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with entered(server.fd):
        listener = socket.create_server((address, 0), family=family)
    with entered(client.fd):
        caller = socket.socket(family)
    with listener, caller:
        caller.settimeout(0.5)
        try:
            caller.connect((address, listener.getsockname()[1]))
        except TimeoutError:
            return False
    return True


def filter_tables(host: Netns) -> list[str]:
    saved = [host.exec(f"{program}-save", "-t", "filter") for program in ("iptables", "ip6tables")]
    return [
        re.sub(r" \[.*", "", line) for line in "".join(saved).splitlines() if line[0] not in "#*"
    ]


def traces(runtime: Runtime, *addresses: str) -> list[str]:
    """Return what is left of attachments: rules with an address, and notes."""
    rules = runtime.host.exec("nft", "list", "ruleset").splitlines()
    found = [line for line in rules for address in addresses if re.search(rf"{address}\b", line)]
    directory = runtime.directory / "firewall"
    notes = [path.name for path in directory.iterdir()] if directory.exists() else []
    return found + [note for note in notes if note.removesuffix(".new") in addresses]


OURS: Final = ("10.1.0.5", "fd01::5")


@needs_original
@pytest.mark.parametrize("policy", ["open", "same-bridge"])
@pytest.mark.parametrize("admin", ["", "MY-ADMIN"])
def test_the_same_as_the_original(
    policy: str, admin: str, runtime: Runtime, make_netns: MakeNetns
) -> None:
    found = []
    for reference in (True, False):
        hosted = Runtime(make_netns(), runtime.executables, runtime.directory)
        keys = {"backend": "iptables", "ingressPolicy": policy, "iptablesAdminChainName": admin}
        config = {**firewall(hosted, **keys), "cniVersion": "1.0.0"}
        result = {**result_of(), "cniVersion": "1.0.0"}
        told = hosted.add(with_previous(config, result), make_netns(), reference=reference)
        told.pop("dns", None)
        found.append((told, filter_tables(hosted.host)))
    theirs, ours = found
    assert ours == theirs


@needs_original
@each_first
def test_one_adds_and_the_other_deletes(
    ours_first: bool,  # noqa: FBT001
    runtime: Runtime,
    make_netns: MakeNetns,
) -> None:
    pod = make_netns()
    keys = {"backend": "iptables", "ingressPolicy": "same-bridge"}
    result = {**result_of(), "cniVersion": "1.0.0"}
    config = with_previous({**firewall(runtime, **keys), "cniVersion": "1.0.0"}, result)
    runtime.add(config, pod, reference=not ours_first)
    assert runtime.call("CHECK", config, pod, reference=ours_first).code == 0
    assert runtime.call("DEL", config, pod, reference=ours_first).code == 0
    assert "10.1.0.5" not in runtime.host.exec("nft", "list", "ruleset")


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


@pytest.mark.parametrize(
    ("policy", "result"),
    [
        pytest.param("same-bridge", {"interfaces": []}, id="no interface"),
        pytest.param(
            "isolated", {"interfaces": [{"name": "eth0", "sandbox": "/x"}]}, id="in the container"
        ),
        pytest.param("same-bridge", {"interfaces": [{"name": "br+"}]}, id="a pattern"),
        pytest.param("same-bridge", {"interfaces": [{"name": 'br" -j'}]}, id="a quote"),
        pytest.param("same-bridge", {"interfaces": [{"name": "br\n-A"}]}, id="a line feed"),
        pytest.param("same-bridge", {"interfaces": [{"name": "b" * 16}]}, id="16 characters"),
    ],
)
def test_a_policy_needs_a_bridge(policy: str, result: Document, runtime: Runtime) -> None:
    config = firewall(runtime, backend="iptables", ingressPolicy=policy)
    told = with_previous(config, {**result_of(), **result})
    assert runtime.call("ADD", told, "/x").code == INVALID_CONFIG
    assert runtime.host.exec("nft", "list", "ruleset") == ""


BREAKAGES: Final = {
    "iptables": (
        "iptables -F FORWARD",
        "ip6tables -F CNI-FORWARD",
        "iptables -D CNI-FORWARD -s 10.1.0.5 -j ACCEPT",
        "iptables -F CNI-ISOLATION-STAGE-1",
        "iptables -F CNI-ISOLATION-STAGE-2",
        "nft flush ruleset",
    ),
    "nftables": (
        "nft flush chain inet filter forward",
        "nft flush chain inet filter CNI-FORWARD",
        "nft flush chain inet filter CNI-ISOLATION-STAGE-1",
        "nft flush chain inet filter CNI-ISOLATION-STAGE-2",
        "nft flush ruleset",
    ),
}


@both_backends
def test_check_notices(backend: str, runtime: Runtime, make_netns: MakeNetns) -> None:
    pod = make_netns()
    config = firewall(runtime, backend=backend, ingressPolicy="isolated")
    config = with_previous(config, result_of())
    for breakage in BREAKAGES[backend]:
        runtime.add(config, pod)
        assert runtime.call("CHECK", config, pod).code == 0
        runtime.host.exec(*breakage.split())
        assert runtime.call("CHECK", config, pod).code == CHECK_FAILED, breakage
    assert runtime.call("DEL", config, pod).code == 0
    assert traces(runtime, *OURS) == []


@both_backends
def test_status_of_those_attached(backend: str, runtime: Runtime, make_netns: MakeNetns) -> None:
    host, pod = runtime.host, make_netns()
    config = with_previous(firewall(runtime, backend=backend), attach(host, pod))
    assert runtime.call("STATUS", config).code == 0
    runtime.add(config, pod)
    assert runtime.call("STATUS", config).code == 0
    # As after `iptables -F`, or a restart of what had made the rules.
    host.exec("nft", "flush", "ruleset")
    assert runtime.call("STATUS", config).code == LIMITED_CONNECTIVITY
    assert runtime.call("STATUS", {**config, "name": "other"}).code == 0
    assert runtime.call("DEL", config, pod).code == 0
    assert runtime.call("STATUS", config).code == 0, "nobody is attached"


@both_backends
def test_add_twice_is_as_once(backend: str, runtime: Runtime, make_netns: MakeNetns) -> None:
    pod = make_netns()
    config = firewall(runtime, backend=backend, ingressPolicy="isolated")
    config = with_previous(config, result_of())
    runtime.add(config, pod)
    before = runtime.host.exec("nft", "list", "ruleset")
    runtime.add(config, pod)
    assert runtime.host.exec("nft", "list", "ruleset") == before


@pytest.mark.parametrize("previous", [True, False], ids=["with prevResult", "without"])
@both_backends
def test_del_needs_little(
    backend: str,
    previous: bool,  # noqa: FBT001
    runtime: Runtime,
) -> None:
    """Also when another back end is configured by then, and the namespace is gone."""
    config = firewall(runtime, backend=backend)
    assert runtime.call("ADD", with_previous(config, result_of()), "/x").code == 0
    config["backend"] = BACKENDS[BACKENDS.index(backend) - 1]
    told = with_previous(config, result_of()) if previous else config
    for _ in range(2):
        assert runtime.call("DEL", told, "").code == 0
        assert traces(runtime, *OURS) == []


@both_backends
def test_rules_without_a_note_go_too(backend: str, runtime: Runtime) -> None:
    """Those of the reference plugin, or of a machine whose /run was emptied; torn notes."""
    config = with_previous(firewall(runtime, backend=backend), result_of())
    assert runtime.call("ADD", config, "/x").code == 0
    (runtime.directory / "firewall" / "10.1.0.5").unlink()
    (runtime.directory / "firewall" / "fd01::5").write_text('{"netw', encoding="utf-8")
    assert runtime.call("DEL", config, "").code == 0
    assert traces(runtime, *OURS) == []


@both_backends
def test_a_late_del_leaves_the_next_owner_alone(
    backend: str, runtime: Runtime, make_netns: MakeNetns
) -> None:
    pod = make_netns()
    config = with_previous(firewall(runtime, backend=backend), result_of())
    runtime.add(config, pod, container_id="old")
    runtime.add(config, pod, container_id="new")
    for command in ("old", "old"):
        assert runtime.call("DEL", config, "", container_id=command).code == 0
    assert runtime.call("CHECK", config, pod, container_id="new").code == 0
    assert runtime.call("DEL", config, "", container_id="new").code == 0
    assert traces(runtime, *OURS) == []


def test_another_back_end_takes_over(runtime: Runtime, make_netns: MakeNetns) -> None:
    pod = make_netns()
    for backend in (*BACKENDS, "iptables"):
        config = with_previous(firewall(runtime, backend=backend), result_of())
        runtime.add(config, pod)
        assert len(traces(runtime, "10.1.0.5")) == 3, "two rules and a note"


@both_backends
def test_gc(backend: str, runtime: Runtime, make_netns: MakeNetns) -> None:
    host, pod = runtime.host, make_netns()
    for bridge in ("br1", "br3"):
        host.ip("link", "add", bridge, "type", "bridge")
    config = firewall(runtime, backend=backend, ingressPolicy="same-bridge")
    for number in (5, 6):
        runtime.add(with_previous(config, result_of(number)), pod, container_id=f"c{number}")
    stranger = {**config, "name": "other"}
    runtime.add(with_previous(stranger, result_of(5, "br3")), pod, container_id="c9")
    host.ip("link", "del", "br3")
    valid = {"cni.dev/valid-attachments": [{"containerID": "c5", "ifname": "eth0"}]}
    for _ in range(2):
        assert runtime.call("GC", {**config, **valid}).code == 0
        assert traces(runtime, "10.1.0.6", "fd01::6") == []
        left = with_previous(config, result_of(5))
        assert runtime.call("CHECK", left, pod, container_id="c5").code == 0
        assert len(traces(runtime, "10.3.0.5")) == 3, "another network's"
        assert "br3" not in host.exec("nft", "list", "ruleset"), "a bridge that is gone"


@both_backends
def test_many_at_once(backend: str, runtime: Runtime) -> None:
    config = firewall(runtime, backend=backend, ingressPolicy="same-bridge")

    def call(command: str) -> set[int]:
        with ThreadPoolExecutor(8) as threads:
            outcomes = threads.map(
                lambda n: runtime.call(
                    command, with_previous(config, result_of(n)), "/x", container_id=f"c{n}"
                ),
                range(2, 10),
            )
            return {outcome.code for outcome in outcomes}

    assert call("ADD") == {0}
    rules = runtime.host.exec("nft", "list", "ruleset")
    families = 1 if backend == "nftables" else 2
    assert len(re.findall(r"jump CNI-FORWARD", rules)) == families, "written once"
    assert call("CHECK") == {0}
    assert call("DEL") == {0}
    addresses = [address for n in range(2, 10) for address in (f"10.1.0.{n}", f"fd01::{n}")]
    assert traces(runtime, *addresses) == []


@pytest.mark.parametrize(
    ("command", "backend"), [("ADD", "iptables"), ("DEL", "iptables"), ("ADD", "nftables")]
)
def test_killed_at_any_point(
    command: str, backend: str, runtime: Runtime, make_netns: MakeNetns
) -> None:
    ptp = config_of("ptp", ipam=runtime.ipam("10.1.0.0/24"))
    plugins = (ptp, firewall(runtime, backend=backend))
    kill_everywhere(Victim(runtime, make_netns(), plugins, number=1), command)


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


def test_without_prev_result_or_back_end(runtime: Runtime, tmp_path: Path) -> None:
    config = firewall(runtime, backend="iptables")
    for command in ("ADD", "CHECK"):
        assert runtime.call(command, config, "/x").code == INVALID_CONFIG
    assert runtime.call("STATUS", config).code == 0
    nowhere: Document = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={tmp_path}/none"}
    firewalld = with_previous(firewall(runtime, backend="firewalld"), result_of())
    assert runtime.call("ADD", firewalld, "/x", **nowhere).code == UNSUPPORTED_FIELD
    assert runtime.call("STATUS", firewalld, **nowhere).code == UNAVAILABLE
    assert runtime.call("DEL", firewalld, "", **nowhere).code == 0
    default = firewall(runtime)
    assert runtime.call("ADD", with_previous(default, result_of()), "/x", **nowhere).code == 0
    assert "CNI-FORWARD" in runtime.host.exec("iptables-save", "-t", "filter")


# A bus of the test's own: no policy but that anybody may speak.
BUS_CONFIGURATION: Final = """
<busconfig>
  <type>system</type>
  <listen>unix:path={}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/>
    <allow send_destination="*"/><allow receive_sender="*"/>
  </policy>
</busconfig>
"""


@pytest.fixture
def firewalld(runtime: Runtime, tmp_path: Path) -> Iterator[Document]:
    """Return the environment in which firewalld is found, which runs in the host's namespace."""
    if which("firewalld") is None:
        pytest.skip("needs firewalld: apt-get install firewalld")
    bus, settings = tmp_path / "bus", tmp_path / "bus.conf"
    settings.write_text(BUS_CONFIGURATION.format(bus), encoding="utf-8")
    (tmp_path / "zones").mkdir()
    told = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={bus}"}
    daemon = ["dbus-daemon", f"--config-file={settings}", "--nofork", "--print-address"]
    firewall = ["firewalld", "--nofork", "--nopid", "--system-config", str(tmp_path)]
    inside = ["nsenter", f"--net={runtime.host.path}"]
    with ExitStack() as stack:
        started = stack.enter_context(running(inside + daemon, told))
        assert started.stdout is not None
        assert started.stdout.readline(), "the address, once it listens"
        stack.enter_context(running(inside + firewall, told))
        wait = [
            "gdbus", "wait", "--address", f"unix:path={bus}", "--timeout", str(READY_WITHIN_S),
            "org.fedoraproject.FirewallD1",
        ]  # fmt: skip
        subprocess.run(wait, check=True)
        # It has its name before it flushes the rules of others; then it answers.
        state = ["firewall-cmd", "--state"]
        subprocess.run(state, env={**os.environ, **told}, check=True, capture_output=True)
        yield told


class running:  # noqa: N801 - reads as a phrase
    """Context manager: a process that runs for as long as the block."""

    def __init__(self, argv: list[str], variables: Document) -> None:
        self._process = subprocess.Popen(
            argv,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()


def sources(told: Document, zone: str = "trusted") -> set[str]:
    """Return the sources of a zone, as firewalld's own client says."""
    done = subprocess.run(
        ["firewall-cmd", f"--zone={zone}", "--list-sources"],
        env={**os.environ, **told}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return set(done.stdout.split())


BOTH: Final = {"10.1.0.5/32", "fd01::5/128"}


def test_firewalld(runtime: Runtime, make_netns: MakeNetns, firewalld: Document) -> None:
    """Chosen by itself where it runs; a policy is kept by iptables."""
    pod, host = make_netns(), runtime.host
    config = with_previous(firewall(runtime, ingressPolicy="same-bridge"), result_of())
    assert runtime.call("STATUS", config, **firewalld).code == 0
    for _ in range(2):
        runtime.add(config, pod, **firewalld)
        assert sources(firewalld) == BOTH
        assert runtime.call("CHECK", config, pod, **firewalld).code == 0
    saved = host.exec("iptables-save", "-t", "filter")
    assert "CNI-ISOLATION-STAGE-2 -o br1" in saved
    assert "CNI-FORWARD" not in saved
    command = ["firewall-cmd", "--zone=trusted", "--remove-source=10.1.0.5/32"]
    subprocess.run(command, env={**os.environ, **firewalld}, check=True, capture_output=True)
    assert runtime.call("CHECK", config, pod, **firewalld).code == CHECK_FAILED
    for _ in range(2):
        assert runtime.call("DEL", config, "", **firewalld).code == 0
        assert sources(firewalld) == set()
    work = with_previous(firewall(runtime, firewalldZone="work"), result_of())
    runtime.add(work, pod, **firewalld)
    assert sources(firewalld, "work") == BOTH
    # Another zone takes over; firewalld itself would refuse an address twice.
    runtime.add(config, pod, **firewalld)
    assert (sources(firewalld, "work"), sources(firewalld)) == (set(), BOTH)
    nonesuch = with_previous(firewall(runtime, firewalldZone="nonesuch"), result_of(6))
    outcome = runtime.call("ADD", nonesuch, pod, container_id="c6", **firewalld)
    assert "INVALID_ZONE" in outcome.msg
    assert traces(runtime, "10.1.0.6", "fd01::6") == []
    gone = {**firewall(runtime), "cni.dev/valid-attachments": []}
    assert runtime.call("GC", gone, **firewalld).code == 0
    assert sources(firewalld) == set()
    assert traces(runtime, *OURS) == []


@needs_original
def test_firewalld_with_the_original(
    runtime: Runtime, make_netns: MakeNetns, firewalld: Document
) -> None:
    pod = make_netns()
    result = {**result_of(), "cniVersion": "1.0.0"}
    config = with_previous({**firewall(runtime), "cniVersion": "1.0.0"}, result)
    for ours_first in (True, False):
        runtime.add(config, pod, reference=not ours_first, **firewalld)
        assert sources(firewalld) == BOTH
        assert runtime.call("CHECK", config, pod, **firewalld).code == 0
        assert runtime.call("DEL", config, pod, reference=ours_first, **firewalld).code == 0
        assert sources(firewalld) == set()


def test_firewalld_is_gone_when_del_comes(
    runtime: Runtime, make_netns: MakeNetns, firewalld: Document, tmp_path: Path
) -> None:
    config = with_previous(firewall(runtime), result_of())
    runtime.add(config, make_netns(), **firewalld)
    nowhere: Document = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={tmp_path}/none"}
    assert runtime.call("DEL", config, "", **nowhere).code == 0
    assert list((runtime.directory / "firewall").iterdir()) == []


def test_the_example_of_the_manual(runtime: Runtime, make_netns: MakeNetns) -> None:
    text = MANUAL.read_text(encoding="utf-8")
    example = json.loads(text.partition("```json\n")[2].partition("```")[0])
    host, pod, outside = runtime.host, make_netns(), make_netns()
    forward_nothing(host, "iptables")
    attach(host, outside, 9, "br2")
    config = with_previous(
        {**example, "dataDir": str(runtime.directory / "firewall")}, attach(host, pod)
    )
    runtime.add(config, pod)
    assert connect(pod, outside, "10.2.0.9") == "10.1.0.5"
    assert runtime.call("CHECK", config, pod).code == 0
    assert runtime.call("DEL", config, pod).code == 0
    assert traces(runtime, *OURS) == []
