"""A container runtime in small: it calls installed executables in a host namespace of the test's.

What plugins take for the host is a namespace that the test made; they and reference plugins of the
same name can be called one after the other, with the same configuration.
"""

import json
import os
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from netns.conftest import Netns
from podway.netlink import entered

Document: TypeAlias = dict[str, Any]

# Where Debian's package containernetworking-plugins has the originals.
REFERENCE = Path("/usr/lib/cni")
_MANUAL = Path(__file__).parents[3] / "docs" / "reference" / "cni"
_CONNECTED_WITHIN_S = 10


@dataclass(frozen=True)
class Outcome:
    """How a call ended.

    Attributes:
        code: 0, or the number in the error.
        document: what was printed; empty for nothing.
        stderr: what was complained of.
    """

    code: int
    document: Document
    stderr: str

    @property
    def msg(self) -> str:
        """The error's sentence."""
        return str(self.document.get("msg", ""))


@dataclass(frozen=True)
class Runtime:
    """Calls plugins for containers.

    Attributes:
        host: namespace in which plugins run.
        executables: directory of podway's plugins.
        directory: for the data of IPAM plugins; the test's own.
    """

    host: Netns
    executables: Path
    directory: Path

    def call(
        self,
        command: str,
        config: Document | bytes,
        container: Netns | str = "",
        *,
        container_id: str = "c1",
        ifname: str = "eth0",
        args: str = "",
        reference: bool = False,
        prefix: tuple[str, ...] = (),
        **variables: str,
    ) -> Outcome:
        """Call the plugin that *config* names, and return how that ended.

        Args:
            command: CNI_COMMAND.
            config: network configuration; bytes go to ``macvlan`` as they are.
            container: its namespace, or what CNI_NETNS is to be.
            container_id: CNI_CONTAINERID.
            ifname: CNI_IFNAME.
            args: CNI_ARGS.
            reference: call the original.
            prefix: program and arguments that execute the plugin's command.
            variables: more of the environment.
        """
        name = config["type"] if isinstance(config, dict) else "macvlan"
        directory = REFERENCE if reference else self.executables
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container_id,
            "CNI_NETNS": container if isinstance(container, str) else container.path,
            "CNI_IFNAME": ifname,
            "CNI_ARGS": args,
            "CNI_PATH": f"{directory}:{REFERENCE}",
            "PATH": os.environ["PATH"],
            **variables,
        }
        done = subprocess.run(
            ["nsenter", f"--net={self.host.path}", *prefix, directory / name],
            input=config if isinstance(config, bytes) else json.dumps(config).encode(),
            env=environment,
            capture_output=True,
            check=False,
            timeout=60,
        )
        document = json.loads(done.stdout) if done.stdout else {}
        assert done.returncode == (1 if "code" in document else 0), done
        return Outcome(document.get("code", 0), document, done.stderr.decode())

    def kill(self, command: str, config: Document, container: Netns, calls: str, n: int) -> bool:
        """Call a plugin and kill it when it makes the system call number *n* of *calls*.

        Returns:
            Whether it got that far.
        """
        done = subprocess.run(
            [
                "nsenter", f"--net={self.host.path}", "strace", "-f", "-qq", "-o", "/dev/null",
                f"--inject={calls}:signal=KILL:when={n}", self.executables / config["type"],
            ],
            input=json.dumps(config).encode(),
            env={
                "CNI_COMMAND": command,
                "CNI_CONTAINERID": "c1",
                "CNI_NETNS": container.path,
                "CNI_IFNAME": "eth0",
                "CNI_PATH": str(self.executables),
                "PATH": os.environ["PATH"],
            },
            capture_output=True,
            check=False,
            timeout=60,
        )  # fmt: skip
        assert done.returncode in {0, -signal.SIGKILL, 128 + signal.SIGKILL}, done
        return done.returncode != 0

    def add(self, config: Document, container: Netns, **told: Any) -> Document:
        """Call ADD, which must succeed, and return the result."""
        outcome = self.call("ADD", config, container, **told)
        assert outcome.code == 0, outcome
        return outcome.document

    def ipam(self, *subnets: str, **keys: Any) -> Document:
        """Return the configuration of IPAM by ``host-local`` from *subnets*."""
        return {
            "type": "host-local",
            "dataDir": str(self.directory),
            "ranges": [[{"subnet": subnet}] for subnet in subnets],
            **keys,
        }

    def reserved(self, network: str = "net") -> set[str]:
        """Return the addresses that ``host-local`` holds for *network*."""
        try:
            names = [path.name for path in (self.directory / network).iterdir()]
        except FileNotFoundError:
            return set()
        return {name for name in names if name[0].isdigit() or ":" in name}


