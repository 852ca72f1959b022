"""A whole list of plugins, as libcni calls it: ADD forwards, DEL backwards, GC of all.

bridge, portmap, bandwidth, firewall and tuning: what podman and containerd put behind each other.
Seen here: that none of them takes for its own what another one has made, and that calls for the
same and for different containers may run at the same time.
"""

import json
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import pytest

from netns.conftest import MakeNetns, Netns
from netns.plugins.cni_runtime import (
    Document,
    Outcome,
    Runtime,
    addresses_of,
    config_of,
    connect,
    devices,
    with_previous,
)

pytestmark = pytest.mark.kernel("ifb")

COUNT: Final = 6


@dataclass(frozen=True)
class Network:
    """A list of plugins.

    Attributes:
        runtime: calls them.
        plugins: their configurations, in order.
    """

    runtime: Runtime
    plugins: tuple[Document, ...]

    def add(self, pod: Netns, container_id: str) -> Outcome:
        """Call ADD of each plugin, until one fails; return the last outcome."""
        outcome = Outcome(0, {}, "")
        for config in self.plugins:
            told = with_previous(config, outcome.document) if outcome.document else config
            outcome = self.runtime.call("ADD", told, pod, container_id=container_id)
            if outcome.code:
                break
        return outcome

    def delete(self, pod: Netns | str, container_id: str, result: Document | None = None) -> None:
        """Call DEL of each plugin, last first; all must succeed."""
        for config in reversed(self.plugins):
            told = with_previous(config, result) if result else config
            outcome = self.runtime.call("DEL", told, pod, container_id=container_id)
            assert outcome.code == 0, (config["type"], outcome)

    def check(self, pod: Netns, container_id: str, result: Document) -> dict[str, Outcome]:
        """Call CHECK of each plugin; return what fails."""
        outcomes = {
            config["type"]: self.runtime.call(
                "CHECK", with_previous(config, result), pod, container_id=container_id
            )
            for config in self.plugins
        }
        return {name: outcome for name, outcome in outcomes.items() if outcome.code}

    def collect(self, container_ids: Iterable[str]) -> None:
        """Call GC of each plugin as libcni 1.1 does, with the list under both of its keys."""
        valid = [{"containerID": each, "ifname": "eth0"} for each in container_ids]
        both = {"cni.dev/valid-attachments": valid, "cni.dev/attachments": valid}
        for config in self.plugins:
            outcome = self.runtime.call("GC", {**config, **both})
            assert outcome.code == 0, (config["type"], outcome)


def network(runtime: Runtime, port: int = 8080, **keys: Any) -> Network:
    """Return a list of five plugins; *keys* are of those that have a back end."""
    main = {"bridge": "br0", "isDefaultGateway": True, "ipMasq": True, "macspoofchk": True}
    nft = {"ipMasqBackend": keys["backend"]} if "backend" in keys else {}
    ports = [
        {"hostPort": port, "containerPort": 80, "protocol": protocol} for protocol in ("tcp", "udp")
    ]
    rates = dict.fromkeys(("ingressRate", "egressRate"), 8000000)
    bursts = dict.fromkeys(("ingressBurst", "egressBurst"), 800000)
    directory = runtime.directory
    ipam = runtime.ipam("10.1.0.0/24", "fd01::/64")
    return Network(
        runtime,
        (
            config_of("bridge", **main, **nft, ipam=ipam),
            config_of("portmap", runtimeConfig={"portMappings": ports}, **keys),
            config_of("bandwidth", **rates, **bursts),
            config_of("firewall", dataDir=f"{directory}/firewall", **keys),
            config_of("tuning", mtu=1400, dataDir=f"{directory}/tuning"),
        ),
    )


def ruleset(host: Netns) -> list[str]:
    """Return all rules, without counters."""
    text = host.exec("nft", "list", "ruleset")
    return re.sub(r"counter packets \d+ bytes \d+", "counter", text).splitlines()


def kept_files(runtime: Runtime) -> set[str]:
    """Return the files that are somebody's: reservations, records, backups."""
    files = (str(path.relative_to(runtime.directory)) for path in runtime.directory.rglob("*"))
    return {name for name in files if re.search(r"(/10\.|/fd01|\.json$)", name)}


def attached(runtime: Runtime) -> dict[str, Any]:
    """Return what there is of attachments outside of containers."""
    qdiscs = json.loads(runtime.host.exec("tc", "-j", "qdisc"))
    return {
        "devices": devices(runtime.host),
        "rules": ruleset(runtime.host),
        "files": kept_files(runtime),
        "qdiscs": sorted(each["kind"] for each in qdiscs if each["kind"] != "noqueue"),
    }


both_backends = pytest.mark.parametrize("backend", ["iptables", "nftables"])


