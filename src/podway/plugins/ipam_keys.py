"""Keys of ``ipam`` that several IPAM plugins read, or commands that need no more than these.

In: a request. Out: checked values (errors are 7).
"""

from podway.cni.errors import INVALID_CONFIG, CniError
from podway.cni.fields import Fields
from podway.cni.versions import ALL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

    from podway.cni.requests import Request

DEFAULT_DATA_DIR: "Final" = "/var/lib/cni/networks"
_FIRST_WITH_LISTS: "Final" = ALL.index("0.3.0")


def ipam_fields(request: "Request") -> Fields:
    """Return the object ``ipam``.

    Raises:
        CniError: INVALID_CONFIG, there is none.
    """
    fields = Fields(request.config.raw, code=INVALID_CONFIG)
    if fields.value("ipam") is None:
        raise CniError(INVALID_CONFIG, "ipam is missing: an IPAM plugin reads its keys there")
    return fields.fields("ipam")


def check_families(families: "Iterable[int]", version: str, noun: str) -> None:
    """Refuse what a result of *version* cannot say: before 0.3.0 it has one address per family.

    Args:
        families: of the addresses that would be given.
        version: of the configuration.
        noun: what there are too many of.

    Raises:
        CniError: INVALID_CONFIG.
    """
    families = tuple(families)
    if ALL.index(version) < _FIRST_WITH_LISTS and len(set(families)) != len(families):
        rule = f"cniVersion {version} has one address per family"
        raise CniError(INVALID_CONFIG, f"ipam has {len(families)} {noun}: {rule}")


def parse_directory(request: "Request") -> str:
    """Return where host-local keeps the network's reservations: all that DEL and GC need.

    Raises:
        CniError: INVALID_CONFIG.
    """
    data_dir = parse_path(ipam_fields(request), "dataDir", DEFAULT_DATA_DIR)
    # The name of a network is an identifier: it cannot lead out of the directory.
    return f"{data_dir.rstrip('/')}/{request.config.name}"


def parse_path(fields: Fields, key: str, default: str) -> str:
    """Return an absolute path, *default* when absent.

    Raises:
        CniError: as *fields* raises.
    """
    path = fields.text(key) or default
    if path and (not path.startswith("/") or "\0" in path):
        raise fields.refused(key, path, "must be an absolute path")
    return path
