"""Runs a test on a kernel that has what it needs: the marker ``kernel(feature, ...)``.

In: tests marked ``@pytest.mark.kernel("vlan", "netem")``. Whether this kernel has a feature is
found out by using it, in a network namespace that is gone with the probe. Out: under plain pytest a
test whose feature is missing is skipped, with the reason. ``make test`` (``run.py``) calls pytest
twice: ``--kernel-stage=native`` leaves such tests out and reports them, ``--kernel-stage=uml`` runs
those under User Mode Linux, where what is missing as well is skipped as missing in both kernels.

Loaded by ``tests/conftest.py``.
"""

import functools
import os
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import pytest

from uml.reports import StageReport, write_report, write_whole

_PORTS = "ip link add port0 type veth peer name port1"
_CLSACT = f"{_PORTS}; tc qdisc add dev port0 clsact; tc filter add dev port0 ingress"
_TUNNEL = "local 192.0.2.1 remote 192.0.2.2"
_TUNNEL6 = "local 2001:db8::1 remote 2001:db8::2"
_ESP = (
    "proto esp spi 1 mode tunnel enc 'cbc(aes)' 0x00112233445566778899aabbccddeeff "
    "auth 'hmac(sha256)' 0x00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
)
_SCTP = "import socket as s; s.socket(s.AF_INET, s.SOCK_STREAM, s.IPPROTO_SCTP)"

# What uses each feature once: shell commands, run in an empty network namespace.
PROBES: Final[Mapping[str, str]] = {
    "uml": "grep -q 'User Mode Linux' /proc/cpuinfo || { echo 'is another kernel' >&2; exit 1; }",
    # devices
    "bond": "ip link add probe0 type bond",
    "bridge_vlan_filtering": "ip link add probe0 type bridge vlan_filtering 1",
    "dummy": "ip link add probe0 type dummy",
    "geneve": "ip link add probe0 type geneve id 1 remote 192.0.2.1",
    "gre": f"ip link add probe0 type gre {_TUNNEL}; ip link add probe1 type gretap {_TUNNEL}",
    "ifb": "ip link add probe0 type ifb",
    "ip6gre": f"ip link add probe0 type ip6gre {_TUNNEL6}",
    "ip6tnl": f"ip link add probe0 type ip6tnl {_TUNNEL6}",
    "ipip": f"ip link add probe0 type ipip {_TUNNEL}",
    "ipvlan": f"{_PORTS}; ip link add probe0 link port0 type ipvlan mode l3s",
    "macvlan": f"{_PORTS}; ip link add probe0 link port0 type macvlan",
    "rename_up": f"{_PORTS}; ip link set port0 up; ip link set port0 name port2",
    "sit": f"ip link add probe0 type sit {_TUNNEL}",
    "tun": "ip tuntap add probe0 mode tap",
    "vlan": f"{_PORTS}; ip link add probe0 link port0 type vlan id 2",
    "vrf": "ip link add probe0 type vrf table 10",
    "vxlan": "ip link add probe0 type vxlan id 1 dstport 4789",
    "wireguard": "ip link add probe0 type wireguard",
    # traffic control
    "flower": f"{_CLSACT} protocol ip flower ip_proto tcp action ok",
    "fq_codel": f"{_PORTS}; tc qdisc add dev port0 root fq_codel",
    "matchall": f"{_CLSACT} matchall action ok",
    "netem": f"{_PORTS}; tc qdisc add dev port0 root netem delay 1ms",
    "police": f"{_CLSACT} protocol ip u32 match u32 0 0 police rate 1mbit burst 10k",
    # protocols
    "esp": (
        f"ip xfrm state add src 192.0.2.1 dst 192.0.2.2 {_ESP}; "
        f"ip xfrm state add src 2001:db8::1 dst 2001:db8::2 {_ESP}"
    ),
    "ipvs": "genl ctrl get name IPVS",
    "sctp": shlex.join([sys.executable, "-c", _SCTP]),
    # nf_tables
    "flowtable": (
        f"{_PORTS}; nft 'table inet probe {{ flowtable f {{ "
        "hook ingress priority 0; devices = { port0 }; }; }'"
    ),
    "nft_bridge": "nft 'table bridge probe { chain c { meta ibrname probe0 ct state new; }; }'",
    "nft_fib": "nft 'table inet probe { chain c { fib daddr type local; }; }'",
    "nft_inet": "nft 'table inet probe { chain c { ct state new; }; }'",
    "nft_ip": "nft 'table ip probe { chain c { ct state new; }; }; table ip6 probe { }'",
    "nft_nat": (
        "nft 'table inet probe { chain c { type nat hook postrouting priority 100; "
        "masquerade; }; }'"
    ),
    "nft_netdev": (
        f"{_PORTS}; nft 'table netdev probe {{ chain c {{ "
        "type filter hook ingress device port0 priority 0; }; }'"
    ),
    "nft_numgen": "nft 'table inet probe { chain c { meta mark set numgen inc mod 2; }; }'",
    "nft_queue": "nft 'table inet probe { chain c { queue num 1; }; }'",
    "nft_synproxy": "nft 'table inet probe { chain c { synproxy; }; }'",
    "nft_tproxy": (
        "nft 'table inet probe { chain c { type filter hook prerouting priority -150; "
        "meta l4proto tcp tproxy to :80; }; }'"
    ),
}

