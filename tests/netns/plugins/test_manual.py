"""Sentences of the manual (``docs/reference/cni``) that somebody may rely on, tried in a kernel."""

import fcntl
import os
import struct

import pytest

from netns.conftest import Netns
from netns.plugins.cni_runtime import Document, Runtime, config_of, with_previous
from podway.cni.errors import CHECK_FAILED, INVALID_CONFIG, IO_FAILURE
from podway.netlink.netns import entered

NOBODY = 65534
OWNER = 64123
# linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 2, 0x1000
IFREQ = struct.Struct("16sH22x")


def opens_tap(pod: Netns, uid: int, gid: int) -> bool:
    """Tell whether a process of *uid* and *gid* can open the container's ``eth0``."""
    child = os.fork()
    if not child:
        code = 2
        try:
            with entered(pod.fd):
                descriptor = os.open("/dev/net/tun", os.O_RDWR)
                os.setgroups([])
                os.setresgid(gid, gid, gid)
                os.setresuid(uid, uid, uid)
                request = IFREQ.pack(b"eth0", IFF_TAP | IFF_NO_PI)
                code = 1
                fcntl.ioctl(descriptor, TUNSETIFF, request)
                code = 0
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in {0, 1}, "the child did not come as far as to ask"
    return status == 0


@pytest.mark.parametrize(
    ("keys", "allowed"),
    [
        pytest.param({}, {"nobody", "owner", "group", "both"}, id="anybody"),
        pytest.param({"owner": OWNER}, {"owner", "both"}, id="owner"),
        pytest.param({"group": OWNER}, {"group", "both"}, id="group"),
        pytest.param({"owner": OWNER, "group": OWNER}, {"both"}, id="owner and group"),
    ],
)
def test_who_may_open_a_tap(
    keys: Document, allowed: set[str], runtime: Runtime, pod: Netns
) -> None:
    runtime.add(config_of("tap", **keys), pod)
    who = {
        "nobody": (NOBODY, NOBODY),
        "owner": (OWNER, NOBODY),
        "group": (NOBODY, OWNER),
        "both": (OWNER, OWNER),
    }
    assert {name for name, ids in who.items() if opens_tap(pod, *ids)} == allowed


IPAM = {
    "type": "static",
    "addresses": [{"address": "10.1.0.5/24"}],
    "dns": {"nameservers": ["192.0.2.53"]},
}


@pytest.mark.kernel("macvlan")
@pytest.mark.usefixtures("up0")
def test_macvlan_passes_no_dns_of_ipam_on(runtime: Runtime, pod: Netns) -> None:
    result = runtime.add(config_of("macvlan", master="up0", ipam=IPAM), pod)
    assert not result.get("dns")


def test_bridge_passes_dns_of_ipam_on(runtime: Runtime, pod: Netns) -> None:
    assert runtime.add(config_of("bridge", ipam=IPAM), pod)["dns"] == IPAM["dns"]


def test_bridge_with_an_ipam_of_no_type_is_layer_2_alone(runtime: Runtime, pod: Netns) -> None:
    result = runtime.add(config_of("bridge", ipam={"subnet": "10.1.0.0/24"}), pod)
    assert "ips" not in result


@pytest.mark.kernel("macvlan")
@pytest.mark.usefixtures("up0")
def test_a_master_is_looked_for_where_link_in_container_says(runtime: Runtime, pod: Netns) -> None:
    config = config_of("macvlan", master="up0")
    inside = runtime.call("ADD", {**config, "linkInContainer": True}, pod)
    assert inside.code == INVALID_CONFIG
    assert "container's namespace" in inside.msg
    nowhere = runtime.call("ADD", {**config, "master": "nope"}, pod)
    assert nowhere.code == INVALID_CONFIG
    assert "set linkInContainer" in nowhere.msg
    assert runtime.call("ADD", config, pod).code == 0


@pytest.mark.parametrize("args", ["", "IP=10.1.0.77"])
def test_a_second_add_gets_no_second_address(args: str, runtime: Runtime, pod: Netns) -> None:
    config = config_of("host-local", ipam=runtime.ipam("10.1.0.0/24"))
    runtime.add(config, pod)
    assert runtime.call("ADD", config, pod, args=args).code == INVALID_CONFIG
    assert runtime.reserved() == {"10.1.0.2"}


def test_a_parameter_that_is_not_there_is_said_so(runtime: Runtime, pod: Netns) -> None:
    previous = {"cniVersion": "1.0.0", "interfaces": [{"name": "lo", "sandbox": pod.path}]}
    keys = {"sysctl": {"net.core.nonesuch": "1"}, "prevResult": previous}
    answer = runtime.call("ADD", config_of("tuning", **keys), pod, ifname="lo")
    assert answer.code == IO_FAILURE
    assert "no parameter of this kernel" in answer.msg


@pytest.mark.parametrize("key", ["hairpinMode", "portIsolation"])
def test_check_of_bridge_names_what_differs_as_the_configuration_does(
    key: str, runtime: Runtime, pod: Netns
) -> None:
    config = config_of("bridge", ipam={})
    result = runtime.add(config, pod)
    changed = runtime.call("CHECK", with_previous({**config, key: True}, result), pod)
    assert changed.code == CHECK_FAILED
    assert changed.msg.startswith(f"{key} is off")
