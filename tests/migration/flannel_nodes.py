"""A node as flanneld leaves it, made with iproute2 and iptables, and podway's commands on it.

Every command is one that flanneld's netlink calls amount to (route protocol boot, permanent
neighbours, ``self permanent`` FDB entries, appended chains); the value in etcd is flanneld's byte
for byte. The node is a namespace, and so is its pod.
"""

import json
import os
import signal
import subprocess
import sys
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from agent.real_nodes import wait_until
from netns.conftest import Netns, run
from podway.agent.calls import AgentAway, call_agent

STORE = "192.0.2.254"
PREFIX = "/coreos.com/network"
NETWORK = "10.244.0.0/16"
PATIENCE_S = 30.0


class FlannelNode:
    """One node: ``number`` N has 192.0.2.N, leases 10.244.N.0/24 and has one pod at .2."""

    def __init__(self, number: int, netns: Netns, pod: Netns, directory: Path) -> None:
        self.number = number
        self.name = f"n{number}"
        self.netns = netns
        self.pod = pod
        self.directory = directory
        self.mac = f"02:f1:a0:00:00:{number:02x}"
        self._agent: subprocess.Popen[bytes] | None = None

    @property
    def key(self) -> str:
        return f"{PREFIX}/subnets/10.244.{self.number}.0-24"

    def value(self, backend: str) -> str:
        """Return what flanneld wrote there."""
        data = f'"BackendData":{{"VNI":1,"VtepMAC":"{self.mac}"}}' if backend == "vxlan" else ""
        parts = [f'"PublicIP":"192.0.2.{self.number}"', '"PublicIPv6":null']
        parts += [f'"BackendType":"{backend}"', *([data] if data else [])]
        return "{" + ",".join(parts) + "}"

    # --- what flanneld made ---------------------------------------------------------------------

    def make_vtep(self) -> None:
        self.netns.ip(
            *("link", "add", "flannel.1", "address", self.mac, "mtu", "1450", "type", "vxlan"),
            *("id", "1", "dev", "eth0", "local", f"192.0.2.{self.number}", "dstport", "8472"),
            "nolearning",
        )
        self.netns.ip("address", "add", f"10.244.{self.number}.0/32", "dev", "flannel.1")
        self.netns.ip("link", "set", "flannel.1", "up")

    def add_vxlan_peer(self, number: int) -> None:
        mac, gateway = f"02:f1:a0:00:00:{number:02x}", f"10.244.{number}.0"
        self.netns.ip(
            "neigh", "add", gateway, "lladdr", mac, "nud", "permanent", "dev", "flannel.1"
        )
        run(
            *("bridge", "-n", self.netns.name, "fdb", "append", mac, "dev", "flannel.1"),
            *("dst", f"192.0.2.{number}", "self", "permanent"),
        )
        self.netns.ip("route", "add", f"{gateway}/24", "via", gateway, "dev", "flannel.1", "onlink")

    def add_route(self, number: int) -> None:
        self.netns.ip(
            "route", "add", f"10.244.{number}.0/24", "via", f"192.0.2.{number}", "dev", "eth0"
        )

    def make_pod(self) -> None:
        """Do what the CNI plugins flannel and bridge did."""
        subnet = f"10.244.{self.number}"
        self.netns.ip("link", "add", "cni0", "mtu", "1450", "type", "bridge")
        self.netns.ip("address", "add", f"{subnet}.1/24", "dev", "cni0")
        self.netns.ip("link", "set", "cni0", "up")
        self.netns.ip(
            *("link", "add", "veth0", "mtu", "1450", "type", "veth"),
            *("peer", "eth0", "mtu", "1450", "netns", self.pod.name),
        )
        self.netns.ip("link", "set", "veth0", "master", "cni0", "up")
        self.pod.ip("address", "add", f"{subnet}.2/24", "dev", "eth0")
        self.pod.ip("link", "set", "eth0", "up")
        self.pod.ip("route", "add", "default", "via", f"{subnet}.1")
        self.netns.exec("sysctl", "-qw", "net.ipv4.ip_forward=1")

    def add_chains(self, program: str = "iptables") -> None:
        """Write what flanneld -ip-masq writes."""
        own = f"10.244.{self.number}.0/24"
        rules = [
            *("-t nat -N FLANNEL-POSTRTG", "-t filter -N FLANNEL-FWD"),
            "-t nat -A POSTROUTING -m comment --comment MASQ -j FLANNEL-POSTRTG",
            "-t nat -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -j RETURN",
            f"-t nat -A FLANNEL-POSTRTG -s {own} -d {NETWORK} -j RETURN",
            f"-t nat -A FLANNEL-POSTRTG -s {NETWORK} -d {own} -j RETURN",
            f"-t nat -A FLANNEL-POSTRTG ! -s {NETWORK} -d {own} -j RETURN",
            f"-t nat -A FLANNEL-POSTRTG -s {NETWORK} ! -d 224.0.0.0/4 -j MASQUERADE --random-fully",
            f"-t nat -A FLANNEL-POSTRTG ! -s {NETWORK} -d {NETWORK} -j MASQUERADE --random-fully",
            "-t filter -A FORWARD -m comment --comment FWD -j FLANNEL-FWD",
            f"-t filter -A FLANNEL-FWD -s {NETWORK} -j ACCEPT",
            f"-t filter -A FLANNEL-FWD -d {NETWORK} -j ACCEPT",
        ]
        comments = {"MASQ": "flanneld masq", "FWD": "flanneld forward"}
        for rule in rules:
            words = [comments.get(word, word) for word in rule.split()]
            self.netns.exec(program, *words)

    def write_subnet_env(self) -> None:
        (self.directory / "subnet.env").write_text(self.subnet_env())

    def subnet_env(self, mtu: int = 1450) -> str:
        return (
            f"FLANNEL_NETWORK={NETWORK}\nFLANNEL_SUBNET=10.244.{self.number}.1/24\n"
            f"FLANNEL_MTU={mtu}\nFLANNEL_IPMASQ=true\n"
        )

    # --- podway ---------------------------------------------------------------------------------

    @property
    def flags(self) -> list[str]:
        return [
            *("-ip-masq", "--iface=eth0", "-etcd-endpoints", f"http://{STORE}:2379"),
            *("-subnet-file", str(self.directory / "subnet.env")),
        ]

    @property
    def options(self) -> list[str]:
        return [
            *("--node", self.name, "--store", f"etcd:http://{STORE}:2379", "--foreign-pods"),
            *("--state-dir", str(self.directory / "state"), "--run-dir", str(self.directory)),
            *("--subnet-file", str(self.directory / "subnet.env"), "--uplink", "eth0"),
        ]

    def podway(self, *words: str) -> "subprocess.Popen[bytes]":
        """Start ``podway words...`` in the node."""
        places = {"PODWAY_RUN_DIR": str(self.directory), "PODWAY_NODE": self.name}
        places["PODWAY_STATE_DIR"] = str(self.directory / "state")
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(
                [
                    "ip",
                    "netns",
                    "exec",
                    self.netns.name,
                    sys.executable,
                    "-m",
                    "podway.cli",
                    *words,
                ],
                env={**os.environ, **places},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def migrate(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Run ``podway migrate --json`` and return its exit code and answer."""
        process = self.podway("migrate", "--json", *words)
        output, _ = process.communicate(timeout=PATIENCE_S)
        return process.returncode, json.loads(output or b"{}")

    def start(self, *words: str) -> None:
        """Start the agent with *words* and wait until it is ready."""
        self._agent = self.podway(*words)
        wait_until(lambda: self.status().get("ready"), lambda: (self.status(), self.log))

    def kill(self) -> None:
        if self._agent is not None:
            self._agent.send_signal(signal.SIGKILL)
            self._agent.communicate()
            self._agent = None

    def status(self) -> dict[str, Any]:
        try:
            return call_agent(self.directory / "agent.sock", "status", {})
        except AgentAway:
            return {}

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    # --- witnesses ------------------------------------------------------------------------------

    def routes(self) -> dict[str, tuple[str, str]]:
        """Return device and protocol by prefix, of the network's routes."""
        listed = json.loads(self.netns.ip("-j", "-d", "route", "show"))
        inside = IPv4Network(NETWORK)
        return {
            item["dst"]: (item["dev"], str(item.get("protocol", "")))
            for item in listed
            if "/" in item["dst"] and IPv4Network(item["dst"]).subnet_of(inside)
        }

    def link(self, name: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(self.netns.ip("-j", "-d", "link", "show", name))
        return found[0]

    def rules(self) -> str:
        return self.netns.exec("nft", "list", "ruleset")
