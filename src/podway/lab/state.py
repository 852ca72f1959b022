"""What a lab remembers between commands: files below its directory, each written whole or not.

``lab.json`` holds the `LabSpec`, ``pods/NAME.json`` one pod each. Processes have pid files
(`processes`). Commands that change a lab hold its lock; those that only look do not.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from podway.lab.errors import LabDamaged, LabExists, NoSuchLab
from podway.lab.names import (
    LABS_DIR,
    check_lab_name,
    is_lab_name,
    lab_dir,
    rule_against_pod,
)
from podway.lab.pod_networks import Attachment
from podway.lab.specs import LabSpec
from podway.model.addresses import IPAddress


class Pod(Struct, frozen=True, kw_only=True):
    """A pod of the lab, as a container runtime remembers a sandbox.

    Attributes:
        name: of the pod, and of its namespace.
        node: on which it runs.
        container_id: what the runtime calls it towards the plugin.
        result: what the last plugin answered to ADD; DEL and CHECK get it as ``prevResult``.
        attachment: how it is connected.
        home: member of the lab in whose namespace it is, "" for a namespace of its own.
    """

    name: str
    node: str
    container_id: str
    result: dict[str, Any]
    attachment: Attachment = Attachment()
    home: str = ""

    @property
    def member(self) -> str:
        """The member of the lab in whose namespace the pod is."""
        return self.home or self.name

    @property
    def addresses(self) -> tuple[IPAddress, ...]:
        """The pod's addresses, as the plugin gave them; not the loopback device's."""
        given = (ip_interface(each["address"]).ip for each in self.result.get("ips", ()))
        return tuple(address for address in given if not address.is_loopback)


def create_lab_dir(name: str) -> None:
    """Make the directory of the lab *name*. Raises `LabExists`."""
    LABS_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        (lab_dir(name) / "pods").mkdir(parents=True)
    except FileExistsError as error:
        raise existing(name) from error


def write_spec(spec: LabSpec) -> None:
    """Remember *spec*."""
    write_whole(lab_dir(spec.name) / "lab.json", msgspec.json.encode(spec))


def read_spec(name: str) -> LabSpec:
    """Return the spec of the lab *name*.

    Raises:
        ConfigError: no lab can be called so.
        NoSuchLab: there is none.
        LabDamaged: its file cannot be read.
    """
    path = lab_dir(check_lab_name(name)) / "lab.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=LabSpec)
    except FileNotFoundError as error:
        if lab_dir(name).exists():
            raise LabDamaged(f"{path} is missing; clear the lab away with {_down(name)}") from error
        known = ", ".join(list_labs()) or "none; make one with 'podway lab up'"
        raise NoSuchLab(f"there is no lab {name!r} (labs: {known})") from error
    except msgspec.DecodeError as error:
        raise LabDamaged(f"{path}: {error}; clear the lab away with {_down(name)}") from error


def list_labs() -> list[str]:
    """Return the names of all labs that have a directory, sorted."""
    names = [path.name for path in LABS_DIR.iterdir()] if LABS_DIR.is_dir() else []
    return sorted(name for name in names if is_lab_name(name))


def write_pod(lab: str, pod: Pod) -> None:
    """Remember *pod*."""
    write_whole(_pod_path(lab, pod.name), msgspec.json.encode(pod))


def forget_pod(lab: str, name: str) -> None:
    """Forget the pod *name*."""
    _pod_path(lab, name).unlink(missing_ok=True)


def read_pod(lab: str, name: str) -> Pod:
    """Return the pod *name*. Raises `NoSuchLab` or `LabDamaged`."""
    if rule_against_pod(name):
        raise _no_pod(lab, name)
    path = _pod_path(lab, name)
    try:
        return msgspec.json.decode(path.read_bytes(), type=Pod)
    except FileNotFoundError as error:
        raise _no_pod(lab, name) from error
    except msgspec.DecodeError as error:
        raise LabDamaged(f"{path}: {error}; clear the lab away with {_down(lab)}") from error


def _no_pod(lab: str, name: str) -> NoSuchLab:
    known = ", ".join(pod.name for pod in read_pods(lab)) or "none"
    return NoSuchLab(f"lab {lab!r} has no pod {name!r} (pods: {known})")


def read_pods(lab: str) -> list[Pod]:
    """Return all pods of *lab*: by node, then by name, ``p2`` before ``p10``."""
    names = [path.stem for path in (lab_dir(lab) / "pods").glob("*.json")]
    pods = [read_pod(lab, name) for name in names]
    return sorted(pods, key=lambda pod: (natural(pod.node), natural(pod.name)))


def natural(name: str) -> tuple[str, int, str]:
    """Return a key that sorts names with a number at their end by that number."""
    stem = name.rstrip("0123456789")
    digits = name[len(stem) :]
    return stem, int(digits or 0), name


def write_whole(path: Path, data: bytes) -> None:
    """Write *data* to *path* so that a reader sees the old content or the new one, never less."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock of the lab *name*: one command at a time changes it.

    The lock is on the lab's directory, so that it goes with the lab. Raises `NoSuchLab`, and
    `ConfigError` when no lab can be called so.
    """
    try:
        directory = os.open(
            lab_dir(check_lab_name(name)), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        )
    except FileNotFoundError:
        read_spec(name)
        raise
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _pod_path(lab: str, name: str) -> Path:
    return lab_dir(lab) / "pods" / f"{name}.json"


def existing(name: str) -> LabExists:
    """Return the refusal to make the lab *name* a second time."""
    rule = f"remove it with {_down(name)}, or choose another --name"
    return LabExists(f"lab {name!r} is there already; {rule}")


def _down(name: str) -> str:
    return f"'podway lab --name {name} down'"
