"""Rules for the three names that key an attachment: container, interface, network.

Sources: SPEC 1.1.0, "Parameters" and "Network configuration"; libcni ``pkg/utils/utils.go``;
``dev_valid_name()`` in the kernel's ``net/core/dev.c``. Written without regular expressions, which
cost an executable more to import than the rest of it.
"""

from podway.cni.errors import INVALID_CONFIG, INVALID_ENVIRONMENT, broken_rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# IFNAMSIZ is 16, with the closing zero byte.
MAX_IFNAME_BYTES: "Final" = 15
_MARKS = "_.-"


def check_container_id(value: str) -> None:
    """Refuse a CNI_CONTAINERID that is no plain identifier.

    Raises:
        CniError: INVALID_ENVIRONMENT.
    """
    if not _is_identifier(value):
        raise broken_rule("CNI_CONTAINERID", value, _IDENTIFIER_RULE, INVALID_ENVIRONMENT)


def check_network_name(value: str) -> None:
    """Refuse a network name that is no plain identifier.

    Raises:
        CniError: INVALID_CONFIG.
    """
    if not value:
        raise broken_rule("name", value, "every network has a name", INVALID_CONFIG)
    if not _is_identifier(value):
        raise broken_rule("name", value, _IDENTIFIER_RULE, INVALID_CONFIG)


def check_ifname(value: str) -> None:
    """Refuse a CNI_IFNAME that the kernel does not take, or takes for a pattern.

    Raises:
        CniError: INVALID_ENVIRONMENT.
    """
    rule = broken_ifname_rule(value)
    if rule:
        raise broken_rule("CNI_IFNAME", value, rule, INVALID_ENVIRONMENT)


_IDENTIFIER_RULE = "must be letters, digits, '_', '.' and '-', with a letter or digit first"


def _is_identifier(value: str) -> bool:
    if not value.isascii() or not value[:1].isalnum():
        return False
    return all(character.isalnum() or character in _MARKS for character in value)


def broken_ifname_rule(value: str) -> str:
    """Return the rule that *value* breaks as the name of a device, "" for none.

    For names from elsewhere than CNI_IFNAME: a configuration's ``master``, ``bridge``, ``device``.
    """
    if not 1 <= len(value.encode(errors="surrogateescape")) <= MAX_IFNAME_BYTES:
        return f"must have 1 to {MAX_IFNAME_BYTES} bytes"
    if value in {".", ".."}:
        return "is a directory's name"
    for character in value:
        if character in "/:\0" or character.isspace():
            return "must hold no '/', ':', blank or zero byte"
    # dev_alloc_name() counts: eth%d would become eth0, and nobody would find it again.
    return "must hold no '%', which the kernel replaces by a number" if "%" in value else ""