# How the tools above say that the kernel lacks something; none of them passes the errno on. Any
# other answer stops the run: the probe is wrong, and nothing is to be skipped for that.
_ANSWERS_OF_A_KERNEL_WITHOUT: Final = (
    "Unknown device type",
    "Specified qdisc kind is unknown",
    "TC classifier not found",
    "Failed to load TC action module",
    "Requested type not found",
    "No such file or directory",
    "Operation not supported",
    "Operation not permitted",
    "Protocol error",
    "Protocol not supported",
    "is another kernel",
)
_NO_SUCH_PROGRAM = 127


class ProbeError(Exception):
    """A probe failed in a way that says nothing about the kernel."""


@functools.cache
def why_missing(feature: str) -> str | None:
    """Return None when this kernel has *feature*, otherwise what it answered. Probed once.

    Raises:
        KeyError: no such feature is known; PROBES lists them.
        ProbeError: the probe failed for another reason.
    """
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-ec", PROBES[feature]],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path, "LC_ALL": "C"},
    )
    if done.returncode == 0:
        return None
    for answer in _ANSWERS_OF_A_KERNEL_WITHOUT:
        if answer in done.stderr and done.returncode != _NO_SUCH_PROGRAM:
            return answer
    raise ProbeError(
        f"the probe of kernel feature {feature} ended with status {done.returncode}, "
        f"which does not say that the kernel lacks it: {done.stderr.strip()}"
    )


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options with which ``make test`` calls pytest twice."""
    group = parser.getgroup("kernel features")
    group.addoption(
        "--kernel-stage",
        choices=("single", "native", "uml"),
        default="single",
        help="what becomes of a test whose kernel feature is missing: skipped, left out for the "
        "second stage, or skipped as missing in both kernels",
    )
    group.addoption("--stage-report", type=Path, help="file to write this stage's numbers to")
    group.addoption(
        "--deferred-tests",
        type=Path,
        help="file to write the tests to, as soon as they are known, that are left out",
    )


class Session:
    """One session of pytest, from the choice of its tests to its report."""

    def __init__(self, config: pytest.Config) -> None:
        self._stage: str = config.getoption("--kernel-stage")
        self._report: Path | None = config.getoption("--stage-report")
        self._list: Path | None = config.getoption("--deferred-tests")
        self._deferred: list[str] = []
        self._awaited: Counter[str] = Counter()
        self._ran = 0
        self._at_home = 0
        self._skipped = 0

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Leave out, or skip, the tests that this kernel cannot run; last, so of those chosen."""
        marked = [item for item in items if item.get_closest_marker("kernel")]
        lacking = {item: missing for item in marked if (missing := missing_features(item))}
        self._at_home = len(marked) - len(lacking)
        if self._stage == "native":
            self._leave_out(config, items, lacking)
        else:
            self._skipped = len(lacking)
            for item, missing in lacking.items():
                reason = render_reason(self._stage, needed_features(item), missing)
                item.add_marker(pytest.mark.skip(reason=reason))

    def _leave_out(
        self,
        config: pytest.Config,
        items: list[pytest.Item],
        lacking: Mapping[pytest.Item, Mapping[str, str]],
    ) -> None:
        self._deferred = [item.nodeid for item in lacking]
        self._awaited = Counter(name for missing in lacking.values() for name in missing)
        items[:] = [item for item in items if item not in lacking]
        if lacking:
            config.hook.pytest_deselected(items=list(lacking))
        if self._list:
            write_whole(self._list, "".join(f"{node_id}\n" for node_id in self._deferred))

    def pytest_runtest_logfinish(self) -> None:
        """Count a test that came to its end."""
        self._ran += 1

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, config: pytest.Config
    ) -> None:
        """Say what waits for the second stage, and write the report."""
        if self._deferred:
            features = ", ".join(f"{name} {count}" for name, count in sorted(self._awaited.items()))
            terminalreporter.ensure_newline()
            terminalreporter.section("left to User Mode Linux")
            terminalreporter.write_line(f"{len(self._deferred)} tests, which need {features}")
        if self._report:
            write_report(self._report, self._summarise(terminalreporter, config))

    def _summarise(
        self, terminalreporter: pytest.TerminalReporter, config: pytest.Config
    ) -> StageReport:
        session = terminalreporter._session
        return StageReport(
            kernel=os.uname().release,
            is_second=self._stage == "uml",
            ran=self._ran,
            featured=self._at_home,
            lacking=self._skipped,
            outcomes={key: len(found) for key, found in terminalreporter.stats.items() if key},
            skipped=count_reasons(terminalreporter.stats.get("skipped", [])),
            failures=tuple(
                report.nodeid
                for key in ("failed", "error")
                for report in terminalreporter.stats.get(key, [])
            ),
            deferred=tuple(self._deferred),
            paths=tuple(config.getoption("file_or_dir")),
            is_stopped=bool(
                config.getoption("collectonly")
                or (session and (session.shouldstop or session.shouldfail))
            ),
        )


