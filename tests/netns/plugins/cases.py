"""How each plugin of the registry is called in tests that are about all of them.

In: a runtime whose host `prepare` has furnished. Out: for each plugin a list of configurations, of
which its own is the last: what stands behind another plugin needs that one's result. Whoever adds a
plugin to the registry adds a case here (`test_every_plugin.py` sees to it), and has thereby most of
the tests that a plugin needs.

Two plugins ask a daemon. Here it is away, which must not matter to anything but the last step; what
they do with it is in ``dhcp/`` and ``podway/``, and in the agent's tests.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest

from kernel_features import why_missing
from netns.conftest import Netns
from netns.plugins.cni_runtime import Document, Runtime, config_of, with_previous
from netns.plugins.fork_server import Answer, ForkServer

Make = Callable[[Runtime], tuple[Document, ...]]

# What is missing in the kernels of many machines, so that tests run under User Mode Linux there.
SECOND_KERNEL: Final = {"dummy", "ipvlan", "vlan", "vrf"}
SUBNETS: Final = ("10.1.0.0/24", "fd01::/64")
_SUBNET_ENV: Final = """\
FLANNEL_NETWORK=10.1.0.0/16
FLANNEL_SUBNET=10.1.0.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=false
"""


@dataclass(frozen=True)
class Case:
    """One plugin.

    Attributes:
        make: returns configurations of one list, the plugin's own as the last.
        features: of the kernel.
        asks_daemon: which is away.
        needs_previous: without prevResult there is no ADD.
    """

    make: Make
    features: tuple[str, ...] = ()
    asks_daemon: bool = False
    needs_previous: bool = False


def _ipam(runtime: Runtime) -> Document:
    routes = [{"dst": "0.0.0.0/0", "mtu": 1400, "advmss": 1300}, {"dst": "2001:db8::/32"}]
    return runtime.ipam(*SUBNETS, routes=routes)


def _main(plugin: str, **keys: Any) -> Make:
    """Return a case of a plugin that makes an interface, with addresses of host-local."""
    return lambda runtime: (config_of(plugin, ipam=_ipam(runtime), **keys),)


def _meta(plugin: str, before: str = "ptp", **keys: Any) -> Make:
    """Return a case of a plugin that stands behind another one."""
    first = {"bridge": "br0", "isGateway": True} if before == "bridge" else {}
    return lambda runtime: (
        *_main(before, **first)(runtime),
        config_of(plugin, **keys),
    )


def _with_directory(make: Make) -> Make:
    """Return a case whose plugin keeps its files in the test's directory."""

    def made(runtime: Runtime) -> tuple[Document, ...]:
        *before, config = make(runtime)
        return (*before, {**config, "dataDir": f"{runtime.directory}/{config['type']}"})

    return made


def _flannel(runtime: Runtime) -> tuple[Document, ...]:
    files = {name: f"{runtime.directory}/{name}" for name in ("subnet.env", "flannel")}
    config = config_of(
        "flannel",
        subnetFile=files["subnet.env"],
        dataDir=files["flannel"],
        ipam={"dataDir": str(runtime.directory)},
        delegate={"hairpinMode": True, "isDefaultGateway": True},
    )
    return (config,)


def _dhcp(runtime: Runtime) -> tuple[Document, ...]:
    socket = f"{runtime.directory}/dhcp.sock"
    return (config_of("dhcp", ipam={"type": "dhcp", "daemonSocketPath": socket}),)


def _podway(runtime: Runtime) -> tuple[Document, ...]:
    return (config_of("podway", agentSocket=f"{runtime.directory}/agent.sock"),)


_RATES: Final[Document] = {
    "ingressRate": 8_000_000,
    "ingressBurst": 800_000,
    "egressRate": 16_000_000,
    "egressBurst": 1_600_000,
}
_PORTS: Final = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]
_ADDRESSES: Final = [{"address": "10.1.0.5/24", "gateway": "10.1.0.1"}, {"address": "fd01::5/64"}]
_ROUTES: Final = [{"dst": "0.0.0.0/0", "mtu": 1400}]

