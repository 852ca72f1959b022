"""Configuration of the ``flannel`` plugin, and of the plugin that it delegates to.

In: a request, and what the node's ``subnet.env`` says. Out: the configuration for the other plugin.
Called by `flannel_calls`. Keys, as the original's::

    subnetFile     where the daemon says which subnet the node has: /run/flannel/subnet.env
    dataDir        where configurations are kept until DEL: /var/lib/cni/flannel
    delegate       of the other plugin: type (bridge) and its own keys; not name, not ipam
    ipam           passed on, with the node's subnets as ranges and all networks as routes
    runtimeConfig  passed on
"""

from podway.cni.errors import INVALID_CONFIG, broken_rule
from podway.cni.fields import Fields
from podway.cni.results import parse_route
from podway.cni.values import Value
from podway.plugins.delegation import check_type
from podway.plugins.ipam_keys import parse_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from podway.cni.requests import Request
    from podway.plugins.subnet_env import SubnetEnv

DEFAULT_SUBNET_FILE: "Final" = "/run/flannel/subnet.env"
DEFAULT_DATA_DIR: "Final" = "/var/lib/cni/flannel"
DEFAULT_TYPE: "Final" = "bridge"
_SET_BY_FLANNEL: "Final" = ("name", "ipam")


class FlannelConf(Value):
    """What the configuration says.

    Attributes:
        subnet_file: path.
        data_dir: path.
        type: of the other plugin.
        delegate: its own keys, as given.
        ipam: as given.
    """

    subnet_file: str
    data_dir: str
    type: str
    delegate: "Mapping[str, Any]"
    ipam: "Mapping[str, Any]"


def parse_flannel_conf(request: "Request") -> FlannelConf:
    """Return what *request* configures.

    Raises:
        CniError: INVALID_CONFIG.
    """
    fields = Fields(request.config.raw, code=INVALID_CONFIG)
    ipam = fields.fields("ipam")
    ipam.text("type")
    for route in ipam.each("routes"):
        parse_route(route)
    return FlannelConf(
        subnet_file=parse_path(fields, "subnetFile", DEFAULT_SUBNET_FILE),
        data_dir=parse_path(fields, "dataDir", DEFAULT_DATA_DIR).rstrip("/"),
        type=_parse_type(fields.fields("delegate")),
        delegate=fields.mapping("delegate"),
        ipam=fields.mapping("ipam"),
    )


def _parse_type(delegate: Fields) -> str:
    for key in _SET_BY_FLANNEL:
        if delegate.has(key):
            raise delegate.refused(key, delegate.value(key), "must be left out: flannel sets it")
    name = check_type(delegate.text("type") or DEFAULT_TYPE, delegate.where("type"))
    if name == "flannel":
        raise broken_rule(delegate.where("type"), name, "must be another plugin")
    return name


def render_delegate(
    request: "Request", conf: FlannelConf, env: "SubnetEnv | None"
) -> "dict[str, Any]":
    """Return the configuration for the other plugin.

    Args:
        request: of the call.
        conf: of the same request.
        env: None if nobody says which subnet the node has; enough to take away what is there.
    """
    given = Fields(conf.delegate)
    document = dict(conf.delegate)
    filled: dict[str, Any] = {
        "type": conf.type,
        "ipMasq": env is None or not env.ip_masq,
        **({} if env is None else {"mtu": env.mtu_bytes}),
        **({"isGateway": True} if conf.type == DEFAULT_TYPE else {}),
    }
    document |= {key: value for key, value in filled.items() if given.value(key) is None}
    if request.config.runtime_config:
        document["runtimeConfig"] = request.config.runtime_config
    return {
        **document,
        "name": request.config.name,
        "cniVersion": request.config.cni_version,
        "ipam": _render_ipam(conf.ipam, env),
    }


def _render_ipam(given: "Mapping[str, Any]", env: "SubnetEnv | None") -> "dict[str, Any]":
    fields = Fields(given)
    kept = {key: value for key, value in given.items() if key.lower() not in {"ranges", "routes"}}
    if not fields.text("type"):
        kept["type"] = "host-local"
    if env is None:
        return kept
    routes = list(fields.value("routes") or ())
    routes += [{"dst": network} for network in env.networks]
    return {**kept, "ranges": [[{"subnet": subnet}] for subnet in env.subnets], "routes": routes}