def pytest_configure(config: pytest.Config) -> None:
    """Begin a session."""
    config.pluginmanager.register(Session(config), "kernel-features-session")


def needed_features(item: pytest.Item) -> list[str]:
    """Return the features that *item* needs, by all of its markers.

    Raises:
        pytest.UsageError: a marker names no feature, or one that has no probe.
    """
    needed: list[str] = []
    for mark in item.iter_markers("kernel"):
        unknown = [name for name in mark.args if name not in PROBES]
        if unknown or not mark.args:
            raise pytest.UsageError(
                f"{item.nodeid}: marker kernel{mark.args!r} must name features that can be probed: "
                f"{', '.join(sorted(PROBES))}; a new one gets a probe in kernel_features.py"
            )
        needed.extend(mark.args)
    return needed


def missing_features(item: pytest.Item) -> dict[str, str]:
    """Return the features that *item* needs and this kernel lacks, with the kernel's answers.

    Raises:
        pytest.UsageError: as `needed_features`, or a probe is wrong.
    """
    needed = needed_features(item)
    try:
        return {name: answer for name in needed if (answer := why_missing(name)) is not None}
    except ProbeError as error:
        raise pytest.UsageError(f"{item.nodeid}: {error}") from error


def render_reason(stage: str, needed: Iterable[str], missing: Mapping[str, str]) -> str:
    """Return why a test is skipped: in the second stage, the first has tried before."""
    told = ", ".join(f"{name} ({answer})" for name, answer in missing.items())
    if stage == "uml":
        return f"no kernel here with all of {', '.join(needed)}; User Mode Linux lacks {told}"
    return f"this kernel has no {told}; `make test` tries User Mode Linux"


def count_reasons(skipped: Iterable[pytest.TestReport]) -> dict[str, int]:
    """Return how many tests were skipped for which reason."""
    reasons: Counter[str] = Counter()
    for report in skipped:
        location = report.longrepr
        reasons[location[2] if isinstance(location, tuple) else str(location)] += 1
    return {reason.removeprefix("Skipped: "): count for reason, count in reasons.items()}