CASES: Final[dict[str, Case]] = {
    "podway": Case(_podway, asks_daemon=True),
    "bandwidth": Case(_meta("bandwidth", **_RATES), ("ifb",), needs_previous=True),
    "bridge": Case(_main("bridge", bridge="br0", isGateway=True, ipMasq=True, macspoofchk=True)),
    "host-local": Case(_main("host-local")),
    "dhcp": Case(_dhcp, asks_daemon=True),
    "dummy": Case(_main("dummy"), ("dummy",)),
    "flannel": Case(_flannel),
    "firewall": Case(_with_directory(_meta("firewall", backend="iptables")), needs_previous=True),
    "host-device": Case(_with_directory(_main("host-device", device="dev0"))),
    "ipvlan": Case(_main("ipvlan", master="up0"), ("ipvlan",)),
    "loopback": Case(lambda _: (config_of("loopback"),)),
    "macvlan": Case(_main("macvlan", master="up0", mtu=1300), ("macvlan",)),
    "portmap": Case(
        _meta("portmap", "bridge", runtimeConfig={"portMappings": _PORTS}), needs_previous=True
    ),
    "ptp": Case(_main("ptp", ipMasq=True)),
    "sbr": Case(_meta("sbr"), needs_previous=True),
    "tap": Case(_main("tap", owner=64123), ("tun",)),
    "tuning": Case(
        _with_directory(_meta("tuning", mtu=1300, sysctl={"net.ipv4.conf.IFNAME.arp_filter": "1"})),
        needs_previous=True,
    ),
    "vlan": Case(_main("vlan", master="up0", vlanId=7), ("vlan",)),
    "vrf": Case(_meta("vrf", vrfname="blue"), ("vrf",), needs_previous=True),
    "static": Case(
        lambda _: (
            config_of(
                "static", ipam={"type": "static", "addresses": _ADDRESSES, "routes": _ROUTES}
            ),
        )
    ),
}


_OTHER_POOLS: Final = {"ranges": [[{"subnet": "10.77.0.0/24"}]]}
# What may have become of a configuration between ADD and DEL; None takes a key away.
CHANGES: Final[dict[str, list[Document]]] = {
    "bandwidth": [
        dict.fromkeys(_RATES, 0),
        {"egressRate": 0, "egressBurst": 0},
        {"ingressRate": 0, "ingressBurst": 0},
    ],
    "bridge": [
        {"ipMasq": False},
        {"ipMasqBackend": "nftables"},
        {"macspoofchk": False},
        {"isGateway": False},
        {"mtu": 1300},
        {"bridge": "br9"},
        {"bridge": "up0"},
        {"ipam": _OTHER_POOLS},
    ],
    "firewall": [
        {"backend": "nftables"},
        {"backend": None},
        {"ingressPolicy": "isolated"},
        {"iptablesAdminChainName": "OTHER"},
    ],
    "flannel": [{"delegate": {}}, {"delegate": {"type": "ptp"}}, {"delegate": {"bridge": "br9"}}],
    "host-device": [
        {"device": "up0"},
        {"device": "none0"},
        {"device": None, "hwaddr": "0a:00:00:00:00:01"},
        {"ipam": _OTHER_POOLS},
    ],
    "host-local": [{"ipam": _OTHER_POOLS}],
    "loopback": [],
    "macvlan": [
        {"master": "dev0"},
        {"master": "none0"},
        {"mode": "private"},
        {"mtu": 9000},
        {"linkInContainer": True},
        {"ipam": _OTHER_POOLS},
    ],
    "portmap": [
        {"runtimeConfig": {}},
        {"runtimeConfig": {"portMappings": [{**_PORTS[0], "hostPort": 9, "protocol": "udp"}]}},
        {"backend": "nftables"},
        {"snat": False},
        {"markMasqBit": 3},
        {"externalSetMarkChain": "OTHER"},
    ],
    "ptp": [
        {"ipMasq": False},
        {"ipMasqBackend": "nftables"},
        {"mtu": 1300},
        {"ipam": _OTHER_POOLS},
    ],
    "sbr": [{"addSourceHints": True}],
    "static": [{"ipam": {"addresses": [{"address": "10.77.0.5/24"}]}}],
    "tap": [{"owner": None}, {"bridge": "none0"}, {"mtu": 1300}, {"ipam": _OTHER_POOLS}],
    "tuning": [{"mtu": None}, {"mtu": 1280}, {"sysctl": None}],
}


