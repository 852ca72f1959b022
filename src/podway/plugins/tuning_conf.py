"""The configuration of ``tuning``: what is to be set, by whoever has the last word.

In: a request. Out: a frozen value, or error 7. As with the reference plugin, ``args.cni`` counts
before ``runtimeConfig``, that before CNI_ARGS, and all before the plugin's own keys.
"""

from podway.cni.errors import INVALID_CONFIG, INVALID_ENVIRONMENT
from podway.cni.fields import Fields
from podway.cni.values import Value
from podway.plugins.ipam_keys import parse_path
from podway.plugins.link_fields import parse_mtu, plugin_fields
from podway.plugins.macs import checked_mac
from podway.plugins.orders import check_arguments
from podway.plugins.tuning_sysctls import PLACEHOLDER, Sysctl, parse_sysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, TypeVar

    from podway.cni.requests import Request

    T = TypeVar("T")

DATA_DIR: "Final" = "/run/cni/tuning"
_MAX_TXQLEN: "Final" = (1 << 32) - 1


class TuningConf(Value):
    """What the configuration asks for.

    Attributes:
        sysctls: kernel parameters, in the order given.
        mac: address of the interface, "" for the one it has.
        mtu_bytes: size of the interface, 0 for the one it has.
        promisc: receives what is for others, too.
        allmulti: receives all multicast, or not; None as it is.
        txqlen: how many packets may wait; None as it is.
        data_dir: where the files are that say how interfaces were before.
    """

    sysctls: tuple[Sysctl, ...]
    mac: str
    mtu_bytes: int
    promisc: bool
    allmulti: bool | None
    txqlen: int | None
    data_dir: str

    @property
    def changes_link(self) -> bool:
        """Something of the interface itself is to change."""
        numbers = (self.allmulti, self.txqlen)
        return bool(self.mac or self.mtu_bytes or self.promisc) or any(
            each is not None for each in numbers
        )


def parse_conf(request: "Request") -> TuningConf:
    """Return the configuration.

    Raises:
        CniError: INVALID_CONFIG or INVALID_ENVIRONMENT.
    """
    check_arguments(request)
    fields = plugin_fields(request.config)
    orders = Fields(request.config.args_cni, "args.cni", INVALID_CONFIG)
    both = (fields, orders)
    numbers = [each.integer_within("txQLen", 0, _MAX_TXQLEN) for each in both]
    all_multicast = [_optional_boolean(each, "allmulti") for each in both]
    promisc = [_optional_boolean(each, "promisc") for each in both]
    sizes = [parse_mtu(each) if each.has("mtu") else None for each in both]
    return TuningConf(
        sysctls=_parse_sysctls(both, request.ifname or PLACEHOLDER),
        mac=_parse_mac(request, fields, orders),
        mtu_bytes=_last(sizes) or 0,
        promisc=_last(promisc) or False,
        allmulti=_last(all_multicast),
        txqlen=_last(numbers),
        data_dir=parse_data_dir(request),
    )


def parse_data_dir(request: "Request") -> str:
    """Return ``dataDir``, which all commands need.

    Raises:
        CniError: INVALID_CONFIG.
    """
    return parse_path(plugin_fields(request.config), "dataDir", DATA_DIR).rstrip("/")


def _last(values: "list[T | None]") -> "T | None":
    """Return the last value that says something: the later place has the last word."""
    told = [value for value in values if value is not None]
    return told[-1] if told else None


def _optional_boolean(fields: Fields, key: str) -> bool | None:
    return fields.boolean(key) if fields.value(key) is not None else None


def _parse_mac(request: "Request", fields: Fields, orders: Fields) -> str:
    runtime = Fields(request.config.runtime_config, "runtimeConfig", INVALID_CONFIG)
    places = (
        (orders.where("mac"), orders.text("mac"), INVALID_CONFIG),
        (runtime.where("mac"), runtime.text("mac"), INVALID_CONFIG),
        ("CNI_ARGS MAC", request.args.get("MAC", ""), INVALID_ENVIRONMENT),
        ("mac", fields.text("mac"), INVALID_CONFIG),
    )
    for where, mac, code in places:
        if mac:
            return checked_mac(mac, where, code)
    return ""


def _parse_sysctls(both: "tuple[Fields, Fields]", ifname: str) -> tuple[Sysctl, ...]:
    """Return the parameters of the configuration, with those of ``args.cni`` put over them.

    Two keys of one place that name the same parameter are refused: which one counts?
    """
    found: dict[str, Sysctl] = {}
    for fields in both:
        where = fields.where("sysctl")
        here: dict[str, Sysctl] = {}
        for key, value in fields.mapping("sysctl").items():
            text = Fields({key: value}, where, INVALID_CONFIG).text(key)
            sysctl = parse_sysctl(key, text, ifname, where)
            if sysctl.path in here:
                rule = f"must name a parameter once, {here[sysctl.path].key} is the same"
                raise fields.refused("sysctl", key, rule)
            here[sysctl.path] = sysctl
        found.update(here)
    return tuple(found.values())
