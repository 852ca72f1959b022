"""What etcd holds of one network, as last heard, and what every key means. Pure.

In: keys and values, all of them at first and then one change after the other, in any order and any
number of times (a value with an older revision than the one known is no news). Out: the cluster as
nodes with names, and for each change the nodes that it changes.

A lease is a node. Its name is that of the record that points to it, if that record still holds (the
lease has the public address that the record says); a flanneld's lease has none and is called by its
key, ``10.5.52.0-24``, the one thing about it that is unique. Entries that cannot be read are passed
over; their subnets count as taken all the same.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from podway.errors import ConfigError
from podway.model.networks import Network
from podway.model.nodes import Node
from podway.store.etcd_keys import EtcdKeys, NodeRecord, Subnets, parse_record, parse_reservation
from podway.store.etcd_messages import Event, KeyValue
from podway.store.flannel_data import (
    UNNAMED_BACKENDS,
    FlannelDataError,
    parse_lease,
    parse_net_conf,
    parse_subnet_key,
)
from podway.store.net_conf_remarks import tell_unknown_keys
from podway.store.protocol import ClaimRefused

K = TypeVar("K")
T = TypeVar("T")


class Entry(Struct, frozen=True, kw_only=True):
    """A key under ``subnets/``.

    Attributes:
        key: its last part.
        stored: as etcd has it.
        subnets: that the key names; () for a key that flannel could not have made.
        node: whose lease it is; None where that cannot be read.
        error: why not.
    """

    key: str
    stored: KeyValue
    subnets: Subnets = ()
    node: Node | None = None
    error: str = ""

    @property
    def name(self) -> str:
        """What the node is called."""
        return self.key if self.node is None else self.node.name

    @property
    def is_named(self) -> bool:
        """Whether podway has given the node its name."""
        return self.name != self.key


class Record(Struct, frozen=True, kw_only=True):
    """A record of a node, with its revision."""

    name: str
    value: NodeRecord
    stored: KeyValue


class Change(Struct, frozen=True):
    """What one stored change means: *names* of nodes to look at, and whether the network is new."""

    names: frozenset[str] = frozenset()
    network: bool = False


class EtcdView:
    """The keys of one network.

    Attributes:
        revision: of the store when everything was last read.
        network: as configured; None for none, or for one that cannot be used.
        network_error: why not.
        config: the configuration as stored, None for none.
        entries: leases, by the last part of their keys.
        records: nodes' records, by name.
        reservations: subnets kept by name.
        errors: why keys cannot be read, by the key.
        ipv6: keys that hold IPv6 subnets, by their last part; the value is the node's name.
    """

    def __init__(self, keys: EtcdKeys, kvs: Iterable[KeyValue] = (), revision: int = 0) -> None:
        self._keys = keys
        self.revision = revision
        self.config: KeyValue | None = None
        self.network: Network | None = None
        self.network_error = ""
        self.entries: dict[str, Entry] = {}
        self.records: dict[str, Record] = {}
        self.reservations: dict[str, Subnets] = {}
        self.ipv6: dict[str, KeyValue] = {}
        self.errors: dict[bytes, str] = {}
        self._named: dict[str, set[str]] = {}
        self._stored: dict[bytes, KeyValue] = {}
        for kv in sorted(kvs, key=lambda kv: kv.key != keys.config):  # entries need the network
            self.apply(Event(kv=kv))

    # -- questions

    def nodes(self) -> dict[str, Node]:
        """Return every node that can be read, by name."""
        nodes = (entry.node for entry in self.entries.values())
        return {node.name: node for node in nodes if node is not None}

    def node(self, name: str) -> Node | None:
        """Return the node called *name*, None where there is none."""
        entry = self.find(name)
        return None if entry is None else entry.node

    def find(self, name: str) -> Entry | None:
        """Return the lease of the node called *name*, None where there is none."""
        record = self.records.get(name)
        entry = self.entries.get(name if record is None else record.value.key)
        return entry if entry is not None and entry.name == name else None

    def stored(self, key: bytes) -> KeyValue | None:
        """Return what *key* holds, None where it is not there."""
        return self._stored.get(key)

    def standing(self, puts: Mapping[bytes, bytes]) -> int | None:
        """Return the etcd lease (0: none) with which all of *puts* stand there, else None."""
        stored = [(self.stored(key), value) for key, value in puts.items()]
        leases = {kv.lease if kv and kv.value == value else None for kv, value in stored}
        return leases.pop() if len(leases) == 1 else None

    def usable_network(self) -> Network:
        """Return the network. Raises ClaimRefused where none is configured that can be used."""
        if self.network is not None:
            return self.network
        missing = "no network is configured yet: `podway network apply` a net-conf.json"
        raise ClaimRefused(self.network_error or missing)

    def revision_of(self, key: bytes) -> int:
        """Return the revision at which *key* was changed last, 0 where it is not there."""
        stored = self._stored.get(key)
        return 0 if stored is None else stored.mod_revision

    # -- changes

    def apply(self, event: Event) -> Change:
        """Take *event* in; return what it changes."""
        kv = event.kv
        if kv.mod_revision < self.revision_of(kv.key):
            return Change()
        stored = kv if event.type == "PUT" else None
        _put(self._stored, kv.key, stored)
        return self._apply(kv.key, stored)

    def _apply(self, key: bytes, stored: KeyValue | None) -> Change:
        keys = self._keys
        if key == keys.config:
            return self._apply_config(stored)
        if (tail := _tail(key, keys.subnets)) is not None:
            return self._apply_entry(tail, stored)
        error = ""
        if (tail := _tail(key, keys.nodes)) is not None:
            return self._apply_record(key, tail, stored)
        if (tail := _tail(key, keys.reservations)) is not None:
            reserved, error = _parsed(stored, parse_reservation)
            _put(self.reservations, tail, reserved)
        elif (tail := _tail(key, keys.ipv6)) is not None:
            subnets, error = _parsed(stored, lambda _: parse_subnet_key(tail))
            _put(self.ipv6, tail, stored if subnets else None)
        _put(self.errors, key, error or None)
        return Change()

    def _apply_config(self, stored: KeyValue | None) -> Change:
        self.config, self.network, self.network_error = stored, None, ""
        if stored is not None:
            try:
                self.network = parse_net_conf(stored.value)
                tell_unknown_keys(stored.value)
            except ConfigError as error:
                what = "the network configuration in the store cannot be used"
                self.network_error = f"{what}: {error}"
        return Change(names=self._reread_unnamed(), network=True)

    def _reread_unnamed(self) -> frozenset[str]:
        """Read the leases that name no backend again: it is the network's."""
        names = set()
        for key, entry in tuple(self.entries.items()):
            again = self._read(key, entry.stored)
            if again != entry:
                self._set(key, again)
                names.add(again.name)
        return frozenset(names)

    def _apply_entry(self, key: str, stored: KeyValue | None) -> Change:
        before = self._name_at(key)
        self._set(key, None if stored is None else self._read(key, stored))
        return Change(names=before | self._name_at(key))

    def _set(self, key: str, entry: Entry | None) -> None:
        _put(self.entries, key, entry)
        error = entry.error or None if entry is not None else None
        _put(self.errors, self._keys.subnets + key.encode(), error)

    def _apply_record(self, key: bytes, name: str, stored: KeyValue | None) -> Change:
        # A lease whose record cannot be read is called by its key; nothing else depends on it.
        value, error = _parsed(stored, parse_record)
        _put(self.errors, key, error or None)
        old, new = self.records.get(name), None
        if value is not None and stored is not None:
            new = Record(name=name, value=value, stored=stored)
        _put(self.records, name, new)
        names: frozenset[str] = frozenset()
        if old is not None:
            self._named[old.value.key].discard(name)
            if not self._named[old.value.key]:
                del self._named[old.value.key]
            names |= self._reread(old.value.key)
        if new is not None:
            self._named.setdefault(new.value.key, set()).add(name)
            names |= self._reread(new.value.key)
        return Change(names=names)

    def _reread(self, key: str) -> frozenset[str]:
        """Read the lease at *key* again; return the names that it had and has."""
        entry = self.entries.get(key)
        return frozenset() if entry is None else self._apply_entry(key, entry.stored).names

    def _name_at(self, key: str) -> frozenset[str]:
        entry = self.entries.get(key)
        return frozenset() if entry is None else frozenset({entry.name})

    def _read(self, key: str, stored: KeyValue) -> Entry:
        subnets: Subnets = ()
        try:
            subnets = parse_subnet_key(key)
            node = parse_lease(key, stored.value, name=key, unnamed=self._unnamed())
        except FlannelDataError as error:
            return Entry(key=key, stored=stored, subnets=subnets, error=str(error))
        named = replace(node, name=self._name(key, node))
        return Entry(key=key, stored=stored, subnets=subnets, node=named)

    def _name(self, key: str, node: Node) -> str:
        """Return the name that the newest record gives the *node* at *key*, or else *key*."""
        records = (self.records[name] for name in self._named.get(key, ()))
        public_ip = str(node.leases[0].public_ip)
        held = [record for record in records if record.value.public_ip == public_ip]
        return max(held, key=lambda each: each.stored.mod_revision).name if held else key

    def _unnamed(self) -> str:
        name = "" if self.network is None else self.network.backend_name
        return name if name in UNNAMED_BACKENDS else ""


def _parsed(stored: KeyValue | None, parse: Callable[[bytes], T]) -> tuple[T | None, str]:
    """Return what *parse* makes of the value *stored*, or why that cannot be read."""
    try:
        return (None if stored is None else parse(stored.value)), ""
    except FlannelDataError as error:
        return None, str(error)


def _tail(key: bytes, prefix: bytes) -> str | None:
    """Return what follows *prefix* in *key*, None where it does not begin so."""
    return key[len(prefix) :].decode(errors="replace") if key.startswith(prefix) else None


def _put(table: dict[K, T], key: K, value: T | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