def config_of(plugin: str, **keys: Any) -> Document:
    """Return a configuration of network ``net`` for *plugin*, in the newest version."""
    return {"cniVersion": "1.1.0", "name": "net", "type": plugin, **keys}


def example_of(plugin: str, runtime: Runtime) -> Document:
    """Return the example of a plugin's manual; IPAM keeps its data in the test's directory."""
    example = read_example(plugin)
    if example.get("ipam", {}).get("type") == "host-local":
        example["ipam"]["dataDir"] = str(runtime.directory)
    return example


def read_example(plugin: str) -> Document:
    """Return the example of a plugin's manual as it stands there."""
    text = (_MANUAL / f"{plugin}.md").read_text(encoding="utf-8")
    _, _, behind = text.partition("```json\n")
    example: Document = json.loads(behind.partition("```")[0])
    assert plugin in {example["type"], example.get("ipam", {}).get("type")}
    return example


def with_previous(config: Document, result: Document) -> Document:
    """Return *config* as CHECK and DEL get it."""
    return {**config, "prevResult": result}


def stable(result: Document) -> Document:
    """Return *result* without what is random, names a namespace, or came after Debian's version.

    That is the key mtu, and that an empty dns is left out.
    """
    interfaces = [
        {
            **{key: value for key, value in each.items() if key not in {"mac", "mtu"}},
            "name": "veth" if each["name"].startswith("veth") else each["name"],
            "sandbox": "container" if each.get("sandbox") else "host",
        }
        for each in result.get("interfaces", ())
    ]
    kept = {key: value for key, value in result.items() if key != "dns" or value}
    return {**kept, "interfaces": interfaces}


def without_waiting(netns: Netns) -> Netns:
    """Return *netns*, in which IPv6 addresses of devices to come are used at once.

    The originals wait for them, 2 s for every attachment.
    """
    netns.exec("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
    return netns


def devices(netns: Netns) -> set[str]:
    """Return the names of the devices in a namespace, but for lo."""
    links = json.loads(netns.ip("-j", "link"))
    return {link["ifname"] for link in links} - {"lo"}


def link_of(netns: Netns, ifname: str) -> Document:
    """Return what `ip` says of a device."""
    found: list[Document] = json.loads(netns.ip("-j", "-d", "link", "show", "dev", ifname))
    return found[0]


def state_of(netns: Netns, ifname: str) -> Document:
    """Return what an attachment is in the kernel, without what is random or settles by and by."""
    link = link_of(netns, ifname)
    kept = ("mtu", "linkinfo", "link_index", "link", "qdisc", "group", "master")
    return {
        "link": {key: link[key] for key in kept if key in link},
        "is_up": "UP" in link["flags"],
        "addresses": addresses_of(netns, ifname),
        "routes": routes_of(netns),
    }


def addresses_of(netns: Netns, ifname: str) -> set[str]:
    """Return the addresses of a device that somebody gave it, with prefix lengths."""
    (link,) = (each for each in json.loads(netns.ip("-j", "addr", "show", "dev", ifname)) if each)
    return {
        f"{each['local']}/{each['prefixlen']}"
        for each in link["addr_info"]
        if each["scope"] != "link"
    }


def routes_of(netns: Netns) -> list[Document]:
    """Return the routes of table main that somebody wrote, and the kernel's for subnets."""
    routes = [
        *json.loads(netns.ip("-j", "-4", "route")),
        *json.loads(netns.ip("-j", "-6", "route")),
    ]
    return [
        {key: value for key, value in route.items() if key not in {"flags", "pref"}}
        for route in routes
        if not route["dst"].startswith(("fe80:", "ff00:"))
    ]


def saved_table(netns: Netns, table: str) -> list[str]:
    """Return a table of both families as iptables-save prints it, without counters."""
    saved = [netns.exec(f"{program}-save", "-t", table) for program in ("iptables", "ip6tables")]
    return [line.split(" [")[0] for line in "".join(saved).splitlines() if line[0] not in "#*"]


def connect(
    client: Netns, server: Netns, address: str, *, within_s: float = _CONNECTED_WITHIN_S
) -> str:
    """Connect over TCP from one namespace to an address of another; return what the server sees.

    Args:
        client: where the connection begins.
        server: where it ends.
        address: of the server.
        within_s: how long it is tried.

    Raises:
        OSError: no connection comes about.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with entered(server.fd):
        listener = socket.create_server((address, 0), family=family)
    with entered(client.fd):
        caller = socket.socket(family)
    with listener, caller:
        caller.settimeout(within_s)
        caller.connect((address, listener.getsockname()[1]))
        accepted, peer = listener.accept()
        accepted.close()
    return str(peer[0])
