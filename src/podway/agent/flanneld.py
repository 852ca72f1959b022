"""``podway flanneld``: an agent that stands in flanneld's place, with its flags and environment.

In: a command line and an environment, as a flanneld is started with. Out: the `Settings` of an
agent that does the same: devices are called ``flannel.1`` and so on, pods are attached by others
(the CNI plugin ``flannel`` reads subnet.env; Docker takes its options), nothing is masqueraded
unless asked for, and what a flanneld left in the kernel is taken over. `translate` is pure.

A password is not part of the settings, which are shown; `Translation` has it apart.
"""

import argparse
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from msgspec import Struct

from podway.agent.flanneld_flags import FLAGS, WITHOUT_USE
from podway.agent.goflags import Values, is_true, number, parse_go_flags
from podway.agent.options import node_name, pattern, public_address
from podway.agent.places import DEFAULT_RUN_DIR, DEFAULT_STATE_DIR
from podway.agent.settings import Settings, with_own_places
from podway.errors import ConfigError
from podway.model.addresses import Family, IPAddress, family_of
from podway.model.secret import Secret

PREFIX = "FLANNELD"
DEVICE_PREFIX = "flannel"
WIREGUARD_KEY_FILE = "/run/flannel/wgkey"
_MARGIN_MAX_MIN = 1439


class Translation(Struct, frozen=True, kw_only=True):
    """What a flanneld's command line and environment say to podway.

    Attributes:
        settings: of the agent.
        password: for etcd; empty where none is given.
        pod: (namespace, name) of our own pod, whose node is this one; None where that is known.
        notices: for the log, in sentences.
        asks: "version" or "help" where nothing is to be run.
    """

    settings: Settings
    password: Secret = Secret("")
    pod: tuple[str, str] | None = None
    notices: tuple[str, ...] = ()
    asks: str = ""


def translate(argv: Sequence[str], environ: Mapping[str, str]) -> Translation:
    """Return what *argv* (without the program's name) and *environ* say.

    Raises:
        FlagError: a flag that flanneld has not, or a value of the wrong kind.
        ConfigError: a value that breaks a rule.
    """
    given = _Given(parse_go_flags(FLAGS, argv, environ, PREFIX))
    if given.is_set("help") or given.flag("version"):
        asks = "help" if given.is_set("help") else "version"
        return Translation(settings=Settings(node="", store=""), asks=asks)
    _check_margin(given)
    node, pod = _node(given, environ)
    password = Secret(given.text("etcd-password"))
    return Translation(
        settings=with_own_places(
            Settings(
                node=node,
                **_store(given, environ, password),
                **_uplink(given),
                **_places(given, environ),
                **_manners(given),
            )
        ),
        password=password,
        pod=pod,
        notices=tuple(_notices(given, argv)),
    )


class _Given:
    """What was given, and flannel's defaults for the rest."""

    def __init__(self, values: Values) -> None:
        self._values = values

    def is_set(self, name: str) -> bool:
        return name in self._values

    def all(self, name: str) -> tuple[str, ...]:
        return tuple(value for value in self._values.get(name, ()) if value)

    def text(self, name: str) -> str:
        return self._values.get(name, [FLAGS[name].default])[-1]

    def flag(self, name: str) -> bool:
        return is_true(self.text(name))

    def number(self, name: str) -> int:
        return number(self.text(name))

    def path(self, name: str) -> Path | None:
        text = self.text(name)
        return Path(text) if text else None


def _check_margin(given: _Given) -> None:
    margin = given.number("subnet-lease-renew-margin")
    if not 0 < margin <= _MARGIN_MAX_MIN:
        rule = f"must be 1 to {_MARGIN_MAX_MIN} minutes"
        raise ConfigError("-subnet-lease-renew-margin", margin, rule)


def _node(given: _Given, environ: Mapping[str, str]) -> tuple[str, tuple[str, str] | None]:
    """Return this node's name, or the pod whose node it is."""
    name = environ.get("PODWAY_NODE") or environ.get("NODE_NAME", "")
    if name:
        return _checked("NODE_NAME", node_name, name), None
    if not given.flag("kube-subnet-mgr"):
        return _checked("host name", node_name, socket.gethostname()), None
    pod = (environ.get("POD_NAMESPACE", ""), environ.get("POD_NAME", ""))
    if not all(pod):
        rule = "must be set (or POD_NAME and POD_NAMESPACE): which Node is this one?"
        raise ConfigError("NODE_NAME", name, rule)
    return "", pod