def every_plugin(*, with_daemons: bool = True, on_any_kernel: bool = False) -> list[Any]:
    """Return a parameter for each plugin, marked by what it needs of the kernel.

    Args:
        with_daemons: also those that ask one.
        on_any_kernel: unmarked, for what the kernel is not asked for.
    """
    return [
        pytest.param(
            name,
            id=name,
            marks=[pytest.mark.kernel(*case.features)]
            if case.features and not on_any_kernel
            else [],
        )
        for name, case in CASES.items()
        if with_daemons or not case.asks_daemon
    ]


def each_plugin(
    *,
    with_daemons: bool = False,
    everywhere: bool = False,
    on_any_kernel: bool = False,
    but: str = "",
) -> pytest.MarkDecorator:
    """Return the mark of a test that is called with each plugin.

    Args:
        with_daemons: also with those that ask one.
        everywhere: also under User Mode Linux, where a call takes twenty times as long.
        on_any_kernel: all on this kernel, although it may lack what an ADD needs.
        but: one that the test is not for.
    """
    plugins = [
        each
        for each in every_plugin(with_daemons=with_daemons, on_any_kernel=on_any_kernel)
        if each.id != but
        and (everywhere or on_any_kernel or not SECOND_KERNEL & set(CASES[str(each.id)].features))
    ]
    return pytest.mark.parametrize("caller", plugins, indirect=True)


def prepare(runtime: Runtime) -> None:
    """Give the host what the cases need: devices, a default route, flannel's subnet."""
    host = runtime.host
    for device, peer in (("up0", "wire"), ("dev0", "other")):
        host.ip("link", "add", device, "type", "veth", "peer", "name", peer)
        for each in (device, peer):
            host.ip("link", "set", each, "up")
    host.ip("addr", "add", "192.0.2.2/24", "dev", "up0")
    host.ip("route", "add", "default", "via", "192.0.2.1")
    (runtime.directory / "subnet.env").write_text(_SUBNET_ENV, encoding="ascii")


