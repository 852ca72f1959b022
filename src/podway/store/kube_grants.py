"""What our Nodes were claimed as, and whether an operator has since made other nodes of them.

In: claims as they were granted, Nodes as they are now. Out: the node that one should be. Hard is
that a Node says many things meanwhile: what the next claim is just writing, before its answer is
here; what a claim wrote whose answer was lost; what somebody wrote by mistake. None of that is an
operator's wish. So the measure is not what the Node says but what the claim would make of it now,
against what it was granted as.
"""

import logging
from collections.abc import Iterator

from msgspec import Struct

from podway.model.networks import Network
from podway.model.nodes import Claim, Node
from podway.store.kube_annotations import plan_claim
from podway.store.kube_objects import NodeRecord
from podway.store.protocol import ClaimRefused

_log = logging.getLogger("podway.store.kubernetes")


class Grant(Struct, frozen=True):
    """A claim, and the node that it was answered with."""

    claim: Claim
    node: Node


class Grants:
    """The last grant for each Node of ours: one, or those of a hub's agents."""

    def __init__(self) -> None:
        self._grants: dict[str, Grant] = {}
        self._refused: dict[str, str] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._grants))

    def get(self, name: str) -> Grant | None:
        """Return the grant for the Node *name*."""
        return self._grants.get(name)

    def hold(self, claim: Claim, node: Node) -> None:
        """Remember that *claim* was granted as *node*."""
        self._grants[claim.name] = Grant(claim, node)

    def drop(self, name: str) -> None:
        """Forget the Node *name*."""
        self._grants.pop(name, None)
        self._refused.pop(name, None)

    def meant(self, record: NodeRecord, network: Network | None) -> Node | None:
        """Return what the Node *record* should be; None where it is to be what it says."""
        grant = self._grants.get(record.name)
        if grant is None:
            return None
        try:
            planned = plan_claim(grant.claim, record, network)
        except ClaimRefused as error:
            self._tell_refused(record.name, str(error))
            return None
        self._refused.pop(record.name, None)
        return planned if planned != grant.node else None

    def _tell_refused(self, name: str, reason: str) -> None:
        if self._refused.get(name) != reason:
            fields = {"node": name, "reason": reason}
            _log.warning("the Node is left as it was claimed", extra={"fields": fields})
        self._refused[name] = reason
