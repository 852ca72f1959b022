"""Notifications of nftables: what changed, and who did it."""

import subprocess

import pytest

from netns.conftest import Netns
from podway.netlink import EventSocket
from podway.netlink.constants import NETLINK_NETFILTER, NFNLGRP_NFTABLES, NFPROTO_INET


@pytest.fixture
def inet_tables(netns: Netns) -> None:
    """Skip where the kernel has no nftables of family inet (CONFIG_NF_TABLES_INET)."""
    try:
        netns.exec("nft", "add table inet probe; delete table inet probe")
    except subprocess.CalledProcessError as error:
        if "Operation not supported" not in error.stderr:
            raise
        pytest.skip("this kernel has no nftables of family inet")


def nft_events(netns: Netns) -> EventSocket:
    return EventSocket([NFNLGRP_NFTABLES], NETLINK_NETFILTER, netns.fd)


@pytest.mark.usefixtures("inet_tables")
def test_an_nftables_transaction(netns: Netns) -> None:
    with nft_events(netns) as events:
        netns.exec(
            "nft",
            "add table inet podway; add chain inet podway post; "
            "add rule inet podway post counter; add set inet podway pods { type ipv4_addr; }; "
            "add element inet podway pods { 10.0.0.1 }",
        )
        drained = events.drain()
    names = [event.name.removeprefix("NFT_MSG_") for event in drained]
    assert names == ["NEWTABLE", "NEWCHAIN", "NEWRULE", "NEWSET", "NEWSETELEM", "NEWGEN"]
    *changes, generation = drained
    assert {event.fields["table"] for event in changes} == {"podway"}
    assert {event.fields["family"] for event in changes} == {NFPROTO_INET}
    assert changes[1].fields["name"] == "post"
    assert changes[2].fields["chain"] == "post"
    assert changes[3].fields["name"] == changes[4].fields["set"] == "pods"
    assert generation.fields["proc_name"] == "nft"
    assert generation.fields["gen_id"] > 0
    assert generation.fields["proc_pid"] > 0


@pytest.mark.usefixtures("inet_tables")
def test_a_deleted_nftables_table_and_who_deleted_it(netns: Netns) -> None:
    netns.exec("nft", "add table inet podway; add chain inet podway post")
    with nft_events(netns) as events:
        netns.exec("nft", "delete table inet podway")
        by_name = {event.name: event.fields for event in events.drain()}
    assert by_name["NFT_MSG_DELTABLE"]["table"] == "podway"
    assert by_name["NFT_MSG_DELCHAIN"]["name"] == "post"
    assert by_name["NFT_MSG_NEWGEN"]["proc_name"] == "nft"
