"""Who may do what: the matrix of clients and requests is complete."""

from typing import Any

import pytest

from podway.hub.access import Peer, check_access, identify_certified, identify_plain
from podway.store.codec import ClaimBody
from podway.store.frames import (
    AnyRequest,
    ClaimLease,
    Delete,
    Get,
    List,
    Put,
    ReleaseLease,
    RenewLease,
    Reserve,
    Watch,
)
from podway.store.refusals import NotAllowed

NODE = Peer(name="a", admin=False, via="tls")
ADMIN = Peer(name="admin", admin=True, via="tls")
LOCAL = Peer(name="", admin=True, via="unix")


def claim(name: str) -> ClaimLease:
    return ClaimLease(id=1, claim=ClaimBody(name=name, backend="x", wishes=(), ttl_s=1))


READS: list[AnyRequest] = [Watch(id=1), Get(id=1, kind="k", name="n"), List(id=1, kind="k")]
OWN: list[AnyRequest] = [claim("a"), RenewLease(id=1, name="a"), ReleaseLease(id=1, name="a")]
OTHERS: list[AnyRequest] = [claim("b"), RenewLease(id=1, name="b"), ReleaseLease(id=1, name="b")]
WRITES: list[AnyRequest] = [
    Put(id=1, kind="k", name="a", value=b""),
    Delete(id=1, kind="k", name="a"),
    Reserve(id=1, name="a", subnets=()),
]


def test_the_matrix_is_complete() -> None:
    assert {type(r) for r in (*READS, *OWN, *WRITES)} == set(AnyRequest.__args__)


@pytest.mark.parametrize("peer", [NODE, ADMIN, LOCAL], ids=lambda peer: peer.via + peer.name)
@pytest.mark.parametrize("request_", [*READS, *OWN], ids=lambda r: type(r).__name__)
def test_everybody_may_read_and_keep_its_own_lease(peer: Peer, request_: AnyRequest) -> None:
    check_access(peer, request_)


@pytest.mark.parametrize("request_", [*OTHERS, *WRITES], ids=lambda r: type(r).__name__)
def test_only_an_admin_may_do_the_rest(request_: AnyRequest) -> None:
    check_access(ADMIN, request_)
    check_access(LOCAL, request_)
    with pytest.raises(NotAllowed, match="node a may not"):
        check_access(NODE, request_)


@pytest.mark.parametrize("peer", [ADMIN, LOCAL])
def test_no_node_can_be_called_admin(peer: Peer) -> None:
    with pytest.raises(NotAllowed):
        check_access(peer, claim("admin"))


def certificate(*names: str) -> dict[str, Any]:
    return {"subject": tuple((("commonName", name),) for name in names)}


def test_a_certificate_says_who_it_is() -> None:
    peer = identify_certified(certificate("a"), "192.0.2.1:5")
    assert (peer.name, peer.admin, peer.role) == ("a", False, "a")
    admin = identify_certified(certificate("admin"), "192.0.2.1:5")
    assert (admin.admin, admin.role) == (True, "admin")


@pytest.mark.parametrize("names", [(), ("",), ("a", "b")], ids=["none", "empty", "two"])
def test_a_certificate_that_names_nobody(names: tuple[str, ...]) -> None:
    with pytest.raises(NotAllowed):
        identify_certified(certificate(*names), "192.0.2.1:5")


def test_plaintext_trusts() -> None:
    assert identify_plain("127.0.0.1:5").admin
