"""CHECK and STATUS of the ``firewall`` plugin: is everything there that ADD made, or could be?

In: a call, CHECK's with prevResult. Out: nothing, or the first thing that is missing. Called by
`firewall`.
"""

from podway.cni.errors import UNAVAILABLE, CniError
from podway.netlink.nft_transactions import NftSocket
from podway.plugins.firewall_conf import (
    addresses_of,
    bridge_of,
    choose_backend,
    parse_firewall_conf,
)
from podway.plugins.previous import required_previous_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.plugins.firewall_conf import FirewallConf
    from podway.plugins.skeleton import Call

# Each call loads the back end that it needs.
# ruff: noqa: PLC0415


def check(call: "Call") -> None:
    """See that what ADD made is there.

    Raises:
        CniError: CHECK_FAILED; INVALID_CONFIG, prevResult is missing or has no bridge.
    """
    conf = parse_firewall_conf(call.request)
    result = required_previous_result(call.request)
    addresses, bridge = addresses_of(result), bridge_of(conf, result)
    backend = choose_backend(conf)
    with NftSocket() as nft:
        if backend == "firewalld":
            _check_firewalld(nft, conf, addresses, bridge)
        elif backend == "nftables":
            from podway.plugins import firewall_nftables

            firewall_nftables.check(nft, conf, addresses, bridge)
        else:
            from podway.plugins import firewall_iptables

            firewall_iptables.check(nft, conf, addresses, bridge)


def _check_firewalld(
    nft: NftSocket, conf: "FirewallConf", addresses: tuple[str, ...], bridge: str
) -> None:
    from podway.plugins import firewall_firewalld, firewall_iptables
    from podway.plugins.iptables_changes import check_plan

    firewall_firewalld.check(conf.zone, addresses)
    if bridge:
        for plan in firewall_iptables.compute_policy_plans(conf, addresses, bridge):
            check_plan(nft, plan)


def status(call: "Call") -> None:
    """See that an ADD would find its back end.

    Raises:
        CniError: UNAVAILABLE, it would not; INVALID_CONFIG.
    """
    conf = parse_firewall_conf(call.request)
    try:
        choose_backend(conf)
    except CniError as error:
        raise CniError(UNAVAILABLE, error.msg) from error
    # Opened to see that the kernel has nf_tables.
    NftSocket().close()
