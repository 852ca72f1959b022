"""What transactions on etcd are made of: conditions, and steps that are carried out if all hold.

Used by `etcd_plans` and `etcd_admin`. Conditions are revisions as an `EtcdView` knows them: a key
that is not there has 0. What a transaction has done is known before a watch tells it (`written`).
"""

from collections.abc import Sequence

from podway.store.etcd_keys import EtcdKeys
from podway.store.etcd_messages import (
    Compare,
    DeleteRequest,
    Event,
    KeyValue,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
    prefix_end,
)
from podway.store.etcd_view import EtcdView


def everything(keys: EtcdKeys) -> RequestOp:
    """Return the step that reads all keys of the network."""
    return RequestOp(request_range=whole_range(keys))


def whole_range(keys: EtcdKeys) -> RangeRequest:
    """Return the request that reads all keys of the network."""
    return RangeRequest(key=keys.root, range_end=prefix_end(keys.root))


def deletion(view: EtcdView, keys: EtcdKeys, deletes: Sequence[bytes]) -> TxnRequest | None:
    """Return the transaction that deletes *deletes* as they are known; None for no keys."""
    if not deletes:
        return None
    return TxnRequest(
        compare=[unchanged(key, view.revision_of(key)) for key in deletes],
        success=[delete(key) for key in deletes],
        failure=[everything(keys)],
    )


def unchanged(key: bytes, revision: int) -> Compare:
    """Return the condition that *key* was last changed at *revision*."""
    return Compare(key=key, target="MOD", result="EQUAL", mod_revision=revision)


def absent(start: bytes, end: bytes) -> Compare:
    """Return the condition that no key from *start* to before *end* is there."""
    return Compare(key=start, range_end=end, target="VERSION", result="EQUAL", version=0)


def nothing_newer(prefix: bytes, revision: int) -> Compare:
    """Return the condition that no key that begins with *prefix* has changed since *revision*."""
    return Compare(
        key=prefix,
        range_end=prefix_end(prefix),
        target="MOD",
        result="LESS",
        mod_revision=revision + 1,
    )


def put(key: bytes, value: bytes, lease: int) -> RequestOp:
    """Return the step that writes *value* at *key*, with an etcd lease (0: for good)."""
    return RequestOp(request_put=PutRequest(key=key, value=value, lease=lease))


def delete(key: bytes) -> RequestOp:
    """Return the step that deletes *key*; no error when it is not there."""
    return RequestOp(request_delete_range=DeleteRequest(key=key))


def written(txn: TxnRequest, revision: int) -> list[Event]:
    """Return the events that a watch will tell of *txn*, which was carried out at *revision*."""
    events = []
    for step in txn.success:
        if step.request_put is not None:
            put = step.request_put
            kv = KeyValue(key=put.key, value=put.value, lease=put.lease, mod_revision=revision)
            events.append(Event(kv=kv))
        elif step.request_delete_range is not None:
            kv = KeyValue(key=step.request_delete_range.key, mod_revision=revision)
            events.append(Event(type="DELETE", kv=kv))
    return events
