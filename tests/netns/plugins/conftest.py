"""The installed executables, and the namespaces in which they are called."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from netns.conftest import MakeNetns, Netns, new_netns
from netns.plugins.cases import CASES, Caller, can_add, prepare, state
from netns.plugins.cni_runtime import Document, Runtime
from netns.plugins.fork_server import ForkServer
from netns.plugins.host_devices import make_device
from podway.plugins.install import install


@pytest.fixture
def run_directory() -> Iterator[Path]:
    """Return a directory whose name is short enough for a socket in it."""
    path = Path(tempfile.mkdtemp(prefix="pw-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def executables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with all executables."""
    directory = tmp_path_factory.mktemp("cni")
    install(directory)
    return directory


@pytest.fixture
def runtime(make_netns: MakeNetns, executables: Path, tmp_path: Path) -> Runtime:
    """Return a runtime whose plugins run in a namespace of the test's own."""
    return Runtime(make_netns(), executables, tmp_path)


@pytest.fixture
def pod(make_netns: MakeNetns) -> Netns:
    """Return a container's namespace."""
    return make_netns()


@pytest.fixture
def outside(runtime: Runtime, make_netns: MakeNetns) -> Netns:
    """Return a namespace that reaches the host, and knows no way to containers."""
    outside = make_netns()
    link = ("up0", "type", "veth", "peer", "name", "eth0", "netns", outside.name)
    runtime.host.ip("link", "add", *link)
    for netns, device, number in ((runtime.host, "up0", 1), (outside, "eth0", 9)):
        netns.ip("addr", "add", f"192.0.2.{number}/24", "dev", device)
        netns.ip("addr", "add", f"2001:db8::{number}/64", "nodad", "dev", device)
        netns.ip("link", "set", device, "up")
    return outside


@pytest.fixture
def dev0(runtime: Runtime) -> None:
    """Give the host the device dev0, with all that it can lose."""
    make_device(runtime.host)


@pytest.fixture
def up0(runtime: Runtime) -> None:
    """Give the host the device up0, wired to one that is called as the container's."""
    runtime.host.ip("link", "add", "up0", "mtu", "1400", "type", "veth", "peer", "name", "eth0")
    for device in ("up0", "eth0"):
        runtime.host.ip("link", "set", device, "up")


@pytest.fixture
def legacy_path(tmp_path: Path) -> Document:
    """Return variables of a system whose iptables is legacy; the kernel knows both kinds."""
    directory = tmp_path / "legacy"
    directory.mkdir()
    for program in ("iptables", "ip6tables"):
        for tool in ("restore", "save"):
            (directory / f"{program}-{tool}").symlink_to(f"/usr/sbin/{program}-legacy-{tool}")
    return {"PATH": f"{directory}:/usr/sbin:/usr/bin:/sbin:/bin"}


@pytest.fixture(scope="module")
def caller(
    request: pytest.FixtureRequest, executables: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Caller]:
    """Return what calls the plugin that is the test's parameter; one for all of its tests."""
    with new_netns() as host, new_netns() as pod, ForkServer(host.path) as server:
        runtime = Runtime(host, executables, tmp_path_factory.mktemp("data"))
        prepare(runtime)
        yield Caller(server, runtime, pod, CASES[request.param].make(runtime))


@pytest.fixture(scope="module")
def before(caller: Caller) -> Document:
    """Return the state after all has been added and deleted once: what stays for ever is there."""
    if not CASES[caller.config["type"]].asks_daemon:
        caller.delete(caller.add() if can_add(caller) else caller.add_before())
        caller.collect()
    return state(caller)
