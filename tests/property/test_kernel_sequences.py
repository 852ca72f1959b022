"""Any sequence of operations and of others' doings leaves both kernels alike.

What makes this worth its time: the kernel in memory claims to have the real one's rules, and most
tests of the agent believe it.
"""

import select
from contextlib import ExitStack, closing, suppress
from ipaddress import ip_address, ip_interface, ip_network
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from netns.conftest import Netns, new_netns
from netns.kernel.worlds import PATIENCE_S, UPLINK, FakeWorld, RealWorld, World
from podway.diff.operations import Operation, Verb
from podway.kernel.node import NodeKernel
from podway.kernel.protocol import DeviceChanged, KernelError, Seen
from podway.model.addresses import Family
from podway.model.kernel import (
    Address,
    Bridge,
    FdbEntry,
    KernelObject,
    Key,
    Link,
    Neighbour,
    NextHop,
    Route,
    Rule,
    Sysctl,
    Vxlan,
    link_key,
)

pytestmark = pytest.mark.root

EXAMPLES = 40
MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")
VTEP = Vxlan(vni=1, local=ip_address("192.0.2.1"), underlay=UPLINK, port=8472)
VTEP6 = Vxlan(vni=1, local=ip_address("2001:db8::1"), underlay=UPLINK, port=8472)


def links() -> list[KernelObject]:
    bridges = [Link(name="cni0", kind=Bridge(), mtu=1500, mac=mac) for mac in MACS]
    tunnels = [
        Link(name=name, kind=kind, mtu=1400, mac=mac, master=master)
        for name, kind in (("podway.1", VTEP), ("podway-v6.1", VTEP6))
        for mac, master in ((MACS[0], ""), (MACS[1], "cni0"))
    ]
    other = Link(name="podway.1", kind=replace(VTEP, port=4789), mtu=1400, mac=MACS[0])
    return [*bridges, *(replace(link, up=False) for link in bridges), *tunnels, other]


def addresses() -> list[KernelObject]:
    texts = ("10.1.0.1/24", "10.1.0.2/24", "10.1.0.1/16", "fd01::1/64", "fd01::1/80")
    return [Address(dev, ip_interface(text)) for dev in ("cni0", "podway.1") for text in texts]


def routes() -> list[KernelObject]:
    reachable = {4: ("192.0.2.2", "10.1.0.9"), 6: ("2001:db8::2", "fd01::9")}
    found: list[KernelObject] = []
    for prefix in ("10.2.0.0/24", "fd02::/64"):
        dst = ip_network(prefix)
        base = Route(dst=dst, metric=0 if dst.version == 4 else 1024)
        near, far = (ip_address(text) for text in reachable[dst.version])
        found += [
            replace(base, dev=UPLINK, via=near),
            replace(base, dev="cni0", via=far),
            replace(base, dev="podway.1", via=dst.network_address, onlink=True),
            replace(base, dev="cni0"),
            replace(base, kind="blackhole"),
            replace(base, nexthops=(NextHop(UPLINK, near), NextHop("cni0", far))),
            replace(
                base, dev=UPLINK, src=ip_address("10.1.0.1" if dst.version == 4 else "fd01::1")
            ),
        ]
    return found


def others() -> list[KernelObject]:
    return [
        *(Neighbour("podway.1", ip_address("10.2.0.0"), mac) for mac in MACS),
        *(Neighbour("cni0", ip_address("fd01::7"), mac) for mac in MACS),
        Neighbour("cni0", ip_address("10.9.0.1"), proxy=True),
        *(FdbEntry("podway.1", MACS[0], ip_address(f"192.0.2.{n}")) for n in (2, 3)),
        FdbEntry("podway-v6.1", MACS[0], ip_address("2001:db8::2")),
        FdbEntry("cni0", MACS[0], ip_address("192.0.2.2")),
        Rule(family=Family.IPV4, priority=9, table=7, src=ip_network("10.1.0.0/16")),
        *(Sysctl("ipv6/conf/cni0/accept_ra", value, "cni0") for value in ("0", "2")),
        *(Sysctl("ipv4/ip_forward", value) for value in ("0", "1")),
    ]


POOL = [*links(), *addresses(), *routes(), *others()]
KEYS = sorted({item.key for item in POOL})
DEVICES = (UPLINK, "cni0", "podway.1", "podway-v6.1")

Step: TypeAlias = tuple[str, KernelObject | str]

