"""What an operator can set about an agent: one frozen value, read once, passed down.

The command line is the one place where options are defined; every option may also come from the
environment (`podway.agent.options`). The command line wins.
"""

import argparse
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from msgspec import Struct
from msgspec.structs import replace

from podway.agent.options import (
    Options,
    Repeated,
    device_prefix,
    instance_name,
    lease_ttl,
    node_name,
    pattern,
    positive_seconds,
    public_address,
)
from podway.agent.places import (
    AGENT_SOCKET,
    CNI_SOCKET,
    DEFAULT_RUN_DIR,
    DEFAULT_STATE_DIR,
    own_dir,
)
from podway.kernel.logs import LOG_FORMATS, LOG_LEVELS, LogFormat, LogLevel
from podway.model.addresses import IPAddress
from podway.model.instances import Instance, instance_of
from podway.model.nodes import UplinkChoice
from podway.store.access import add_access_arguments
from podway.store.protocol import DEFAULT_LEASE_TTL_S

_ENVIRONMENT = """\
Each option may come from the environment: PODWAY_STORE for --store, and so on;
with commas between values where it may be repeated, 1 or 0 where it takes none.
The command line wins."""
Adder: TypeAlias = Callable[..., None]
Masquerade: TypeAlias = Literal["auto", "on", "off"]


