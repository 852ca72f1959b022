"""Versions of the CNI specification: which exist, which commands each has, and VERSION's answer.

Versions are compared as exact strings (SPEC 1.1.0, "VERSION"); a configuration without one means
0.1.0, as in libcni (``pkg/version/conf.go``).
"""

from podway.cni.documents import encode
from podway.cni.errors import INCOMPATIBLE_VERSION, CniError, broken_rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

ALL: "Final" = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
NEWEST: "Final" = ALL[-1]
# What the plugin `podway` has: results before 0.3.0 name no interface, so that CHECK would have
# nothing to compare with.
PODWAY_VERSIONS: "Final" = ALL[ALL.index("0.3.0") :]
# What a configuration that says nothing means.
ABSENT: "Final" = "0.1.0"

# The first version that has the command.
FIRST_VERSION: "Final" = {
    "ADD": "0.1.0",
    "DEL": "0.1.0",
    "VERSION": "0.2.0",
    "CHECK": "0.4.0",
    "GC": "1.1.0",
    "STATUS": "1.1.0",
}


def check_version(version: str, command: str, supported: tuple[str, ...]) -> None:
    """Refuse a configuration *version* that the plugin or the *command* does not have.

    Raises:
        CniError: INCOMPATIBLE_VERSION.
    """
    if version not in supported:
        raise broken_rule(
            "cniVersion", version, f"must be one of {', '.join(supported)}", INCOMPATIBLE_VERSION
        )
    first = FIRST_VERSION[command]
    if ALL.index(version) < ALL.index(first):
        raise CniError(
            INCOMPATIBLE_VERSION,
            f"cniVersion = {version!r} does not have {command}: it came with {first}",
        )


def render_version(supported: tuple[str, ...]) -> str:
    """Return the answer to VERSION as JSON."""
    return encode({"cniVersion": supported[-1], "supportedVersions": supported})