def _store(given: _Given, environ: Mapping[str, str], password: Secret) -> dict[str, Any]:
    if given.flag("kube-subnet-mgr"):
        return {"store": _kubernetes(given)}
    user = given.text("etcd-username")
    file = environ.get("PODWAY_STORE_PASSWORD_FILE", "")
    if user and not (password or file or environ.get("PODWAY_STORE_PASSWORD")):
        rule = "needs a password: PODWAY_STORE_PASSWORD_FILE, or FLANNELD_ETCD_PASSWORD"
        raise ConfigError("-etcd-username", user, rule)
    has_tls = bool(given.text("etcd-certfile") and given.text("etcd-keyfile"))
    url, is_tls = _etcd(given, is_tls=has_tls)
    files: dict[str, Any] = {}
    if is_tls:
        files = {"tls_ca": given.path("etcd-cafile")}
        # flannel takes neither without the other
        if has_tls:
            files |= {
                "tls_cert": given.path("etcd-certfile"),
                "tls_key": given.path("etcd-keyfile"),
            }
    return {
        "store": url,
        "store_user": user,
        "store_password_file": Path(file) if user and file and not password else None,
        # As flanneld does; the log says that it is so.
        "plaintext": bool(user) and not is_tls,
        **files,
    }


def _etcd(given: _Given, *, is_tls: bool) -> tuple[str, bool]:
    """Return the URL of the etcd cluster, and whether it is reached over TLS."""
    endpoints = [each.strip().rstrip("/") for each in given.text("etcd-endpoints").split(",")]
    scheme = "https" if is_tls else "http"
    urls = [each if "://" in each else f"{scheme}://{each}" for each in endpoints if each]
    prefix = given.text("etcd-prefix")
    if not urls:
        raise ConfigError("-etcd-endpoints", given.text("etcd-endpoints"), "must name a member")
    if not prefix.startswith("/"):
        raise ConfigError("-etcd-prefix", prefix, "must begin with a slash")
    return f"etcd:{','.join(urls)}{prefix.rstrip('/')}", urls[0].startswith("https:")


def _kubernetes(given: _Given) -> str:
    options = {"net-conf": given.text("net-config-path")}
    if given.is_set("kube-annotation-prefix"):
        options["annotation-prefix"] = given.text("kube-annotation-prefix")
    if not given.flag("set-node-network-unavailable"):
        options["set-network-unavailable"] = "false"
    if given.text("kube-api-url"):
        options["server"] = given.text("kube-api-url")
    return f"kubernetes:{given.text('kubeconfig-file')}?{urlencode(options, safe='/:')}"


def _uplink(given: _Given) -> dict[str, Any]:
    patterns = given.all("iface-regex")
    reach = given.text("iface-can-reach")
    public = [
        _address(f"-{name}", given.text(name), family)
        for name, family in (("public-ip", Family.IPV4), ("public-ipv6", Family.IPV6))
        if given.text(name)
    ]
    return {
        "uplinks": given.all("iface"),
        "uplink_patterns": tuple(_checked("-iface-regex", pattern, each) for each in patterns),
        "uplink_can_reach": _checked("-iface-can-reach", public_address, reach) if reach else None,
        "public_ips": tuple(public),
    }


def _places(given: _Given, environ: Mapping[str, str]) -> dict[str, Any]:
    port = given.number("healthz-port")
    if not 0 <= port < 1 << 16:
        raise ConfigError("-healthz-port", port, "must be 0 to 65535")
    host = given.text("healthz-ip")
    host = f"[{host}]" if ":" in host else host
    key = environ.get("WIREGUARD_KEY_FILE") or WIREGUARD_KEY_FILE
    return {
        "http": f"{host}:{port}" if port else "",
        "subnet_file": Path(given.text("subnet-file")),
        "run_dir": Path(environ.get("PODWAY_RUN_DIR") or DEFAULT_RUN_DIR),
        "state_dir": Path(environ.get("PODWAY_STATE_DIR") or DEFAULT_STATE_DIR),
        "instance": environ.get("PODWAY_INSTANCE", ""),
        "wireguard_key": Path(key),
    }


def _manners(given: _Given) -> dict[str, Any]:
    """Return in what an agent in flanneld's place differs from any other."""
    return {
        "device_prefix": DEVICE_PREFIX,
        "foreign_pods": True,
        "take_over": True,
        "masquerade": "on" if given.flag("ip-masq") else "off",
        "no_forward_rules": not given.flag("iptables-forward-rules"),
        "refuse_unassigned": given.flag("ip-blackhole-route"),
        "log_level": "debug" if given.number("v") > 0 else "info",
    }


def _notices(given: _Given, argv: Sequence[str]) -> list[str]:
    found = [
        f"-{name} has no effect: {why}" for name, why in WITHOUT_USE.items() if given.is_set(name)
    ]
    if any(word.lstrip("-").partition("=")[0] == "etcd-password" for word in argv):
        found.append(
            "-etcd-password shows in process listings: put it into a file that "
            "PODWAY_STORE_PASSWORD_FILE names"
        )
    if given.text("etcd-username") and not given.text("etcd-endpoints").startswith("https:"):
        found.append("etcd's password crosses the network without TLS")
    return found


def _checked(field: str, check: Callable[[str], Any], text: str) -> Any:
    try:
        return check(text)
    except argparse.ArgumentTypeError as error:
        raise ConfigError(field, text, str(error).removeprefix(f"{text!r}: ")) from error


def _address(field: str, text: str, family: Family) -> IPAddress:
    address: IPAddress = _checked(field, public_address, text)
    if family_of(address) is not family:
        raise ConfigError(field, text, f"must be an {family.label} address")
    return address
