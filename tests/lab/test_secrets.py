"""Keys and shared secrets: in no log, no argument of a process, no answer, no file for all."""

import base64
import json
import secrets
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.probes import PODWAY, eventually, unanswered
from podway.lab import faults
from podway.lab.names import HUB, agent_socket, lab_dir, namespace_of, node_name
from podway.lab.namespaces import inode_of
from podway.lab.processes import processes_in
from podway.lab.runtime import add_pods
from podway.lab.specs import LabSpec, StoreName
from podway.lab.statuses import read_statuses
from podway.lab.stores import store_url
from podway.lab.topology import plan_network
from podway.model.addresses import Family


def podway(*words: str, stdin: str = "", check: bool = True) -> str:
    done = subprocess.run(
        [*PODWAY, *words], input=stdin, capture_output=True, text=True, check=check
    )
    return done.stdout + done.stderr


def processes(spec: LabSpec) -> Iterator[int]:
    members = [HUB, *map(node_name, spec.nodes)]
    inodes = {inode_of(namespace_of(spec.name, member)) for member in members}
    return (each.pid for each in processes_in(inodes))


@pytest.mark.parametrize("store", ["hub", "etcd"])
def test_no_secret_is_seen(make_lab: Callable[..., LabSpec], store: StoreName) -> None:
    spec = make_lab(store=store, backend="wireguard", families=(Family.IPV4,))
    shared = base64.b64encode(secrets.token_bytes(32)).decode()
    document = {**plan_network(spec), "Backend": {"Type": "wireguard", "PSK": shared}}
    at_store = ("ip", "netns", "exec", namespace_of(spec.name, HUB), *PODWAY)
    access = ["--store", store_url(spec), *(["--plaintext"] if store == "hub" else [])]
    apply = [*at_store, "network", "apply", "-", *access]
    told = subprocess.run(
        apply, input=json.dumps(document), capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    add_pods(spec, ["p1", "p2"])
    eventually("pods answer", lambda: unanswered(spec, timeout_s=1.2) == [])
    # A start with a broken configuration, and one without a store, are when most is said.
    broken = json.dumps({**document, "Network": "nonsense"})
    refused = subprocess.run(apply, input=broken, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    faults.kill_hub(spec)
    faults.kill_agent(spec, "n1")
    faults.start_agent(spec, "n1")
    faults.start_hub(spec)
    eventually("in order", lambda: read_statuses(spec)[0]["n1"]["store"]["state"] == "connected")

    keys = [lab_dir(spec.name) / node / "state" / "wireguard.key" for node in ("n1", "n2")]
    hidden = [shared, *(key.read_text().strip() for key in keys)]
    said = [told.stdout, told.stderr, refused.stdout, refused.stderr]
    for node in ("n1", "n2"):
        at_node = ("--socket", str(agent_socket(spec.name, node)))
        said += [podway("status", "--json", *at_node), podway("diff", "--json", *at_node)]
    show = [*at_store, "network", "show", *access]
    for options in ([], ["--json"]):
        command = [*show, *options]
        said.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    for text in said:
        assert [secret for secret in hidden if secret in text] == []
    assert seen_in_processes(spec, hidden) == []
    assert seen_in_files(lab_dir(spec.name), hidden) == []


def seen_in_processes(spec: LabSpec, hidden: list[str]) -> list[str]:
    """Return the command lines in which a secret stands: anybody can read them."""
    found = []
    for pid in processes(spec):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        found += [line for secret in hidden if secret in line]
    return found


def seen_in_files(directory: Path, hidden: list[str]) -> list[str]:
    """Return the logs that hold a secret, and files that hold one and that others can read."""
    found = []
    for path in directory.rglob("*"):
        if not path.is_file():
            continue
        data = path.read_bytes()
        if not any(secret.encode() in data for secret in hidden):
            continue
        is_open = path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        if path.suffix == ".log" or is_open:
            found.append(f"{path} {stat.filemode(path.stat().st_mode)}")
    return found


def test_the_scan_would_find_one(tmp_path: Path) -> None:
    (tmp_path / "agent.log").write_text("key=hush\n")
    (tmp_path / "agent.log").chmod(0o600)
    (tmp_path / "open").write_text("hush")
    (tmp_path / "open").chmod(0o644)
    (tmp_path / "closed").write_text("hush")
    (tmp_path / "closed").chmod(0o600)
    found = {Path(each.split()[0]).name for each in seen_in_files(tmp_path, ["hush"])}
    assert found == {"agent.log", "open"}
