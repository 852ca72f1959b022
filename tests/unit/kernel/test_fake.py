"""What the kernel in memory has beside a kernel: failures on order, a log, and other programs."""

import errno
import select
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest
from msgspec.structs import replace

from podway.diff.operations import Operation, Verb
from podway.kernel.fake import FakeKernel
from podway.kernel.protocol import DeviceChanged, KernelError, Overrun, Seen, UplinkChanged
from podway.model.kernel import (
    Address,
    Bridge,
    Link,
    PodSide,
    Route,
    Sysctl,
    Veth,
    link_key,
)

BRIDGE = Link(name="cni0", kind=Bridge(), mtu=1450, mac="02:00:00:00:00:02", alias="podway:bridge")
ROUTE = Route(dst=ip_network("10.2.0.0/24"), dev="eth0", via=ip_address("192.0.2.2"))


@pytest.fixture
def kernel() -> Iterator[FakeKernel]:
    with closing(FakeKernel()) as made:
        made.add_device("eth0", addresses=("192.0.2.1/24",))
        made.drain()
        yield made


def create(item: Link | Route | Address | Sysctl) -> Operation:
    return Operation(Verb.CREATE, item.key, item)


def is_readable(kernel: FakeKernel) -> bool:
    poll = select.poll()
    poll.register(kernel.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def test_failures_on_order_come_once_each(kernel: FakeKernel) -> None:
    kernel.fail_next(Verb.CREATE, "route", errno.EBUSY, times=2)
    kernel.fail_next(Verb.DELETE, "route", errno.EPERM)
    outcomes = [kernel.apply([create(ROUTE)])[0] for _ in range(3)]
    assert [None if error is None else error.errno for error in outcomes] == [
        errno.EBUSY, errno.EBUSY, None,
    ]  # fmt: skip
    gone = Operation(Verb.DELETE, ROUTE.key, None, ROUTE)
    assert [None if error is None else error.errno for error in kernel.apply([gone, gone])] == [
        errno.EPERM, None,
    ]  # fmt: skip


def test_reading_fails_on_order(kernel: FakeKernel) -> None:
    kernel.fail_read(errno.EINTR)
    with pytest.raises(KernelError) as caught:
        kernel.read([])
    assert caught.value.errno == errno.EINTR
    assert kernel.read([]) == {}
    kernel.fail_read(errno.EINTR)
    with pytest.raises(KernelError):
        kernel.read_dev("eth0", [])


def test_the_log_holds_what_succeeded(kernel: FakeKernel) -> None:
    bad = replace(ROUTE, via=ip_address("10.99.0.1"))
    kernel.apply([create(bad), create(ROUTE)])
    kernel.apply([])
    assert kernel.log == [create(ROUTE)]
    assert kernel.batches == 2


def test_the_descriptor_says_when_there_is_news(kernel: FakeKernel) -> None:
    assert not is_readable(kernel)
    kernel.apply([create(BRIDGE)])
    assert not is_readable(kernel)
    kernel.tamper_delete(BRIDGE.key)
    assert is_readable(kernel)
    assert kernel.drain() == [Seen(BRIDGE.key, None), DeviceChanged("cni0")]
    assert not is_readable(kernel)
    assert kernel.drain() == []


def test_several_changes_of_one_thing_are_one_event(kernel: FakeKernel) -> None:
    kernel.apply([create(ROUTE)])
    kernel.tamper_delete(ROUTE.key)
    kernel.tamper_set(replace(ROUTE, via=ip_address("192.0.2.9")))
    assert kernel.drain() == [Seen(ROUTE.key, replace(ROUTE, via=ip_address("192.0.2.9")))]
    kernel.tamper_delete(ROUTE.key)
    kernel.tamper_set(replace(ROUTE, via=ip_address("192.0.2.9")))
    assert kernel.drain() == []


def test_an_overrun_loses_what_waited(kernel: FakeKernel) -> None:
    kernel.apply([create(BRIDGE)])
    kernel.tamper_delete(BRIDGE.key)
    kernel.overrun()
    assert kernel.drain() == [Overrun()]
    assert kernel.drain() == []


def test_tampering_obeys_the_kernels_rules(kernel: FakeKernel) -> None:
    with pytest.raises(KernelError) as caught:
        kernel.tamper_set(replace(ROUTE, via=ip_address("10.99.0.1"), protocol=4))
    assert caught.value.errno == errno.ENETUNREACH
    assert kernel.drain() == []


def test_the_uplink(kernel: FakeKernel) -> None:
    kernel.set_default_route("eth0", ip_address("192.0.2.254"))
    assert kernel.find_uplink() == "eth0"
    kernel.tamper_set(Address("eth0", ip_interface("192.0.2.7/24")))
    assert kernel.drain() == [UplinkChanged("eth0")]
    uplink = kernel.read_uplink("eth0")
    assert uplink is not None
    assert [str(address) for address in uplink.addresses] == ["192.0.2.1/24", "192.0.2.7/24"]
    kernel.tamper_link_down("eth0")
    assert kernel.find_uplink() is None


def test_namespaces_are_files_where_there_are_files(kernel: FakeKernel, tmp_path: Path) -> None:
    """The agent hands a descriptor over: the same file by another path."""
    file = tmp_path / "netns"
    file.touch()
    inside = kernel.create_netns(str(file))
    with file.open() as opened:
        pod = PodSide(
            netns=f"/proc/self/fd/{opened.fileno()}",
            ifname="eth0",
            mac="02:00:00:00:00:03",
            mtu=1450,
            addresses=(ip_interface("10.1.0.5/24"),),
        )
        link = Link(name="pw1", kind=Veth(pod), alias="podway:pod x")
        assert kernel.apply([create(link)]) == [None]
    assert link_key("eth0") in inside.objects
    assert kernel.netns(str(file)) is inside
    kernel.destroy_netns(str(file))
    assert kernel.drain() == [Seen(link.key, None), DeviceChanged("pw1")]
    assert kernel.check_pod(replace(pod, netns=str(file))) == [f"its namespace {file} is gone"]


def test_sysctls_of_a_device_come_and_go_with_it() -> None:
    with closing(FakeKernel({"ipv4/conf/*/made_up": "5"})) as kernel:
        path = Sysctl("ipv4/conf/cni0/made_up", "6", "cni0")
        assert [error and error.errno for error in kernel.apply([create(path)])] == [errno.ENOENT]
        assert kernel.apply([create(BRIDGE), create(path)]) == [None, None]
        kernel.apply([Operation(Verb.DELETE, BRIDGE.key, None, BRIDGE), create(BRIDGE)])
        assert kernel.check_sysctls([path.key]) == [Seen(path.key, replace(path, value="5"))]


def test_forwarding_for_all_is_forwarding_for_each(kernel: FakeKernel) -> None:
    of_device = Sysctl("ipv4/conf/eth0/forwarding", "1", "eth0")
    kernel.apply([create(Sysctl("ipv4/ip_forward", "1"))])
    assert kernel.check_sysctls([of_device.key]) == [Seen(of_device.key, of_device)]


def test_closing_twice_is_closing(kernel: FakeKernel) -> None:
    kernel.close()
    kernel.close()
    assert kernel.fileno() == -1
