"""DEL and GC of the ``firewall`` plugin.

In: a call. Out: nothing. Called by `firewall`, and by `firewall_add` to undo. Which addresses:
those that were noted of the attachment, and those that prevResult tells and nobody is noted to
have. Where: in the back end that was noted, or else in all of them.

The rules that keep bridges apart stay, since other containers may need them; GC takes them away
when the bridge is gone.
"""

from podway.cni.errors import CniError
from podway.netlink.constants import NFPROTO_INET
from podway.netlink.links import dump_links
from podway.netlink.nft_transactions import NftSocket
from podway.netlink.socket import NetlinkSocket
from podway.plugins import firewall_iptables
from podway.plugins.firewall_conf import addresses_of, parse_firewall_conf
from podway.plugins.firewall_records import Record, Records
from podway.plugins.firewall_rules import CNI_FORWARD, TABLE
from podway.plugins.iptables_chains import NFPROTO
from podway.plugins.iptables_kinds import IPV4, IPV6, has_legacy_table
from podway.plugins.lingering import leave_sockets_to_child
from podway.plugins.nft_commits import commit_found
from podway.plugins.previous import previous_result
from podway.plugins.undo import attempt_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    from podway.plugins.firewall_conf import FirewallConf
    from podway.plugins.iptables_chains import Requests
    from podway.plugins.skeleton import Call

    # Addresses, and where their rules are.
    Found: TypeAlias = list[tuple[str, Record]]


def delete(call: "Call") -> None:
    """Take back what ADD made."""
    conf = parse_firewall_conf(call.request)
    me = (call.config.name, call.request.container_id, call.request.ifname)
    with NftSocket() as nft, Records(conf.data_dir) as records:
        told = {address: records.read(address) for address in _told_addresses(call)}
        mine = _noted(records, me, told)
        unknown = [address for address, noted in told.items() if noted is None]
        found = [
            *mine.items(),
            *(
                (address, each)
                for address in unknown
                if address not in mine
                for each in _everywhere(me, conf)
            ),
        ]
        _remove_and_forget(nft, records, found)


def _noted(
    records: Records, me: tuple[str, str, str], told: "Mapping[str, Record | None]"
) -> dict[str, Record]:
    """Return what is noted of the attachment: prevResult may tell some of its addresses, or lie.

    One of its addresses tells the others; without any all of the network's files are read.
    """
    mine = {address: each for address, each in told.items() if each and each.attachment == me}
    if not mine:
        return {
            address: each for address, each in records.find(me[0]).items() if each.attachment == me
        }
    for address in {address for each in mine.values() for address in each.addresses} - mine.keys():
        other = records.read(address)
        if other is not None and other.attachment == me:
            mine[address] = other
    return mine


def gc(call: "Call") -> None:
    """Take back what attachments of this network have that are not valid any more."""
    conf = parse_firewall_conf(call.request)
    network = call.config.name
    valid = {
        (network, each.container_id, each.ifname) for each in call.config.valid_attachments or ()
    }
    with NftSocket() as nft, Records(conf.data_dir) as records:
        noted = records.find(network)
        gone = [each for each in noted.items() if each[1].attachment not in valid]
        attempt_all(
            lambda: _remove_and_forget(nft, records, gone),
            lambda: _remove_policies(nft, conf),
        )


def remove(nft: NftSocket, found: "Found") -> bool:
    """Take away the rules of addresses; tell whether nftables had any.

    Raises:
        NetlinkError, CniError: something is still there.
    """
    removed: list[bool] = []

    def find() -> "Requests":
        requests = firewall_iptables.find(nft, _addresses_in(found, "iptables"))
        for table in _places_of(found, "nftables"):
            if not nft.has_chain(NFPROTO_INET, table, CNI_FORWARD):
                continue
            from podway.plugins import firewall_nftables  # noqa: PLC0415 - one back end is enough

            addresses = _addresses_in(found, "nftables", table)
            requests += firewall_nftables.find(nft, table, addresses)
        return requests

    attempt_all(
        lambda: removed.append(commit_found(nft, find)),
        lambda: _remove_legacy(_addresses_in(found, "iptables")),
        lambda: _remove_from_firewalld(found),
    )
    return any(removed)


def _remove_and_forget(nft: NftSocket, records: Records, found: "Found") -> None:
    if remove(nft, found):
        leave_sockets_to_child()
    for address, _ in found:
        records.remove(address)


def _remove_legacy(addresses: list[str]) -> None:
    if addresses and (has_legacy_table(IPV4, TABLE) or has_legacy_table(IPV6, TABLE)):
        firewall_iptables.delete_legacy(addresses)


def _remove_from_firewalld(found: "Found") -> None:
    for zone in _places_of(found, "firewalld"):
        from podway.plugins import firewall_firewalld  # noqa: PLC0415 - rarely needed

        firewall_firewalld.delete(zone, _addresses_in(found, "firewalld", zone))


def _remove_policies(nft: NftSocket, conf: "FirewallConf") -> None:
    """Take away what keeps bridges apart that are gone."""
    with NetlinkSocket() as host:
        names = frozenset(link["ifname"] for link in host.dump(dump_links()))
    tables = [(TABLE, nfproto) for nfproto in NFPROTO.values()] + [(conf.table, NFPROTO_INET)]
    if commit_found(
        nft,
        lambda: [
            request
            for table, nfproto in tables
            for request in firewall_iptables.find_isolation_garbage(nft, table, nfproto, names)
        ],
    ):
        leave_sockets_to_child()


def _told_addresses(call: "Call") -> tuple[str, ...]:
    """Return the addresses of prevResult, none if it cannot be read."""
    try:
        result = previous_result(call.request)
    except CniError:
        return ()
    return () if result is None else addresses_of(result)


def _everywhere(attachment: tuple[str, str, str], conf: "FirewallConf") -> list[Record]:
    """Return where rules of an address may be of which nothing is noted: the reference plugin's."""
    network, container_id, ifname = attachment
    places = {"iptables": "", "nftables": conf.table}
    if conf.backend in {"", "firewalld"}:
        places["firewalld"] = conf.zone
    return [
        Record(
            network=network, container_id=container_id, ifname=ifname, backend=backend, place=place
        )
        for backend, place in places.items()
    ]


def _places_of(found: "Found", backend: str) -> set[str]:
    return {record.place for _, record in found if record.backend == backend}


def _addresses_in(found: "Found", backend: str, place: str = "") -> list[str]:
    wanted = (backend, place)
    return [address for address, record in found if (record.backend, record.place) == wanted]
