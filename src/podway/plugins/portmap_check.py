"""CHECK and STATUS of the ``portmap`` plugin: is every rule there that ADD wrote, or could be?

In: a call, CHECK's with prevResult. Out: nothing, or the first thing that is missing. Called by
`portmap`.
"""

from podway.cni.errors import LIMITED_CONNECTIVITY, CniError
from podway.netlink.nft_transactions import NftSocket
from podway.plugins.availability import check_step
from podway.plugins.iptables_chains import NFPROTO
from podway.plugins.portmap_conf import choose_backend, parse_portmap_conf, publication_of
from podway.plugins.previous import required_previous_result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.plugins.skeleton import Call

# Each call loads the back end that it needs.
# ruff: noqa: PLC0415


def check(call: "Call") -> None:
    """See that what ADD made is there.

    Raises:
        CniError: CHECK_FAILED; INVALID_CONFIG, prevResult is missing.
    """
    conf = parse_portmap_conf(call.request)
    result = required_previous_result(call.request)
    wanted = publication_of(call.request, conf, result)
    if not conf.mappings or not wanted.addresses:
        return
    with NftSocket() as nft:
        if choose_backend(conf) == "nftables":
            from podway.plugins import portmap_nftables

            portmap_nftables.check(nft, wanted)
            return
        from podway.plugins.iptables_changes import check_plan
        from podway.plugins.portmap_iptables import compute_plan

        for family in wanted.addresses:
            check_plan(nft, compute_plan(wanted, family))


def status(call: "Call") -> None:
    """See that an ADD would find its back end, and that packets come by the ports there are.

    Raises:
        CniError: LIMITED_CONNECTIVITY, nothing leads to them; UNAVAILABLE; INVALID_CONFIG.
    """
    conf = parse_portmap_conf(call.request)
    check_step(choose_backend, conf)
    # Opened also to see that the kernel has nf_tables.
    with NftSocket() as nft:
        lost = _find_lost(nft, call.config.name)
    if lost:
        text = f"{lost}: nothing leads to the published ports; repeat ADD, or restore the rules"
        raise CniError(LIMITED_CONNECTIVITY, text)


def _find_lost(nft: NftSocket, network: str) -> str:
    """Return where nothing leads to the ports that *network* has published, "" if all is well."""
    from podway.plugins import portmap_chains, portmap_nftables

    return next(
        (
            lost
            for nfproto in NFPROTO.values()
            for find_lost in (portmap_chains.find_lost, portmap_nftables.find_lost)
            if (lost := find_lost(nft, nfproto, network))
        ),
        "",
    )
