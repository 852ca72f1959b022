"""What the ``firewall`` plugin reads: its keys, and of prevResult addresses and bridge.

In: a request. Out: one frozen value, every key checked (errors are 7). Keys and defaults are the
reference plugin's, with ``nftables``, ``nftablesTable`` and ``dataDir`` besides;
``docs/reference/cni/firewall.md`` explains them.
"""

from podway.cni.errors import INVALID_CONFIG, UNSUPPORTED_FIELD, CniError, broken_rule
from podway.cni.fields import Fields
from podway.cni.names import broken_ifname_rule
from podway.cni.values import Value
from podway.plugins.ipam_keys import parse_path
from podway.plugins.iptables_kinds import IPV4, IPV6, has_program
from podway.plugins.iptables_names import check_chain_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from podway.cni.requests import Request
    from podway.cni.results import Result

BACKENDS: "Final" = ("iptables", "nftables", "firewalld")
POLICIES: "Final" = ("open", "same-bridge", "isolated")
DEFAULT_ADMIN_CHAIN: "Final" = "CNI-ADMIN"
DEFAULT_ZONE: "Final" = "trusted"
DEFAULT_TABLE: "Final" = "filter"
DEFAULT_DATA_DIR: "Final" = "/run/cni/firewall"


class FirewallConf(Value):
    """The configuration.

    Attributes:
        backend: one of `BACKENDS`, "" for what the system has.
        admin_chain: the administrator's chain, which is asked first.
        zone: of firewalld, in which containers are.
        table: of nftables (family inet) in which the rules stand.
        policy: one of `POLICIES`.
        data_dir: where it is noted whose address is whose.
    """

    backend: str
    admin_chain: str
    zone: str
    table: str
    policy: str
    data_dir: str


def parse_firewall_conf(request: "Request") -> FirewallConf:
    """Return what *request* configures.

    Raises:
        CniError: INVALID_CONFIG.
    """
    fields = Fields(request.config.raw, code=INVALID_CONFIG)
    conf = FirewallConf(
        backend=fields.choice("backend", BACKENDS),
        admin_chain=fields.text("iptablesAdminChainName") or DEFAULT_ADMIN_CHAIN,
        zone=fields.text("firewalldZone") or DEFAULT_ZONE,
        table=fields.text("nftablesTable") or DEFAULT_TABLE,
        policy=fields.choice("ingressPolicy", POLICIES) or "open",
        data_dir=parse_path(fields, "dataDir", DEFAULT_DATA_DIR).rstrip("/"),
    )
    check_chain_name("iptablesAdminChainName", conf.admin_chain)
    for key, name in (("firewalldZone", conf.zone), ("nftablesTable", conf.table)):
        plain = name.isascii() and all(each.isalnum() or each in "_-" for each in name)
        if not plain or name.startswith("-"):
            raise broken_rule(key, name, "must be letters, digits, '_' and '-'")
    return conf


def choose_backend(conf: FirewallConf) -> str:
    """Return the back end to use: the configured one, or what the system has.

    That is firewalld if it runs, iptables where it is installed, else nftables.

    Raises:
        CniError: UNSUPPORTED_FIELD, the back end that is wanted is not there.
    """
    if conf.backend == "nftables":
        return conf.backend
    if conf.backend != "iptables":
        from podway.plugins.firewall_firewalld import is_running  # noqa: PLC0415 - a default

        if is_running():
            return "firewalld"
        if conf.backend:
            raise CniError(UNSUPPORTED_FIELD, "backend = 'firewalld': it does not run")
    if has_program(IPV4, "restore"):
        return "iptables"
    if conf.backend:
        raise CniError(
            UNSUPPORTED_FIELD,
            "backend = 'iptables': iptables-restore is not installed; use 'nftables'",
        )
    return "nftables"


def addresses_of(result: "Result") -> tuple[str, ...]:
    """Return all addresses that *result* tells of, without prefix lengths."""
    return tuple(dict.fromkeys(ip.address.partition("/")[0] for ip in result.ips))


def bridge_of(conf: FirewallConf, result: "Result") -> str:
    """Return the bridge that the policy is about, "" where all may come in.

    As in the reference plugin it is the first interface of prevResult.

    Raises:
        CniError: INVALID_CONFIG, prevResult has none, or none on the host.
    """
    if conf.policy == "open":
        return ""
    text = f"ingressPolicy = {conf.policy!r} needs the bridge as first interface of prevResult"
    if not result.interfaces:
        raise CniError(INVALID_CONFIG, f"{text}, which has none: put firewall behind bridge")
    name = result.interfaces[0].name
    is_plain = all(each.isalnum() or each in "_.-@" for each in name) and name.isascii()
    rule = broken_ifname_rule(name)
    if not rule and not is_plain:
        # iptables takes eth+ for every name that begins with eth.
        rule = "must be letters, digits, '_', '.', '-' and '@'"
    if not rule and result.interfaces[0].sandbox:
        rule = "is in the container"
    if rule:
        raise CniError(INVALID_CONFIG, f"{text}; {name!r} {rule}")
    return name


def families_of(addresses: "tuple[str, ...]") -> tuple[int, ...]:
    """Return the families of *addresses*."""
    found = {IPV6 if ":" in address else IPV4 for address in addresses}
    return tuple(sorted(found))
