"""The ``firewall`` executable where firewalld runs.

firewalld is Debian's, on a bus of the test's own, in the host namespace.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from shutil import which
from typing import Final

import pytest

from netns.conftest import MakeNetns
from netns.plugins.cni_runtime import Document, Runtime, with_previous
from netns.plugins.firewalled_bridges import OURS, firewall, result_of, traces
from netns.plugins.originals import needs_original
from podway.cni.errors import CHECK_FAILED

READY_WITHIN_S: Final = 20


# A bus of the test's own: no policy but that anybody may speak.
BUS_CONFIGURATION: Final = """
<busconfig>
  <type>system</type>
  <listen>unix:path={}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/>
    <allow send_destination="*"/><allow receive_sender="*"/>
  </policy>
</busconfig>
"""


@pytest.fixture
def firewalld(runtime: Runtime, tmp_path: Path) -> Iterator[Document]:
    """Return the environment in which firewalld is found, which runs in the host's namespace."""
    if which("firewalld") is None:
        pytest.skip("needs firewalld: apt-get install firewalld")
    bus, settings = tmp_path / "bus", tmp_path / "bus.conf"
    settings.write_text(BUS_CONFIGURATION.format(bus), encoding="utf-8")
    (tmp_path / "zones").mkdir()
    told = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={bus}"}
    daemon = ["dbus-daemon", f"--config-file={settings}", "--nofork", "--print-address"]
    firewall = ["firewalld", "--nofork", "--nopid", "--system-config", str(tmp_path)]
    inside = ["nsenter", f"--net={runtime.host.path}"]
    with ExitStack() as stack:
        started = stack.enter_context(running(inside + daemon, told))
        assert started.stdout is not None
        assert started.stdout.readline(), "the address, once it listens"
        stack.enter_context(running(inside + firewall, told))
        wait = [
            "gdbus", "wait", "--address", f"unix:path={bus}", "--timeout", str(READY_WITHIN_S),
            "org.fedoraproject.FirewallD1",
        ]  # fmt: skip
        subprocess.run(wait, check=True)
        # It has its name before it flushes the rules of others; then it answers.
        state = ["firewall-cmd", "--state"]
        subprocess.run(state, env={**os.environ, **told}, check=True, capture_output=True)
        yield told


class running:  # noqa: N801 - reads as a phrase
    """Context manager: a process that runs for as long as the block."""

    def __init__(self, argv: list[str], variables: Document) -> None:
        self._process = subprocess.Popen(
            argv,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()


def sources(told: Document, zone: str = "trusted") -> set[str]:
    """Return the sources of a zone, as firewalld's own client says."""
    done = subprocess.run(
        ["firewall-cmd", f"--zone={zone}", "--list-sources"],
        env={**os.environ, **told}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return set(done.stdout.split())


BOTH: Final = {"10.1.0.5/32", "fd01::5/128"}


def test_firewalld(runtime: Runtime, make_netns: MakeNetns, firewalld: Document) -> None:
    """Chosen by itself where it runs; a policy is kept by iptables."""
    pod, host = make_netns(), runtime.host
    config = with_previous(firewall(runtime, ingressPolicy="same-bridge"), result_of())
    assert runtime.call("STATUS", config, **firewalld).code == 0
    for _ in range(2):
        runtime.add(config, pod, **firewalld)
        assert sources(firewalld) == BOTH
        assert runtime.call("CHECK", config, pod, **firewalld).code == 0
    saved = host.exec("iptables-save", "-t", "filter")
    assert "CNI-ISOLATION-STAGE-2 -o br1" in saved
    assert "CNI-FORWARD" not in saved
    command = ["firewall-cmd", "--zone=trusted", "--remove-source=10.1.0.5/32"]
    subprocess.run(command, env={**os.environ, **firewalld}, check=True, capture_output=True)
    assert runtime.call("CHECK", config, pod, **firewalld).code == CHECK_FAILED
    for _ in range(2):
        assert runtime.call("DEL", config, "", **firewalld).code == 0
        assert sources(firewalld) == set()
    work = with_previous(firewall(runtime, firewalldZone="work"), result_of())
    runtime.add(work, pod, **firewalld)
    assert sources(firewalld, "work") == BOTH
    # Another zone takes over; firewalld itself would refuse an address twice.
    runtime.add(config, pod, **firewalld)
    assert (sources(firewalld, "work"), sources(firewalld)) == (set(), BOTH)
    nonesuch = with_previous(firewall(runtime, firewalldZone="nonesuch"), result_of(6))
    outcome = runtime.call("ADD", nonesuch, pod, container_id="c6", **firewalld)
    assert "INVALID_ZONE" in outcome.msg
    assert traces(runtime, "10.1.0.6", "fd01::6") == []
    gone = {**firewall(runtime), "cni.dev/valid-attachments": []}
    assert runtime.call("GC", gone, **firewalld).code == 0
    assert sources(firewalld) == set()
    assert traces(runtime, *OURS) == []


@needs_original
def test_firewalld_with_the_original(
    runtime: Runtime, make_netns: MakeNetns, firewalld: Document
) -> None:
    pod = make_netns()
    result = {**result_of(), "cniVersion": "1.0.0"}
    config = with_previous({**firewall(runtime), "cniVersion": "1.0.0"}, result)
    for ours_first in (True, False):
        runtime.add(config, pod, reference=not ours_first, **firewalld)
        assert sources(firewalld) == BOTH
        assert runtime.call("CHECK", config, pod, **firewalld).code == 0
        assert runtime.call("DEL", config, pod, reference=ours_first, **firewalld).code == 0
        assert sources(firewalld) == set()


def test_firewalld_is_gone_when_del_comes(
    runtime: Runtime, make_netns: MakeNetns, firewalld: Document, tmp_path: Path
) -> None:
    config = with_previous(firewall(runtime), result_of())
    runtime.add(config, make_netns(), **firewalld)
    nowhere: Document = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={tmp_path}/none"}
    assert runtime.call("DEL", config, "", **nowhere).code == 0
    assert list((runtime.directory / "firewall").iterdir()) == []
