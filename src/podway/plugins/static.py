"""The ``static`` plugin: addresses, routes and DNS as the configuration or the runtime says them.

In: a configuration. Out: the same as a result; nothing is kept and nothing touched. Keys of
``ipam``, as the reference plugin's::

    addresses  [{address: "10.1.0.5/24", gateway}]
    routes     [{dst, gw, mtu, advmss, priority, table, scope}]
    dns        {nameservers, domain, search, options}

Of the addresses asked for at run time those of ``runtimeConfig.ips`` replace all others, then those
of ``args.cni.ips``; ``IP`` of CNI_ARGS is added to those of the configuration, and each address of
``GATEWAY`` becomes the gateway of the addresses in whose subnet it lies.
"""

from podway.cni.addresses import (
    canonical_address,
    canonical_cidr,
    is_ipv4,
    parse_address,
    parse_prefix,
    render_address,
    share_subnet,
)
from podway.cni.errors import (
    CHECK_FAILED,
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    CniError,
    broken_rule,
)
from podway.cni.results import Dns, Ip, Result, Route, parse_dns, parse_route
from podway.cni.values import Value, replace
from podway.plugins.ipam_keys import check_families, ipam_fields
from podway.plugins.orders import OrderedIp, check_arguments, ordered_ips
from podway.plugins.previous import required_previous_result
from podway.plugins.skeleton import Call, CniPlugin, keep_nothing, run_plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, NoReturn

    from podway.cni.fields import Fields
    from podway.cni.requests import Request


def main() -> "NoReturn":
    """Answer one CNI call and end the process."""
    run_plugin(PLUGIN)


class StaticConf(Value):
    """What the container is given."""

    ips: tuple[Ip, ...]
    routes: tuple[Route, ...]
    dns: Dns


def parse_static_conf(request: "Request") -> StaticConf:
    """Return what *request* configures and asks for.

    Raises:
        CniError: INVALID_CONFIG for a key of the configuration, INVALID_ENVIRONMENT for CNI_ARGS.
    """
    check_arguments(request)
    ipam = ipam_fields(request)
    conf = StaticConf(
        ips=_parse_ips(request, ipam),
        routes=tuple(parse_route(each) for each in ipam.each("routes")),
        dns=parse_dns(ipam.fields("dns")),
    )
    families = (4 if is_ipv4(ip.address) else 6 for ip in conf.ips)
    check_families(families, request.config.cni_version, "addresses")
    return conf


def add(call: Call) -> Result:
    """Return the addresses."""
    conf = parse_static_conf(call.request)
    return Result(ips=conf.ips, routes=conf.routes, dns=conf.dns)


def check(call: Call) -> None:
    """See that prevResult has the addresses that the configuration says."""
    conf = parse_static_conf(call.request)
    given = {ip.address for ip in required_previous_result(call.request).ips}
    missing = [ip.address for ip in conf.ips if ip.address not in given]
    if missing:
        raise CniError(CHECK_FAILED, f"prevResult lacks {', '.join(missing)}")


def status(call: Call) -> None:
    """See that the configuration can be read."""
    parse_static_conf(call.request)


def _parse_ips(request: "Request", ipam: "Fields") -> tuple[Ip, ...]:
    ordered = ordered_ips(request)
    for way in ("runtimeConfig", "args.cni"):
        if ordered[way]:
            ips = tuple(_ip(each) for each in ordered[way])
            break
    else:
        configured = tuple(_parse_ip(each) for each in ipam.each("addresses"))
        ips = configured + tuple(_ip(each) for each in ordered["CNI_ARGS"])
    return _with_gateways(ips, request.args.get("GATEWAY", ""))


def _parse_ip(fields: "Fields") -> Ip:
    text, gateway = fields.text("address"), fields.text("gateway")
    try:
        address = canonical_cidr(text)
    except ValueError as error:
        raise fields.refused("address", text, str(error)) from None
    try:
        return Ip(address=address, gateway=canonical_address(gateway) if gateway else "")
    except ValueError as error:
        raise fields.refused("gateway", gateway, str(error)) from None


def _ip(ordered: OrderedIp) -> Ip:
    """Return an address that was asked for; without a prefix length nobody could use it."""
    text = render_address(ordered.packed)
    if ordered.bits is None:
        rule = "must have its prefix length, as 10.1.0.5/24"
        code = INVALID_ENVIRONMENT if ordered.where.startswith("CNI_ARGS") else INVALID_CONFIG
        raise broken_rule(ordered.where, text, rule, code)
    return Ip(address=f"{text}/{ordered.bits}")


def _with_gateways(ips: tuple[Ip, ...], arguments: str) -> tuple[Ip, ...]:
    for text in arguments.split(",") if arguments else ():
        try:
            gateway = canonical_address(text.strip())
        except ValueError as error:
            raise broken_rule("CNI_ARGS GATEWAY", text, str(error), INVALID_ENVIRONMENT) from None
        ips = tuple(
            replace(ip, gateway=gateway)
            if share_subnet(parse_address(gateway), *parse_prefix(ip.address))
            else ip
            for ip in ips
        )
    return ips


PLUGIN: "Final" = CniPlugin(
    name="static",
    about="gives the addresses that the configuration or the runtime says",
    add=add,
    delete=keep_nothing,
    check=check,
    gc=keep_nothing,
    status=status,
    opens_netns=False,
)