class Settings(Struct, frozen=True, kw_only=True):
    """Settings of one agent. Defaults and meanings are those of `add_arguments`.

    Attributes:
        refuse_unassigned: packets for addresses that no pod has are refused although others attach
            the pods (flanneld can be told so; no option of podway's own).
    """

    node: str
    store: str
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    plaintext: bool = False
    store_user: str = ""
    store_password_file: Path | None = None
    uplinks: tuple[str, ...] = ()
    uplink_patterns: tuple[str, ...] = ()
    uplink_can_reach: IPAddress | None = None
    public_ips: tuple[IPAddress, ...] = ()
    state_dir: Path = DEFAULT_STATE_DIR
    run_dir: Path = DEFAULT_RUN_DIR
    http: str = ""
    lease_ttl_s: int = DEFAULT_LEASE_TTL_S
    cooldown_s: float = 30.0
    resync_s: float = 300.0
    store_grace_s: float = 30.0
    log_level: LogLevel = "info"
    log_format: LogFormat = "text"
    instance: str = ""
    device_prefix: str = ""
    subnet_file: Path | None = None
    masquerade: Masquerade = "auto"
    foreign_pods: bool = False
    take_over: bool = False
    wireguard_key: Path | None = None
    no_forward_rules: bool = False
    refuse_unassigned: bool = False

    @property
    def names(self) -> Instance:
        """Names and marks of what is this agent's."""
        return instance_of(self.instance, self.device_prefix)

    @property
    def uplink_choice(self) -> UplinkChoice:
        """Which interface leads to the peers."""
        return UplinkChoice(
            names=self.uplinks, patterns=self.uplink_patterns, reach=self.uplink_can_reach
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the agent's options on *parser*."""
    parser.epilog = "\n".join(filter(None, (parser.epilog, _ENVIRONMENT)))
    add = Options(parser).add
    add(
        "--node",
        type=node_name,
        default=socket.gethostname(),
        help="name of this node (default: host name)",
    )
    add(
        "--store",
        default=f"unix:{DEFAULT_RUN_DIR}/hub.sock",
        metavar="URL",
        help="the cluster's store: unix:PATH or tcp:HOST:PORT of a hub, or "
        "etcd:http[s]://HOST:PORT[,...][/PREFIX], or kubernetes:[KUBECONFIG] "
        "(default: %(default)s)",
    )
    add_access_arguments(add)
    _add_uplink(add)
    add(
        "--public-ip",
        dest="public_ips",
        type=public_address,
        action=Repeated,
        default=[],
        metavar="ADDRESS",
        help="address by which peers reach this node, once per family (default: the uplink's)",
    )
    _add_places(add)
    _add_manners(add)
    _add_times(add)
    _add_logging(add)


def _add_uplink(add: Adder) -> None:
    add(
        "--uplink",
        dest="uplinks",
        type=str,
        action=Repeated,
        default=[],
        metavar="DEV|ADDRESS",
        help="interface to peers, the first one there is (default: that of the default route)",
    )
    add(
        "--uplink-regex",
        dest="uplink_patterns",
        type=pattern,
        action=Repeated,
        default=[],
        metavar="REGEX",
        help="else the first whose address, or else whose name, this matches",
    )
    add(
        "--uplink-can-reach",
        type=public_address,
        metavar="ADDRESS",
        help="else the one by which this address is reached",
    )


def _add_places(add: Adder) -> None:
    add(
        "--state-dir",
        type=Path,
        default=DEFAULT_STATE_DIR,
        metavar="DIR",
        help="what must outlive a restart (default: %(default)s)",
    )
    add(
        "--run-dir",
        type=Path,
        default=DEFAULT_RUN_DIR,
        metavar="DIR",
        help=f"sockets: {CNI_SOCKET} and {AGENT_SOCKET} (default: %(default)s)",
    )
    add(
        "--http",
        default="",
        metavar="ADDRESS:PORT",
        help="serve /metrics, /healthz and /readyz (default: off)",
    )


def _add_manners(add: Adder) -> None:
    add(
        "--instance",
        type=instance_name,
        default="",
        metavar="NAME",
        help="run beside other agents of this machine, each for a network of its own: devices, "
        "routes, rules, directories bear the name",
    )
    add(
        "--device-prefix",
        type=device_prefix,
        default="",
        metavar="PREFIX",
        help="with which tunnel devices' names begin: 'flannel' gives flannel.1 (default: podway, "
        "or the instance's name)",
    )
    add(
        "--masquerade",
        choices=get_args(Masquerade),
        default="auto",
        help="pods' packets to the outside take this node's address (auto: as net-conf.json says)",
    )
    add(
        "--no-forward-rules",
        action="store_true",
        help="accept no forwarded packets, neither in podway's table nor in iptables' FORWARD",
    )
    add(
        "--subnet-file",
        type=Path,
        metavar="FILE",
        help="write network, subnet and MTU there, as flanneld does to /run/flannel/subnet.env",
    )
    add(
        "--foreign-pods",
        action="store_true",
        help="pods are attached by others (CNI plugin flannel, Docker): no bridge, no CNI",
    )
    add(
        "--take-over",
        action="store_true",
        help="go on with devices, routes and rules that a flanneld left (see podway migrate)",
    )
    add(
        "--wireguard-key",
        type=Path,
        metavar="FILE",
        help="this node's WireGuard key (default: wireguard.key in the state directory)",
    )


def _add_times(add: Adder) -> None:
    for flag, field, default, text in (
        ("--cooldown", "cooldown_s", 30.0, "how long a released pod address rests"),
        ("--resync", "resync_s", 300.0, "full comparison with the kernel, a safety net"),
        ("--store-grace", "store_grace_s", 30.0, "how long the store may be away before 503"),
    ):
        add(
            flag,
            dest=field,
            type=positive_seconds,
            default=default,
            metavar="SECONDS",
            help=f"{text} (default: %(default)s)",
        )
    add(
        "--lease-ttl",
        dest="lease_ttl_s",
        type=lease_ttl,
        default=DEFAULT_LEASE_TTL_S,
        metavar="SECONDS",
        help="how long the node keeps its subnets unless renewed; 0: for good "
        "(default: %(default)s)",
    )


def _add_logging(add: Adder) -> None:
    add(
        "--log-level",
        choices=LOG_LEVELS,
        default="info",
        help="least severe level to log (default: %(default)s)",
    )
    add(
        "--log-format",
        choices=LOG_FORMATS,
        default="text",
        help="log lines for people or for machines (default: %(default)s)",
    )


def settings_from(arguments: argparse.Namespace) -> Settings:
    """Return the settings that the parsed *arguments* make."""
    names = [name for name in Settings.__struct_fields__ if hasattr(arguments, name)]
    fields = {name: getattr(arguments, name) for name in names}
    lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    return with_own_places(Settings(**{**fields, **lists}))


def with_own_places(settings: Settings) -> Settings:
    """Return *settings* with directories of the instance's own in place of the default ones."""
    run, state, instance = settings.run_dir, settings.state_dir, settings.instance
    return replace(
        settings,
        run_dir=own_dir(run, instance) if run == DEFAULT_RUN_DIR else run,
        state_dir=own_dir(state, instance) if state == DEFAULT_STATE_DIR else state,
    )


def wireguard_key_file(settings: Settings) -> Path:
    """Return where this node's WireGuard key lies."""
    return settings.wireguard_key or settings.state_dir / "wireguard.key"
