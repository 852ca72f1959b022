"""How fast one change reaches the last of many watchers of the hub, and what a watcher costs it.

The hub runs as a process of its own; the watchers are bare connections that speak its protocol, in
a second process, so that neither's time or memory is counted for the other. Numbers:

- memory: growth of the hub's resident set from no watcher to all of them (each with a snapshot of
  the cluster sent), divided by their number;
- informed: from the moment before a claim is sent until each watcher has read the delta, for the
  last watcher, over several changes.

Usage: ``python -m bench.hub_fanout [--watchers 1000] [--nodes 1000] [--changes 20] [--json]``
"""

import argparse
import asyncio
import json
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from ipaddress import ip_address
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.report import Row, at_most
from podway.hub.certs import write_certificates
from podway.model.addresses import Family
from podway.model.nodes import Claim, Wish
from podway.store.address import HubAddress, UnixAddress, parse_hub_address
from podway.store.engines import open_hub
from podway.store.frames import (
    Deltas,
    Hello,
    Resumed,
    SnapshotEnd,
    Watch,
    Welcome,
)
from podway.store.hub import HubStore
from podway.store.protocol import StoreAway
from podway.store.tls import HUB_TLS_NAME, TlsFiles, client_context
from podway.store.wire import (
    ANSWER_MAX_BYTES,
    FrameSplitter,
    decode_hub_frame,
    encode_frame,
)

NET_CONF = {"Network": "10.0.0.0/8", "SubnetLen": 24, "Backend": {"Type": "host-gw"}}
SECTION = "Hub: one change, many watchers"
TRANSPORTS = ("unix", "tcp", "tls")
LAST_INFORMED_MS = 250
KIB_PER_WATCHER = 20


class Watcher(asyncio.Protocol):
    """One watcher: says hello, watches, counts revisions."""

    def __init__(self, crowd: "Crowd") -> None:
        self._crowd = crowd
        self._splitter = FrameSplitter(ANSWER_MAX_BYTES)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(encode_frame(Hello(1)))

    def data_received(self, data: bytes) -> None:
        for body in self._splitter.feed(data):
            match decode_hub_frame(body):
                case Welcome():
                    self._transport.write(encode_frame(Watch(id=1)))
                case SnapshotEnd() | Resumed():
                    self._crowd.arrived()
                case Deltas(revision=revision):
                    self._crowd.informed(revision)
                case _:
                    pass


class Crowd:
    """All watchers of the second process; tells the first when all are there, or informed."""

    def __init__(self, count: int, pipe: Connection) -> None:
        self._count = count
        self._pipe = pipe
        self._ready = 0
        self._seen: dict[int, int] = {}

    def arrived(self) -> None:
        self._ready += 1
        if self._ready == self._count:
            self._pipe.send("ready")

    def informed(self, revision: int) -> None:
        self._seen[revision] = self._seen.get(revision, 0) + 1
        if self._seen[revision] == self._count:
            self._pipe.send((revision, time.monotonic()))


async def connect_all(
    address: HubAddress, tls: TlsFiles | None, count: int, pipe: Connection
) -> None:
    loop = asyncio.get_running_loop()
    crowd = Crowd(count, pipe)
    context = client_context(tls) if tls else None
    transports = []
    for _ in range(count):
        if isinstance(address, UnixAddress):
            made = loop.create_unix_connection(lambda: Watcher(crowd), str(address.path))
        elif context is None or tls is None:
            made = loop.create_connection(lambda: Watcher(crowd), address.host, address.port)
        else:
            made = loop.create_connection(
                lambda: Watcher(crowd),
                address.host,
                address.port,
                ssl=context,
                server_hostname=HUB_TLS_NAME,
            )
        transports.append((await made)[0])
    await loop.run_in_executor(None, pipe.recv)  # until the first process is done


def crowd_main(address: str, tls: TlsFiles | None, count: int, pipe: Connection) -> None:
    raise_file_limit()
    asyncio.run(connect_all(parse_hub_address("bench", address), tls, count, pipe))


def raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def claim_of(number: int, round_: int = 0) -> Claim:
    address = ip_address(0xAC100000 + (round_ << 16) + number)
    wish = Wish(family=Family.IPV4, public_ip=address)
    return Claim(name=f"node-{number}", backend="host-gw", wishes=(wish,))


def resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def fill(store: HubStore, nodes: int) -> None:
    while True:
        try:
            await store.get_network()
            break
        except StoreAway:
            await asyncio.sleep(0.05)
    await asyncio.gather(*(store.claim(claim_of(number)) for number in range(nodes)))


