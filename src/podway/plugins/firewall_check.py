"""CHECK and STATUS of the ``firewall`` plugin: is everything there that ADD made, or could be?

In: a call, CHECK's with prevResult. Out: nothing, or the first thing that is missing. Called by
`firewall`.
"""

from podway.cni.errors import LIMITED_CONNECTIVITY, CniError
from podway.cni.values import replace
from podway.netlink.nft_transactions import NftSocket
from podway.plugins.availability import check_step
from podway.plugins.firewall_conf import (
    addresses_of,
    bridge_of,
    choose_backend,
    parse_firewall_conf,
)
from podway.plugins.firewall_records import Records
from podway.plugins.previous import required_previous_result
from podway.plugins.state_files import names_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.plugins.firewall_conf import FirewallConf
    from podway.plugins.firewall_records import Record
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
    with NftSocket() as nft:
        _check_backend(nft, conf, choose_backend(conf), addresses, bridge)


def _check_backend(
    nft: NftSocket, conf: "FirewallConf", backend: str, addresses: tuple[str, ...], bridge: str
) -> None:
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
    """See that an ADD would find its back end, and that what is attached may pass still.

    Raises:
        CniError: LIMITED_CONNECTIVITY, its rules are lost (firewalld was restarted); UNAVAILABLE;
            INVALID_CONFIG.
    """
    conf = parse_firewall_conf(call.request)
    check_step(choose_backend, conf)
    # Opened also to see that the kernel has nf_tables.
    with NftSocket() as nft:
        for address, noted in _samples(conf, call.config.name):
            places = {"zone": noted.place} if noted.backend == "firewalld" else {}
            places |= {"table": noted.place} if noted.backend == "nftables" else {}
            try:
                _check_backend(nft, replace(conf, **places), noted.backend, (address,), "")
            except CniError as error:
                text = f"{address} of container {noted.container_id} cannot pass: {error.msg}"
                raise CniError(LIMITED_CONNECTIVITY, text) from error


def _samples(conf: "FirewallConf", network: str) -> "list[tuple[str, Record]]":
    """Return an address of each back end and family that *network* has: what is lost is all."""
    if not names_in(conf.data_dir):
        return []
    with Records(conf.data_dir) as records:
        noted = records.find(network)
    kinds = {
        (each.backend, each.place, ":" in address): (address, each)
        for address, each in noted.items()
    }
    return list(kinds.values())
