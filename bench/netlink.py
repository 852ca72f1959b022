"""What podway's own netlink costs: importing it, a message each way, and 1,000 peers at once.

``python -m bench.netlink`` as root. Beside it stands pyroute2, which the tests have as a witness.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.namespaces import inside, namespace
from bench.report import Row, at_most, render
from podway.netlink import (
    NetlinkSocket,
    Request,
    create_link,
    dump_fdb,
    dump_links,
    dump_neighbours,
    dump_routes,
    get_link,
    pack_address,
    replace_fdb,
    replace_neighbour,
    replace_route,
)
from podway.netlink.constants import AF_INET, IFF_UP, RTNH_F_ONLINK

SECTION = "netlink"
SOURCES = Path(__file__).parent.parent / "src"
PEERS = 1000
OURS = 112
IMPORT = """
import sys, time
sys.path.insert(0, {path!r})
start = time.perf_counter()
import {modules}
print((time.perf_counter() - start) * 1e3)
"""


def import_ms(modules: str, rounds: int = 30) -> float:
    """Return the median time that a fresh bare interpreter takes to import *modules*."""
    script = IMPORT.format(path=str(SOURCES), modules=modules)
    command = ["/usr/bin/python3", "-IS", "-c", script]
    times = [float(subprocess.check_output(command)) for _ in range(rounds + 1)]
    return statistics.median(times[1:])


def all_modules() -> str:
    """Return the names of all modules of the package."""
    stems = [path.stem for path in (SOURCES / "podway" / "netlink").glob("*.py")]
    return ", ".join(f"podway.netlink.{stem}" for stem in stems if stem != "__init__")


def microseconds(work: Callable[[], object], rounds: int = 20_000) -> float:
    """Return the best of five averages of *work*."""
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(rounds // 5):
            work()
        best = min(best, (time.perf_counter() - start) / (rounds // 5))
    return best * 1e6


def of_peer(number: int, ifindex: int) -> list[Request[Any]]:
    """Return the neighbour, forwarding entry and route of one peer behind a VXLAN device."""
    gateway = bytes([10, number >> 8, number & 255, 0])
    mac = "0a:58:" + gateway.hex(":")
    underlay = bytes([172, 16, number >> 8, number & 255])
    return [
        replace_neighbour({"family": AF_INET, "ifindex": ifindex, "dst": gateway, "lladdr": mac}),
        replace_fdb({"ifindex": ifindex, "lladdr": mac, "dst": underlay}),
        replace_route(
            {
                "family": AF_INET,
                "dst": gateway,
                "dst_len": 24,
                "gateway": gateway,
                "oif": ifindex,
                "flags": RTNH_F_ONLINK,
                "protocol": OURS,
            }
        ),
    ]


def codec() -> list[Row]:
    """Measure one message each way."""
    rows = []
    for name, request in zip(("neighbour", "FDB entry", "route"), of_peer(7, 5), strict=True):
        schema, fields = request.schema, request.fields
        data = schema.encode(fields)
        encode = microseconds(lambda s=schema, f=fields: s.encode(f))  # type: ignore[misc]
        decode = microseconds(lambda s=schema, d=data: s.decode(d, 0, len(d)))  # type: ignore[misc]
        rows += [
            at_most(SECTION, f"encode one {name}", encode, 10, "µs"),
            at_most(SECTION, f"decode one {name}", decode, 10, "µs"),
        ]
    return rows


def kernel() -> list[Row]:
    """Measure 1,000 peers in one batch, again with nothing to change, and their listings."""
    with NetlinkSocket() as netlink:
        data = {"id": 1, "port": 8472, "learning": 0, "local": pack_address("172.16.0.0")}
        link = {"ifname": "vx", "flags": IFF_UP, "change": IFF_UP}
        netlink.request(create_link({**link, "linkinfo": {"kind": "vxlan", "data": data}}))  # type: ignore[typeddict-item]
        device = netlink.request(get_link({"ifname": "vx"}))
        assert device is not None
        ifindex = device["index"]

        def write() -> float:
            start = time.perf_counter()
            requests = [r for number in range(1, PEERS + 1) for r in of_peer(number, ifindex)]
            results = netlink.batch(requests)
            took_ms = (time.perf_counter() - start) * 1e3
            assert not any(results)
            return took_ms

        rows = [
            at_most(SECTION, "3,000 objects of 1,000 peers, first time", write(), 150, "ms"),
            at_most(SECTION, "the same once more", write(), 150, "ms"),
        ]
        listings: list[tuple[str, Request[Any]]] = [
            ("routes", dump_routes(AF_INET, protocol=OURS)),
            ("neighbours", dump_neighbours(AF_INET, ifindex=ifindex)),
            ("forwarding entries", dump_fdb(ifindex=ifindex)),
            ("links", dump_links()),
        ]
        for what, request in listings:
            start = time.perf_counter()
            count = len(netlink.dump(request))
            took_ms = (time.perf_counter() - start) * 1e3
            rows.append(
                Row(section=SECTION, what=f"list {count} {what}", value=f"{took_ms:.2f} ms")
            )
    return rows


def pyroute2_import() -> Row:
    """Measure what the library that everybody uses costs a short-lived process."""
    command = [sys.executable, "-c", IMPORT.format(path=str(SOURCES), modules="pyroute2")]
    times = [float(subprocess.check_output(command)) for _ in range(6)]
    value = f"{statistics.median(times[1:]):.0f} ms"
    return Row(section=SECTION, what="import pyroute2, for comparison", value=value)


def run() -> list[Row]:
    """Measure all of it."""
    few = "podway.netlink.socket, podway.netlink.links, podway.netlink.routes"
    with namespace() as name:
        in_kernel = inside(name, kernel)
    return [
        at_most(SECTION, "import all of podway.netlink", import_ms(all_modules()), 3, "ms"),
        Row(
            section=SECTION,
            what="import its socket, links and routes",
            value=f"{import_ms(few):.2f} ms",
        ),
        pyroute2_import(),
        *codec(),
        *in_kernel,
    ]


if __name__ == "__main__":
    print(render(run()))
