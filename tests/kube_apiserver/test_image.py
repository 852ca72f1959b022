"""The container image: built from nothing but Debian packages, run, installed on a "node"."""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TAG = "localhost/podway:test"
NEEDED = ("debootstrap", "buildah", "patchelf")
# A node: nothing of podway's but what the image put there, and no /opt of this machine.
ON_NODE = """
mount -t tmpfs none /opt
mkdir -p /opt/podway
mount --bind "$1/opt/podway" /opt/podway
echo '{"cniVersion":"1.1.0"}' | CNI_COMMAND=VERSION "$1/opt/cni/bin/$2"
"""


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Give buildah a place of its own; remove it with all that is mounted in there."""
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        pytest.skip(f"needs {', '.join(missing)}: make test installs them")
    place = tmp_path_factory.mktemp("buildah")
    options = ["--root", str(place / "root"), "--runroot", str(place / "run")]
    yield options
    run("buildah", *options, "rm", "--all")
    run("buildah", *options, "rmi", "--all", "--force")
    for path in (place / "root" / "overlay",):
        subprocess.run(["umount", "--lazy", path], capture_output=True, check=False)
    shutil.rmtree(place)


def run(*command: str | Path, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def image(storage: list[str]) -> str:
    """Build the image."""
    environment = {**os.environ, "BUILDAH_OPTIONS": " ".join(storage)}
    run("deploy/image/build.sh", TAG, environment=environment)
    return TAG


@contextlib.contextmanager
def container(storage: list[str], image: str) -> Iterator[tuple[str, Path]]:
    name = run("buildah", *storage, "from", image).strip()
    try:
        yield name, Path(run("buildah", *storage, "mount", name).strip())
    finally:
        run("buildah", *storage, "umount", name)
        run("buildah", *storage, "rm", name)


@pytest.mark.root
@pytest.mark.timeout(600)
def test_the_image_runs_and_installs_itself_on_a_node(
    storage: list[str], image: str, tmp_path: Path
) -> None:
    node = tmp_path / "node"
    for directory in ("opt/podway", "opt/cni/bin", "etc/cni/net.d"):
        (node / directory).mkdir(parents=True)
    with container(storage, image) as (name, mounted):
        isolated = ("run", "--isolation", "chroot")
        version = run("buildah", *storage, *isolated, name, "--", "podway", "version", "--json")
        assert json.loads(version)["podway"] == "0.1.0"
        command = install_command()
        for _ in range(2):  # what is there already stays
            volume = f"{node}:{command[-1]}"
            run("buildah", *storage, *isolated, "--volume", volume, name, "--", *command)
        assert (mounted / command[0].removeprefix("/")).exists()
    builds = [path.name for path in (node / "opt/podway").iterdir() if path.is_dir()]
    assert len(builds) == 1
    plugins = sorted(path.name for path in (node / "opt/cni/bin").iterdir())
    assert {"podway", "bridge", "flannel", "portmap", "loopback"} <= set(plugins)
    assert (node / "etc/cni/net.d/10-podway.conflist").exists()
    for plugin in ("podway", "bridge", "flannel"):
        script = ("unshare", "--mount", "sh", "-euc", ON_NODE, "sh", str(node), plugin)
        assert "1.1.0" in json.loads(run(*script))["supportedVersions"]


@pytest.mark.root
@pytest.mark.timeout(600)
def test_the_image_starts_what_the_manifests_start(storage: list[str], image: str) -> None:
    inspected: dict[str, Any] = json.loads(run("buildah", *storage, "inspect", image))
    entrypoint = inspected["OCIv1"]["config"]["Entrypoint"]
    with container(storage, image) as (name, _):
        for program in ("agent", "hub"):
            command = ("run", "--isolation", "chroot", name, "--", *entrypoint, program, "--help")
            assert "--log-level" in run("buildah", *storage, *command)


def install_command() -> list[str]:
    """Return what the DaemonSet's first container runs."""
    path = ROOT / "deploy" / "kubernetes" / "agent.yaml"
    pod = yaml.safe_load(path.read_text())["spec"]["template"]["spec"]
    command: list[str] = pod["initContainers"][0]["command"]
    return command
