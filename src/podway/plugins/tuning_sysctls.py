"""Kernel parameters that a configuration names: where they are, and whether they may be set.

In: keys as `sysctl` takes them. Out: paths below /proc/sys/net, which nothing escapes. Called by
`tuning_conf`, and by ADD and STATUS for the list of what is allowed.

The first separator in a key says which one it uses, as with `sysctl`: in
``net.ipv4.conf.eth0/100.forwarding`` the device is ``eth0.100``. A part ``IFNAME`` stands for the
container's interface. The file with the list has a regular expression on each line, which is
searched in the key as the configuration writes it; without the file everything is allowed.
"""

from podway.cni.errors import INVALID_CONFIG, CniError, broken_rule
from podway.cni.values import Value
from podway.plugins.state_files import read_if_any

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Final

ALLOW_LIST: "Final" = "/etc/cni/tuning/allowlist.conf"
PLACEHOLDER: "Final" = "IFNAME"
_SUBTREE: "Final" = "net"
_SWAPPED: "Final" = {".": "/", "/": "."}


class Sysctl(Value):
    """One parameter.

    Attributes:
        key: as configured.
        path: below /proc/sys.
        value: text to be written.
    """

    key: str
    path: str
    value: str


def parse_sysctl(key: str, value: str, ifname: str, where: str) -> Sysctl:
    """Return the parameter that *key* names.

    Raises:
        CniError: INVALID_CONFIG, it is none of the network's, or it leads elsewhere.
    """
    parts = [ifname if part == PLACEHOLDER else part for part in _split(key)]
    if len(parts) < 2 or parts[0] != _SUBTREE:
        raise broken_rule(where, key, "must be a parameter below net, as net.ipv4.ip_forward")
    if "\0" in key or any(part in {"", ".", ".."} or "/" in part for part in parts):
        raise broken_rule(where, key, "must be a path whose parts are names")
    if "\0" in value:
        raise broken_rule(f"{where}[{key!r}]", value, "must be text without NUL")
    return Sysctl(key=key, path="/".join(parts), value=value)


def _split(key: str) -> list[str]:
    """Return the parts of a key, with the other separator in them put right."""
    separator = next((each for each in key if each in _SWAPPED), ".")
    if separator == "/":
        return key.split("/")
    return [part.replace("/", ".") for part in key.split(".")]


def check_allowed(sysctls: "Iterable[Sysctl]") -> None:
    """Refuse parameters that the node's administrator does not allow.

    Raises:
        CniError: INVALID_CONFIG, one of them is not allowed, or the list cannot be understood.
        OSError: the list cannot be read.
    """
    text = read_if_any(ALLOW_LIST)
    if text is None:
        return
    patterns = [line.strip() for line in text.decode(errors="replace").split("\n") if line.strip()]
    for sysctl in sysctls:
        if not any(_matches(pattern, sysctl.key) for pattern in patterns):
            rule = f"is not allowed by {ALLOW_LIST}, which has {', '.join(patterns) or 'nothing'}"
            raise broken_rule("sysctl", sysctl.key, rule)


def _matches(pattern: str, key: str) -> bool:
    from re import error as PatternError  # noqa: N812, PLC0415 - a few ms, where there is a list
    from re import search  # noqa: PLC0415

    try:
        return search(pattern, key) is not None
    except PatternError as error:
        text = f"{ALLOW_LIST}: {pattern!r} is no regular expression: {error}"
        raise CniError(INVALID_CONFIG, text) from None
