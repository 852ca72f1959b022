"""Words of iptables: protocols, names of chains, text in quotes.

In: text. Out: it is a name, or an error; or as iptables-save prints it. Called by whoever parses a
configuration or writes rules.
"""

from podway.cni.errors import broken_rule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# Those that have ports, as IPPROTO_*.
PROTOCOLS: "Final" = {"tcp": 6, "udp": 17, "sctp": 132}
# XT_EXTENSION_MAXNAMELEN, with the closing zero byte.
MAX_CHAIN_CHARACTERS: "Final" = 28


def check_chain_name(field: str, name: str) -> None:
    """Refuse what is no name of a chain.

    Raises:
        CniError: INVALID_CONFIG.
    """
    rule = ""
    if not 1 <= len(name) <= MAX_CHAIN_CHARACTERS:
        rule = f"must have 1 to {MAX_CHAIN_CHARACTERS} characters"
    elif not name.isascii() or not all(each.isalnum() or each in "_.-" for each in name):
        rule = "must be letters, digits, '_', '.' and '-'"
    elif name.startswith("-"):
        rule = "must not begin with '-'"
    if rule:
        raise broken_rule(field, name, rule)


def quote(text: str) -> str:
    """Return *text* as iptables-save prints an argument with blanks or quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
