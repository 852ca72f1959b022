"""Resolver settings in a file: ``resolvConf`` of host-local, in the form of resolv.conf(5).

In: a path. Out: ``dns`` of a result.
"""

import posix

from podway.cni.errors import broken_rule
from podway.cni.results import Dns

_MAX_BYTES = 1 << 16


def read_dns(path: str) -> Dns:
    """Return what a file in the form of resolv.conf(5) says.

    Raises:
        CniError: INVALID_CONFIG, it cannot be read.
    """
    try:
        descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError as error:
        raise broken_rule("ipam.resolvConf", path, f"cannot be read: {error.strerror}") from None
    try:
        text = posix.read(descriptor, _MAX_BYTES).decode(errors="replace")
    finally:
        posix.close(descriptor)
    return parse_resolv_conf(text)


def parse_resolv_conf(text: str) -> Dns:
    """Return the settings in *text* (resolv.conf(5)); unknown keys are passed over."""
    words = [line.split() for line in text.splitlines() if line[:1] not in {"#", ";"}]
    lines = [(line[0], line[1:]) for line in words if len(line) > 1]
    domains = [values[0] for key, values in lines if key == "domain"]
    return Dns(
        nameservers=tuple(values[0] for key, values in lines if key == "nameserver"),
        domain=domains[-1] if domains else "",
        search=tuple(each for key, values in lines if key == "search" for each in values),
        options=tuple(each for key, values in lines if key == "options" for each in values),
    )