@both_backends
def test_gc_of_a_list(backend: str, runtime: Runtime, make_netns: MakeNetns) -> None:
    """The valid are as before, of the others nothing is left; whoever GC asks first."""
    pods = {f"c{n}": make_netns() for n in range(3)}
    chain = network(runtime, backend=backend)
    first = chain.add(pods["c0"], "c0")
    assert first.code == 0, first
    nothing = attached(runtime)
    others = {
        name: network(runtime, 8080 + n, backend=backend) for n, name in enumerate(("c1", "c2"), 1)
    }
    results = {name: other.add(pods[name], name) for name, other in others.items()}
    assert {outcome.code for outcome in results.values()} == {0}
    everything = attached(runtime)
    chain.collect(["c0", "c1", "c2"])
    assert attached(runtime) == everything

    chain.collect(["c0"])
    assert attached(runtime) == nothing
    assert chain.check(pods["c0"], "c0", first.document) == {}
    connect(runtime.host, pods["c0"], "10.1.0.2")
    for name, other in others.items():
        other.delete(pods[name], name, results[name].document)
    assert attached(runtime) == nothing

    chain.collect([])
    left = attached(runtime)
    assert (left["devices"], left["files"], left["qdiscs"]) == ({"br0"}, set(), [])
    assert not [rule for rule in left["rules"] if "10.1.0.2" in rule or "c0" in rule.split()]
    chain.delete(pods["c0"], "c0")
    assert attached(runtime) == left


def test_networks_do_not_collect_each_other(runtime: Runtime, make_netns: MakeNetns) -> None:
    pods = [make_netns() for _ in range(2)]
    one, other = network(runtime), network(runtime, 8081)
    first, *rest = ({**each, "name": "other"} for each in other.plugins)
    second_bridge = {**first, "bridge": "br1", "ipam": runtime.ipam("10.2.0.0/24", "fd02::/64")}
    other = Network(runtime, (second_bridge, *rest))
    result = one.add(pods[0], "c1").document
    assert other.add(pods[1], "c2").code == 0
    before = attached(runtime)
    for each in (one, other):
        each.collect(["c1", "c2"])
    assert attached(runtime) == before
    other.collect([])
    assert one.check(pods[0], "c1", result) == {}
    one.collect(["c1"])
    assert one.check(pods[0], "c1", result) == {}


@both_backends
def test_everything_at_once(backend: str, runtime: Runtime, make_netns: MakeNetns) -> None:
    """ADD, DEL and GC of the same and of different containers; at the end all is consistent."""
    chain = network(runtime, backend=backend)
    stays = make_netns()
    kept = chain.add(stays, "kept")
    chain.collect(["kept"])
    before = attached(runtime)
    pods = {f"c{n}": make_netns() for n in range(COUNT)}
    valid = ["kept", *pods]

    def live(step: tuple[str, int]) -> None:
        name, _ = step
        # Each container twice at the same time: one of the ADDs may be refused, and a DEL may come
        # in the middle of the other's ADD, which then fails; nothing else may.
        outcome = chain.add(pods[name], name)
        assert outcome.code in {0, 5, 7, 100}, outcome
        chain.delete(pods[name], name, outcome.document if outcome.code == 0 else None)

    with ThreadPoolExecutor(8) as threads:
        collections = [threads.submit(chain.collect, valid) for _ in range(3)]
        lives = [threads.submit(live, (name, n)) for n in range(2) for name in pods]
        for each in (*lives, *collections):
            each.result()
    # Whoever was in the middle of an ADD when the other's DEL was through.
    for name, pod in pods.items():
        chain.delete(pod, name)
        assert devices(pod) == set()
    assert attached(runtime) == before
    assert chain.check(stays, "kept", kept.document) == {}
    assert addresses_of(stays, "eth0") == {"10.1.0.2/24", "fd01::2/64"}


def test_a_gc_that_lets_nobody_stay_while_all_are_added(
    runtime: Runtime, make_netns: MakeNetns
) -> None:
    """A runtime may not do that. Whoever loses hears of it, and a DEL and a GC leave nothing."""
    chain = network(runtime)
    chain.delete(make_netns(), "first", chain.add(make_netns(), "first").document)
    chain.collect([])
    before = attached(runtime)
    pods = {f"c{n}": make_netns() for n in range(COUNT)}
    with ThreadPoolExecutor(8) as threads:
        adds = {name: threads.submit(chain.add, pod, name) for name, pod in pods.items()}
        collections = [threads.submit(chain.collect, []) for _ in range(3)]
        for each in collections:
            each.result()
        outcomes = {name: each.result() for name, each in adds.items()}
    assert 999 not in {outcome.code for outcome in outcomes.values()}, outcomes
    for name, pod in pods.items():
        chain.delete(pod, name, outcomes[name].document if outcomes[name].code == 0 else None)
        assert devices(pod) == set()
    chain.collect([])
    assert attached(runtime) == before