async def measure(
    transport: str,
    where: tuple[Path, int],
    hub_pid: int,
    args: argparse.Namespace,
    tls: TlsFiles | None,
) -> dict[str, Any]:
    directory, port = where
    url = f"unix:{directory / 'hub.sock'}" if transport == "unix" else f"tcp:127.0.0.1:{port}"
    loop = asyncio.get_running_loop()
    admin = open_hub(f"unix:{directory / 'hub.sock'}")
    await fill(admin, args.nodes)
    before = resident_bytes(hub_pid)
    ours, theirs = Pipe()
    crowd = Process(target=crowd_main, args=(url, tls, args.watchers, theirs))
    began_s = time.monotonic()
    crowd.start()
    try:
        assert await loop.run_in_executor(None, ours.recv) == "ready"
        joined_s = time.monotonic() - began_s
        after = resident_bytes(hub_pid)
        delays_ms = []
        used_s = processor_s(hub_pid)
        for change in range(args.changes):
            began_s = time.monotonic()
            await admin.claim(claim_of(change, round_=1))
            _, last_s = await loop.run_in_executor(None, ours.recv)
            delays_ms.append((last_s - began_s) * 1000)
        used_s = processor_s(hub_pid) - used_s
        ours.send("done")
    finally:
        await admin.close()
        crowd.join(10)
        crowd.kill()
    return {
        "transport": transport,
        "watchers": args.watchers,
        "nodes": args.nodes,
        "joined_s": round(joined_s, 2),
        "kib_per_watcher": round((after - before) / args.watchers / 1024, 1),
        "hub_rss_mib": round(after / 2**20, 1),
        "last_informed_median_ms": round(statistics.median(delays_ms), 1),
        "last_informed_max_ms": round(max(delays_ms), 1),
        "hub_cpu_ms_per_change": round(used_s * 1000 / args.changes, 1),
    }


def run() -> list[Row]:
    """Measure over every transport; return the rows."""
    raise_file_limit()
    args = argparse.Namespace(watchers=1000, nodes=1000, changes=20)
    return [row for transport in TRANSPORTS for row in rows_of(run_hub(transport, args))]


def rows_of(result: dict[str, Any]) -> list[Row]:
    transport, watchers = result["transport"], result["watchers"]
    note = f"median {result['last_informed_median_ms']} ms; the claim and its fsync included"
    what = f"{transport}: {watchers:,} watchers, last one informed, slowest change"
    informed = at_most(SECTION, what, result["last_informed_max_ms"], LAST_INFORMED_MS, "ms", note)
    note = f"{result['nodes']:,} nodes; the hub has {result['hub_rss_mib']} MiB in all"
    what = f"{transport}: memory per watcher"
    if transport == "tls":
        note += "; most of it is OpenSSL's"
        value = f"{result['kib_per_watcher']} KiB"
        return [informed, Row(section=SECTION, what=what, value=value, note=note)]
    memory = at_most(SECTION, what, result["kib_per_watcher"], KIB_PER_WATCHER, "KiB", note)
    return [informed, memory]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_hub(transport: str, args: argparse.Namespace) -> dict[str, Any]:
    port = free_port()
    directory = Path(tempfile.mkdtemp(prefix="podway-bench-"))
    (directory / "net-conf.json").write_text(json.dumps(NET_CONF))
    command = [
        *(sys.executable, "-m", "podway.hub", "--log-level", "warning"),
        *("--listen", f"unix:{directory / 'hub.sock'}", "--data-dir", str(directory / "data")),
        *("--net-conf", str(directory / "net-conf.json")),
    ]
    tls = None
    if transport == "tcp":
        command += ["--listen", f"tcp:127.0.0.1:{port}", "--plaintext"]
    if transport == "tls":
        pem = directory / "pem"
        write_certificates(pem, ["watcher"])
        tls = TlsFiles(ca=pem / "ca.crt", cert=pem / "watcher.crt", key=pem / "watcher.key")
        files = zip(("ca", "cert", "key"), ("ca.crt", "hub.crt", "hub.key"), strict=True)
        for option, name in files:
            command += [f"--tls-{option}", str(pem / name)]
        command += ["--listen", f"tcp:127.0.0.1:{port}"]
    hub = subprocess.Popen(command)
    try:
        where = (directory, port)
        return asyncio.run(measure(transport, where, hub.pid, args, tls))
    finally:
        hub.terminate()
        hub.wait()
        shutil.rmtree(directory)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--watchers", type=int, default=1000)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=20)
    parser.add_argument("--transports", default=",".join(TRANSPORTS))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    raise_file_limit()
    results = [run_hub(transport, args) for transport in args.transports.split(",")]
    if args.json:
        print(json.dumps(results, indent=2))
        return
    columns = list(results[0])
    widths = [max(len(c), *(len(str(r[c])) for r in results)) for c in columns]
    print("  ".join(c.rjust(w) for c, w in zip(columns, widths, strict=True)))
    for result in results:
        print("  ".join(str(result[c]).rjust(w) for c, w in zip(columns, widths, strict=True)))


if __name__ == "__main__":
    main()
