"""From operations to batches and requests: what goes together, and what is refused unsent."""

from ipaddress import ip_address, ip_interface

import pytest
from msgspec.structs import replace

from podway.diff.operations import Operation, Verb
from podway.kernel.errors import NoDeviceError
from podway.kernel.writes import batches, requests_of
from podway.model.kernel import (
    Address,
    FdbEntry,
    KernelObject,
    Neighbour,
    NftTable,
    Sysctl,
)
from unit.kernel.objects import MAC, ROUTE, VTEP, index_of


def write(item: KernelObject) -> Operation:
    return Operation(Verb.CREATE, item.key, item)


def erase(item: KernelObject) -> Operation:
    return Operation(Verb.DELETE, item.key, None, item)


def test_batches_keep_the_order_and_part_what_goes_apart() -> None:
    neighbour = Neighbour("podway.1", ip_address("10.2.0.0"), MAC)
    sysctl = Sysctl("ipv4/ip_forward", "1")
    operations = [
        erase(ROUTE),
        erase(neighbour),
        erase(VTEP),
        write(VTEP),
        Operation(Verb.CHANGE, VTEP.key, VTEP, VTEP),
        write(Address("podway.1", ip_interface("10.1.0.0/32"))),
        write(sysctl),
        write(sysctl),
        write(neighbour),
        write(ROUTE),
        write(NftTable("inet", "podway", "")),
    ]
    found = [list(batch) for batch in batches(operations)]
    assert [operation for batch in found for operation in batch] == operations
    assert [len(batch) for batch in found] == [2, 1, 1, 2, 2, 2, 1]
    assert list(batches([])) == []


def test_what_stands_on_nothing_is_refused_before_it_is_sent() -> None:
    with pytest.raises(NoDeviceError) as caught:
        requests_of(write(replace(ROUTE, dev="nothing")), index_of)
    assert caught.value.dev == "nothing"


def test_routes_are_deleted_with_the_protocol_that_was_seen() -> None:
    (request,) = requests_of(erase(replace(ROUTE, protocol=4)), index_of)
    assert request.fields["protocol"] == 4


def test_forwarding_entries_are_deleted_wherever_they_lead() -> None:
    entry = FdbEntry("podway.1", MAC, ip_address("192.0.2.2"))
    (request,) = requests_of(erase(entry), index_of)
    assert "dst" not in request.fields