@dataclass(frozen=True)
class Caller:
    """Calls the plugins of one case, for one container.

    Attributes:
        server: forks for each call.
        runtime: whose plugins and directories these are.
        pod: the container's namespace.
        plugins: configurations in the order of the list; the last one is tested.
    """

    server: ForkServer
    runtime: Runtime
    pod: Netns
    plugins: tuple[Document, ...]

    @property
    def config(self) -> Document:
        """The configuration of the plugin that is tested."""
        return self.plugins[-1]

    def call(
        self,
        command: str,
        config: Document | bytes | None = None,
        **variables: str | bytes | None,
    ) -> Answer:
        """Call a plugin.

        Args:
            command: CNI_COMMAND.
            config: None for that of the plugin that is tested; bytes go to that one as they are.
            variables: replace those of the environment, None takes one away.
        """
        told = self.config if config is None else config
        stdin = told if isinstance(told, bytes) else json.dumps(told).encode()
        name = self.config["type"] if isinstance(told, bytes) else told["type"]
        return self.server.call(name, self.environment(command, **variables), stdin)

    def environment(self, command: str, **variables: str | bytes | None) -> dict[str, str | bytes]:
        """Return the environment of a call."""
        usual = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": "c1",
            "CNI_NETNS": self.pod.path,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": "/nonexistent",
        }
        told = {**usual, **variables}
        return {name: value for name, value in told.items() if value is not None}

    def add_before(self, version: str = "1.1.0") -> Document | None:
        """Call ADD of the plugins before the tested one; return the last result."""
        result: Document | None = None
        for config in self.plugins[:-1]:
            answer = self.call("ADD", told(config, result, version))
            assert answer.code == 0, answer
            result = answer.document
        return result

    def add(self, version: str = "1.1.0") -> Document:
        """Call ADD of all plugins; return the result."""
        previous = self.add_before(version)
        answer = self.call("ADD", told(self.config, previous, version))
        assert answer.code == 0, answer
        return answer.document

    def delete(self, result: Document | None = None, version: str = "1.1.0") -> None:
        """Call DEL of all plugins, last first."""
        for config in reversed(self.plugins):
            answer = self.call("DEL", told(config, result, version))
            assert answer.code == 0, answer

    def collect(self, *valid: str, **variables: str) -> None:
        """Call GC of all plugins.

        Args:
            valid: containers whose eth0 is valid.
            variables: replace those of the environment.
        """
        attachments = [{"containerID": each, "ifname": "eth0"} for each in valid]
        for config in self.plugins:
            both = {"cni.dev/valid-attachments": attachments, "cni.dev/attachments": attachments}
            answer = self.call("GC", {**config, **both}, **variables)
            assert answer.code == 0, answer


def can_add(caller: Caller) -> bool:
    """Tell whether ADD has what it takes: its daemon, and a kernel that has such devices."""
    case = CASES[caller.config["type"]]
    return not case.asks_daemon and not any(map(why_missing, case.features))


def told(config: Document, result: Document | None, version: str = "1.1.0") -> Document:
    """Return *config* as a plugin gets it, in *version* and with the result before, if any."""
    versioned = {**config, "cniVersion": version}
    return versioned if result is None else with_previous(versioned, result)


# What a namespace holds, a line of JSON for each; nft's last, which has lines of its own.
_WITNESSES: Final = (
    "ip -j addr; ip -j -4 route show table all; ip -j rule; ip -j -6 rule; tc -j qdisc; "
    "nft list ruleset"
)
_JSON_LINES: Final = 5
_COUNTERS: Final = re.compile(r"counter packets \d+ bytes \d+")


def state(caller: Caller) -> Document:
    """Return what the host and the container hold, but for what is random or settles by and by."""
    found: Document = {}
    for name, netns in (("host", caller.runtime.host), ("container", caller.pod)):
        lines = netns.exec("sh", "-c", _WITNESSES).splitlines()
        found[name] = [_stable(json.loads(line)) for line in lines[:_JSON_LINES]]
        found[f"rules of {name}"] = [_COUNTERS.sub("counter", each) for each in lines[_JSON_LINES:]]
    directory = caller.runtime.directory
    found["files"] = sorted(
        str(path.relative_to(directory))
        for path in directory.rglob("*")
        if not path.name.startswith("index.podway")
    )
    return found


def outside(found: Document) -> Document:
    """Return what of a state is not in the container."""
    return {key: found[key] for key in ("host", "rules of host", "files")}


def _stable(value: Any) -> Any:
    """Return what `ip` says without flags and states, which change by themselves."""
    left_out = {"flags", "operstate", "ifindex", "link_index", "qlen", "link_netnsid", "refcnt"}
    if isinstance(value, dict):
        return {
            key: [each for each in map(_stable, inner) if each.get("scope") != "link"]
            if key == "addr_info"
            else _stable(inner)
            for key, inner in value.items()
            if key not in left_out
        }
    return [_stable(each) for each in value] if isinstance(value, list) else value
