"""ADD of the ``firewall`` plugin.

In: a call with prevResult. Out: the container's traffic passes; prevResult. What was written before
an error is taken away again.
"""

from podway.netlink.nft_transactions import NftSocket
from podway.plugins.firewall_conf import (
    addresses_of,
    bridge_of,
    choose_backend,
    parse_firewall_conf,
)
from podway.plugins.firewall_records import Record, Records
from podway.plugins.previous import required_previous_result
from podway.plugins.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podway.cni.results import Result
    from podway.plugins.firewall_conf import FirewallConf
    from podway.plugins.skeleton import Call

# Each call loads the back end that it needs.
# ruff: noqa: PLC0415


def add(call: "Call") -> "Result":
    """Let the container's traffic pass; return prevResult.

    Raises:
        CniError: INVALID_CONFIG; UNSUPPORTED_FIELD, IO_FAILURE, the back end is missing or refuses.
        NetlinkError: the kernel refuses.
    """
    conf = parse_firewall_conf(call.request)
    result = required_previous_result(call.request)
    addresses, bridge = addresses_of(result), bridge_of(conf, result)
    if not addresses:
        return result
    record = record_of(call, conf, choose_backend(conf), addresses)
    with NftSocket() as nft, Records(conf.data_dir) as records, Undo() as undo:
        _remove_old(nft, records, record, addresses)
        for address in addresses:
            undo.push(records.remove, address)
            records.write(address, record)
        undo.push(_remove, nft, record, addresses)
        _write(nft, conf, record, addresses, bridge)
    return result


def record_of(
    call: "Call", conf: "FirewallConf", backend: str, addresses: tuple[str, ...]
) -> Record:
    """Return what is noted of the attachment's addresses."""
    places = {"firewalld": conf.zone, "nftables": conf.table}
    return Record(
        network=call.config.name,
        container_id=call.request.container_id,
        ifname=call.request.ifname,
        backend=backend,
        place=places.get(backend, ""),
        addresses=addresses,
    )


def _remove_old(
    nft: NftSocket, records: Records, record: Record, addresses: tuple[str, ...]
) -> None:
    """Take away what another back end, zone or table has of the addresses from before."""
    for address in addresses:
        old = records.read(address)
        if old is not None and (old.backend, old.place) != (record.backend, record.place):
            _remove(nft, old, (address,))


def _remove(nft: NftSocket, record: Record, addresses: tuple[str, ...]) -> None:
    from podway.plugins.firewall_removal import remove

    remove(nft, [(address, record) for address in addresses])


def _write(
    nft: NftSocket,
    conf: "FirewallConf",
    record: Record,
    addresses: tuple[str, ...],
    bridge: str,
) -> None:
    if record.backend == "nftables":
        from podway.plugins import firewall_nftables

        owner = f"net: {record.network}, if: {record.ifname}, id: {record.container_id}"
        firewall_nftables.add(nft, conf, addresses, bridge, owner)
    if record.backend == "iptables":
        from podway.plugins import firewall_iptables

        firewall_iptables.add(nft, conf, addresses, bridge)
    if record.backend == "firewalld":
        from podway.plugins import firewall_firewalld

        if bridge:
            write_policy(nft, conf, addresses, bridge)
        firewall_firewalld.add(conf.zone, addresses)


def write_policy(
    nft: NftSocket, conf: "FirewallConf", addresses: tuple[str, ...], bridge: str
) -> None:
    """Keep bridges apart by iptables, which firewalld has no words for."""
    from podway.plugins.firewall_iptables import compute_policy_plans
    from podway.plugins.iptables_changes import write_plans

    write_plans(nft, compute_policy_plans(conf, addresses, bridge))