writes = st.tuples(st.just("create"), st.sampled_from(POOL))
# Links first and often: most of the pool stands on them.
makings = st.tuples(st.just("create"), st.sampled_from(links()))
deletions = st.tuples(st.just("delete"), st.sampled_from(POOL))
flips = st.tuples(st.sampled_from(("up", "down")), st.sampled_from(DEVICES))
sequences = st.tuples(
    st.lists(makings, max_size=4),
    st.lists(st.one_of(writes, writes, writes, deletions, flips), max_size=14),
).map(lambda parts: [*parts[0], *parts[1]])


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=sequences)
def test_both_kernels_end_alike(steps: list[Step]) -> None:
    with ExitStack() as stack:
        worlds = _both_worlds(stack)
        for number, step in enumerate(steps):
            outcomes = [_take(world, step) for world in worlds]
            assert outcomes[0] == outcomes[1], f"step {number}, {step}"
        states = [_state(world) for world in worlds]
        assert states[0] == states[1]


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=sequences)
def test_what_is_told_leads_to_what_is_there(steps: list[Step]) -> None:
    """Whoever follows the events, and reads devices when told to, knows what a reading finds."""
    with ExitStack() as stack:
        for world in _both_worlds(stack):
            believed: dict[Key, KernelObject] = dict(world.kernel.read(KEYS))
            for step in steps:
                if step[0] in {"up", "down"}:
                    _take(world, step)
                else:
                    _tamper(world, step)
                _follow(world, believed)
            _catch_up(world, believed)
            assert _told(believed) == _told(world.kernel.read(KEYS))


def _both_worlds(stack: ExitStack) -> list[World]:
    def make_netns() -> Netns:
        return stack.enter_context(new_netns())

    fake = FakeWorld()
    stack.enter_context(closing(fake.kernel))
    real = RealWorld(make_netns(), make_netns)
    stack.enter_context(closing(real.kernel))
    return [fake, real]


def _take(world: World, step: Step) -> int | None:
    """Take one step; return the errno of a refusal."""
    verb, what = step
    if isinstance(what, str):
        if what == UPLINK or link_key(what) in _look(world):
            world.tamper_up(what, up=verb == "up")
        return None
    observed = world.kernel.read([what.key]).get(what.key)
    operation = Operation(Verb(verb), what.key, what if verb == "create" else None, observed)
    if verb == "delete" and observed is None:
        operation = Operation(Verb.DELETE, what.key, None, what)
    (error,) = world.kernel.apply([operation])
    return None if error is None else error.errno


def _tamper(world: World, step: Step) -> None:
    """Let another program write or delete, as far as the kernel lets it."""
    verb, what = step
    assert not isinstance(what, str)
    if verb == "create":
        _write_as_another(world, what)
        return
    there = _look(world).get(what.key)
    if there is not None and not isinstance(there, Sysctl):
        world.tamper_delete(there)


def _look(world: World) -> dict[Key, KernelObject]:
    """Return what there is, without the kernel under test: what it has read is no news to it."""
    if isinstance(world, RealWorld):
        with closing(NodeKernel(world.netns.fd)) as witness:
            return witness.read(KEYS)
    assert isinstance(world, FakeWorld)
    found = {key: world.kernel.stack.find(key) for key in KEYS}
    return {key: item for key, item in found.items() if item is not None}


def _write_as_another(world: World, item: KernelObject) -> None:
    """Write *item* in a process of another program; what the kernel refuses is not written.

    Devices are up, for of one that is down the kernel tells little more than its birth.
    """
    if isinstance(item, Link):
        item = replace(item, up=True)
    if isinstance(world, RealWorld):
        with closing(NodeKernel(world.netns.fd)) as another:
            another.apply([Operation(Verb.CREATE, item.key, item)])
        return
    with suppress(KernelError):
        world.tamper_set(item)


def _state(world: World) -> dict[Key, KernelObject]:
    return world.kernel.read(KEYS)


def _told(state: dict[Key, KernelObject]) -> dict[Key, KernelObject]:
    """Return the part of *state* that the kernel speaks of.

    Not of proxies, nor of most sysctls, nor of the source that an IPv6 route loses with an address.
    """
    spoken_of = {key: item for key, item in state.items() if key.kind not in {"proxy", "sysctl"}}
    return {
        key: replace(item, src=None) if isinstance(item, Route) else item
        for key, item in spoken_of.items()
    }


def _follow(world: World, believed: dict[Key, KernelObject]) -> None:
    devices: list[str] = []
    for event in world.kernel.drain():
        match event:
            case Seen(key, found):
                _believe(believed, key, found)
            case DeviceChanged(dev):
                devices.append(dev)
            case _:
                pass
    for dev in devices:
        keys = [key for key in KEYS if key in believed and getattr(believed[key], "dev", "") == dev]
        state = world.kernel.read_dev(dev, keys)
        for key in keys:
            _believe(believed, key, state.get(key))
        believed.update(state)


def _catch_up(world: World, believed: dict[Key, KernelObject]) -> None:
    """Follow on while there is something to say: the kernel speaks of IPv6 addresses later."""
    poll = select.poll()
    poll.register(world.kernel.fileno(), select.POLLIN)
    while _told(believed) != _told(_look(world)) and poll.poll(PATIENCE_S * 1000):
        _follow(world, believed)


def _believe(believed: dict[Key, KernelObject], key: Key, found: KernelObject | None) -> None:
    if found is None:
        believed.pop(key, None)
    else:
        believed[key] = found
