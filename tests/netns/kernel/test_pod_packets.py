"""Packets between pods and their node: they pass the moment that the interface is there."""

import json
import socket
import time
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from netns.conftest import MakeNetns, Netns
from netns.kernel.pod_sides import bridged, host_end
from netns.kernel.stock import BRIDGE
from netns.kernel.worlds import PATIENCE_S, RealWorld, build
from podway.compute.endpoints import compute_endpoint
from podway.model.addresses import Family
from podway.model.endpoints import Endpoint, EndpointKey
from podway.model.kernel import Address, KernelObject
from podway.netlink import entered


def test_packets_pass(real: RealWorld, make_netns: MakeNetns) -> None:
    """Node and pod reach each other at once in both families: nothing waits for detection."""
    inside = make_netns()
    pod = bridged(inside.path)
    gateways = [ip_interface("10.1.0.1/24"), ip_interface("fd01::1/64")]
    build(real, BRIDGE, *(Address("cni0", item) for item in gateways))
    build(real, host_end(pod, master="cni0"))
    for here, there, address in (
        (real.netns, inside, "10.1.0.5"),
        (real.netns, inside, "fd01::5"),
        (inside, real.netns, "10.1.0.1"),
        (inside, real.netns, "fd01::1"),
    ):
        _send_datagram(here, there, address)


@pytest.mark.parametrize("arp_ignore", ["0", "1"])
def test_routed_pods_pass_without_a_default_route(
    real: RealWorld, make_netns: MakeNetns, arp_ignore: str
) -> None:
    """Their gateway answers whatever routes the node has, and to kube-proxy's strict ARP too."""
    for setting in ("ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1"):
        real.netns.exec("sysctl", "-qw", f"net/{setting}")
    real.netns.exec("sysctl", "-qw", f"net/ipv4/conf/all/arp_ignore={arp_ignore}")
    first, second = make_netns(), make_netns()
    build(real, *routed_pod(first, "a", 5), *routed_pod(second, "b", 6))
    assert real.netns.ip("route", "show", "default") == ""
    for here, there, address in (
        (first, real.netns, "192.0.2.1"),
        (first, real.netns, "2001:db8::1"),
        (first, second, "10.1.0.6"),
        (first, second, "fd01::6"),
        (real.netns, first, "10.1.0.5"),
        (real.netns, second, "fd01::6"),
    ):
        _send_datagram(here, there, address)
    # The gateway's address is on every host end; the node is known by its own.
    (way,) = json.loads(real.netns.ip("-j", "route", "get", "10.1.0.5"))
    assert way["prefsrc"] == "192.0.2.1"


def routed_pod(netns: Netns, container: str, number: int) -> tuple[KernelObject, ...]:
    """Return what a node holds for a pod in *netns* that is attached by ``routed``."""
    endpoint = Endpoint(
        key=EndpointKey("podway", container, "eth0"),
        netns=netns.path,
        addresses=(ip_address(f"10.1.0.{number}"), ip_address(f"fd01::{number}")),
        attach="routed",
        mtu=1500,
        pod=f"default/{container}",
    )
    subnets = {Family.IPV4: ip_network("10.1.0.0/24"), Family.IPV6: ip_network("fd01::/64")}
    return compute_endpoint(endpoint, subnets, {})


def test_a_forwarded_packet_passes_at_once(real: RealWorld, make_netns: MakeNetns) -> None:
    """The bridge asks for the pod's MAC from an address that is valid the moment it is there."""
    pod = bridged(make_netns().path)
    gateway = Address("cni0", ip_interface("fd01::1/64"))
    build(real, BRIDGE, gateway)
    build(real, host_end(pod, master="cni0"))
    deadline = time.monotonic() + PATIENCE_S
    while not _valid_link_local(real.netns, "cni0"):
        assert time.monotonic() < deadline, "the bridge has no link-local address"
    # For a moment any address is tentative; nobody was asked whether it is anybody's.
    counters = real.netns.exec("cat", "/proc/net/dev_snmp6/cni0")
    assert "Icmp6OutNeighborSolicits        \t0" in counters


def _valid_link_local(netns: Netns, dev: str) -> bool:
    (device,) = json.loads(netns.ip("-j", "-6", "address", "show", "dev", dev))
    shown = [info for info in device["addr_info"] if info["scope"] == "link"]
    return any(not info.get("tentative", False) for info in shown)


def _send_datagram(here: Netns, there: Netns, address: str) -> None:
    """Send one datagram to *address* and wait for it on the other side."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with entered(there.fd):
        receiver = socket.socket(family, socket.SOCK_DGRAM)
    with entered(here.fd):
        sender = socket.socket(family, socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.bind((address, 0))
        receiver.settimeout(5)
        sender.sendto(b"hello", (address, receiver.getsockname()[1]))
        assert receiver.recv(16) == b"hello"
